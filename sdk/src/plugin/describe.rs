//! The manifest, made of the registry.

use schemars::Schema;

use super::Plugin;
use super::aggregate::AggregateType;
use super::read_side::{PolicyEntry, ProjectionEntry, QueryEntry};
use crate::bindings::exports::cairn::plugin::manifest as wit;
use crate::cqrs::{AccessMode, Column, ColumnType, OnFailure, Statement, Table};
use crate::domain::Permission;

pub(super) fn manifest<P: Plugin>() -> wit::Manifest {
    wit::Manifest {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        description: P::DESCRIPTION.to_owned(),
        aggregates: P::AGGREGATES.iter().map(aggregate).collect(),
        projections: P::PROJECTIONS.iter().map(projection).collect(),
        queries: P::QUERIES.iter().map(query).collect(),
        policies: P::POLICIES.iter().map(policy).collect(),
    }
}

fn json(schema: &Schema) -> Vec<u8> {
    schema.as_value().to_string().into_bytes()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn aggregate(aggregate: &AggregateType) -> wit::Aggregate {
    let commands = (aggregate.commands)().into_iter().map(|command| wit::Command {
        name: command.name.to_owned(),
        full_name: command.full_name.to_owned(),
        description: command.description.to_owned(),
        schema: json(&(command.schema)()),
        result_schema: json(&(command.result_schema)()),
        permission: command.permission.map(permission),
        creates: command.creates,
        internal: command.internal,
    });
    let events = (aggregate.event_types)().into_iter().map(|event| wit::EventType {
        name: event.name.to_owned(),
        description: event.description.to_owned(),
        schema_version: event.schema_version,
        schema: json(&event.schema),
    });
    wit::Aggregate {
        name: aggregate.name.to_owned(),
        description: aggregate.description.to_owned(),
        state_version: aggregate.state_version,
        snapshot_every: aggregate.snapshot_every,
        state_schema: json(&(aggregate.state_schema)()),
        commands: commands.collect(),
        events: events.collect(),
    }
}

fn permission(permission: Permission) -> wit::Permission {
    match permission {
        Permission::Read => wit::Permission::Read,
        Permission::Write => wit::Permission::Write,
        Permission::Delete => wit::Permission::Delete,
        Permission::Share => wit::Permission::Share,
        Permission::Admin => wit::Permission::Admin,
    }
}

fn column(column: &Column) -> wit::Column {
    wit::Column {
        name: column.name.to_owned(),
        type_: match column.column_type {
            ColumnType::Text => wit::ColumnType::Text,
            ColumnType::Integer => wit::ColumnType::Integer,
            ColumnType::Real => wit::ColumnType::Real,
            ColumnType::Boolean => wit::ColumnType::Boolean,
            ColumnType::Timestamp => wit::ColumnType::Timestamp,
            ColumnType::Uuid => wit::ColumnType::Uuid,
            ColumnType::Json => wit::ColumnType::Json,
        },
        nullable: column.nullable,
    }
}

fn table(table: &Table) -> wit::Table {
    let indexes = table.indexes.iter();
    wit::Table {
        name: table.name.to_owned(),
        columns: table.columns.iter().map(column).collect(),
        key: names(table.key),
        indexes: indexes
            .map(|index| wit::Index { columns: names(index.columns), unique: index.unique })
            .collect(),
    }
}

fn statement(statement: &Statement) -> wit::Statement {
    wit::Statement {
        name: statement.name.to_owned(),
        access: match statement.access {
            AccessMode::Read => wit::AccessMode::Read,
            AccessMode::Write => wit::AccessMode::Write,
        },
        sql: statement.sql.to_owned(),
        params: statement.params.iter().map(column).collect(),
        columns: statement.columns.iter().map(column).collect(),
        batched: statement.batched,
    }
}

fn projection(projection: &ProjectionEntry) -> wit::Projection {
    wit::Projection {
        name: projection.name.to_owned(),
        version: projection.version,
        events: names(&(projection.events)()),
        tables: projection.tables.iter().map(table).collect(),
        statements: projection.statements.iter().map(statement).collect(),
        crosses_streams: projection.crosses_streams,
        on_failure: match projection.on_failure {
            OnFailure::Park => wit::OnFailure::Park,
            OnFailure::Stop => wit::OnFailure::Stop,
        },
    }
}

fn query(query: &QueryEntry) -> wit::Query {
    wit::Query {
        name: query.name.to_owned(),
        description: query.description.to_owned(),
        projection: query.projection.to_owned(),
        params_schema: json(&(query.params_schema)()),
        result_schema: json(&(query.result_schema)()),
    }
}

fn policy(policy: &PolicyEntry) -> wit::Policy {
    wit::Policy {
        name: policy.name.to_owned(),
        description: policy.description.to_owned(),
        events: names(policy.events),
        projection: policy.projection.map(str::to_owned),
    }
}
