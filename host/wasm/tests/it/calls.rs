//! Stateless calls: projections, queries, policies, folds, and the upcasts before all of them.

use std::sync::Arc;

use cairn_model::row::Rows;
use cairn_model::{Change, NewEvent, Permissions, Principal, RecordedEvent, StreamKey, Timestamp, Value};
use cairn_wasm::{FaultKind, GuestContext, PolicyOutcome, QueryOutcome};
use uuid::Uuid;

use crate::support::{Log, TENANT, added, component, created};

fn stream() -> StreamKey {
    StreamKey::new(TENANT, "probe", Uuid::from_u128(1))
}

fn recorded(events: &[NewEvent]) -> Vec<RecordedEvent> {
    let mut log = Log::default();
    events.iter().for_each(|event| log.append(&stream(), event, Uuid::nil()));
    log.events
}

fn old(event_type: &str, data: &str) -> NewEvent {
    NewEvent { event_type: event_type.into(), schema_version: 1, data: data.to_owned() }
}

fn context() -> GuestContext {
    GuestContext {
        now: Timestamp::from_micros(1),
        seed: (1, 2),
        principal: Arc::new(Principal::administrator(TENANT)),
        on_behalf_of: None,
        permissions: Permissions::ALL,
        command_id: Uuid::from_u128(1),
        correlation_id: None,
        causation_id: None,
    }
}

fn put(by: i64) -> Change {
    let row = vec![Value::Text(Uuid::from_u128(1).to_string()), Value::Integer(by)];
    Change::Put { table: "probes".into(), row }
}

#[test]
fn a_projection_answers_event_by_event_and_old_events_are_upcast_first() {
    let events = recorded(&[
        created(),
        added(4),
        old("ProbeAdded", r#"{"n":5}"#),
        old("ProbeAddedTwice", r#"{"first":6,"second":7}"#),
        old("ProbeSeen", "{}"),
    ]);
    let changes = component().project("probes", &events).expect("a good batch");
    assert_eq!(
        changes,
        [Ok(vec![]), Ok(vec![put(4)]), Ok(vec![put(5)]), Ok(vec![put(6), put(7)]), Ok(vec![])]
    );
}

#[test]
fn one_event_that_cannot_be_projected_harms_no_other() {
    let changes =
        component().project("probes", &recorded(&[added(1), added(13), added(2)])).expect("a batch");
    assert_eq!(changes[0], Ok(vec![put(1)]));
    assert_eq!(changes[1], Err("thirteen is not projected".to_owned()));
    assert_eq!(changes[2], Ok(vec![put(2)]));
    let changes = component().project("probes", &recorded(&[added(1_000)])).expect("a batch");
    assert!(changes[0].as_ref().is_err_and(|error| error.contains("no table `nowhere`")), "{changes:?}");
}

#[test]
fn a_batch_that_traps_is_a_fault_and_the_next_call_works() {
    let fault = component().project("probes", &recorded(&[added(1), added(666)])).expect_err("a trap");
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(component().project("probes", &recorded(&[added(1)])).is_ok());
}

#[test]
fn a_query_asks_for_rows_and_answers() {
    let ask =
        |params: &str, answers: &[Rows]| component().query(&context(), "probes", params.as_bytes(), answers);
    let Ok(QueryOutcome::Read(calls)) = ask("{}", &[]) else { panic!("it should ask for rows") };
    assert_eq!(&*calls[0].statement, "all");
    let rows = vec![vec![Value::Text("x".into()), Value::Integer(1)], vec![Value::Null, Value::Real(0.5)]];
    let Ok(QueryOutcome::Done(answer)) = ask("{}", &[rows]) else { panic!("it should answer") };
    assert!(answer.get().contains(r#""rows":2"#), "{answer}");
    let Ok(QueryOutcome::Rejected(rejection)) = ask(r#"{"do":"reject"}"#, &[]) else {
        panic!("it should say no")
    };
    assert_eq!(rejection.code, "nothing-here");
    assert_eq!(ask(r#"{"do":"bad_json"}"#, &[]).expect_err("no JSON").kind, FaultKind::BadOutput);
}

#[test]
fn a_query_that_does_not_end_is_ended() {
    let (_engine, component) = crate::support::load(cairn_wasm::Limits { call_ms: 50, ..Default::default() });
    let fault = component.query(&context(), "probes", br#"{"do":"loop"}"#, &[]).expect_err("a deadline");
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.backtrace.is_some());
}

#[test]
fn a_policy_reacts_to_each_part_of_a_split_event_with_its_own_answers() {
    let react = |event: &RecordedEvent, state: Option<&[u8]>, answers: &[Rows]| {
        component().react(&context(), "echo", event, state, answers).expect("a reaction")
    };
    let split = &recorded(&[old("ProbeAddedTwice", r#"{"first":6,"second":7}"#)])[0];
    let one: Rows = vec![vec![]];
    assert!(matches!(react(split, None, &[]), PolicyOutcome::Read(_)));
    assert!(matches!(react(split, None, std::slice::from_ref(&one)), PolicyOutcome::Read(_)));
    let PolicyOutcome::Done(done) = react(split, Some(b"5"), &[one, vec![]]) else {
        panic!("it has all it asked for")
    };
    assert_eq!(done.state.as_deref(), Some(&b"7"[..]));
    let payloads: Vec<_> = done.commands.iter().map(|command| &command.payload[..]).collect();
    assert_eq!(payloads, [&br#"{"rows":1}"#[..], br#"{"rows":0}"#]);
    let gone = &recorded(&[old("ProbeSeen", "{}")])[0];
    let PolicyOutcome::Done(done) = react(gone, Some(b"5"), &[]) else { panic!("nothing to ask") };
    assert!(done.state.as_deref() == Some(b"5") && done.commands.is_empty());
}

#[test]
fn a_snapshot_and_its_tail_fold_to_the_same_as_all_events() {
    let mut events = vec![created()];
    events.extend((1..=2_500).map(added));
    let events = recorded(&events);
    let all = component().fold(&stream(), None, &events).expect("folds");
    let snapshot = br#"{"exists":true,"count":1275,"changes":{}}"#;
    let tail =
        component().fold(&stream(), Some((51, snapshot.to_vec().into())), &events[51..]).expect("folds");
    assert_eq!(all.state.map(|state| state.to_string()), tail.state.map(|state| state.to_string()));
    assert_eq!((all.version, all.access), (tail.version, tail.access));
    assert!(component().fold(&stream(), Some((1, "nonsense".into())), &[]).is_err());
}

#[test]
fn events_can_be_upcast_alone() {
    let lists = component().upcast(&recorded(&[added(1), old("ProbeAdded", r#"{"n":5}"#)])).expect("upcasts");
    assert_eq!(lists, [vec![added(1)], vec![added(5)]]);
    assert!(component().upcast(&recorded(&[old("Unknown", "{}")])).is_err());
}
