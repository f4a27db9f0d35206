//! Between the contract's types and the host's, both ways, in one place.

use std::borrow::Cow;

use cairn_model::row::Rows;
use cairn_model::stream::parse_id;
use cairn_model::{
    Access, AccessEntry, Call, Change, Name, NewEvent, Permission, Permissions, Principal, RecordedEvent,
    StreamRef, Subject, Timestamp, Value, line,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::bindings::cairn::plugin::types;
use crate::bindings::exports::cairn::plugin::{aggregates, projections};
use crate::component::Component;
use crate::fault::{Fault, FaultKind};
use crate::work::{Rejection, RejectionKind};

/// An id as guests see it, without a place on the heap.
#[derive(Clone, Copy)]
pub(crate) struct IdText([u8; Hyphenated::LENGTH]);

impl IdText {
    pub fn new(id: Uuid) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// An event as it stands in the log, in the form of the present schema versions.
pub(crate) struct PresentEvent<'e> {
    /// Which of the recorded events it was.
    pub index: usize,
    pub source: &'e RecordedEvent,
    pub event_type: Cow<'e, str>,
    pub schema_version: u32,
    pub data: Cow<'e, str>,
    actor: IdText,
    id: IdText,
    occurred_at: Timestamp,
}

impl<'e> PresentEvent<'e> {
    /// The event as it was recorded.
    pub fn recorded(index: usize, source: &'e RecordedEvent) -> Result<Self, Fault> {
        let head: MetadataHead = serde_json::from_str(&source.metadata).map_err(|error| {
            Fault::new(
                FaultKind::Guest,
                format!("the metadata at position {} is unreadable: {error}", source.position),
            )
        })?;
        Ok(Self {
            index,
            source,
            event_type: Cow::Borrowed(&source.event_type),
            schema_version: source.schema_version,
            data: Cow::Borrowed(&source.data),
            actor: IdText::new(head.actor),
            id: IdText::new(source.stream.id),
            occurred_at: head.occurred_at,
        })
    }

    /// What it is today.
    pub fn upcasted(&self, event: NewEvent) -> Self {
        Self {
            event_type: Cow::Owned(event.event_type.to_string()),
            schema_version: event.schema_version,
            data: Cow::Owned(event.data),
            ..*self
        }
    }

    pub fn guest(&self) -> types::Event<'_> {
        types::Event {
            position: self.source.position,
            aggregate: &self.source.stream.aggregate,
            id: self.id.as_str(),
            version: self.source.version,
            type_: &self.event_type,
            schema_version: self.schema_version,
            data: self.data.as_bytes(),
            occurred_at: self.occurred_at.micros(),
            actor: self.actor.as_str(),
        }
    }
}

/// The part of the metadata that guests see.
#[derive(Deserialize)]
struct MetadataHead {
    actor: Uuid,
    occurred_at: Timestamp,
}

/// The parts of a context that must live as long as the guest's view of it.
pub(crate) struct ContextParts<'a> {
    pub now: Timestamp,
    pub seed: (u64, u64),
    pub principal: &'a Principal,
    pub permissions: Permissions,
    pub command_id: &'a str,
    pub correlation_id: &'a str,
    pub causation_id: Option<&'a str>,
    id: IdText,
    on_behalf_of: Option<IdText>,
    groups: Vec<&'a str>,
    scopes: Vec<&'a str>,
}

impl<'a> ContextParts<'a> {
    #[expect(clippy::too_many_arguments, reason = "the fields of the contract's context, each once")]
    pub fn new(
        now: Timestamp,
        seed: (u64, u64),
        principal: &'a Principal,
        on_behalf_of: Option<Uuid>,
        permissions: Permissions,
        command_id: &'a str,
        correlation_id: &'a str,
        causation_id: Option<&'a str>,
    ) -> Self {
        Self {
            now,
            seed,
            principal,
            permissions,
            command_id,
            correlation_id,
            causation_id,
            id: IdText::new(principal.id),
            on_behalf_of: on_behalf_of.map(IdText::new),
            groups: principal.groups.iter().map(String::as_str).collect(),
            scopes: principal.scopes.iter().map(String::as_str).collect(),
        }
    }

    pub fn guest(&self) -> types::Context<'_> {
        types::Context {
            now: self.now.micros(),
            seed: self.seed,
            tenant: &self.principal.tenant,
            principal: types::Principal { id: self.id.as_str(), groups: &self.groups, scopes: &self.scopes },
            on_behalf_of: self.on_behalf_of.as_ref().map(IdText::as_str),
            permissions: permissions(self.permissions),
            command_id: self.command_id,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
        }
    }
}

pub(crate) fn permissions(set: Permissions) -> types::Permissions {
    let pairs = [
        (Permission::Read, types::Permissions::READ),
        (Permission::Write, types::Permissions::WRITE),
        (Permission::Delete, types::Permissions::DELETE),
        (Permission::Share, types::Permissions::SHARE),
        (Permission::Admin, types::Permissions::ADMIN),
    ];
    pairs
        .into_iter()
        .filter(|(ours, _)| set.contains(*ours))
        .fold(types::Permissions::empty(), |sum, (_, theirs)| sum | theirs)
}

fn permissions_of(set: types::Permissions) -> Permissions {
    let pairs = [
        (types::Permissions::READ, Permission::Read),
        (types::Permissions::WRITE, Permission::Write),
        (types::Permissions::DELETE, Permission::Delete),
        (types::Permissions::SHARE, Permission::Share),
        (types::Permissions::ADMIN, Permission::Admin),
    ];
    pairs
        .into_iter()
        .filter(|(theirs, _)| set.contains(*theirs))
        .fold(Permissions::NONE, |sum, (_, ours)| sum.union(ours.into()))
}

/// UTF-8 text that is one JSON document.
fn json_text(bytes: Vec<u8>, what: &str) -> Result<String, Fault> {
    let text = String::from_utf8(bytes).map_err(|_| Fault::bad_output(format!("{what} is not UTF-8")))?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text)
        .map_err(|error| Fault::bad_output(format!("{what} is not JSON: {error}")))?;
    // An event has to fit into a line.
    let broken = text.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    Ok(if broken { line::compact(&text) } else { text })
}

pub(crate) fn raw_json(bytes: Vec<u8>, what: &str) -> Result<Box<RawValue>, Fault> {
    let text = String::from_utf8(bytes).map_err(|_| Fault::bad_output(format!("{what} is not UTF-8")))?;
    RawValue::from_string(text).map_err(|error| Fault::bad_output(format!("{what} is not JSON: {error}")))
}

/// An event that the guest made; its type and schema version must be the manifest's present ones.
pub(crate) fn new_event(component: &Component, event: types::NewEvent) -> Result<NewEvent, Fault> {
    let types::NewEvent { type_, schema_version, data } = event;
    let Some((event_type, present)) = component.event_type(&type_) else {
        return Err(Fault::bad_output(format!("the manifest has no event `{type_}`")));
    };
    if present != schema_version {
        let message = format!("`{type_}` has schema version {present}, not {schema_version}");
        return Err(Fault::bad_output(message));
    }
    Ok(NewEvent { event_type: event_type.clone(), schema_version, data: json_text(data, &type_)? })
}

pub(crate) fn stream_ref(component: &Component, aggregate: &str, id: &str) -> Result<StreamRef, Fault> {
    let id = parse_id(id).ok_or_else(|| Fault::bad_output(format!("`{id}` is not a lowercase UUID")))?;
    let aggregate = component.aggregate_name(aggregate).cloned().unwrap_or_else(|| Name::from(aggregate));
    Ok(StreamRef { aggregate, id })
}

pub(crate) fn access(component: &Component, access: aggregates::Access) -> Result<Access, Fault> {
    let parent =
        access.parent.map(|parent| stream_ref(component, &parent.aggregate, &parent.id)).transpose()?;
    let entries = access.entries.into_iter().map(|entry| {
        let subject = match entry.subject {
            aggregates::Subject::User(id) => Subject::User(user(&id)?),
            aggregates::Subject::Group(name) => Subject::Group(name),
            aggregates::Subject::Everyone => Subject::Everyone,
        };
        Ok(AccessEntry { subject, permissions: permissions_of(entry.permissions) })
    });
    Ok(Access {
        owner: access.owner.as_deref().map(user).transpose()?,
        parent,
        inherits: access.inherits,
        entries: entries.collect::<Result<_, Fault>>()?,
    })
}

fn user(id: &str) -> Result<Uuid, Fault> {
    parse_id(id).ok_or_else(|| Fault::bad_output(format!("the user `{id}` is not a lowercase UUID")))
}

pub(crate) fn rejection(rejection: types::Rejection) -> Rejection {
    let kind = match rejection.kind {
        types::RejectionKind::Invalid => RejectionKind::Invalid,
        types::RejectionKind::Forbidden => RejectionKind::Forbidden,
        types::RejectionKind::NotFound => RejectionKind::NotFound,
        types::RejectionKind::Conflict => RejectionKind::Conflict,
        types::RejectionKind::Rejected => RejectionKind::Rejected,
    };
    let errors = rejection.errors.into_iter().map(|error| (error.pointer, error.detail)).collect();
    Rejection { kind, code: rejection.code, message: rejection.message, errors }
}

fn value(value: types::ValueResult) -> Result<Value, String> {
    Ok(match value {
        types::ValueResult::Null => Value::Null,
        types::ValueResult::Text(text) => Value::Text(text),
        types::ValueResult::Integer(number) => Value::Integer(number),
        types::ValueResult::Real(number) if number.is_finite() => Value::Real(number),
        types::ValueResult::Real(number) => return Err(format!("{number} is not a finite number")),
        types::ValueResult::Boolean(yes) => Value::Boolean(yes),
        types::ValueResult::Timestamp(micros) => Value::Timestamp(Timestamp::from_micros(micros)),
    })
}

fn values(list: Vec<types::ValueResult>) -> Result<Vec<Value>, String> {
    list.into_iter().map(value).collect()
}

pub(crate) fn calls(list: Vec<types::Call>) -> Result<Vec<Call>, Fault> {
    let call = |call: types::Call| {
        let params =
            values(call.params).map_err(|error| Fault::bad_output(format!("{}: {error}", call.statement)))?;
        Ok(Call { statement: call.statement.into(), params })
    };
    list.into_iter().map(call).collect()
}

/// The changes of one event. Tables and statements must be the projection's, rows and keys as long as declared.
pub(crate) fn changes(
    projection: &cairn_model::manifest::Projection,
    list: Vec<projections::Change>,
) -> Result<Vec<Change>, String> {
    let table = |name: &str| {
        projection
            .table(name)
            .ok_or_else(|| format!("the projection `{}` has no table `{name}`", projection.name))
    };
    let change = |change| match change {
        projections::Change::Put(put) => {
            let table = table(&put.table)?;
            counted(&table.name, put.row.len(), table.columns.len())?;
            Ok(Change::Put { table: table.name.clone(), row: values(put.row)? })
        }
        projections::Change::Remove(remove) => {
            let table = table(&remove.table)?;
            counted(&table.name, remove.key.len(), table.key.len())?;
            Ok(Change::Remove { table: table.name.clone(), key: values(remove.key)? })
        }
        projections::Change::Run(call) => {
            let statement = projection.statement(&call.statement).ok_or_else(|| {
                format!("the projection `{}` has no statement `{}`", projection.name, call.statement)
            })?;
            counted(&statement.name, call.params.len(), statement.params.len())?;
            Ok(Change::Run(Call { statement: statement.name.clone(), params: values(call.params)? }))
        }
    };
    list.into_iter().map(change).collect()
}

fn counted(name: &str, found: usize, wanted: usize) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("`{name}` takes {wanted} values, not {found}")) }
}

fn value_param(value: &Value) -> types::ValueParam<'_> {
    match value {
        Value::Null => types::ValueParam::Null,
        Value::Text(text) => types::ValueParam::Text(text),
        Value::Integer(number) => types::ValueParam::Integer(*number),
        Value::Real(number) => types::ValueParam::Real(*number),
        Value::Boolean(yes) => types::ValueParam::Boolean(*yes),
        Value::Timestamp(time) => types::ValueParam::Timestamp(time.micros()),
    }
}

/// Lends rows to a guest: each level of the nesting needs a list of its own.
pub(crate) fn with_rows<T>(answers: &[Rows], call: impl FnOnce(&[types::Rows<'_>]) -> T) -> T {
    let cells: Vec<Vec<Vec<types::ValueParam<'_>>>> = answers
        .iter()
        .map(|rows| rows.iter().map(|row| row.iter().map(value_param).collect()).collect())
        .collect();
    let rows: Vec<Vec<&[types::ValueParam<'_>]>> =
        cells.iter().map(|rows| rows.iter().map(Vec::as_slice).collect()).collect();
    let answers: Vec<types::Rows<'_>> = rows.iter().map(|rows| types::Rows { rows }).collect();
    call(&answers)
}
