//! The read side: what was added, a query in two rounds, a policy in two rounds.

use serde_json::{Value, json};

use crate::bindings::cairn::plugin::types::{
    Call, Context, Event, Fault, Rejection, RejectionKind, Rows, StreamRef, Value as Cell,
};
use crate::bindings::exports::cairn::plugin::policies::{PolicyCommand, PolicyOutcome, Reaction};
use crate::bindings::exports::cairn::plugin::projections::{Change, Put, Remove};
use crate::bindings::exports::cairn::plugin::queries::QueryOutcome;
use crate::{fault, text};

pub fn project(_: &str, events: &[Event]) -> Vec<Result<Vec<Change>, Fault>> {
    events.iter().map(changes).collect()
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

pub fn query(context: &Context, _: &str, params: Vec<u8>, answers: &[Rows]) -> Result<QueryOutcome, Fault> {
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
