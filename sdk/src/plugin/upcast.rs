//! Chains the upcasters of a plugin until every event has its present form.

use super::Plugin;
use crate::events::{EventType, PastEvent, RecordedEvent, Upcaster};
use crate::shared::Fault;

/// More steps than this for one event mean that upcasters run in a circle.
const STEPS_LIMIT: usize = 1000;

/// An upcaster of a plugin.
#[derive(Debug)]
pub struct UpcasterEntry {
    event_type: &'static str,
    schema_version: u32,
    upcast: fn(PastEvent) -> Result<Vec<PastEvent>, Fault>,
}

impl UpcasterEntry {
    /// The entry of an upcaster.
    pub const fn of<U: Upcaster>() -> Self {
        Self { event_type: U::EVENT_TYPE, schema_version: U::SCHEMA_VERSION, upcast: U::upcast }
    }
}

/// What an event of the past is today.
pub(crate) fn upcast<P: Plugin>(
    present: &[EventType],
    event: &RecordedEvent,
) -> Result<Vec<PastEvent>, Fault> {
    let first = PastEvent {
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        data: serde_json::from_slice(&event.data)?,
    };
    let is_present = |event: &PastEvent| {
        present
            .iter()
            .any(|known| known.name == event.event_type && known.schema_version == event.schema_version)
    };
    // A stack with the next event on top: the order of what an event is split into is kept.
    let mut waiting = vec![first];
    let mut done = Vec::new();
    for _ in 0..STEPS_LIMIT {
        let Some(event) = waiting.pop() else {
            return Ok(done);
        };
        if is_present(&event) {
            done.push(event);
            continue;
        }
        let (name, version) = (event.event_type.as_str(), event.schema_version);
        let step = P::UPCASTERS
            .iter()
            .find(|entry| entry.event_type == name && entry.schema_version == version)
            .ok_or_else(|| Fault(format!("no upcaster takes `{name}` of schema version {version}")))?;
        let mut later = (step.upcast)(event)?;
        later.reverse();
        waiting.append(&mut later);
    }
    Err(Fault(format!("the upcasters of `{}` never come to an end", event.event_type)))
}
