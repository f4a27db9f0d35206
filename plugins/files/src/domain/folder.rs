//! Folders: their events and how these fold.

use cairn_sdk::prelude::*;

use super::item::{Deletion, Item, ItemKind};
use super::name::ItemName;

/// What can happen to a folder.
#[derive(DomainEvent, Debug, Clone, PartialEq)]
pub enum FolderEvent {
    /// A folder was made; whoever made it owns it.
    FolderCreated {
        /// Its name.
        name: ItemName,
        /// The folder that it is in; null at the root.
        parent_id: Option<Uuid>,
        /// Its owner.
        owner_id: Uuid,
    },
    /// A folder got another name.
    FolderRenamed {
        /// The name from now on.
        name: ItemName,
    },
    /// A folder went to another folder, with all that is in it.
    FolderMoved {
        /// The folder that it is in from now on; null at the root.
        parent_id: Option<Uuid>,
    },
    /// A folder was cut off from the grants above it, or takes them again.
    FolderInheritanceSet {
        /// Whether it takes them.
        inherit: bool,
    },
    /// A folder was deleted, by itself or with a folder above it; what is in it follows.
    FolderDeleted {
        /// One id for all that goes together.
        deletion: Uuid,
        /// The folder that took it along.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with_folder: Option<Uuid>,
        /// Whose deed it was, where somebody else's hand did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Uuid>,
    },
    /// A folder came back, by itself or with a folder above it; what went with it follows.
    FolderRestored {
        /// The deletion that is undone.
        deletion: Uuid,
        /// The folder that brought it along.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with_folder: Option<Uuid>,
        /// Whose deed it was, where somebody else's hand did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Uuid>,
    },
    /// So much is in a folder that what follows its deletion or its return is seen to in parts; this is the next one.
    FolderCascadeContinued {
        /// Which of the two.
        cascade: Cascade,
        /// The deletion, the one that is undone where it is a return.
        deletion: Uuid,
        /// The folder that all this began with.
        with_folder: Uuid,
        /// The first of the things in the folder, by their ids, that are still to be seen to.
        from: Uuid,
        /// Whose deed it was, where somebody else's hand did it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Uuid>,
    },
    /// Somebody may do more with a folder and what is in it.
    FolderPermissionGranted {
        /// Who.
        subject: Subject,
        /// What.
        permission: Permission,
    },
    /// Somebody may do less with a folder and what is in it.
    FolderPermissionRevoked {
        /// Who.
        subject: Subject,
        /// What.
        permission: Permission,
    },
    /// A folder has another owner.
    FolderOwnershipTransferred {
        /// The owner from now on.
        owner_id: Uuid,
    },
}

/// What happens to a folder and then to what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Cascade {
    /// It is deleted.
    Deletion,
    /// It comes back.
    Return,
}

/// A folder, folded from its events. It does not know what is in it: each item names its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Folder {
    /// What it has in common with files.
    #[serde(flatten)]
    pub item: Item,
    /// Whether it takes the grants of the folder above.
    pub inherits: bool,
    #[serde(skip)]
    root: Root<FolderEvent>,
}

impl Entity for Folder {
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

impl AggregateRoot for Folder {
    type Event = FolderEvent;
    const NAME: &'static str = "folder";
    const DESCRIPTION: &'static str =
        "A folder: its name, its place, who may do what with it and with what is in it.";

    fn new(id: Uuid) -> Self {
        Self { item: Item::new(id, ItemKind::Folder), inherits: true, root: Root::default() }
    }

    fn root(&self) -> &Root<FolderEvent> {
        &self.root
    }

    fn root_mut(&mut self) -> &mut Root<FolderEvent> {
        &mut self.root
    }

    fn apply(&mut self, event: &EventEnvelope<FolderEvent>) {
        let (item, at) = (&mut self.item, event.occurred_at);
        let mut actor = event.actor;
        match &event.event {
            FolderEvent::FolderCreated { name, parent_id, owner_id } => {
                item.created(name, *parent_id, *owner_id, at);
                self.inherits = true;
                actor = *owner_id;
            }
            FolderEvent::FolderRenamed { name } => item.name = name.clone(),
            FolderEvent::FolderMoved { parent_id } => item.parent_id = *parent_id,
            FolderEvent::FolderInheritanceSet { inherit } => self.inherits = *inherit,
            FolderEvent::FolderDeleted { deletion, with_folder, by } => {
                item.deleted(Deletion { id: *deletion, with_folder: *with_folder }, at);
                actor = by.unwrap_or(actor);
            }
            FolderEvent::FolderRestored { by, .. } => {
                item.restored();
                actor = by.unwrap_or(actor);
            }
            FolderEvent::FolderCascadeContinued { by, .. } => actor = by.unwrap_or(actor),
            FolderEvent::FolderPermissionGranted { subject, permission } => {
                item.grant_permission(subject.clone(), *permission);
            }
            FolderEvent::FolderPermissionRevoked { subject, permission } => {
                item.revoke_permission(subject, *permission);
            }
            FolderEvent::FolderOwnershipTransferred { owner_id } => item.owner_id = *owner_id,
        }
        self.item.touch(actor, at);
    }

    fn access(&self) -> Option<Access> {
        Some(self.item.access(self.inherits))
    }

    fn claims(&self) -> Vec<String> {
        self.item.claims()
    }
}
