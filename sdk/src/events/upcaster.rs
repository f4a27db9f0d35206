//! Old events for present code: one step at a time, from a schema version to a later one.

use serde_json::Value as Json;

use crate::shared::Fault;

/// An event in a form of the past (or, after the last step, of the present).
#[derive(Debug, Clone, PartialEq)]
pub struct PastEvent {
    /// Its type.
    pub event_type: String,
    /// The version of the data's schema.
    pub schema_version: u32,
    /// The data.
    pub data: Json,
}

/// A step from one form of an event to the next. Steps are chained until every event has its present form.
pub trait Upcaster {
    /// The event type that it takes.
    const EVENT_TYPE: &'static str;
    /// The schema version that it takes.
    const SCHEMA_VERSION: u32;

    /// What the event is in a later form: one event, several, or none.
    ///
    /// # Errors
    /// When the data is not what this version should have.
    fn upcast(event: PastEvent) -> Result<Vec<PastEvent>, Fault>;
}
