//! What the plugin says of itself.

use crate::bindings::exports::cairn::plugin::manifest::{
    AccessMode, Aggregate, Column, ColumnType, Command, EventType, Manifest, OnFailure, Permission, Policy,
    Projection, Query, Statement, Table,
};

pub fn manifest() -> Manifest {
    Manifest {
        name: "faulty".into(),
        version: "0.1.0".into(),
        description: "Misbehaves on request".into(),
        aggregates: vec![probe()],
        projections: vec![probes()],
        queries: vec![Query {
            name: "probes".into(),
            description: "All probes".into(),
            projection: "probes".into(),
            params_schema: anything(),
            result_schema: anything(),
        }],
        policies: vec![Policy {
            name: "echo".into(),
            description: "Counts what was added".into(),
            events: vec!["ProbeAdded".into()],
            projection: Some("probes".into()),
        }],
    }
}

fn anything() -> Vec<u8> {
    b"{}".to_vec()
}

fn probe() -> Aggregate {
    let others = [
        "ancestors",
        "bad_json",
        "bad_type",
        "big",
        "fault",
        "grow",
        "loop",
        "lossy",
        "many",
        "more",
        "need",
        "noop",
        "now",
        "poison",
        "random",
        "reject",
        "trap",
    ];
    let mut commands = vec![
        command("create", None, true),
        command("add", Some(Permission::Write), false),
        command("change", Some(Permission::Share), false),
    ];
    commands.extend(others.into_iter().map(|name| command(name, Some(Permission::Write), false)));
    let events = [("ProbeCreated", 1), ("ProbeAdded", 2), ("ProbeChanged", 1), ("ProbePoisoned", 1)];
    Aggregate {
        name: "probe".into(),
        description: "It counts".into(),
        state_version: 1,
        snapshot_every: 10,
        state_schema: anything(),
        commands,
        events: events.into_iter().map(|(name, version)| event(name, version)).collect(),
    }
}

fn command(name: &str, permission: Option<Permission>, creates: bool) -> Command {
    Command {
        name: name.into(),
        full_name: format!("{name}_probe"),
        description: name.into(),
        schema: anything(),
        result_schema: anything(),
        permission,
        creates,
        internal: false,
    }
}

fn event(name: &str, schema_version: u32) -> EventType {
    EventType { name: name.into(), description: name.into(), schema_version, schema: anything() }
}

fn probes() -> Projection {
    let column = |name: &str, type_| Column { name: name.into(), type_, nullable: false };
    Projection {
        name: "probes".into(),
        version: 1,
        events: Vec::new(),
        tables: vec![Table {
            name: "probes".into(),
            columns: vec![column("id", ColumnType::Uuid), column("by", ColumnType::Integer)],
            key: vec!["id".into()],
            indexes: Vec::new(),
        }],
        statements: vec![Statement {
            name: "all".into(),
            access: AccessMode::Read,
            sql: "SELECT id, by FROM probes".into(),
            params: Vec::new(),
            columns: vec![column("id", ColumnType::Uuid), column("by", ColumnType::Integer)],
            batched: false,
        }],
        crosses_streams: false,
        on_failure: OnFailure::Park,
    }
}
