//! Domain events as a plugin's own types.

use schemars::Schema;

use crate::shared::Fault;

/// One of the things that can happen to an aggregate type. Derive it.
pub trait DomainEvent: Clone + Sized + 'static {
    /// The name in the log: `FileCreated`.
    fn event_type(&self) -> &'static str;

    /// The version of the data's schema that is written today.
    fn schema_version(&self) -> u32;

    /// The event as it goes into the log.
    ///
    /// # Errors
    /// When the data has no JSON form.
    fn encode(self) -> Result<EncodedEvent, Fault>;

    /// Reads the event of this type from its data, which is of the present schema version.
    ///
    /// # Errors
    /// When the type is none of this enum's or the data does not fit it.
    fn decode(event_type: &str, data: &[u8]) -> Result<Self, Fault>;

    /// All event types, for the manifest.
    fn types() -> Vec<EventType>;

    /// Whether this enum has the event type.
    fn has_type(event_type: &str) -> bool;
}

/// An event in the form of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    /// The event type.
    pub event_type: &'static str,
    /// The version of the data's schema.
    pub schema_version: u32,
    /// JSON.
    pub data: Vec<u8>,
}

/// What the manifest says of an event type.
#[derive(Debug, Clone)]
pub struct EventType {
    /// Its name.
    pub name: &'static str,
    /// What happened.
    pub description: &'static str,
    /// The version of the data's schema that is written today.
    pub schema_version: u32,
    /// JSON Schema of the data.
    pub schema: Schema,
}
