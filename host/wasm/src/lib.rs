//! Components, their limits, and the aggregates that live in them: the only crate of Cairn that knows wasmtime.
//!
//! A guest is a pure function. It may import nothing but `log`, every call is synchronous and has a deadline, and a
//! fault costs no more than the instance that it happened in, since everything in an instance can be folded again from
//! the log.
//!
//! - [`Engine`] and [`Component`]: what is loaded, checked and compiled once.
//! - [`Component`]'s calls (`project`, `query`, `react`, `fold`, `upcast`): stateless, for threads that may block.
//! - [`Workers`]: threads that own resident aggregates and decide commands on them, ahead of the log.
//!
//! This crate reads and writes no log. What workers need from it they ask of a [`Host`], what they decide they give to
//! it, and what the log refuses comes back to be decided again.

mod work;
mod workers;

mod component;
mod engine;
mod fault;
mod limits;

mod calls;
mod deadline;
mod guest;
mod pool;

mod bindings;
mod cache;
mod convert;
mod inspect;
mod manifest;

pub use calls::{Folded, GuestContext, PolicyCommand, PolicyOutcome, QueryOutcome, Reacted, StreamFacts};
pub use component::{Component, LoadError};
pub use engine::{Engine, EngineError};
pub use fault::{Fault, FaultKind};
pub use limits::Limits;
pub use manifest::ManifestError;
pub use work::{
    Accepted, Base, Basis, CommandCall, Decided, Fetch, Fetched, Given, Host, Rejection, RejectionKind,
    SnapshotDraft, Task, Ticket, Verdict, Work,
};
pub use workers::Workers;
