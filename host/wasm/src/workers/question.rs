//! What is put to a guest, in the contract's form: a command with its context and answers, and the events to apply.

use cairn_model::{NewEvent, Timestamp, Version};
use wasmtime::component::ResourceAny;

use super::slot::Answered;
use crate::bindings::cairn::plugin::types;
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::convert::{self, ContextParts, IdText};
use crate::fault::Fault;
use crate::guest::Guest;
use crate::work::CommandCall;

/// The question to a guest, in a form that can be asked twice.
pub(super) struct Question<'a> {
    pub call: &'a CommandCall,
    pub context: ContextParts<'a>,
    pub answers: &'a [Answered],
}

impl Question<'_> {
    pub fn ask(&self, guest: &mut Guest, handle: ResourceAny) -> Result<aggregates::Outcome, Fault> {
        let chains: Vec<Vec<types::StreamRefParam<'_>>> = self
            .answers
            .iter()
            .map(|answer| match answer {
                Answered::Aggregate { .. } => Vec::new(),
                Answered::Ancestors(chain) => chain
                    .iter()
                    .map(|(aggregate, id)| types::StreamRefParam { aggregate, id: id.as_str() })
                    .collect(),
            })
            .collect();
        let answers: Vec<aggregates::Answer<'_>> = self
            .answers
            .iter()
            .zip(&chains)
            .map(|(answer, chain)| match answer {
                Answered::Aggregate { aggregate, id, version, state, permissions } => {
                    aggregates::Answer::Aggregate(aggregates::Loaded {
                        stream: types::StreamRefParam { aggregate, id: id.as_str() },
                        version: *version,
                        state: state.as_deref(),
                        permissions: convert::permissions(*permissions),
                    })
                }
                Answered::Ancestors(_) => aggregates::Answer::Ancestors(chain),
            })
            .collect();
        guest.handle(handle, self.context.guest(), &self.call.command, &self.call.payload, &answers)
    }
}

/// Events that were just decided, as the guest applies them.
pub(super) fn guest_events<'a>(
    aggregate: &'a str,
    id: &'a IdText,
    before: Version,
    events: &'a [NewEvent],
    now: Timestamp,
    actor: &'a IdText,
) -> Vec<types::Event<'a>> {
    let event = |(version, event): (Version, &'a NewEvent)| types::Event {
        position: 0,
        aggregate,
        id: id.as_str(),
        version,
        type_: &event.event_type,
        schema_version: event.schema_version,
        data: event.data.as_bytes(),
        occurred_at: now.micros(),
        actor: actor.as_str(),
    };
    (before + 1..).zip(events).map(event).collect()
}

/// Whether two answers to one question are the same.
pub(super) fn are_equal(one: &aggregates::Accepted, other: &aggregates::Accepted) -> bool {
    let same = |(one, other): (&types::NewEvent, &types::NewEvent)| {
        one.type_ == other.type_ && one.schema_version == other.schema_version && one.data == other.data
    };
    one.result == other.result
        && one.events.len() == other.events.len()
        && one.events.iter().zip(&other.events).all(same)
}
