//! The event log of Cairn on SQLite, and the read models beside it. The only crate that knows SQL and sqlx.
//!
//! [`Store`] is the log: a sequencer appends in batches, one transaction and one fsync for all commands that wait;
//! what may be appended is decided by `plan`, a pure function over the facts that the backend fetched.
//! [`ReadModel`] is one projection's tables, with its position in the same file.
//!
//! It knows nothing of components, HTTP or the bus.

mod append;
mod error;
mod folder;
mod heads;
mod options;
mod plan;
pub mod read_model;
mod sequencer;
mod sqlite;
mod store;

pub use append::{Answer, Append, ClaimChanges, Committed, Current, Idempotency, Outcome, Stale};
pub use error::{DatabaseError, Error};
pub use options::Options;
pub use read_model::{ApplyError, ManifestError, ReadError, ReadModel, Session, check_projection};
pub use sqlite::access::Facts;
pub use sqlite::keys::StoredKey;
pub use sqlite::log::LogFilter;
pub use sqlite::policies::{OutboxEntry, OutboxKey, Reaction, ReactionCommand};
pub use sqlite::snapshots::NewSnapshot;
pub use sqlite::verify::Verification;
pub use store::Store;
