//! Decisions that depend on other aggregates.

use cairn_model::Read;
use cairn_wasm::{Limits, Verdict};
use serde_json::json;

use crate::support::{Answer, Setup, added, id, somebody, wait};
use crate::workers::wait_until_decided;

/// Several threads and streams on all of them.
fn setup() -> Setup {
    let setup = Setup::with(Limits { sample_every: 3, ..Limits::default() }, 4);
    for number in 1..=20 {
        setup.command(number, "create", &json!({})).result();
        setup.command(number, "add", &json!({ "by": number })).result();
    }
    setup
}

fn has_read(setup: &Setup, answer: &Answer, number: u128, version: u64) -> bool {
    answer.basis.reads.contains(&Read::Stream(setup.stream(number), version))
}

#[test]
fn others_are_read_wherever_they_live() {
    let setup = setup();
    let ids: Vec<_> = (2..=20).map(id).collect();
    let answer = setup.command(1, "need", &json!({ "ids": ids }));
    assert_eq!(answer.result()["seen"][0], json!({ "version": 2, "write": true }));
    assert_eq!(answer.basis.reads.len(), 19);
    assert_eq!(setup.count(1), (1..=20).sum::<i64>());
}

#[test]
fn absence_is_version_zero_and_noted() {
    let setup = setup();
    let answer = setup.command(1, "need", &json!({ "ids": [id(77)] }));
    assert_eq!(answer.result()["seen"][0]["version"], 0);
    assert!(has_read(&setup, &answer, 77, 0));
}

#[test]
fn a_stream_that_needs_itself_reads_nothing_else() {
    let setup = setup();
    let answer = setup.command(3, "need", &json!({ "ids": [id(3)] }));
    assert!(answer.basis.reads.is_empty());
    assert_eq!(setup.count(3), 6);
}

#[test]
fn streams_that_need_each_other_come_to_an_end() {
    let setup = setup();
    for _ in 0..20 {
        let answers: Vec<_> = (1..=20)
            .map(|number| {
                let others: Vec<_> = (1..=20).filter(|other| *other != number).map(id).collect();
                setup.send(number, "need", &json!({ "ids": others }))
            })
            .collect();
        let accepted =
            answers.iter().map(wait).filter(|answer| matches!(answer.verdict, Verdict::Accepted(_))).count();
        assert!(accepted > 0);
        // Keep the sums small.
        (1..=20).for_each(|number| setup.workers.evict(&setup.stream(number)));
        if setup.count(1) > 1 << 40 {
            break;
        }
    }
}

#[test]
fn two_that_need_each_other_both_succeed_in_turn() {
    let setup = setup();
    for _ in 0..10 {
        let one = setup.send(1, "need", &json!({ "ids": [id(2)] }));
        let two = setup.send(2, "need", &json!({ "ids": [id(1)] }));
        wait(&one).result();
        wait(&two).result();
    }
}

#[test]
fn a_read_that_is_no_longer_so_is_read_again() {
    let setup = setup();
    // A hint of 2 is made, then another host writes to 2: the decision is refused and sees what is there.
    setup.command(1, "need", &json!({ "ids": [id(2)] })).result();
    let other = setup.stream(2);
    setup.host.log().append(&other, &added(1_000), setup.admin.id);
    let answer = setup.command(3, "need", &json!({ "ids": [id(2)] }));
    assert_eq!(answer.result()["seen"][0]["version"], 3);
    assert!(answer.attempts > 0);
    assert_eq!(setup.count(3), 1_005);
}

#[test]
fn a_need_sees_what_is_decided_and_not_committed() {
    let setup = setup();
    setup.gate(false);
    let ahead = setup.send(2, "add", &json!({ "by": 100 }));
    // The state of 2 is asked for after this, so it is answered after it.
    let behind = setup.send(1, "need", &json!({ "ids": [id(2)] }));
    wait_until_decided(&setup, 1);
    setup.gate(true);
    wait(&ahead).result();
    let answer = wait(&behind);
    assert_eq!((answer.result()["seen"][0]["version"].as_u64(), answer.attempts), (Some(3), 0));
}

#[test]
fn what_the_caller_may_do_with_the_other_comes_along() {
    let setup = setup();
    let caller = somebody(100);
    setup.command(30, "create", &json!({ "everyone": "write" })).result();
    setup.command(31, "create", &json!({ "parent": id(30) })).result();
    setup.command_as(&caller, 32, "create", &json!({})).result();
    let answer = setup.command_as(&caller, 32, "need", &json!({ "ids": [id(31), id(5)] }));
    let seen = answer.result();
    assert_eq!((&seen["seen"][0]["write"], &seen["seen"][1]["write"]), (&json!(true), &json!(false)));
    assert!(answer.basis.reads.contains(&Read::Access(setup.stream(30), 1)), "{:?}", answer.basis.reads);
}

#[test]
fn a_whole_chain_is_one_round() {
    let setup = setup();
    setup.command(100, "create", &json!({})).result();
    for number in 101..=200 {
        setup.command(number, "create", &json!({ "parent": id(number - 1) })).result();
    }
    let chain: Vec<_> = (100..=200).rev().map(id).collect();
    let answer = setup.command(1, "ancestors", &json!({ "of": id(200) }));
    assert_eq!(answer.result(), json!(chain));
    assert_eq!(answer.basis.reads.len(), 101);
    // Without hints the log is asked once for all of it.
    (100..=200).for_each(|number| setup.workers.evict(&setup.stream(number)));
    setup.command(1, "noop", &json!({})).result();
    let before = setup.host.log().chain_fetches;
    assert_eq!(setup.command(1, "ancestors", &json!({ "of": id(200) })).result(), json!(chain));
    assert_eq!(setup.host.log().chain_fetches, before + 1);
    // Its own chain begins with itself, and its own access is covered by its version.
    assert_eq!(setup.command(150, "ancestors", &json!({ "of": id(150) })).basis.reads.len(), 50);
}

#[test]
fn needing_for_ever_is_a_fault() {
    let setup = setup();
    assert_eq!(setup.command(1, "more", &json!({ "id": id(2) })).fault(), "bad-output");
    assert_eq!(setup.count(1), 1);
}
