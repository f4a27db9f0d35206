//! How events are addressed: a tenant's aggregate of some type with some id is a stream; an event has a version
//! in its stream and a position in the log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A short name from a small vocabulary (tenant, aggregate type, event type): cheap to clone and share.
pub type Name = Arc<str>;

/// An event's place in its stream: 1, 2, 3, …; 0 is a stream without events.
pub type Version = u64;

/// An event's place in the log: 1, 2, 3, …, in the order of commits and without gaps; 0 is before the first.
pub type Position = u64;

/// A stream inside a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamRef {
    /// The aggregate type: `file`.
    pub aggregate: Name,
    /// The aggregate's id.
    pub id: Uuid,
}

impl StreamRef {
    /// The stream of the aggregate of this type with this id.
    pub fn new(aggregate: impl Into<Name>, id: Uuid) -> Self {
        Self { aggregate: aggregate.into(), id }
    }

    /// The same stream, seen from outside of the tenant.
    pub fn of(&self, tenant: &Name) -> StreamKey {
        StreamKey { tenant: tenant.clone(), aggregate: self.aggregate.clone(), id: self.id }
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.aggregate, self.id)
    }
}

/// A stream in the whole log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The tenant.
    pub tenant: Name,
    /// The aggregate type: `file`.
    pub aggregate: Name,
    /// The aggregate's id.
    pub id: Uuid,
}

impl StreamKey {
    /// The stream of that tenant's aggregate.
    pub fn new(tenant: impl Into<Name>, aggregate: impl Into<Name>, id: Uuid) -> Self {
        Self { tenant: tenant.into(), aggregate: aggregate.into(), id }
    }

    /// The stream as its own tenant calls it.
    pub fn local(&self) -> StreamRef {
        StreamRef { aggregate: self.aggregate.clone(), id: self.id }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.tenant, self.aggregate, self.id)
    }
}

/// Reads an id as the API takes it: a UUID in lowercase with hyphens, nothing else.
///
/// ```
/// use cairn_model::stream::parse_id;
/// assert!(parse_id("0190e3a1-7c1e-7cc0-8000-000000000001").is_some());
/// assert!(parse_id("0190E3A1-7C1E-7CC0-8000-000000000001").is_none());
/// assert!(parse_id("0190e3a17c1e7cc08000000000000001").is_none());
/// ```
pub fn parse_id(text: &str) -> Option<Uuid> {
    let canonical = text.len() == 36
        && text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if canonical { Uuid::try_parse(text).ok() } else { None }
}
