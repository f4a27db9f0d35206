//! Events: as a decision makes them, as the log keeps them.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::stream::{Name, Position, StreamKey, StreamRef, Version};

/// An event that was decided and is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The event type: `FileCreated`.
    pub event_type: Name,
    /// The version of the data's schema: 1, 2, ….
    pub schema_version: u32,
    /// JSON, kept as these very bytes.
    pub data: String,
}

/// What is known about an event besides its data. Its JSON is stored as text and hashed as these bytes; fields
/// may be added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The principal that caused the event.
    pub actor: Uuid,
    /// The principal in whose name it acted, if another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Uuid>,
    /// The tenant.
    pub tenant: Name,
    /// The command that decided it.
    pub command_id: Uuid,
    /// One for everything that follows from one request.
    pub correlation_id: String,
    /// What directly led to the command: for a policy's command the event's position, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// How many policies stand between the first request and this command.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub causation_depth: u32,
    /// The W3C trace id of the request, 32 hexadecimal digits.
    pub trace_id: String,
    /// SHA-256 of the component that decided, in hexadecimal; empty for the host's own events.
    pub digest: String,
    /// Which activation of components decided: 1, 2, ….
    pub generation: u64,
    /// The log it was written to.
    pub log_id: Uuid,
    /// The time that the decision saw as its present.
    pub occurred_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An event in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamKey,
    /// Its place in the stream.
    pub version: Version,
    /// The event type.
    pub event_type: Name,
    /// The version of the data's schema.
    pub schema_version: u32,
    /// JSON, exactly as it was hashed.
    pub data: String,
    /// JSON of [`Metadata`], exactly as it was hashed.
    pub metadata: String,
    /// When it was appended; never decreases along the log.
    pub recorded_at: Timestamp,
    /// Its link in the hash chain.
    pub hash: crate::chain::Hash,
}

impl RecordedEvent {
    /// The metadata, read.
    ///
    /// # Errors
    /// When the text is not metadata, which only a damaged log can cause.
    pub fn read_metadata(&self) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(&self.metadata)
    }

    /// The stream inside its tenant.
    pub fn local_stream(&self) -> StreamRef {
        self.stream.local()
    }
}

/// The form that the API gives: `{position, aggregate, id, version, type, schema_version, data, metadata,
/// recorded_at, hash}`.
impl Serialize for RecordedEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(serde::ser::Error::custom);
        let mut event = serializer.serialize_struct("event", 10)?;
        event.serialize_field("position", &self.position)?;
        event.serialize_field("aggregate", &self.stream.aggregate)?;
        event.serialize_field("id", &self.stream.id)?;
        event.serialize_field("version", &self.version)?;
        event.serialize_field("type", &self.event_type)?;
        event.serialize_field("schema_version", &self.schema_version)?;
        event.serialize_field("data", &raw(&self.data)?)?;
        event.serialize_field("metadata", &raw(&self.metadata)?)?;
        event.serialize_field("recorded_at", &self.recorded_at)?;
        event.serialize_field("hash", &self.hash)?;
        event.end()
    }
}
