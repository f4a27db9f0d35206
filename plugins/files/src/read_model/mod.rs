//! The read side: one projection, `files`, which owns all of the plugin's tables, and the queries that read them.

mod item;
mod projection;
pub mod queries;
pub mod sql;
pub mod tables;

pub use item::{ItemView, Page, read_kind};
pub use projection::Files;
