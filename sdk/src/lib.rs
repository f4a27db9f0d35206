//! What an author of a Cairn plugin uses.
//!
//! A plugin is domain code: aggregates with their commands and events, read models with their queries, policies. It
//! imports nothing, has no clock and no randomness of its own, and every function in it is pure: the host calls it with
//! values and gets values back, and may repeat any call. [`plugin!`] makes a component of it; nothing else in a plugin
//! knows of WebAssembly, and `cargo test` runs all of it natively with the test kit in [`testing`].
//!
//! One thing to keep in mind: **do not iterate over a `HashMap` or `HashSet`** where the order can reach an event, an
//! answer or a row change. Natively their order is random; on `wasm32-unknown-unknown` the standard library has no
//! random source and every map has the same seed, so the order is fixed there, but it may change with a compiler.
//! `BTreeMap` and `BTreeSet` have an order of their own. A plugin's `clippy.toml` can forbid the others:
//!
//! ```toml
//! disallowed-types = ["std::collections::HashMap", "std::collections::HashSet"]
//! ```

#[doc(hidden)]
pub mod bindings;
pub mod cqrs;
pub mod domain;
pub mod events;
pub mod plugin;
pub mod shared;
pub mod testing;

// The derives name this crate as plugins do.
extern crate self as cairn_sdk;

/// Everything that a domain module usually needs.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};

    pub use crate::cqrs::{
        Change, Changes, Column, Command, CommandHandler, Db, Decision, Handled, Index, NoProjection,
        OnFailure, Policy, Projection, Query, QueryHandler, Reaction, Repository, Statement, Table, Validate,
    };
    pub use crate::domain::{
        Access, AccessControlEntry, AggregateRoot, AuditFields, Auditable, Entity, Permission, Permissions,
        Root, Securable, SoftDeletable, SoftDeleteFields, Subject,
    };
    pub use crate::events::{DomainEvent, EventEnvelope, PastEvent, RecordedEvent, Snapshot, Upcaster};
    pub use crate::shared::{
        Context, Error, Fault, FieldError, Loaded, Rejection, RejectionKind, Result, Rows, StreamRef,
        Timestamp, Uuid, Value, nullable, nullable_schema,
    };
}

/// What the macros write into plugins' code. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use {schemars, serde, serde_json};
}
