//! Deciding ahead, deciding again, permissions, snapshots, and what happens at the limits.

use std::time::{Duration, Instant};

use cairn_model::{Clock, Permission};
use cairn_wasm::{Limits, Task, Verdict};
use serde_json::{Value, json};

use crate::support::{Setup, added, created, forbidden, id, somebody, wait};

/// Waits until everything that was sent to a stream is decided, committed or not. A stream's commands have their turns one
/// after the other, so one that has to ask the log for something asks when all before it are decided.
pub fn wait_until_decided(setup: &Setup, number: u128) {
    let before = setup.host.log().chain_fetches;
    let started = Instant::now();
    setup.send(number, "ancestors", &json!({ "of": id(u128::MAX) }));
    while setup.host.log().chain_fetches == before {
        assert!(started.elapsed() < Duration::from_secs(60), "not everything is decided");
        std::thread::yield_now();
    }
}

#[test]
fn commands_are_decided_and_the_state_is_read() {
    let setup = Setup::start();
    let answer = setup.command(1, "create", &json!({ "claims": ["a", "b"] }));
    let Verdict::Accepted(accepted) = &answer.verdict else { panic!("{answer:?}") };
    assert_eq!(accepted.claims_taken, ["a", "b"]);
    assert!(accepted.access.is_some(), "the access is new");
    assert_eq!(setup.command(1, "add", &json!({ "by": 5 })).result(), json!({ "count": 5 }));
    let answer = setup.command(1, "change", &json!({ "claims": ["b", "c"] }));
    let Verdict::Accepted(accepted) = &answer.verdict else { panic!("{answer:?}") };
    assert_eq!(
        (&accepted.claims_taken[..], &accepted.claims_released[..]),
        (&["c".into()][..], &["a".into()][..])
    );
    assert!(accepted.access.is_none(), "the access is the same");
    assert_eq!(setup.count(1), 5);
}

#[test]
fn existence_and_versions_are_checked() {
    let setup = Setup::start();
    assert!(matches!(setup.command(1, "add", &json!({})).verdict, Verdict::NotFound));
    assert!(matches!(setup.state_as(&setup.admin, 1).verdict, Verdict::NotFound));
    setup.command(1, "create", &json!({})).result();
    assert!(matches!(setup.command(1, "create", &json!({})).verdict, Verdict::Exists));
    let with_version = |version| {
        let mut call = setup.call("add", &json!({}));
        call.if_match = Some(version);
        let (work, answer) = setup.work(&setup.admin, 1, Task::Command(call));
        setup.workers.submit(work);
        wait(&answer)
    };
    assert!(matches!(with_version(7).verdict, Verdict::VersionMismatch));
    with_version(1).result();
}

#[test]
fn a_no_of_the_domain_and_a_command_without_events_rest_on_the_version() {
    let setup = Setup::start();
    setup.command(1, "create", &json!({})).result();
    let answer = setup.command(1, "reject", &json!({}));
    let Verdict::Rejected(rejection) = &answer.verdict else { panic!("{answer:?}") };
    assert_eq!((rejection.code.as_str(), answer.basis.version), ("not-today", 1));
    let answer = setup.command(1, "noop", &json!({}));
    let Verdict::Accepted(accepted) = &answer.verdict else { panic!("{answer:?}") };
    assert!(accepted.events.is_empty() && answer.basis.version == 1);
}

#[test]
fn a_hot_stream_is_decided_ahead_and_in_order() {
    let setup = Setup::start();
    setup.gate(false);
    let mut answers = vec![setup.send(1, "create", &json!({}))];
    answers.extend((0..200).map(|_| setup.send(1, "add", &json!({ "by": 1 }))));
    wait_until_decided(&setup, 1);
    setup.gate(true);
    let answers: Vec<_> = answers.iter().map(wait).collect();
    for (number, answer) in answers.iter().enumerate().skip(1) {
        assert_eq!(answer.result(), json!({ "count": number }));
        assert_eq!((answer.attempts, answer.basis.version), (0, number as u64));
    }
    assert_eq!(setup.host.log().fetches.len(), 0, "nothing had to be read");
}

#[test]
fn what_the_log_refuses_is_decided_again() {
    let setup = Setup::start();
    setup.command(1, "create", &json!({})).result();
    // Another host writes: everything that is decided ahead of it comes back, once.
    setup.gate(false);
    let answers: Vec<_> = (0..50).map(|_| setup.send(1, "add", &json!({ "by": 1 }))).collect();
    let stream = setup.stream(1);
    setup.host.log().append(&stream, &added(1_000), setup.admin.id);
    setup.gate(true);
    let answers: Vec<_> = answers.iter().map(wait).collect();
    let mut counts: Vec<_> =
        answers.iter().map(|answer| answer.result()["count"].as_i64().expect("a count")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1_001..=1_050).collect::<Vec<_>>(), "each of them once");
    assert!(
        answers.iter().all(|answer| answer.attempts <= 3),
        "{:?}",
        answers.iter().map(|a| a.attempts).max()
    );
    assert_eq!(setup.count(1), 1_050);
}

#[test]
fn a_claim_that_is_taken_leaves_no_phantom_behind() {
    let setup = Setup::start();
    setup.command(1, "create", &json!({ "claims": ["x"] })).result();
    setup.command(2, "create", &json!({})).result();
    // The fake log answers a taken claim by breaking the lineage, as the store does.
    setup.command(2, "change", &json!({ "claims": ["x"] }));
    assert_eq!(setup.command(2, "add", &json!({ "by": 1 })).basis.version, 1);
}

#[test]
fn creating_what_another_host_made_is_found_out() {
    let setup = Setup::start();
    let stream = setup.stream(1);
    setup.host.log().append(&stream, &created(), setup.admin.id);
    let answer = setup.command(1, "create", &json!({}));
    assert!(matches!(answer.verdict, Verdict::Exists), "{answer:?}");
    assert_eq!((answer.attempts, answer.basis.version), (1, 1));
}

#[test]
fn snapshots_are_made_used_and_never_trusted() {
    let setup = Setup::start();
    setup.command(1, "create", &json!({})).result();
    for _ in 0..24 {
        setup.command(1, "add", &json!({ "by": 2 })).result();
    }
    let stream = setup.stream(1);
    assert_eq!(setup.host.log().snapshots[&stream].0, 20);
    setup.workers.evict(&stream);
    assert_eq!(setup.count(1), 48);
    assert_eq!(setup.host.log().fetches, [(stream.clone(), 20)]);
    // One that the guest cannot read is ignored.
    setup.host.log().snapshots.insert(stream.clone(), (20, "nonsense".into()));
    setup.workers.evict(&stream);
    assert_eq!(setup.count(1), 48);
    assert_eq!(setup.host.log().fetches[1..], [(stream.clone(), 20), (stream, 0)]);
}

#[test]
fn old_events_are_upcast_before_they_are_folded() {
    let setup = Setup::start();
    let stream = setup.stream(1);
    let old = |name: &str, data: &str| cairn_model::NewEvent {
        event_type: name.into(),
        schema_version: 1,
        data: data.to_owned(),
    };
    {
        let mut log = setup.host.log();
        log.append(&stream, &created(), setup.admin.id);
        log.append(&stream, &old("ProbeAdded", r#"{"n":5}"#), setup.admin.id);
        log.append(&stream, &old("ProbeAddedTwice", r#"{"first":6,"second":7}"#), setup.admin.id);
        log.append(&stream, &old("ProbeSeen", "{}"), setup.admin.id);
    }
    let answer = setup.command(1, "add", &json!({ "by": 1 }));
    assert_eq!((answer.result(), answer.basis.version), (json!({ "count": 19 }), 4));
}

#[test]
fn permissions_are_inherited_until_the_chain_is_cut() {
    let setup = Setup::start();
    let (owner, friend) = (somebody(100), somebody(101));
    let create = |number, payload: Value| setup.command_as(&owner, number, "create", &payload).result();
    create(1, json!({ "everyone": "write" }));
    create(2, json!({ "parent": id(1) }));
    create(3, json!({ "parent": id(2) }));
    create(4, json!({ "parent": id(2), "inherits": false }));
    create(5, json!({ "everyone": "read" }));
    setup.command_as(&friend, 3, "add", &json!({})).result();
    assert_eq!(forbidden(&setup.command_as(&friend, 3, "change", &json!({}))), Some(Permission::Share));
    let hidden = setup.command_as(&friend, 4, "add", &json!({}));
    assert!(matches!(hidden.verdict, Verdict::NotFound), "{hidden:?}");
    assert!(matches!(setup.state_as(&friend, 4).verdict, Verdict::NotFound));
    assert_eq!(forbidden(&setup.command_as(&friend, 5, "add", &json!({}))), Some(Permission::Write));
    assert!(matches!(setup.state_as(&friend, 5).verdict, Verdict::State { .. }));
    setup.command_as(&owner, 4, "add", &json!({})).result();
}

#[test]
fn a_revoked_permission_holds_at_once() {
    let setup = Setup::start();
    let friend = somebody(101);
    setup.command(1, "create", &json!({ "everyone": "write" })).result();
    setup.command(2, "create", &json!({ "parent": id(1) })).result();
    let answer = setup.command_as(&friend, 2, "add", &json!({}));
    assert_eq!((answer.result(), answer.basis.reads.len()), (json!({ "count": 1 }), 1));
    setup.gate(false);
    let revoked = setup.send(1, "change", &json!({ "everyone": "read" }));
    let refused = setup.send_as(&friend, 2, "add", &json!({}));
    setup.gate(true);
    wait(&revoked).result();
    // Whatever it saw first, it leaves only after the log has confirmed it.
    assert_eq!(forbidden(&wait(&refused)), Some(Permission::Write));
}

#[test]
fn time_never_runs_backwards_in_a_stream() {
    let setup = Setup::start();
    setup.command(1, "create", &json!({})).result();
    let now = |setup: &Setup| setup.command(1, "now", &json!({})).result()["now"].as_i64().expect("a time");
    let first = now(&setup);
    setup.clock.advance_micros(-1_000_000);
    assert_eq!(now(&setup), first);
    setup.clock.advance_micros(2_000_000);
    assert_eq!(now(&setup), first + 1_000_000);
    assert!(matches!(setup.clock, Clock::Manual(_)));
}

#[test]
fn instances_are_retired_whole_and_streams_come_back() {
    let setup =
        Setup::with(Limits { aggregates_per_instance: 10, instances_per_worker: 2, ..Limits::default() }, 2);
    for number in 1..=200 {
        setup.command(number, "create", &json!({})).result();
        setup.command(number, "add", &json!({ "by": 3 })).result();
    }
    for number in 1..=200 {
        assert_eq!(setup.count(number), 3);
    }
}

#[test]
fn a_store_that_cannot_be_read_is_not_the_guests_fault() {
    let setup = Setup::start();
    setup.host.log().broken = true;
    assert!(matches!(setup.command(1, "add", &json!({})).verdict, Verdict::Unavailable(_)));
    setup.host.log().broken = false;
    assert!(matches!(setup.command(1, "add", &json!({})).verdict, Verdict::NotFound));
}

#[test]
fn a_full_mailbox_says_so_at_once() {
    let setup = Setup::with(Limits { mailbox: 5, decision_ms: 2_000, ..Limits::default() }, 1);
    let first = setup.send(1, "create", &json!({ "loop": true }));
    let others: Vec<_> = (2..=20).map(|number| setup.send(number, "create", &json!({}))).collect();
    let overloaded =
        others.iter().map(wait).filter(|answer| matches!(answer.verdict, Verdict::Overloaded)).count();
    assert_eq!(overloaded, 15);
    assert_eq!(wait(&first).fault(), "deadline");
}

#[test]
fn stopping_answers_everything() {
    let setup = Setup::with(Limits { decision_ms: 300, ..Limits::default() }, 1);
    let mut answers = vec![setup.send(1, "create", &json!({ "loop": true }))];
    answers.extend((2..=20).map(|number| setup.send(number, "create", &json!({}))));
    setup.workers.stop();
    answers.push(setup.send(30, "create", &json!({})));
    let answers: Vec<_> = answers.iter().map(wait).collect();
    assert!(matches!(answers.last().map(|answer| &answer.verdict), Some(Verdict::Overloaded)));
}

#[test]
fn a_panic_in_the_host_costs_one_stream_and_no_thread() {
    let setup = Setup::with(Limits::default(), 1);
    setup.command(2, "create", &json!({})).result();
    setup.host.log().panics_on = Some(setup.stream(1));
    let lost = setup.send(1, "create", &json!({}));
    assert!(lost.recv_timeout(Duration::from_secs(60)).is_err(), "its caller is gone");
    setup.host.log().panics_on = None;
    setup.command(1, "create", &json!({})).result();
    assert_eq!(setup.command(2, "add", &json!({ "by": 1 })).result(), json!({ "count": 1 }));
}
