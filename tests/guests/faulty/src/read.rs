//! The read side: what was added, a query in two rounds, a policy in two rounds.

use serde_json::{Value, json};

use crate::bindings::cairn::plugin::log::{self, Level};
use crate::bindings::cairn::plugin::types::{
    Call, Context, Event, Fault, Rejection, RejectionKind, Rows, StreamRef, Value as Cell,
};
use crate::bindings::exports::cairn::plugin::policies::{PolicyCommand, PolicyOutcome, Reaction};
use crate::bindings::exports::cairn::plugin::projections::{Change, Put, Remove};
use crate::bindings::exports::cairn::plugin::queries::QueryOutcome;
use crate::{describe, fault, text};

pub fn project(projection: &str, events: &[Event]) -> Vec<Result<Vec<Change>, Fault>> {
    match projection {
        "probes" => events.iter().map(changes).collect(),
        other => events.iter().map(|event| numbers(other, event)).collect(),
    }
}

/// A number that takes the projection `entries` about a second, which is in time.
const SLOW: i64 = 555;
const SLOW_TURNS: u32 = 3_000_000_000;

/// What is added becomes a row, unless it is one of the numbers that fail.
fn numbers(projection: &str, event: &Event) -> Result<Vec<Change>, Fault> {
    let data: Value = serde_json::from_slice(&event.data).map_err(|error| fault(error.to_string()))?;
    if event.type_ != "ProbeAdded" {
        return Ok(Vec::new());
    }
    let id = Cell::Text(text(event.id));
    let by = data["by"].as_i64();
    if by == Some(SLOW) && projection == "entries" {
        (0..SLOW_TURNS).for_each(|turn| {
            std::hint::black_box(turn);
        });
    }
    match by {
        None => Err(fault("no number")),
        Some(13) => Err(fault(format!("thirteen is not projected, at {}", event.position))),
        Some(666) => {
            log::log(Level::Error, "these are the projection's last words");
            panic!("the projection stops")
        }
        Some(777) => loop {
            std::hint::spin_loop();
        },
        Some(1_000) => Ok(vec![Change::Put(Put { table: "nowhere".into(), row: vec![id] })]),
        Some(by) if projection == "chain" => {
            let params = vec![id, Cell::Integer(by)];
            Ok(vec![Change::Run(Call { statement: "append".into(), params })])
        }
        Some(by) => {
            let version = i64::try_from(event.version).unwrap_or(i64::MAX);
            let made = i64::from(describe::entries_version());
            let row = vec![id, Cell::Integer(version), Cell::Integer(by), Cell::Integer(made)];
            Ok(vec![Change::Put(Put { table: projection.into(), row })])
        }
    }
}

fn changes(event: &Event) -> Result<Vec<Change>, Fault> {
    let data: Value = serde_json::from_slice(&event.data).map_err(|error| fault(error.to_string()))?;
    let id = Cell::Text(text(event.id));
    match (event.type_.as_str(), data["by"].as_i64()) {
        ("ProbeAdded", Some(13)) => Err(fault("thirteen is not projected")),
        ("ProbeAdded", Some(666)) => panic!("the projection stops"),
        ("ProbeAdded", Some(1_000)) => Ok(vec![Change::Put(Put { table: "nowhere".into(), row: vec![id] })]),
        ("ProbeAdded", Some(by)) => {
            Ok(vec![Change::Put(Put { table: "probes".into(), row: vec![id, Cell::Integer(by)] })])
        }
        ("ProbeChanged", _) => Ok(vec![Change::Remove(Remove { table: "probes".into(), key: vec![id] })]),
        _ => Ok(Vec::new()),
    }
}

pub fn query(
    context: &Context,
    query: &str,
    params: Vec<u8>,
    answers: &[Rows],
) -> Result<QueryOutcome, Fault> {
    if query != "probes" {
        return Ok(answers.first().map_or_else(|| QueryOutcome::Read(vec![all()]), listed));
    }
    let params: Value = serde_json::from_slice(&params).map_err(|error| fault(error.to_string()))?;
    match params["do"].as_str() {
        Some("reject") => Ok(QueryOutcome::Rejected(Rejection {
            kind: RejectionKind::NotFound,
            code: "nothing-here".into(),
            message: "nothing here".into(),
            errors: Vec::new(),
        })),
        Some("loop") => loop {
            std::hint::spin_loop();
        },
        Some("bad_json") => Ok(QueryOutcome::Done(b"[".to_vec())),
        _ => Ok(match answers {
            [] => QueryOutcome::Read(vec![all()]),
            [rows, ..] => {
                let answer = json!({ "rows": rows.rows.len(), "caller": text(context.principal.id), "params": params });
                QueryOutcome::Done(answer.to_string().into_bytes())
            }
        }),
    }
}

/// The rows as `[id, version, by, made]`.
fn listed(rows: &Rows) -> QueryOutcome {
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Integer(number) => json!(number),
        _ => Value::Null,
    };
    let rows: Vec<Vec<Value>> = rows.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    QueryOutcome::Done(json!({ "items": rows }).to_string().into_bytes())
}

fn all() -> Call {
    Call { statement: "all".into(), params: Vec::new() }
}

/// Reads once, then counts its calls in its state and sends a command to the event's probe.
pub fn react(event: &Event, state: Option<Vec<u8>>, answers: &[Rows]) -> PolicyOutcome {
    let Some(rows) = answers.first() else { return PolicyOutcome::Read(vec![all()]) };
    let count = state.and_then(|state| serde_json::from_slice::<u64>(&state).ok()).unwrap_or(0);
    PolicyOutcome::Done(Reaction {
        state: Some((count + 1).to_string().into_bytes()),
        commands: vec![PolicyCommand {
            target: StreamRef { aggregate: event.aggregate.clone(), id: event.id },
            command: "noop".into(),
            payload: json!({ "rows": rows.rows.len() }).to_string().into_bytes(),
            stage: 0,
            at: None,
        }],
    })
}
