//! What can be asked of files and folders.

mod file;
mod folder;

pub use file::*;
pub use folder::*;
