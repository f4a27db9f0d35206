//! Guests that fail: what they may harm, and what not.

use cairn_wasm::{Limits, Verdict};
use serde_json::json;

use crate::support::{Setup, added, created, somebody, wait};

fn setup(limits: Limits) -> Setup {
    let setup = Setup::with(limits, 2);
    for number in 1..=10 {
        setup.command(number, "create", &json!({})).result();
        setup.command(number, "add", &json!({ "by": 1 })).result();
    }
    setup
}

/// Every way to fail is a fault of its kind, the next command works, and the neighbours lose nothing.
#[test]
fn a_fault_costs_nothing_but_the_command() {
    let small = Limits {
        memory_bytes: 64 << 20,
        watermark_bytes: 32 << 20,
        output_bytes: 8 << 20,
        ..Limits::default()
    };
    let setup = setup(Limits { decision_ms: 300, quarantine_after: 1_000, ..small });
    let cases = [
        ("loop", json!({}), "deadline"),
        ("trap", json!({}), "trap"),
        ("grow", json!({}), "memory"),
        ("fault", json!({}), "guest"),
        ("bad_json", json!({}), "bad-output"),
        ("bad_type", json!({}), "bad-output"),
        ("many", json!({}), "bad-output"),
        ("big", json!({ "bytes": 5_000_000 }), "bad-output"),
        ("big", json!({ "bytes": 9_000_000 }), "bad-output"),
        ("poison", json!({}), "trap"),
    ];
    let mut count = 1;
    for (command, payload, kind) in cases {
        assert_eq!(setup.command(1, command, &payload).fault(), kind, "{command}");
        count += 1;
        assert_eq!(
            setup.command(1, "add", &json!({ "by": 1 })).result(),
            json!({ "count": count }),
            "{command}"
        );
    }
    for number in 2..=10 {
        assert_eq!(setup.count(number), 1);
    }
}

#[test]
fn a_trap_says_where_and_with_which_words() {
    let setup = setup(Limits::default());
    let answer = setup.command(1, "trap", &json!({}));
    let Verdict::Fault(fault) = answer.verdict else { panic!("{answer:?}") };
    assert!(fault.message.contains("these are its last words"), "{fault}");
    assert!(fault.backtrace.is_some());
    assert!(!fault.public_message().contains("words"));
}

#[test]
fn others_are_served_while_one_loops() {
    let setup = setup(Limits { decision_ms: 5_000, ..Limits::default() });
    let looping = setup.send(1, "loop", &json!({}));
    let served = (2..=10)
        .map(|number| (number, setup.send(number, "add", &json!({ "by": 1 }))))
        .filter(|(_, answer)| answer.recv_timeout(std::time::Duration::from_secs(3)).is_ok())
        .count();
    assert!(served > 0 && served < 9, "{served}: one of two threads loops");
    assert_eq!(wait(&looping).fault(), "deadline");
}

#[test]
fn a_stream_that_faults_again_and_again_is_decided_apart() {
    let setup = setup(Limits { decision_ms: 200, ..Limits::default() });
    for _ in 0..2 {
        assert_eq!(setup.command(1, "loop", &json!({})).fault(), "deadline");
    }
    // The neighbours read the log once more, after the second fault; then not again, however often it faults.
    (2..=10).for_each(|number| assert_eq!(setup.count(number), 1));
    let before = setup.host.log().fetches.len();
    for _ in 0..3 {
        assert_eq!(setup.command(1, "loop", &json!({})).fault(), "deadline");
    }
    (2..=10).for_each(|number| assert_eq!(setup.count(number), 1));
    let own = setup.stream(1);
    assert!(setup.host.log().fetches[before..].iter().all(|(stream, _)| *stream == own));
    // It is still served, and correctly.
    assert_eq!(setup.command(1, "add", &json!({ "by": 1 })).result(), json!({ "count": 2 }));
    assert_eq!(setup.count(1), 2);
}

#[test]
fn a_caller_who_makes_new_streams_loop_is_set_apart_too() {
    let setup = setup(Limits { decision_ms: 200, ..Limits::default() });
    let villain = somebody(666);
    for number in 100..102 {
        let answer = setup.command_as(&villain, number, "create", &json!({ "loop": true }));
        assert_eq!(answer.fault(), "deadline");
    }
    (2..=10).for_each(|number| assert_eq!(setup.count(number), 1));
    let before = setup.host.log().fetches.len();
    let answers: Vec<_> = (102..106)
        .map(|number| setup.send_as(&villain, number, "create", &json!({ "loop": true })))
        .collect();
    (2..=10).for_each(|number| assert_eq!(setup.count(number), 1));
    assert!(answers.iter().all(|answer| wait(answer).fault() == "deadline"));
    assert_eq!(setup.host.log().fetches.len(), before, "nobody else lost anything");
    setup.command_as(&villain, 200, "create", &json!({})).result();
}

#[test]
fn a_history_that_cannot_be_folded_is_a_fault_of_its_own_stream() {
    let setup = setup(Limits::default());
    let stream = setup.stream(50);
    {
        let mut log = setup.host.log();
        log.append(&stream, &created(), setup.admin.id);
        let poison = cairn_model::NewEvent {
            event_type: "ProbePoisoned".into(),
            schema_version: 1,
            data: "{}".to_owned(),
        };
        log.append(&stream, &poison, setup.admin.id);
        log.append(&stream, &added(1), setup.admin.id);
    }
    for _ in 0..4 {
        assert_eq!(setup.command(50, "add", &json!({})).fault(), "trap");
    }
    let need = setup.command(1, "need", &json!({ "ids": [crate::support::id(50)] }));
    assert_eq!(need.fault(), "trap");
    assert_eq!(setup.count(1), 1);
}

#[test]
fn a_guest_that_is_no_function_is_found_out() {
    let setup = setup(Limits { sample_every: 1, quarantine_after: 1_000, ..Limits::default() });
    // In a fresh instance its memory is fresh too, so the first answer is the same by chance.
    let answers: Vec<_> = (0..2).map(|_| setup.command(1, "random", &json!({}))).collect();
    assert_eq!(answers[0].result(), json!({ "random": 0 }));
    assert_eq!(answers[1].fault(), "nondeterministic");
    assert_eq!(setup.command(1, "add", &json!({ "by": 1 })).result(), json!({ "count": 3 }));
}

#[test]
fn events_that_tell_less_than_was_decided_are_found_out() {
    let setup = setup(Limits { sample_every: 1, quarantine_after: 1_000, ..Limits::default() });
    assert_eq!(setup.command(1, "lossy", &json!({ "by": 5 })).fault(), "state-mismatch");
    // Nothing was written, and the state is again what the log says.
    assert_eq!(setup.command(1, "add", &json!({ "by": 1 })).result(), json!({ "count": 2 }));
}
