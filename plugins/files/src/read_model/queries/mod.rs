//! The questions that the read model answers, a file for each family. A list shows only what the caller may read; what
//! the caller may not read and what does not exist are answered alike.

mod children;
mod item;
mod search;
mod sharing;
mod trash;
mod tree;

pub use children::FolderChildren;
pub use item::{Ancestors, GetFile, GetFolder};
pub use search::Search;
pub use sharing::{GetPermissions, GrantView, PermissionsView, SharedWithMe};
pub use trash::Trash;
pub use tree::FolderTree;
