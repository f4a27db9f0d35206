//! The words of Cairn as values: streams, events, the hash chain, principals, access rules, what a plugin
//! declares, what a guest answers. No I/O and no async, so that every rule here can be tested as a function.
//!
//! `store`, `bus`, `wasm` and `server` all speak in these types; foreign representations (WIT, rows, JSON
//! of the API) are converted once, at the edge where they come in.

pub mod access;
pub mod basis;
pub mod chain;
pub mod clock;
pub mod event;
pub mod ids;
pub mod line;
pub mod manifest;
pub mod principal;
pub mod row;
pub mod stream;

pub use access::{Access, AccessEntry, Permission, Permissions, Subject};
pub use basis::{Lineage, Read};
pub use clock::{Clock, Timestamp};
pub use event::{Metadata, NewEvent, RecordedEvent};
pub use principal::Principal;
pub use row::{Call, Change, Value};
pub use stream::{Name, Position, StreamKey, StreamRef, Version};
