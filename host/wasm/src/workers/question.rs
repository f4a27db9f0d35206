//! What is put to a guest, in the contract's form: a command with its context and answers, and events to apply.

use cairn_model::manifest::Aggregate;
use cairn_model::{NewEvent, StreamKey, Timestamp, Version};
use uuid::Uuid;
use wasmtime::component::ResourceAny;

use super::slot::Answered;
use crate::bindings::cairn::plugin::types;
use crate::bindings::exports::cairn::plugin::aggregates;
use crate::component::Component;
use crate::convert::{self, ContextParts};
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
                Answered::Ancestors(chain) => {
                    chain.iter().map(|link| convert::stream_param(&link.aggregate, link.id)).collect()
                }
            })
            .collect();
        let answers: Vec<aggregates::Answer<'_>> = self
            .answers
            .iter()
            .zip(&chains)
            .map(|(answer, chain)| match answer {
                Answered::Aggregate { stream, version, state, permissions } => {
                    aggregates::Answer::Aggregate(aggregates::Loaded {
                        stream: convert::stream_param(&stream.aggregate, stream.id),
                        version: *version,
                        state: state.as_deref(),
                        permissions: convert::permissions(*permissions),
                    })
                }
                Answered::Ancestors(_) => aggregates::Answer::Ancestors(chain),
            })
            .collect();
        guest.decide(handle, self.context.guest(), &self.call.command, &self.call.payload, &answers)
    }
}

/// What the component says of a stream's aggregate type.
pub(super) fn aggregate_of<'a>(component: &'a Component, stream: &StreamKey) -> Result<&'a Aggregate, Fault> {
    let known = component.manifest().aggregate(&stream.aggregate);
    known.ok_or_else(|| Fault::bad_output(format!("the component has no aggregate `{}`", stream.aggregate)))
}

/// Events that are not committed, as a guest applies them.
pub(super) fn guest_events<'a>(
    stream: &'a StreamKey,
    before: Version,
    events: &'a [NewEvent],
    now: Timestamp,
    actor: Uuid,
) -> Vec<types::Event<'a>> {
    let event = |(version, event): (Version, &'a NewEvent)| types::Event {
        position: 0,
        aggregate: &stream.aggregate,
        id: convert::uuid(stream.id),
        version,
        type_: &event.event_type,
        schema_version: event.schema_version,
        data: event.data.as_bytes(),
        occurred_at: now.micros(),
        actor: convert::uuid(actor),
    };
    (before + 1..).zip(events).map(event).collect()
}
