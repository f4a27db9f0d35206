//! A log on its way from one store to another, as lines of JSON: what HTTP and the command line have in common.
//!
//! Whoever takes lines in goes over them twice: all of them are checked before the first one is imported.

mod incoming;
mod lines;
mod outgoing;

pub use incoming::{Refusal, bring_in, check, put_aside};
pub use outgoing::{Error, Outgoing, Page};
