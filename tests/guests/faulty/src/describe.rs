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
        projections: vec![probes(), entries(), strict(), chain()],
        queries: vec![query("probes"), query("entries"), query("strict"), query("chain")],
        policies: vec![Policy {
            name: "echo".into(),
            description: "Counts what was added".into(),
            events: vec!["ProbeAdded".into()],
            projection: Some("probes".into()),
        }],
    }
}

/// The query of everything in the projection with its name.
fn query(name: &str) -> Query {
    Query {
        name: name.into(),
        description: name.into(),
        projection: name.into(),
        params_schema: anything(),
        result_schema: anything(),
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

/// A test replaces the digit in the component's bytes: the same plugin with another version of its projection.
static ENTRIES_VERSION: &str = "version-of-entries:1";

/// The version of the projection `entries`, which its rows name.
pub fn entries_version() -> u32 {
    let digit = std::hint::black_box(ENTRIES_VERSION).bytes().last();
    digit.map_or(0, |digit| u32::from(digit - b'0'))
}

/// What was added, one row for each event: nothing depends on any order.
fn entries() -> Projection {
    Projection { version: entries_version(), ..numbers("entries", &["id", "version"]) }
}

/// The same, and it stops at an event that it cannot take.
fn strict() -> Projection {
    Projection { on_failure: OnFailure::Stop, ..numbers("strict", &["id", "version"]) }
}

/// The same in one row of beads: which place each has depends on all streams.
fn chain() -> Projection {
    let append = Statement {
        name: "append".into(),
        access: AccessMode::Write,
        sql: "INSERT INTO chain (id, version, by, made) SELECT $1, (SELECT count(*) FROM chain), $2, 0"
            .into(),
        params: vec![number("id", ColumnType::Uuid), number("by", ColumnType::Integer)],
        columns: Vec::new(),
        batched: false,
    };
    let mut chain = numbers("chain", &["version"]);
    chain.statements.push(append);
    Projection { crosses_streams: true, ..chain }
}

fn number(name: &str, type_: ColumnType) -> Column {
    Column { name: name.into(), type_, nullable: false }
}

fn numbers(name: &str, key: &[&str]) -> Projection {
    let columns = || {
        let mut columns = vec![number("id", ColumnType::Uuid)];
        columns.extend(["version", "by", "made"].map(|name| number(name, ColumnType::Integer)));
        columns
    };
    let all = Statement {
        name: "all".into(),
        access: AccessMode::Read,
        sql: format!("SELECT id, version, by, made FROM {name} ORDER BY id, version"),
        params: Vec::new(),
        columns: columns(),
        batched: false,
    };
    let key = key.iter().map(|name| (*name).into()).collect();
    Projection {
        name: name.into(),
        version: 1,
        events: Vec::new(),
        tables: vec![Table { name: name.into(), columns: columns(), key, indexes: Vec::new() }],
        statements: vec![all],
        crosses_streams: false,
        on_failure: OnFailure::Park,
    }
}
