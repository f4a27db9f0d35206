//! Events with what the log knows about them.

use uuid::Uuid;

use super::event::DomainEvent;
use crate::shared::{Fault, StreamRef, Timestamp};

/// An event as a plugin's own type, with its place and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEnvelope<E> {
    /// Its place in the log; 0 while it is not committed.
    pub position: u64,
    /// The aggregate that it happened to.
    pub stream: StreamRef,
    /// Its place in the stream: 1, 2, ….
    pub version: u64,
    /// The time that the decision saw as its present.
    pub occurred_at: Timestamp,
    /// The principal that caused it.
    pub actor: Uuid,
    /// What happened.
    pub event: E,
}

/// An event as it stands in the log, its data still JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the log; 0 while it is not committed.
    pub position: u64,
    /// The aggregate that it happened to.
    pub stream: StreamRef,
    /// Its place in the stream: 1, 2, ….
    pub version: u64,
    /// Its type.
    pub event_type: String,
    /// The version of the data's schema.
    pub schema_version: u32,
    /// JSON.
    pub data: Vec<u8>,
    /// The time that the decision saw as its present.
    pub occurred_at: Timestamp,
    /// The principal that caused it.
    pub actor: Uuid,
}

impl RecordedEvent {
    /// The event as a plugin's own type.
    ///
    /// # Errors
    /// When it is none of `E`'s event types or its data does not fit.
    pub fn decode<E: DomainEvent>(&self) -> Result<EventEnvelope<E>, Fault> {
        let event = E::decode(&self.event_type, &self.data)
            .map_err(|fault| Fault(format!("event {} of {}: {fault}", self.version, self.stream)))?;
        Ok(EventEnvelope {
            position: self.position,
            stream: self.stream.clone(),
            version: self.version,
            occurred_at: self.occurred_at,
            actor: self.actor,
            event,
        })
    }
}

/// A state at a version, to be folded on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the last event in it.
    pub version: u64,
    /// JSON, in the form of the aggregate's `STATE_VERSION`.
    pub state: Vec<u8>,
}
