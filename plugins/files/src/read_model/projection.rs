//! How events change the tables.

use cairn_sdk::prelude::*;

use super::sql::{
    self, CONTENT, DELETION, INHERITANCE, MOVE, OWNER, RENAME, TOUCH, TREE_INSERT, TREE_LINK, TREE_UNLINK,
};
use super::tables::{FILE_PERMISSIONS, FILE_VIEWS, FOLDER_TREE};
use crate::domain::{File, FileEvent, Folder, FolderEvent, ItemKind, ItemName};

/// The read model of files and folders.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Projection for Files {
    const NAME: &'static str = "files";
    const VERSION: u32 = 2;
    const TABLES: &'static [Table] = &[FILE_VIEWS, FOLDER_TREE, FILE_PERMISSIONS];
    const STATEMENTS: &'static [Statement] = sql::STATEMENTS;
    // A new item's rows in the tree are made from its parent's.
    const CROSSES_STREAMS: bool = true;

    fn events() -> Vec<&'static str> {
        let types = FileEvent::types().into_iter().chain(FolderEvent::types());
        types.map(|event| event.name).collect()
    }

    fn project(event: &RecordedEvent, changes: &mut Changes) -> Result<(), Fault> {
        match event.stream.aggregate.as_ref() {
            File::NAME => file(&event.decode()?, changes),
            Folder::NAME => folder(&event.decode()?, changes),
            // Another plugin's event that happens to have the same name.
            _ => {}
        }
        Ok(())
    }
}

/// Writes the changes of one event of an item.
struct Writer<'a> {
    kind: ItemKind,
    id: Uuid,
    version: u64,
    position: u64,
    at: Timestamp,
    by: Uuid,
    changes: &'a mut Changes,
}

/// What is known of a new item.
struct NewItem<'a> {
    name: &'a ItemName,
    parent_id: Option<Uuid>,
    owner_id: Uuid,
    /// Size and MIME type of a file.
    content: Option<(u64, &'a str)>,
}

impl<'a> Writer<'a> {
    fn new<E>(kind: ItemKind, event: &EventEnvelope<E>, changes: &'a mut Changes) -> Self {
        Self {
            kind,
            id: event.stream.id,
            version: event.version,
            position: event.position,
            at: event.occurred_at,
            by: event.actor,
            changes,
        }
    }

    /// Changes columns of the item's row.
    fn update<const N: usize>(&mut self, statement: &Statement, values: [Value; N]) {
        let common = [self.id.into(), self.version.into(), self.at.into(), self.by.into()];
        self.changes.run_with(statement, common.into_iter().chain(values).collect());
    }

    fn created(&mut self, new: NewItem<'_>) {
        let (size, mime_type) = new.content.unzip();
        self.changes.put(
            &FILE_VIEWS,
            [
                self.id.into(),
                self.kind.name().into(),
                new.name.as_str().into(),
                new.name.sort_key().into(),
                new.parent_id.into(),
                new.owner_id.into(),
                size.into(),
                mime_type.into(),
                Value::Null,
                true.into(),
                self.version.into(),
                false.into(),
                Value::Null,
                Value::Null,
                Value::Null,
                self.at.into(),
                self.at.into(),
                new.owner_id.into(),
                new.owner_id.into(),
            ],
        );
        self.placed(new.parent_id);
    }

    /// Gives a new item its place in the tree. If this is not its first event, as can be of those from elsewhere, it may
    /// have a place already, and others may have a place below it.
    fn placed(&mut self, parent_id: Option<Uuid>) {
        let is_first = self.version == 1;
        if !is_first {
            self.changes.run(&TREE_UNLINK, [self.id.into()]);
        }
        let parent = parent_id.filter(|_| is_first);
        self.changes.run(&TREE_INSERT, [self.id.into(), parent.into(), self.position.into()]);
        if let Some(parent_id) = parent_id.filter(|_| !is_first) {
            self.changes.run(&TREE_LINK, [self.id.into(), parent_id.into()]);
        }
    }

    fn renamed(&mut self, name: &ItemName) {
        self.update(&RENAME, [name.as_str().into(), name.sort_key().into()]);
    }

    fn moved(&mut self, parent_id: Option<Uuid>) {
        self.update(&MOVE, [parent_id.into()]);
        self.changes.run(&TREE_UNLINK, [self.id.into()]);
        if let Some(parent_id) = parent_id {
            self.changes.run(&TREE_LINK, [self.id.into(), parent_id.into()]);
        }
    }

    fn deleted(&mut self, deletion: Uuid, with_folder: Option<Uuid>, by: Option<Uuid>) {
        self.by = by.unwrap_or(self.by);
        self.update(&DELETION, [true.into(), self.at.into(), deletion.into(), with_folder.into()]);
    }

    fn restored(&mut self, by: Option<Uuid>) {
        self.by = by.unwrap_or(self.by);
        self.update(&DELETION, [false.into(), Value::Null, Value::Null, Value::Null]);
    }

    fn continued(&mut self, by: Option<Uuid>) {
        self.by = by.unwrap_or(self.by);
        self.update(&TOUCH, []);
    }

    fn granted(&mut self, subject: &Subject, permission: Permission) {
        self.changes.put(
            &FILE_PERMISSIONS,
            [
                self.id.into(),
                self.kind.name().into(),
                subject.kind().into(),
                subject.name().into(),
                permission.name().into(),
                self.at.into(),
                self.by.into(),
            ],
        );
        self.update(&TOUCH, []);
    }

    fn revoked(&mut self, subject: &Subject, permission: Permission) {
        let key = [self.id.into(), subject.kind().into(), subject.name().into(), permission.name().into()];
        self.changes.remove(&FILE_PERMISSIONS, key);
        self.update(&TOUCH, []);
    }
}

fn file(event: &EventEnvelope<FileEvent>, changes: &mut Changes) {
    let mut item = Writer::new(ItemKind::File, event, changes);
    match &event.event {
        FileEvent::FileCreated { name, parent_id, owner_id, size, mime_type } => item.created(NewItem {
            name,
            parent_id: *parent_id,
            owner_id: *owner_id,
            content: Some((size.0, mime_type.as_str())),
        }),
        FileEvent::FileRenamed { name } => item.renamed(name),
        FileEvent::FileMoved { parent_id } => item.moved(*parent_id),
        FileEvent::FileContentUpdated { size, mime_type, digest } => {
            let digest = digest.as_ref().map(|digest| digest.as_str());
            item.update(&CONTENT, [size.0.into(), mime_type.as_str().into(), digest.into()]);
        }
        FileEvent::FileDeleted { deletion, with_folder, by } => item.deleted(*deletion, *with_folder, *by),
        FileEvent::FileRestored { by, .. } => item.restored(*by),
        FileEvent::FilePermissionGranted { subject, permission } => item.granted(subject, *permission),
        FileEvent::FilePermissionRevoked { subject, permission } => item.revoked(subject, *permission),
        FileEvent::FileOwnershipTransferred { owner_id } => item.update(&OWNER, [(*owner_id).into()]),
    }
}

fn folder(event: &EventEnvelope<FolderEvent>, changes: &mut Changes) {
    let mut item = Writer::new(ItemKind::Folder, event, changes);
    match &event.event {
        FolderEvent::FolderCreated { name, parent_id, owner_id } => {
            item.created(NewItem { name, parent_id: *parent_id, owner_id: *owner_id, content: None });
        }
        FolderEvent::FolderRenamed { name } => item.renamed(name),
        FolderEvent::FolderMoved { parent_id } => item.moved(*parent_id),
        FolderEvent::FolderInheritanceSet { inherit } => item.update(&INHERITANCE, [(*inherit).into()]),
        FolderEvent::FolderDeleted { deletion, with_folder, by } => {
            item.deleted(*deletion, *with_folder, *by)
        }
        FolderEvent::FolderRestored { by, .. } => item.restored(*by),
        FolderEvent::FolderCascadeContinued { by, .. } => item.continued(*by),
        FolderEvent::FolderPermissionGranted { subject, permission } => item.granted(subject, *permission),
        FolderEvent::FolderPermissionRevoked { subject, permission } => item.revoked(subject, *permission),
        FolderEvent::FolderOwnershipTransferred { owner_id } => item.update(&OWNER, [(*owner_id).into()]),
    }
}
