//! Files: their events and how these fold.

use cairn_sdk::prelude::*;

use super::content::{Digest, FileSize, MimeType};
use super::item::{Deletion, Item, ItemKind};
use super::name::ItemName;

/// What can happen to a file.
#[derive(DomainEvent, Debug, Clone, PartialEq)]
pub enum FileEvent {
    /// A file was made; whoever made it owns it.
    FileCreated {
        /// Its name.
        name: ItemName,
        /// The folder that it is in; null at the root.
        parent_id: Option<Uuid>,
        /// Its owner.
        owner_id: Uuid,
        /// The size of its content in bytes.
        size: FileSize,
        /// The type of its content.
        mime_type: MimeType,
    },
    /// A file got another name.
    FileRenamed {
        /// The name from now on.
        name: ItemName,
    },
    /// A file went to another folder.
    FileMoved {
        /// The folder that it is in from now on; null at the root.
        parent_id: Option<Uuid>,
    },
    /// A file has other content.
    FileContentUpdated {
        /// The size in bytes.
        size: FileSize,
        /// The type.
        mime_type: MimeType,
        /// The digest, if one was given.
        digest: Option<Digest>,
    },
    /// A file was deleted, by itself or with a folder.
    FileDeleted {
        /// One id for all that went together.
        deletion: Uuid,
        /// The folder that took it along.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with_folder: Option<Uuid>,
        /// Whose deed it was, where somebody else's hand did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Uuid>,
    },
    /// A file came back, by itself or with a folder.
    FileRestored {
        /// The deletion that is undone.
        deletion: Uuid,
        /// The folder that brought it along.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with_folder: Option<Uuid>,
        /// Whose deed it was, where somebody else's hand did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Uuid>,
    },
    /// Somebody may do more with a file.
    FilePermissionGranted {
        /// Who.
        subject: Subject,
        /// What.
        permission: Permission,
    },
    /// Somebody may do less with a file.
    FilePermissionRevoked {
        /// Who.
        subject: Subject,
        /// What.
        permission: Permission,
    },
    /// A file has another owner.
    FileOwnershipTransferred {
        /// The owner from now on.
        owner_id: Uuid,
    },
}

/// A file, folded from its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// What it has in common with folders.
    #[serde(flatten)]
    pub item: Item,
    /// The size of its content in bytes.
    pub size: FileSize,
    /// The type of its content.
    pub mime_type: MimeType,
    /// The digest of its content, if one was given.
    pub digest: Option<Digest>,
    #[serde(skip)]
    root: Root<FileEvent>,
}

impl Entity for File {
    fn id(&self) -> Uuid {
        self.item.id
    }

    fn created_at(&self) -> Timestamp {
        self.item.audit.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.item.audit.updated_at
    }
}

impl AggregateRoot for File {
    type Event = FileEvent;
    const NAME: &'static str = "file";
    const DESCRIPTION: &'static str =
        "A file: its name, its place, who may do what with it, what is known of its content.";

    fn new(id: Uuid) -> Self {
        Self {
            item: Item::new(id, ItemKind::File),
            size: FileSize::default(),
            mime_type: MimeType::default(),
            digest: None,
            root: Root::default(),
        }
    }

    fn root(&self) -> &Root<FileEvent> {
        &self.root
    }

    fn root_mut(&mut self) -> &mut Root<FileEvent> {
        &mut self.root
    }

    fn apply(&mut self, event: &EventEnvelope<FileEvent>) {
        let (item, at) = (&mut self.item, event.occurred_at);
        let mut actor = event.actor;
        match &event.event {
            FileEvent::FileCreated { name, parent_id, owner_id, size, mime_type } => {
                item.created(name, *parent_id, *owner_id, at);
                self.size = *size;
                self.mime_type = mime_type.clone();
                self.digest = None;
                actor = *owner_id;
            }
            FileEvent::FileRenamed { name } => item.name = name.clone(),
            FileEvent::FileMoved { parent_id } => item.parent_id = *parent_id,
            FileEvent::FileContentUpdated { size, mime_type, digest } => {
                self.size = *size;
                self.mime_type = mime_type.clone();
                self.digest = digest.clone();
            }
            FileEvent::FileDeleted { deletion, with_folder, by } => {
                item.deleted(Deletion { id: *deletion, with_folder: *with_folder }, at);
                actor = by.unwrap_or(actor);
            }
            FileEvent::FileRestored { by, .. } => {
                item.restored();
                actor = by.unwrap_or(actor);
            }
            FileEvent::FilePermissionGranted { subject, permission } => {
                item.grant_permission(subject.clone(), *permission);
            }
            FileEvent::FilePermissionRevoked { subject, permission } => {
                item.revoke_permission(subject, *permission)
            }
            FileEvent::FileOwnershipTransferred { owner_id } => item.owner_id = *owner_id,
        }
        self.item.touch(actor, at);
    }

    fn access(&self) -> Option<Access> {
        Some(self.item.access(true))
    }

    fn claims(&self) -> Vec<String> {
        self.item.claims()
    }
}
