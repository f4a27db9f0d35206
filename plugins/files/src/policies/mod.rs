//! What happens by itself.

mod folder_cascade;

pub use folder_cascade::FolderCascade;
