//! The contract's types to the SDK's and back: the only place that knows both.

use uuid::Uuid;

use super::aggregate::HandleOutcome;
use crate::bindings::cairn::plugin::types as wit;
use crate::bindings::exports::cairn::plugin::{aggregates, policies, projections};
use crate::cqrs::{Change, PolicyCommand};
use crate::domain::{Access, Permission, Permissions, Subject};
use crate::events::{EncodedEvent, PastEvent, RecordedEvent};
use crate::shared::{
    Call, Context, ContextParts, Fault, LoadedState, Need, NeedAnswer, Principal, Rejection, RejectionKind,
    Rows, StreamRef, Timestamp, Value,
};

pub(super) fn id(id: wit::Uuid) -> Uuid {
    Uuid::from_u64_pair(id.high, id.low)
}

fn id_out(id: Uuid) -> wit::Uuid {
    let (high, low) = id.as_u64_pair();
    wit::Uuid { high, low }
}

pub(super) fn fault(fault: Fault) -> wit::Fault {
    wit::Fault { message: fault.0 }
}

fn stream(stream: wit::StreamRef) -> StreamRef {
    StreamRef { id: id(stream.id), aggregate: stream.aggregate.into() }
}

fn stream_out(stream: StreamRef) -> wit::StreamRef {
    wit::StreamRef { id: id_out(stream.id), aggregate: stream.aggregate.into_owned() }
}

pub(super) fn permissions(flags: wit::Permissions) -> Permissions {
    let pairs = [
        (wit::Permissions::READ, Permission::Read),
        (wit::Permissions::WRITE, Permission::Write),
        (wit::Permissions::DELETE, Permission::Delete),
        (wit::Permissions::SHARE, Permission::Share),
        (wit::Permissions::ADMIN, Permission::Admin),
    ];
    pairs.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, permission)| permission).collect()
}

pub(super) fn permissions_out(set: Permissions) -> wit::Permissions {
    set.iter().fold(wit::Permissions::empty(), |flags, permission| {
        flags
            | match permission {
                Permission::Read => wit::Permissions::READ,
                Permission::Write => wit::Permissions::WRITE,
                Permission::Delete => wit::Permissions::DELETE,
                Permission::Share => wit::Permissions::SHARE,
                Permission::Admin => wit::Permissions::ADMIN,
            }
    })
}

pub(super) fn event(event: wit::Event) -> RecordedEvent {
    RecordedEvent {
        position: event.position,
        stream: StreamRef { id: id(event.id), aggregate: event.aggregate.into() },
        version: event.version,
        event_type: event.type_,
        schema_version: event.schema_version,
        data: event.data,
        occurred_at: Timestamp::from_micros(event.occurred_at),
        actor: id(event.actor),
    }
}

pub(super) fn encoded(event: EncodedEvent) -> wit::NewEvent {
    wit::NewEvent {
        type_: event.event_type.to_owned(),
        schema_version: event.schema_version,
        data: event.data,
    }
}

pub(super) fn upcasted(event: PastEvent) -> Result<wit::NewEvent, Fault> {
    let data = serde_json::to_vec(&event.data)?;
    Ok(wit::NewEvent { type_: event.event_type, schema_version: event.schema_version, data })
}

pub(super) fn context(ctx: wit::Context, answers: Vec<NeedAnswer>) -> Context {
    let principal = Principal { id: id(ctx.principal.id), groups: ctx.principal.groups };
    let parts = ContextParts {
        now: Timestamp::from_micros(ctx.now),
        seed: ctx.seed,
        tenant: ctx.tenant,
        principal,
        on_behalf_of: ctx.on_behalf_of.map(id),
        permissions: permissions(ctx.permissions),
        command_id: id(ctx.command_id),
        correlation_id: ctx.correlation_id,
        causation_id: ctx.causation_id,
    };
    Context::new(parts, answers)
}

pub(super) fn answer(answer: aggregates::Answer) -> NeedAnswer {
    match answer {
        aggregates::Answer::Aggregate(loaded) => NeedAnswer::Aggregate(LoadedState {
            stream: stream(loaded.stream),
            version: loaded.version,
            state: loaded.state,
            permissions: permissions(loaded.permissions),
        }),
        aggregates::Answer::Ancestors(chain) => {
            NeedAnswer::Ancestors(chain.into_iter().map(stream).collect())
        }
    }
}

pub(super) fn need(need: Need) -> aggregates::Need {
    match need {
        Need::Aggregate(stream) => aggregates::Need::Aggregate(stream_out(stream)),
        Need::Ancestors(stream) => aggregates::Need::Ancestors(stream_out(stream)),
    }
}

pub(super) fn accepted(outcome: HandleOutcome, changes: aggregates::Changes) -> aggregates::Accepted {
    let events = outcome.events.into_iter().map(encoded).collect();
    aggregates::Accepted { events, result: outcome.result, changes }
}

pub(super) fn access(access: Access) -> aggregates::Access {
    let entries = access.entries.into_iter().map(|entry| aggregates::AccessEntry {
        subject: match entry.subject {
            Subject::User(id) => aggregates::Subject::User(id_out(id)),
            Subject::Group(name) => aggregates::Subject::Group(name),
            Subject::Everyone => aggregates::Subject::Everyone,
        },
        permissions: permissions_out(entry.permissions),
    });
    aggregates::Access {
        owner: access.owner.map(id_out),
        parent: access.parent.map(stream_out),
        inherits: access.inherits,
        entries: entries.collect(),
    }
}

pub(super) fn rejection(rejection: Rejection) -> wit::Rejection {
    let errors = rejection.errors.into_iter();
    wit::Rejection {
        kind: match rejection.kind {
            RejectionKind::Invalid => wit::RejectionKind::Invalid,
            RejectionKind::Forbidden => wit::RejectionKind::Forbidden,
            RejectionKind::NotFound => wit::RejectionKind::NotFound,
            RejectionKind::Conflict => wit::RejectionKind::Conflict,
            RejectionKind::Rejected => wit::RejectionKind::Rejected,
        },
        code: rejection.code,
        message: rejection.message,
        errors: errors
            .map(|error| wit::FieldError { pointer: error.pointer, detail: error.detail })
            .collect(),
    }
}

fn value(value: wit::Value) -> Value {
    match value {
        wit::Value::Null => Value::Null,
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Integer(number) => Value::Integer(number),
        wit::Value::Real(number) => Value::Real(number),
        wit::Value::Boolean(flag) => Value::Boolean(flag),
        wit::Value::Timestamp(micros) => Value::Timestamp(Timestamp::from_micros(micros)),
    }
}

fn value_out(value: Value) -> wit::Value {
    match value {
        Value::Null => wit::Value::Null,
        Value::Text(text) => wit::Value::Text(text),
        Value::Integer(number) => wit::Value::Integer(number),
        Value::Real(number) => wit::Value::Real(number),
        Value::Boolean(flag) => wit::Value::Boolean(flag),
        Value::Timestamp(time) => wit::Value::Timestamp(time.micros()),
    }
}

pub(super) fn rows(answers: Vec<wit::Rows>) -> Vec<Rows> {
    answers
        .into_iter()
        .map(|rows| Rows(rows.rows.into_iter().map(|row| row.into_iter().map(value).collect()).collect()))
        .collect()
}

pub(super) fn call(call: Call) -> wit::Call {
    wit::Call {
        statement: call.statement.to_owned(),
        params: call.params.into_iter().map(value_out).collect(),
    }
}

pub(super) fn change(change: Change) -> projections::Change {
    let values = |values: Vec<Value>| values.into_iter().map(value_out).collect();
    match change {
        Change::Put { table, row } => {
            projections::Change::Put(projections::Put { table: table.to_owned(), row: values(row) })
        }
        Change::Remove { table, key } => {
            projections::Change::Remove(projections::Remove { table: table.to_owned(), key: values(key) })
        }
        Change::Run(statement) => projections::Change::Run(call(statement)),
    }
}

pub(super) fn policy_command(command: PolicyCommand) -> policies::PolicyCommand {
    policies::PolicyCommand {
        target: stream_out(command.target),
        command: command.command.to_owned(),
        payload: command.payload,
        stage: command.stage,
        at: command.at.map(Timestamp::micros),
    }
}
