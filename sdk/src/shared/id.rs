//! How aggregates are named: by a type and an id.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::AggregateRoot;

/// The name of an aggregate inside its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StreamRef {
    /// The aggregate's type: `file`.
    pub aggregate: Cow<'static, str>,
    /// The aggregate's id.
    pub id: Uuid,
}

impl StreamRef {
    /// The aggregate of this type with this id.
    pub fn new(aggregate: impl Into<Cow<'static, str>>, id: Uuid) -> Self {
        Self { aggregate: aggregate.into(), id }
    }

    /// The aggregate of a type known at compile time.
    pub fn of<A: AggregateRoot>(id: Uuid) -> Self {
        Self { aggregate: Cow::Borrowed(A::NAME), id }
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.aggregate, self.id)
    }
}
