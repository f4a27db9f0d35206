//! Words that the tests share.

use cairn_files::domain::{FileEvent, FileSize, FolderEvent, ItemName, MimeType};
use cairn_sdk::prelude::*;
use cairn_sdk::testing::{ID, user};

/// A folder.
pub const FOLDER: Uuid = Uuid::from_u128(0xf0);
/// Another folder.
pub const OTHER: Uuid = Uuid::from_u128(0xf1);
/// A deletion that is none of the scenario's own command.
pub const DELETION: Uuid = Uuid::from_u128(0xd0);

/// The claim on its own id of what a scenario is about.
pub fn own_id() -> String {
    format!("item/{ID}")
}

pub fn name(name: &str) -> ItemName {
    ItemName::from(name)
}

/// `user(1)` made a file.
pub fn file(text: &str, parent_id: Option<Uuid>) -> FileEvent {
    FileEvent::FileCreated {
        name: name(text),
        parent_id,
        owner_id: user(1),
        size: FileSize(3),
        mime_type: MimeType::from("text/plain"),
    }
}

/// `user(1)` made a folder.
pub fn folder(text: &str, parent_id: Option<Uuid>) -> FolderEvent {
    FolderEvent::FolderCreated { name: name(text), parent_id, owner_id: user(1) }
}

/// A file was deleted by itself.
pub fn file_deleted() -> FileEvent {
    FileEvent::FileDeleted { deletion: DELETION, with_folder: None, by: None }
}

/// A file went with a folder.
pub fn file_gone_with(folder: Uuid) -> FileEvent {
    FileEvent::FileDeleted { deletion: DELETION, with_folder: Some(folder), by: None }
}

/// A folder was deleted by itself.
pub fn folder_deleted(deletion: Uuid) -> FolderEvent {
    FolderEvent::FolderDeleted { deletion, with_folder: None, by: None }
}

/// A folder came back by itself.
pub fn folder_restored(deletion: Uuid) -> FolderEvent {
    FolderEvent::FolderRestored { deletion, with_folder: None, by: None }
}

/// A grant on a folder.
pub fn folder_granted(subject: Subject, permission: Permission) -> FolderEvent {
    FolderEvent::FolderPermissionGranted { subject, permission }
}

/// A grant on a file.
pub fn file_granted(subject: Subject, permission: Permission) -> FileEvent {
    FileEvent::FilePermissionGranted { subject, permission }
}
