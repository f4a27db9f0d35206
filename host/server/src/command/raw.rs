//! Raw appends: events that were decided elsewhere, from another store or another system. No rule of the domain is
//! asked; the events have to match their schemas, and claims are checked as for any command.

use std::sync::Arc;

use bytes::Bytes;
use cairn_model::{NewEvent, Principal, StreamKey, Timestamp, Version, ids, line};
use cairn_store::Committed;
use cairn_wasm::{CommandCall, Given, Task};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bridge::Origin;
use super::{Commands, idempotency, no_aggregate, payload};
use crate::plugins::Plugin;
use crate::problem::{Code, Problem};

/// How many events one raw append takes.
const EVENTS_LIMIT: usize = 1_000;

/// A raw append as somebody sends it.
#[derive(Clone, Debug)]
pub struct RawAppend {
    /// Who sends it.
    pub principal: Arc<Principal>,
    /// The aggregate type.
    pub aggregate: String,
    /// The aggregate's id.
    pub id: Uuid,
    /// The version that the stream has to have (`If-Match`): 0 for one that does not exist.
    pub if_match: Option<Version>,
    /// JSON: `{expected_version?, occurred_at?, events: [{type, schema_version?, data}]}`.
    pub body: Bytes,
    /// The key under which the answer is kept.
    pub idempotency_key: Option<String>,
    /// The W3C trace id.
    pub trace_id: String,
}

/// What is to be appended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// The same as `If-Match`.
    expected_version: Option<Version>,
    /// When it happened; now where it is not said.
    occurred_at: Option<Timestamp>,
    /// What happened, in its order.
    events: Vec<RawEvent>,
}

/// An event of a raw append.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    /// The event type.
    #[serde(rename = "type")]
    event_type: String,
    /// The version of its schema; the present one where it is not said.
    schema_version: Option<u32>,
    /// Its data.
    data: Box<RawValue>,
}

impl Commands {
    /// Appends events that were decided elsewhere to one stream, all or none.
    ///
    /// # Errors
    /// `invalid-input` where an event is not one of the aggregate or does not match its schema, `version-mismatch`,
    /// `conflict` for a claim that another aggregate holds, and the problems of the store and of the guest.
    pub async fn append(&self, append: RawAppend) -> Result<Committed, Problem> {
        let generation = self.registry.current();
        let (plugin, aggregate) =
            generation.aggregate(&append.aggregate).ok_or_else(|| no_aggregate(&append.aggregate))?;
        payload::parse(&append.body)?;
        let body: Body = serde_json::from_slice(&append.body)
            .map_err(|error| Problem::invalid("", format!("the body is not a raw append: {error}")))?;
        let if_match = match (append.if_match, body.expected_version) {
            (Some(one), Some(other)) if one != other => {
                return Err(Problem::invalid("/expected_version", "differs from the header If-Match"));
            }
            (one, other) => one.or(other),
        };
        let now = self.clock.now();
        if body.occurred_at.is_some_and(|time| time > now) {
            return Err(Problem::invalid("/occurred_at", "lies in the future"));
        }
        let events = checked(plugin, aggregate, body.events)?;
        let _permit = self.permit()?;
        let id = append.id.to_string();
        let idempotency = append.idempotency_key.as_ref().map(|key| {
            let asked = ["streams", &append.aggregate, &id];
            idempotency(&append.principal, key, asked, append.if_match, &append.body)
        });
        let command_id = idempotency.as_ref().map_or_else(|| ids::new_id(now), |record| record.command_id);
        let call = CommandCall {
            command: "append".into(),
            payload: Bytes::new(),
            if_match,
            permission: None,
            creates: false,
            command_id,
            correlation_id: None,
            causation_id: None,
            on_behalf_of: None,
            given: Some(Given { events: events.into(), occurred_at: body.occurred_at }),
        };
        let tenant = append.principal.tenant.clone();
        let stream = StreamKey { tenant, aggregate: aggregate.clone(), id: append.id };
        let origin =
            Origin { trace_id: append.trace_id, depth: 0, generation: generation.number, idempotency };
        self.carry_out(stream, plugin.component.clone(), append.principal, Task::Command(call), origin).await
    }
}

/// The events, if each is one that the plugin itself could have written.
fn checked(plugin: &Plugin, aggregate: &str, events: Vec<RawEvent>) -> Result<Vec<NewEvent>, Problem> {
    if events.is_empty() || events.len() > EVENTS_LIMIT {
        let detail = format!("must have 1 to {EVENTS_LIMIT} events, has {}", events.len());
        return Err(Problem::invalid("/events", detail));
    }
    let check = |(index, event): (usize, RawEvent)| {
        let place = format!("/events/{index}");
        let (name, known) = plugin.event(aggregate, &event.event_type).ok_or_else(|| {
            let detail = format!("`{}` is no event of `{aggregate}`", event.event_type);
            Problem::invalid(format!("{place}/type"), detail)
        })?;
        let schema_version = event.schema_version.unwrap_or(known.schema_version);
        if schema_version != known.schema_version {
            let detail = format!("is {schema_version}, the active plugin writes {}", known.schema_version);
            return Err(Problem::invalid(format!("{place}/schema_version"), detail));
        }
        let value: serde_json::Value = serde_json::from_str(event.data.get())
            .map_err(|error| Problem::invalid(format!("{place}/data"), error.to_string()))?;
        let mut wrong = known.data.errors(&value).peekable();
        if wrong.peek().is_some() {
            let problem = Problem::new(Code::InvalidInput, format!("{place}/data does not match its schema"));
            return Err(wrong.fold(problem, |problem, (pointer, detail)| {
                problem.with_error(format!("{place}/data{pointer}"), detail)
            }));
        }
        drop(wrong);
        Ok(NewEvent { event_type: name.clone(), schema_version, data: line::compact(event.data.get()) })
    };
    events.into_iter().enumerate().map(check).collect()
}
