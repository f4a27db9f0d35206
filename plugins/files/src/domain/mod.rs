//! The domain: items (what files and folders share), their events, their commands, and the rules between them.

pub mod commands;
mod content;
mod file;
mod folder;
mod item;
mod name;
mod rules;

pub use content::{Digest, FileSize, MimeType};
pub use file::{File, FileEvent};
pub use folder::{Cascade, Folder, FolderEvent};
pub use item::{Deletion, Item, ItemKind};
pub use name::{ItemName, sort_key};
