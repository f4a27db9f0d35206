//! Between the contract's types and the host's, both ways, in one place.

use std::borrow::Cow;

use cairn_model::row::Rows;
use cairn_model::{
    Access, AccessEntry, Call, Change, Name, NewEvent, Permission, Permissions, Principal, RecordedEvent,
    StreamRef, Subject, Timestamp, Value, line,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::bindings::cairn::plugin::types;
use crate::bindings::exports::cairn::plugin::{aggregates, projections};
use crate::component::Component;
use crate::fault::{Fault, FaultKind};
use crate::work::{Rejection, RejectionKind};

pub(crate) const fn uuid(id: Uuid) -> types::Uuid {
    let (high, low) = id.as_u64_pair();
    types::Uuid { high, low }
}

const fn id(id: types::Uuid) -> Uuid {
    Uuid::from_u64_pair(id.high, id.low)
}

/// An event as it stands in the log, in the form of the present schema versions.
pub(crate) struct PresentEvent<'e> {
    /// Which of the recorded events it was.
    pub index: usize,
    pub source: &'e RecordedEvent,
    pub event_type: Cow<'e, str>,
    pub schema_version: u32,
    pub data: Cow<'e, str>,
    actor: Uuid,
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
            actor: head.actor,
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
            id: uuid(self.source.stream.id),
            version: self.source.version,
            type_: &self.event_type,
            schema_version: self.schema_version,
            data: self.data.as_bytes(),
            occurred_at: self.occurred_at.micros(),
            actor: uuid(self.actor),
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
    seed: (u64, u64),
    pub principal: &'a Principal,
    on_behalf_of: Option<Uuid>,
    permissions: Permissions,
    command_id: Uuid,
    correlation_id: Option<&'a str>,
    causation_id: Option<&'a str>,
    groups: Vec<&'a str>,
}

impl<'a> ContextParts<'a> {
    #[expect(clippy::too_many_arguments, reason = "the fields of the contract's context, each once")]
    pub fn new(
        now: Timestamp,
        seed: (u64, u64),
        principal: &'a Principal,
        on_behalf_of: Option<Uuid>,
        permissions: Permissions,
        command_id: Uuid,
        correlation_id: Option<&'a str>,
        causation_id: Option<&'a str>,
    ) -> Self {
        Self {
            now,
            seed,
            principal,
            on_behalf_of,
            permissions,
            command_id,
            correlation_id,
            causation_id,
            groups: principal.groups.iter().map(String::as_str).collect(),
        }
    }

    pub fn guest(&self) -> types::Context<'_> {
        types::Context {
            now: self.now.micros(),
            seed: self.seed,
            tenant: &self.principal.tenant,
            principal: types::Principal { id: uuid(self.principal.id), groups: &self.groups },
            on_behalf_of: self.on_behalf_of.map(uuid),
            permissions: permissions(self.permissions),
            command_id: uuid(self.command_id),
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

/// UTF-8 text that is one JSON document, in a form that fits into a line and there between other things.
fn json_text(bytes: Vec<u8>, what: &str) -> Result<String, Fault> {
    let text = String::from_utf8(bytes).map_err(|_| Fault::bad_output(format!("{what} is not UTF-8")))?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text)
        .map_err(|error| Fault::bad_output(format!("{what} is not JSON: {error}")))?;
    let padded = text.trim_ascii().len() < text.len();
    let broken = text.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    Ok(if padded || broken { line::compact(&text) } else { text })
}

pub(crate) fn raw_json(bytes: Vec<u8>, what: &str) -> Result<Box<RawValue>, Fault> {
    let text = String::from_utf8(bytes).map_err(|_| Fault::bad_output(format!("{what} is not UTF-8")))?;
    RawValue::from_string(text).map_err(|error| Fault::bad_output(format!("{what} is not JSON: {error}")))
}

/// An event that the guest made. Its type is one that is known (by its name, with the present schema version), its schema
/// version is the present one.
pub(crate) fn new_event<'a>(
    known: impl FnOnce(&str) -> Option<(&'a Name, u32)>,
    event: types::NewEvent,
) -> Result<NewEvent, Fault> {
    let types::NewEvent { type_, schema_version, data } = event;
    let Some((event_type, present)) = known(&type_) else {
        return Err(Fault::bad_output(format!("the manifest has no event `{type_}` here")));
    };
    if present != schema_version {
        let message = format!("`{type_}` has schema version {present}, not {schema_version}");
        return Err(Fault::bad_output(message));
    }
    Ok(NewEvent { event_type: event_type.clone(), schema_version, data: json_text(data, &type_)? })
}

pub(crate) fn stream_ref(component: &Component, stream: types::StreamRefResult) -> StreamRef {
    let aggregate = component.aggregate_name(&stream.aggregate).cloned();
    StreamRef { aggregate: aggregate.unwrap_or_else(|| Name::from(stream.aggregate)), id: id(stream.id) }
}

pub(crate) fn stream_param<'a>(aggregate: &'a str, id: Uuid) -> types::StreamRefParam<'a> {
    types::StreamRefParam { aggregate, id: uuid(id) }
}

/// Who may do what; `None` where the aggregate is nobody's.
pub(crate) fn access(component: &Component, access: aggregates::Access) -> Option<Access> {
    let entries = access.entries.into_iter().map(|entry| {
        let subject = match entry.subject {
            aggregates::Subject::User(user) => Subject::User(id(user)),
            aggregates::Subject::Group(name) => Subject::Group(name),
            aggregates::Subject::Everyone => Subject::Everyone,
        };
        AccessEntry { subject, permissions: permissions_of(entry.permissions) }
    });
    let access = Access {
        owner: access.owner.map(id),
        parent: access.parent.map(|parent| stream_ref(component, parent)),
        inherits: access.inherits,
        entries: entries.collect(),
    };
    let is_nobodys = access.owner.is_none() && access.parent.is_none() && access.entries.is_empty();
    (!is_nobodys).then_some(access)
}

/// Claims in a form that can be compared.
pub(crate) fn claims(mut claims: Vec<String>) -> Vec<String> {
    claims.sort_unstable();
    claims.dedup();
    claims
}

/// What is another than it was.
#[derive(PartialEq, Eq)]
pub(crate) struct Changes {
    pub access: Option<Option<Access>>,
    /// In a form that can be compared.
    pub claims: Option<Vec<String>>,
}

pub(crate) fn changed(component: &Component, changes: aggregates::Changes) -> Changes {
    Changes { access: changes.access.map(|new| access(component, new)), claims: changes.claims.map(claims) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_fits_into_a_line_and_between_other_things() {
        let text = |data: &str| json_text(data.as_bytes().to_vec(), "it").map_err(|fault| fault.kind);
        let same = r#"{"a": "b\n ", "c":1.50}"#;
        assert_eq!(text(same), Ok(same.to_owned()));
        for padded in [" {\"a\":1}", "{\"a\":1} ", "\t{\"a\": 1}", "{\"a\":\n1}", "{\"a\":1}\r\n"] {
            assert_eq!(text(padded), Ok("{\"a\":1}".to_owned()), "{padded:?}");
        }
        assert_eq!(text("{} {}"), Err(FaultKind::BadOutput));
        assert_eq!(text(" "), Err(FaultKind::BadOutput));
    }
}
