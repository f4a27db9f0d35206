//! Instances of read models: the one that queries read, the one that was read before, and what is built beside them.

use cairn_model::manifest::Projection;

/// What is known about the instances of a projection's read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instances {
    /// The instance that queries read.
    pub active: u64,
    /// The one that they read before, if it is kept.
    pub previous: Option<u64>,
    /// What the active one's tables are made of; compare it with [`Store::read_model_form`](crate::Store::read_model_form).
    pub form: String,
    /// The component that declares such tables, SHA-256 in hexadecimal.
    pub digest: String,
}

/// A move of queries from one instance to another.
#[derive(Clone, Copy, Debug)]
pub struct Switch<'a> {
    /// The projection, as the new instance has it.
    pub projection: &'a Projection,
    /// The active instance.
    pub from: u64,
    /// The one that takes its place.
    pub to: u64,
    /// What the new one's tables are made of.
    pub form: &'a str,
    /// The component that declares them.
    pub digest: &'a str,
}
