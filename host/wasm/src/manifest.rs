//! What a component says of itself: converted once, and checked so that nobody has to check it again. SQL and JSON
//! Schemas are looked at by those who use them; here a schema only has to be JSON.

use std::collections::HashSet;

use cairn_model::manifest::{
    AccessMode, Aggregate, Column, ColumnType, Command, EventType, Index, Manifest, OnFailure, Policy,
    Projection, Query, Statement, Table,
};
use cairn_model::{Name, Permission};
use serde_json::Value as Json;

use crate::bindings::exports::cairn::plugin::manifest as wit;

/// The longest name; it becomes a part of paths, tables and metrics.
const NAME_BYTES: usize = 64;

/// Something in a manifest that is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ManifestError {
    /// Where: `aggregate file, command create`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// A place in the manifest, for errors.
#[derive(Clone)]
struct Place(String);

impl Place {
    fn at(&self, what: &str, name: &str) -> Self {
        let outer = if self.0.is_empty() { String::new() } else { format!("{}, ", self.0) };
        Self(format!("{outer}{what} {name}"))
    }

    fn error(&self, message: impl Into<String>) -> ManifestError {
        let place = if self.0.is_empty() { "the plugin".to_owned() } else { self.0.clone() };
        ManifestError { place, message: message.into() }
    }

    fn check(&self, holds: bool, message: impl FnOnce() -> String) -> Result<(), ManifestError> {
        if holds { Ok(()) } else { Err(self.error(message())) }
    }

    /// A name in lowercase: letters, digits, and single `_` or `-` between them.
    fn name(&self, name: String) -> Result<Name, ManifestError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = name.len() <= NAME_BYTES
            && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && name.split(['_', '-']).all(|part| !part.is_empty() && part.bytes().all(plain));
        self.check(good, || {
            format!("`{name}` is no name: lowercase letters, digits, `_` and `-`, at most {NAME_BYTES} bytes")
        })?;
        Ok(name.into())
    }

    fn names(&self, names: Vec<String>) -> Result<Vec<Name>, ManifestError> {
        names.into_iter().map(|name| self.name(name)).collect()
    }

    fn event_name(&self, name: String) -> Result<Name, ManifestError> {
        let good = name.len() <= NAME_BYTES
            && name.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.check(good, || format!("`{name}` is no event name: PascalCase, at most {NAME_BYTES} bytes"))?;
        Ok(name.into())
    }

    fn schema(&self, what: &str, bytes: &[u8]) -> Result<Json, ManifestError> {
        let schema: Json = serde_json::from_slice(bytes)
            .map_err(|error| self.error(format!("its {what} is not JSON: {error}")))?;
        self.check(schema.is_object() || schema.is_boolean(), || format!("its {what} is no JSON Schema"))?;
        Ok(schema)
    }

    fn unique<'a>(&self, what: &str, names: impl IntoIterator<Item = &'a Name>) -> Result<(), ManifestError> {
        let mut seen = HashSet::new();
        names
            .into_iter()
            .try_for_each(|name| self.check(seen.insert(name), || format!("{what} `{name}` is there twice")))
    }
}

/// What stands in for the manifest until the component was asked.
pub(crate) fn nothing() -> Manifest {
    Manifest {
        name: "".into(),
        version: String::new(),
        description: String::new(),
        aggregates: Vec::new(),
        projections: Vec::new(),
        queries: Vec::new(),
        policies: Vec::new(),
    }
}

/// Converts and checks a manifest.
pub(crate) fn convert(given: wit::Manifest) -> Result<Manifest, ManifestError> {
    let root = Place(String::new());
    let manifest = Manifest {
        name: root.name(given.name)?,
        version: given.version,
        description: given.description,
        aggregates: given.aggregates.into_iter().map(|it| aggregate(&root, it)).collect::<Result<_, _>>()?,
        projections: given
            .projections
            .into_iter()
            .map(|it| projection(&root, it))
            .collect::<Result<_, _>>()?,
        queries: given.queries.into_iter().map(|it| query(&root, it)).collect::<Result<_, _>>()?,
        policies: given.policies.into_iter().map(|it| policy(&root, it)).collect::<Result<_, _>>()?,
    };
    if let Err(error) = semver::Version::parse(&manifest.version) {
        return Err(root.error(format!("`{}` is no semantic version: {error}", manifest.version)));
    }
    check_names(&root, &manifest)?;
    check_references(&root, &manifest)?;
    Ok(manifest)
}

fn check_names(root: &Place, manifest: &Manifest) -> Result<(), ManifestError> {
    let commands = || manifest.aggregates.iter().flat_map(|aggregate| &aggregate.commands);
    let events = manifest.aggregates.iter().flat_map(|aggregate| &aggregate.events);
    root.unique("aggregate", manifest.aggregates.iter().map(|it| &it.name))?;
    root.unique("event", events.map(|it| &it.name))?;
    root.unique("the command", commands().map(|it| &it.full_name))?;
    root.unique("projection", manifest.projections.iter().map(|it| &it.name))?;
    root.unique("query", manifest.queries.iter().map(|it| &it.name))?;
    root.unique("policy", manifest.policies.iter().map(|it| &it.name))
}

fn check_references(root: &Place, manifest: &Manifest) -> Result<(), ManifestError> {
    let events = |place: &Place, names: &[Name]| {
        names.iter().try_for_each(|name| {
            place.check(manifest.event(name).is_some(), || {
                format!("there is no event `{name}` in this plugin")
            })
        })
    };
    let projection = |place: &Place, name: &Name| {
        place.check(manifest.projection(name).is_some(), || {
            format!("there is no projection `{name}` in this plugin")
        })
    };
    for spec in &manifest.projections {
        events(&root.at("projection", &spec.name), &spec.events)?;
    }
    for spec in &manifest.queries {
        projection(&root.at("query", &spec.name), &spec.projection)?;
    }
    for spec in &manifest.policies {
        let place = root.at("policy", &spec.name);
        place.check(!spec.events.is_empty(), || "it reacts to no event".to_owned())?;
        events(&place, &spec.events)?;
        if let Some(name) = &spec.projection {
            projection(&place, name)?;
        }
    }
    Ok(())
}

fn aggregate(outer: &Place, given: wit::Aggregate) -> Result<Aggregate, ManifestError> {
    let place = outer.at("aggregate", &given.name);
    let aggregate = Aggregate {
        name: place.name(given.name)?,
        description: given.description,
        state_version: at_least_one(&place, "state version", given.state_version)?,
        snapshot_every: given.snapshot_every,
        state_schema: place.schema("state schema", &given.state_schema)?,
        commands: given.commands.into_iter().map(|it| command(&place, it)).collect::<Result<_, _>>()?,
        events: given.events.into_iter().map(|it| event_type(&place, it)).collect::<Result<_, _>>()?,
    };
    place.unique("command", aggregate.commands.iter().map(|it| &it.name))?;
    Ok(aggregate)
}

fn command(outer: &Place, given: wit::Command) -> Result<Command, ManifestError> {
    let place = outer.at("command", &given.name);
    let permission = given.permission.map(|permission| match permission {
        wit::Permission::Read => Permission::Read,
        wit::Permission::Write => Permission::Write,
        wit::Permission::Delete => Permission::Delete,
        wit::Permission::Share => Permission::Share,
        wit::Permission::Admin => Permission::Admin,
    });
    place.check(!given.creates || permission.is_none(), || {
        "it makes the aggregate, so nobody can have a permission on it yet".to_owned()
    })?;
    Ok(Command {
        name: place.name(given.name)?,
        full_name: place.name(given.full_name)?,
        description: given.description,
        schema: place.schema("schema", &given.schema)?,
        result_schema: place.schema("result schema", &given.result_schema)?,
        permission,
        creates: given.creates,
        internal: given.internal,
    })
}

fn event_type(outer: &Place, given: wit::EventType) -> Result<EventType, ManifestError> {
    let place = outer.at("event", &given.name);
    Ok(EventType {
        name: place.event_name(given.name)?,
        description: given.description,
        schema_version: at_least_one(&place, "schema version", given.schema_version)?,
        schema: place.schema("schema", &given.schema)?,
    })
}

fn at_least_one(place: &Place, what: &str, version: u32) -> Result<u32, ManifestError> {
    place.check(version > 0, || format!("its {what} is 0; versions begin with 1"))?;
    Ok(version)
}

fn columns(place: &Place, given: Vec<wit::Column>) -> Result<Vec<Column>, ManifestError> {
    let column = |given: wit::Column| {
        let column_type = match given.type_ {
            wit::ColumnType::Text => ColumnType::Text,
            wit::ColumnType::Integer => ColumnType::Integer,
            wit::ColumnType::Real => ColumnType::Real,
            wit::ColumnType::Boolean => ColumnType::Boolean,
            wit::ColumnType::Timestamp => ColumnType::Timestamp,
            wit::ColumnType::Uuid => ColumnType::Uuid,
            wit::ColumnType::Json => ColumnType::Json,
        };
        Ok(Column { name: place.name(given.name)?, column_type, nullable: given.nullable })
    };
    let columns: Vec<Column> = given.into_iter().map(column).collect::<Result<_, ManifestError>>()?;
    place.unique("column", columns.iter().map(|column| &column.name))?;
    Ok(columns)
}

fn table(outer: &Place, given: wit::Table) -> Result<Table, ManifestError> {
    let place = outer.at("table", &given.name);
    let index = |given: wit::Index| Ok(Index { columns: place.names(given.columns)?, unique: given.unique });
    let table = Table {
        name: place.name(given.name)?,
        columns: columns(&place, given.columns)?,
        key: place.names(given.key)?,
        indexes: given.indexes.into_iter().map(index).collect::<Result<_, ManifestError>>()?,
    };
    place.check(!table.key.is_empty(), || "it has no key".to_owned())?;
    let indexed = table.indexes.iter().flat_map(|index| &index.columns);
    for name in table.key.iter().chain(indexed) {
        let known = table.columns.iter().any(|column| column.name == *name);
        place.check(known, || format!("it has no column `{name}`"))?;
    }
    Ok(table)
}

fn statement(outer: &Place, given: wit::Statement) -> Result<Statement, ManifestError> {
    let place = outer.at("statement", &given.name);
    let access = match given.access {
        wit::AccessMode::Read => AccessMode::Read,
        wit::AccessMode::Write => AccessMode::Write,
    };
    place.check(!given.batched || access == AccessMode::Write, || {
        "only a `write` can be batched".to_owned()
    })?;
    Ok(Statement {
        name: place.name(given.name)?,
        access,
        sql: given.sql,
        params: columns(&place, given.params)?,
        columns: columns(&place, given.columns)?,
        batched: given.batched,
    })
}

fn projection(outer: &Place, given: wit::Projection) -> Result<Projection, ManifestError> {
    let place = outer.at("projection", &given.name);
    let projection = Projection {
        name: place.name(given.name)?,
        version: at_least_one(&place, "version", given.version)?,
        events: given.events.into_iter().map(|name| place.event_name(name)).collect::<Result<_, _>>()?,
        tables: given.tables.into_iter().map(|it| table(&place, it)).collect::<Result<_, _>>()?,
        statements: given.statements.into_iter().map(|it| statement(&place, it)).collect::<Result<_, _>>()?,
        crosses_streams: given.crosses_streams,
        on_failure: match given.on_failure {
            wit::OnFailure::Park => OnFailure::Park,
            wit::OnFailure::Stop => OnFailure::Stop,
        },
    };
    place.unique("table", projection.tables.iter().map(|it| &it.name))?;
    place.unique("statement", projection.statements.iter().map(|it| &it.name))?;
    Ok(projection)
}

fn query(outer: &Place, given: wit::Query) -> Result<Query, ManifestError> {
    let place = outer.at("query", &given.name);
    Ok(Query {
        name: place.name(given.name)?,
        description: given.description,
        projection: place.name(given.projection)?,
        params_schema: place.schema("parameters' schema", &given.params_schema)?,
        result_schema: place.schema("result schema", &given.result_schema)?,
    })
}

fn policy(outer: &Place, given: wit::Policy) -> Result<Policy, ManifestError> {
    let place = outer.at("policy", &given.name);
    Ok(Policy {
        name: place.name(given.name)?,
        description: given.description,
        events: given.events.into_iter().map(|name| place.event_name(name)).collect::<Result<_, _>>()?,
        projection: given.projection.map(|name| place.name(name)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin() -> wit::Manifest {
        let json = || b"{}".to_vec();
        let command = |name: &str, full: &str, creates| wit::Command {
            name: name.into(),
            full_name: full.into(),
            description: String::new(),
            schema: json(),
            result_schema: json(),
            permission: None,
            creates,
            internal: false,
        };
        wit::Manifest {
            name: "notes".into(),
            version: "1.2.3".into(),
            description: String::new(),
            aggregates: vec![wit::Aggregate {
                name: "note".into(),
                description: String::new(),
                state_version: 1,
                snapshot_every: 0,
                state_schema: json(),
                commands: vec![command("create", "create_note", true), command("edit", "edit_note", false)],
                events: vec![wit::EventType {
                    name: "NoteCreated".into(),
                    description: String::new(),
                    schema_version: 1,
                    schema: json(),
                }],
            }],
            projections: Vec::new(),
            queries: Vec::new(),
            policies: Vec::new(),
        }
    }

    fn refused(change: impl FnOnce(&mut wit::Manifest)) -> String {
        let mut manifest = plugin();
        change(&mut manifest);
        convert(manifest).expect_err("it should be refused").to_string()
    }

    #[test]
    fn a_good_manifest_is_taken() {
        let manifest = convert(plugin()).expect("a good manifest");
        assert_eq!(&*manifest.name, "notes");
        assert_eq!(manifest.aggregates[0].commands.len(), 2);
    }

    #[test]
    fn errors_say_where_and_what() {
        let message = refused(|it| it.aggregates[0].commands[1].schema = b"{".to_vec());
        assert!(message.starts_with("aggregate note, command edit: its schema is not JSON"), "{message}");
        let message = refused(|it| it.aggregates[0].events[0].schema_version = 0);
        assert!(
            message.starts_with("aggregate note, event NoteCreated: its schema version is 0"),
            "{message}"
        );
        let message = refused(|it| it.version = "1".into());
        assert!(message.starts_with("the plugin: `1` is no semantic version"), "{message}");
    }

    #[test]
    fn names_have_a_form_and_are_unique() {
        for name in ["", "Note", "note__x", "-note", "note ", "1note", "cairn.note"] {
            assert!(refused(|it| it.aggregates[0].name = name.into()).contains("no name"), "{name:?}");
        }
        assert!(refused(|it| it.aggregates[0].events[0].name = "note_created".into()).contains("PascalCase"));
        let message = refused(|it| it.aggregates[0].commands[1].full_name = "create_note".into());
        assert!(message.contains("`create_note` is there twice"), "{message}");
    }

    #[test]
    fn what_is_referred_to_exists() {
        let query = wit::Query {
            name: "note".into(),
            description: String::new(),
            projection: "notes".into(),
            params_schema: b"{}".to_vec(),
            result_schema: b"{}".to_vec(),
        };
        assert!(refused(|it| it.queries.push(query)).contains("query note: there is no projection `notes`"));
        let policy = wit::Policy {
            name: "tidy".into(),
            description: String::new(),
            events: vec!["NoteGone".into()],
            projection: None,
        };
        assert!(refused(|it| it.policies.push(policy)).contains("policy tidy: there is no event `NoteGone`"));
    }

    #[test]
    fn a_creating_command_needs_no_permission() {
        let message = refused(|it| it.aggregates[0].commands[0].permission = Some(wit::Permission::Write));
        assert!(message.contains("command create: it makes the aggregate"), "{message}");
    }
}
