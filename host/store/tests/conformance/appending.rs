//! What may be appended, and what becomes of what may not.

use std::collections::BTreeSet;

use cairn_model::{Access, Lineage, Read};
use cairn_store::{Current, Options, Outcome, Stale, Store};
use uuid::Uuid;

use crate::place::{Place, Saying, append, committed, event, fill, local, stream, together};

pub async fn positions_are_dense_under_concurrency(place: Place) {
    let store = place.open().await;
    let mut tasks = Vec::new();
    for task in 0..16usize {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut positions = Vec::new();
            for number in 0..50usize {
                let count = 1 + (number + task) % 3;
                let new = append(stream((task * 1000 + number) as u128), 0).events(count);
                let outcome = store.append_and_wait(new).await;
                let last = committed(&outcome).position;
                positions.extend((last + 1 - count as u64)..=last);
            }
            positions
        }));
    }
    let mut positions = BTreeSet::new();
    let mut count = 0;
    for task in tasks {
        let own = task.await.expect("the task ends");
        assert!(own.is_sorted(), "a task's own appends are in order");
        count += own.len();
        positions.extend(own);
    }
    assert_eq!(positions.len(), count, "no position twice");
    assert_eq!(positions, (1..=count as u64).collect(), "no gap");
    assert_eq!(store.head(), count as u64);
    assert!(store.verify(0).await.expect("verifies").valid);
}

pub async fn an_expected_version_that_is_not_the_present_is_stale(place: Place) {
    let store = place.open().await;
    fill(&store, &stream(1), 0..2).await;
    for expected in [0, 1, 3] {
        let outcome = store.append_and_wait(append(stream(1), expected)).await;
        assert!(matches!(outcome, Outcome::Stale(Stale::Version { actual: 2 })), "{expected}: {outcome:?}");
    }
    let outcomes =
        together(&store, vec![append(stream(1), 2), append(stream(1), 2), append(stream(1), 3)]).await;
    assert_eq!(committed(&outcomes[0]).version, 3);
    assert!(matches!(outcomes[1], Outcome::Stale(Stale::Version { actual: 3 })));
    assert_eq!(committed(&outcomes[2]).version, 4);
}

pub async fn decisions_that_cross_in_one_batch_do_not_both_pass(place: Place) {
    let store = place.open().await;
    fill(&store, &stream(1), 0..1).await;
    fill(&store, &stream(2), 0..1).await;
    // Each was decided on the other one being at version 1, or on a third one that does not exist.
    let crossing = vec![
        append(stream(1), 1).reading(Read::Stream(stream(2), 1)).reading(Read::Stream(stream(3), 0)),
        append(stream(2), 1).reading(Read::Stream(stream(1), 1)),
        append(stream(3), 0).reading(Read::Stream(stream(1), 2)).reading(Read::Stream(stream(3), 0)),
        append(stream(4), 0).reading(Read::Stream(stream(3), 0)),
    ];
    let outcomes = together(&store, crossing).await;
    committed(&outcomes[0]);
    assert!(
        matches!(&outcomes[1], Outcome::Stale(Stale::Read(read)) if *read == stream(1)),
        "{:?}",
        outcomes[1]
    );
    committed(&outcomes[2]);
    assert!(
        matches!(&outcomes[3], Outcome::Stale(Stale::Read(read)) if *read == stream(3)),
        "{:?}",
        outcomes[3]
    );
}

pub async fn an_access_read_fails_when_access_changed_and_only_then(place: Place) {
    let store = place.open().await;
    let folder = stream(1);
    committed(&store.append_and_wait(append(folder.clone(), 0).with_access(Access::default())).await);
    committed(&store.append_and_wait(append(folder.clone(), 1)).await);
    let child = |number, version| append(stream(number), 0).reading(Read::Access(stream(1), version));
    let changes = append(folder.clone(), 2).with_access(Access { inherits: true, ..Access::default() });
    let outcomes = together(&store, vec![child(2, 1), changes, child(3, 1), child(4, 3), child(5, 0)]).await;
    committed(&outcomes[0]);
    committed(&outcomes[1]);
    assert!(matches!(outcomes[2], Outcome::Stale(Stale::Read(_))));
    committed(&outcomes[3]);
    assert!(matches!(outcomes[4], Outcome::Stale(Stale::Read(_))));
    drop(store);
    let store = place.open().await;
    committed(&store.append_and_wait(child(6, 3)).await);
}

pub async fn a_claim_is_held_by_one_stream(place: Place) {
    let store = place.open().await;
    let outcomes = together(
        &store,
        vec![
            append(stream(1), 0).taking("name/a"),
            append(stream(2), 0).taking("name/a"),
            append(stream(3), 0),
        ],
    )
    .await;
    committed(&outcomes[0]);
    assert!(
        matches!(&outcomes[1], Outcome::Claimed { claim, holder } if claim == "name/a" && *holder == local(1)),
        "{:?}",
        outcomes[1]
    );
    committed(&outcomes[2]);
    let again = store.append_and_wait(append(stream(2), 0).taking("name/a")).await;
    assert!(matches!(again, Outcome::Claimed { .. }), "also in a later batch");
    let own = store.append_and_wait(append(stream(1), 1).taking("name/a")).await;
    committed(&own);
    let mut other_tenant = append(stream(2), 0).taking("name/a");
    other_tenant.stream.tenant = "other".into();
    committed(&store.append_and_wait(other_tenant).await);
}

pub async fn claims_move_inside_of_one_batch(place: Place) {
    let store = place.open().await;
    committed(&store.append_and_wait(append(stream(1), 0).taking("a")).await);
    let outcomes = together(
        &store,
        vec![
            append(stream(2), 0).taking("a"),
            append(stream(1), 1).releasing("a").taking("b"),
            append(stream(2), 0).taking("a"),
            append(stream(3), 0).taking("b"),
            append(stream(2), 1).releasing("a"),
            append(stream(4), 0).releasing("b"),
        ],
    )
    .await;
    assert!(matches!(outcomes[0], Outcome::Claimed { .. }), "it is not free yet");
    for index in [1, 2, 4, 5] {
        committed(&outcomes[index]);
    }
    assert!(matches!(outcomes[3], Outcome::Claimed { .. }));
    let free = store.append_and_wait(append(stream(5), 0).taking("a")).await;
    committed(&free);
    let foreign = store.append_and_wait(append(stream(5), 1).taking("b")).await;
    assert!(matches!(foreign, Outcome::Claimed { .. }), "nobody gives another stream's claim free");
}

pub async fn a_key_gives_the_same_bytes_again(place: Place) {
    let store = place.open().await;
    let command = || append(stream(1), 0).events(2).with_key("k", "p");
    let outcomes = together(&store, vec![command(), command()]).await;
    let (first, second) = (committed(&outcomes[0]), committed(&outcomes[1]));
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.body, second.body);
    let text = std::str::from_utf8(&first.body).expect("UTF-8");
    assert_eq!(
        text,
        "{\"aggregate\":\"file\",\"id\":\"00000000-0000-0000-0000-000000000001\",\"version\":2,\"position\":2,\
         \"events\":[{\"type\":\"FileCreated\",\"version\":1,\"position\":1},\
         {\"type\":\"FileCreated\",\"version\":2,\"position\":2}],\"result\":{\"ok\":true}}"
    );
    // A creating command makes another id whenever it is tried again.
    let retried = store.append_and_wait(append(stream(9), 0).with_key("k", "p")).await;
    let retried = committed(&retried);
    assert!(retried.replayed && retried.created);
    assert_eq!((retried.id, retried.version, retried.position), (stream(1).id, 2, 2));
    assert_eq!(store.head(), 2);
}

pub async fn a_key_with_another_payload_is_refused(place: Place) {
    let store = place.open().await;
    let outcomes = together(
        &store,
        vec![append(stream(1), 0).with_key("k", "p"), append(stream(2), 0).with_key("k", "q")],
    )
    .await;
    committed(&outcomes[0]);
    assert!(matches!(outcomes[1], Outcome::KeyReused));
    let later = store.append_and_wait(append(stream(2), 0).with_key("k", "q")).await;
    assert!(matches!(later, Outcome::KeyReused));
    let mut other = append(stream(2), 0).with_key("k", "q");
    other.idempotency.as_mut().expect("a key").principal = Uuid::from_u128(1);
    committed(&store.append_and_wait(other).await);
}

pub async fn an_unchanged_command_is_kept_and_a_mere_check_is_not(place: Place) {
    let store = place.open().await;
    fill(&store, &stream(1), 0..3).await;
    let mut unchanged = append(stream(1), 3).events(0).with_key("k", "p");
    unchanged.record_unchanged = true;
    let outcome = store.append_and_wait(unchanged.clone()).await;
    let first = committed(&outcome);
    assert_eq!((first.version, first.position, first.replayed), (3, 3, false));
    assert!(std::str::from_utf8(&first.body).expect("UTF-8").contains("\"events\":[]"));
    fill(&store, &stream(1), 3..4).await;
    let outcome = store.append_and_wait(unchanged).await;
    assert!(committed(&outcome).replayed);
    assert_eq!(committed(&outcome).body, first.body);

    let check = append(stream(1), 4).events(0).with_key("other", "p");
    let outcome = store.append_and_wait(check).await;
    assert!(matches!(outcome, Outcome::Current(Current { head: 4 })));
    committed(&store.append_and_wait(append(stream(1), 4).with_key("other", "q")).await);
}

pub async fn a_broken_lineage_takes_those_behind_with_it(place: Place) {
    let store = place.open().await;
    let lineage = Lineage::default();
    let outcomes = together(
        &store,
        vec![
            append(stream(1), 0).in_lineage(&lineage),
            append(stream(1), 7).in_lineage(&lineage),
            append(stream(1), 1).in_lineage(&lineage),
            append(stream(1), 1),
        ],
    )
    .await;
    committed(&outcomes[0]);
    assert!(matches!(outcomes[1], Outcome::Stale(Stale::Version { actual: 1 })));
    assert!(matches!(outcomes[2], Outcome::Stale(Stale::Lineage)), "although its version would fit");
    committed(&outcomes[3]);
    assert!(lineage.is_broken());

    let lineage = Lineage::default();
    let replay = || append(stream(2), 0).with_key("k", "p").in_lineage(&lineage);
    let behind = append(stream(2), 1).in_lineage(&lineage);
    let outcomes = together(&store, vec![replay(), replay(), behind]).await;
    assert!(committed(&outcomes[1]).replayed);
    assert!(
        matches!(outcomes[2], Outcome::Stale(Stale::Lineage)),
        "its predecessor's events were not written"
    );
}

pub async fn a_check_is_answered_with_the_present(place: Place) {
    let store = place.open().await;
    let check = |expected| append(stream(1), expected).events(0);
    let outcomes = together(&store, vec![check(0), append(stream(1), 0), check(1), check(0)]).await;
    assert!(matches!(outcomes[0], Outcome::Current(_)));
    assert!(matches!(outcomes[2], Outcome::Current(Current { head: 1 })));
    assert!(matches!(outcomes[3], Outcome::Stale(Stale::Version { actual: 1 })));
    let reading = store.append_and_wait(check(1).reading(Read::Stream(stream(2), 3))).await;
    assert!(matches!(reading, Outcome::Stale(Stale::Read(_))));
    assert_eq!(store.head(), 1);
}

pub async fn a_failing_command_does_not_harm_its_neighbours(place: Place) {
    let store = place.open().await;
    // Every kind of refusal between appends that are good.
    let outcomes = together(
        &store,
        vec![
            append(stream(1), 0).taking("a").with_key("k", "p"),
            append(stream(2), 5),
            append(stream(3), 0),
            append(stream(4), 0).taking("a"),
            append(stream(5), 0),
            append(stream(6), 0).with_key("k", "q"),
            append(stream(7), 0),
        ],
    )
    .await;
    for index in [0, 2, 4, 6] {
        committed(&outcomes[index]);
    }
    assert_eq!(store.head(), 4);
    assert!(store.verify(0).await.expect("verifies").valid);
}

pub async fn a_full_queue_refuses_at_once(place: Place) {
    let options = Options { queue_limit: 4, ..place.options() };
    let store = Store::open(options).await.expect("the store opens");
    let lineage = Lineage::default();
    let many = (0..500).map(|number| append(stream(number), 0).in_lineage(&lineage)).collect();
    let outcomes = together(&store, many).await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Overloaded)).count();
    assert!(refused > 0, "five hundred do not fit into four");
    assert!(lineage.is_broken());
    let written = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed(_))).count();
    assert_eq!(store.head(), written as u64);

    let other = place.fresh();
    let options = Options { queue_limit_bytes: 10_000, ..other.options() };
    let store = Store::open(options).await.expect("the store opens");
    let mut large = append(stream(1), 0);
    large.events = vec![event(&format!("\"{}\"", "x".repeat(20_000)))];
    assert!(matches!(store.append_and_wait(large).await, Outcome::Overloaded));
    committed(&store.append_and_wait(append(stream(1), 0)).await);
}

pub async fn a_receiver_that_goes_away_changes_nothing(place: Place) {
    let store = place.open().await;
    for number in 0..20 {
        let appending = store.append_and_wait(append(stream(number), 0));
        // Polled once, so that it is queued, and dropped.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, appending).await;
    }
    let outcome = store.append_and_wait(append(stream(100), 0)).await;
    assert_eq!(committed(&outcome).position, 21);
}

pub async fn a_panicking_receiver_harms_nobody(place: Place) {
    let store = place.open().await;
    store.append(append(stream(1), 0), |_| panic!("on purpose"));
    committed(&store.append_and_wait(append(stream(2), 0)).await);
    assert_eq!(store.head(), 2);
}

pub async fn keys_and_claims_may_be_any_text(place: Place) {
    let store = place.open().await;
    let odd = ["nul \0 inside", "\0", &"long ".repeat(2000), "naïve ☃ 𝒳", "'; --", ""];
    for (number, text) in (1..).zip(odd) {
        let command = || append(stream(number), 0).taking(text).with_key(text, "p");
        let first = store.append_and_wait(command()).await;
        let again = store.append_and_wait(command()).await;
        assert_eq!(committed(&again).body, committed(&first).body, "{text:?}");
        let other = store.append_and_wait(append(stream(99), 0).taking(text)).await;
        assert!(matches!(other, Outcome::Claimed { claim, .. } if claim == text));
    }
    assert_eq!(store.head(), 6);
}
