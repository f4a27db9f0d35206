//! What files and folders have in common, and how events change it.

use std::borrow::Cow;

use cairn_sdk::domain::merge_entries;
use cairn_sdk::prelude::*;

use super::folder::Folder;
use super::name::ItemName;

/// Files and folders by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ItemKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

impl ItemKind {
    /// The aggregate's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
        }
    }
}

/// The deletion that an item went with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deletion {
    /// One id for all that went together: the id of the command that began it.
    pub id: Uuid,
    /// The folder whose deletion took the item along; null where the item itself was deleted.
    pub with_folder: Option<Uuid>,
}

/// What files and folders have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    /// Its id.
    pub id: Uuid,
    /// Whether it is a file or a folder.
    pub kind: ItemKind,
    /// Its name.
    pub name: ItemName,
    /// The folder that it is in; null at the root.
    pub parent_id: Option<Uuid>,
    /// Its owner, who may do everything with it.
    pub owner_id: Uuid,
    /// Who made it, who last changed it, when.
    #[serde(flatten)]
    pub audit: AuditFields,
    /// Whether it is deleted.
    #[serde(flatten)]
    pub soft_delete: SoftDeleteFields,
    /// What it was deleted with; null while it lives.
    pub deletion: Option<Deletion>,
    /// The grants on it, in the order in which they were given.
    pub acl: Vec<AccessControlEntry>,
}

impl Item {
    /// An item before its first event.
    pub fn new(id: Uuid, kind: ItemKind) -> Self {
        Self {
            id,
            kind,
            name: ItemName::default(),
            parent_id: None,
            owner_id: Uuid::nil(),
            audit: AuditFields::default(),
            soft_delete: SoftDeleteFields::default(),
            deletion: None,
            acl: Vec::new(),
        }
    }

    /// Its stream.
    pub fn stream(&self) -> StreamRef {
        StreamRef { aggregate: Cow::Borrowed(self.kind.name()), id: self.id }
    }

    /// Folds its making: the maker owns it, and it lives. That it is the first event is a rule of commands; events from
    /// elsewhere may make a thing again.
    pub(super) fn created(
        &mut self,
        name: &ItemName,
        parent_id: Option<Uuid>,
        owner_id: Uuid,
        at: Timestamp,
    ) {
        self.name = name.clone();
        self.parent_id = parent_id;
        self.owner_id = owner_id;
        self.audit = AuditFields::created(owner_id, at);
        self.restored();
    }

    /// Folds its deletion.
    pub(super) fn deleted(&mut self, deletion: Deletion, at: Timestamp) {
        self.mark_as_deleted(at);
        self.deletion = Some(deletion);
    }

    /// Folds its return.
    pub(super) fn restored(&mut self) {
        self.restore();
        self.deletion = None;
    }

    /// Who may do what with it, given whether it takes grants from the folder above.
    pub(super) fn access(&self, inherits: bool) -> Access {
        Access {
            owner: Some(self.owner_id),
            parent: self.parent_id.map(StreamRef::of::<Folder>),
            inherits,
            entries: merge_entries(&self.acl),
        }
    }

    /// The claim on its id, for good: a file and a folder are never of one id. And the claim on its name among its
    /// siblings. One that was deleted by itself gives its name free; what a folder's deletion took along keeps its name, so
    /// that it can always come back with the folder.
    pub(super) fn claims(&self) -> Vec<String> {
        let mut claims = vec![format!("item/{}", self.id)];
        if self.deletion.is_none_or(|deletion| deletion.with_folder.is_some()) {
            let (place, id) = match self.parent_id {
                Some(parent) => ("folder", parent),
                None => ("owner", self.owner_id),
            };
            claims.push(format!("{place}/{id}/name/{}", self.name.normalized()));
        }
        claims
    }
}

impl Auditable for Item {
    fn audit(&self) -> &AuditFields {
        &self.audit
    }

    fn audit_mut(&mut self) -> &mut AuditFields {
        &mut self.audit
    }
}

impl SoftDeletable for Item {
    fn soft_delete(&self) -> &SoftDeleteFields {
        &self.soft_delete
    }

    fn soft_delete_mut(&mut self) -> &mut SoftDeleteFields {
        &mut self.soft_delete
    }
}

impl Securable for Item {
    fn get_acl(&self) -> &[AccessControlEntry] {
        &self.acl
    }

    fn set_acl(&mut self, acl: Vec<AccessControlEntry>) {
        self.acl = acl;
    }
}
