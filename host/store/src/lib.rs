//! The event log of Cairn on SQLite or PostgreSQL, and the read models beside it. The only crate that knows SQL and sqlx.
//!
//! [`Store`] is the log: a sequencer appends in batches, one transaction and one fsync for all commands that wait;
//! what may be appended is decided by `plan`, a pure function over the facts that the backend fetched.
//! [`ReadModel`] is one projection's tables, with its position beside them.
//!
//! It knows nothing of components, HTTP or the bus.

mod append;
mod backend;
mod error;
mod facts;
mod folder;
mod heads;
mod import;
mod instances;
mod keys;
mod lease;
mod log;
mod options;
mod plan;
mod policies;
mod postgres;
mod published;
pub mod read_model;
mod sequencer;
mod snapshots;
mod sqlite;
mod store;
mod turns;
mod verify;
mod written;

pub use append::{Answer, Append, ClaimChanges, Committed, Current, Idempotency, Outcome, Stale};
pub use error::{DatabaseError, Error};
pub use facts::Facts;
pub use folder::LOG_FILE;
pub use import::{ImportError, Imported};
pub use instances::{Instances, Switch};
pub use keys::StoredKey;
pub use lease::Fence;
pub use log::LogFilter;
pub use options::{Options, PostgresOptions};
pub use policies::{OutboxEntry, OutboxKey, Reaction, ReactionCommand};
pub use read_model::{
    ApplyError, Batch, DeadLetter, LetterFilter, LetterGroup, LogEnd, ManifestError, ReadError, ReadModel,
    Session, Standing, check_projection,
};
pub use snapshots::NewSnapshot;
pub use store::Store;
pub use verify::Verification;
