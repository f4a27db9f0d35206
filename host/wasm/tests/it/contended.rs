//! Streams that other hosts write to as well: what was read of them once is not read again.

use std::path::Path;
use std::sync::Arc;

use cairn_wasm::{Component, Limits, Task};
use serde_json::json;

use crate::support::{Setup, added, wait};

/// A stream of six events that was refused once, and read as it was after seven.
fn setup() -> Setup {
    let setup = Setup::with(Limits { sample_every: 1, ..Limits::default() }, 1);
    setup.command(1, "create", &json!({})).result();
    for _ in 0..5 {
        setup.command(1, "add", &json!({ "by": 1 })).result();
    }
    assert!(contend(&setup) > 0);
    assert_eq!(fetches(&setup), [0]);
    setup
}

/// Another host writes, and then we do. Answers how often ours was refused.
fn contend(setup: &Setup) -> u32 {
    setup.host.log().append(&setup.stream(1), &added(100), setup.admin.id);
    let answer = setup.command(1, "add", &json!({ "by": 1 }));
    answer.result();
    answer.attempts
}

/// The versions after which the histories were fetched.
fn fetches(setup: &Setup) -> Vec<u64> {
    setup.host.log().fetches.iter().map(|(_, after)| *after).collect()
}

#[test]
fn only_what_is_new_is_read_again() {
    let setup = setup();
    for _ in 0..3 {
        contend(&setup);
    }
    assert_eq!(fetches(&setup), [0, 7, 9, 11]);
    assert_eq!(setup.count(1), 5 + 4 * 101);
}

#[test]
fn a_base_that_the_log_does_not_have_is_not_used() {
    let setup = setup();
    // A backup is restored, and goes on otherwise than before.
    setup.host.log().events.truncate(3);
    for _ in 0..10 {
        setup.host.log().append(&setup.stream(1), &added(7), setup.admin.id);
    }
    assert_eq!(setup.command(1, "add", &json!({ "by": 1 })).result(), json!({ "count": 2 + 70 + 1 }));
    assert_eq!(fetches(&setup), [0, 0]);
}

#[test]
fn what_is_evicted_is_read_whole() {
    let setup = setup();
    setup.workers.evict(&setup.stream(1));
    assert_eq!(setup.count(1), 5 + 101);
    assert_eq!(fetches(&setup), [0, 0]);
}

#[test]
fn another_component_reads_the_whole_stream() {
    let setup = setup();
    // The same code with an empty custom section, so that it has another digest.
    let mut bytes = cairn_guests::faulty().to_vec();
    bytes.extend([0, 2, 1, b'x']);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm-cache");
    let other = Component::load(&setup.engine, &bytes, Some(&cache)).expect("the guest loads");
    let (mut work, answer) =
        setup.work(&setup.admin, 1, Task::Command(setup.call("add", &json!({ "by": 1 }))));
    work.component = Arc::new(other);
    setup.workers.submit(work);
    assert_eq!(wait(&answer).result(), json!({ "count": 5 + 101 + 1 }));
    assert_eq!(fetches(&setup), [0, 0]);
}
