//! Taking in events of an exported log.

use cairn_model::chain::{Hash, Link};
use cairn_model::{Access, RecordedEvent, Timestamp};
use cairn_store::{Facts, ImportError, Imported, LogFilter, Outcome, Stale, Store};

use crate::place::{Place, Saying, append, committed, event, fill, stream};

/// A log of ten events in three streams, at different times, with texts that must stay as they are.
async fn elsewhere() -> Vec<RecordedEvent> {
    let place = Place::sqlite();
    let store = place.open().await;
    for number in 0..3 {
        let mut first = append(stream(number), 0).events(2);
        first.events.push(event("{\"odd\":1.50e0,\"text\":\"\\u0000 \u{e9}\",\"z\":1,\"a\":[]}"));
        committed(&store.append_and_wait(first).await);
        place.clock.advance_micros(1_000_001);
    }
    fill(&store, &stream(1), 3..4).await;
    let events = log(&store).await;
    assert_eq!(events.len(), 10);
    events
}

async fn log(store: &Store) -> Vec<RecordedEvent> {
    store.read_log(LogFilter::default()).await.expect("reads")
}

async fn imported(store: &Store, events: &[RecordedEvent]) -> Imported {
    store.import(events.to_vec()).await.expect("imports")
}

async fn rebuild(store: &Store) {
    store.begin_rebuild_facts().await.expect("begins");
    let access = Some((3, Access::default()));
    let facts = Facts { stream: stream(0), access, claims: vec!["a".to_owned()] };
    assert_eq!(store.put_facts(&[facts]).await.expect("puts"), []);
    store.finish_rebuild_facts().await.expect("finishes");
}

/// The hash that the event would have behind another one.
fn chained(event: &RecordedEvent, previous: Hash) -> RecordedEvent {
    let link = Link {
        position: event.position,
        stream: &event.stream,
        version: event.version,
        event_type: &event.event_type,
        schema_version: event.schema_version,
        metadata: &event.metadata,
        recorded_at: event.recorded_at,
        data_hash: Hash::of(event.data.as_bytes()),
    };
    RecordedEvent { hash: link.hash(previous), ..event.clone() }
}

pub async fn import_keeps_everything_and_goes_on_where_it_stopped(place: Place) {
    let events = elsewhere().await;
    let store = place.open().await;
    assert_eq!(imported(&store, &[]).await, Imported { imported: 0, skipped: 0, head: 0 });
    assert_eq!(imported(&store, &events[..4]).await, Imported { imported: 4, skipped: 0, head: 4 });
    assert_eq!(imported(&store, &events[..7]).await, Imported { imported: 3, skipped: 4, head: 7 });
    assert_eq!(imported(&store, &events[7..]).await, Imported { imported: 3, skipped: 0, head: 10 });
    assert_eq!(imported(&store, &events[2..5]).await, Imported { imported: 0, skipped: 3, head: 10 });
    assert_eq!(log(&store).await, events);
    assert_eq!(store.head(), 10);
    let found = store.verify(0).await.expect("verifies");
    assert_eq!((found.valid, found.checked), (true, 10));
    drop(store);
    let store = place.open().await;
    assert_eq!(log(&store).await, events);
    assert!(!*store.facts_intact().borrow(), "access and claims are still to be brought back");
    rebuild(&store).await;
    fill(&store, &stream(2), 3..4).await;
    let last = log(&store).await.pop().expect("an event");
    assert_eq!((last.position, last.version), (11, 4));
    assert!(last.recorded_at >= events[9].recorded_at, "times do not go back");
    assert!(store.verify(0).await.expect("verifies").valid);
}

pub async fn import_refuses_what_does_not_follow_and_takes_nothing_of_it(place: Place) {
    let events = elsewhere().await;
    let store = place.open().await;
    imported(&store, &events[..2]).await;
    let rest = &events[2..];
    let with = |change: &dyn Fn(&mut Vec<RecordedEvent>)| {
        let mut rest = rest.to_vec();
        change(&mut rest);
        rest
    };
    let again = |rest: &mut Vec<RecordedEvent>, at: usize| rest[at] = chained(&rest[at], rest[at - 1].hash);
    let wrong: [(u64, Vec<RecordedEvent>); 10] = [
        (5, with(&|rest| rest[2].data.push(' '))),
        (5, with(&|rest| rest[2].hash = Hash::ZERO)),
        (5, with(&|rest| rest[2].metadata = "{}".to_owned())),
        (6, with(&|rest| rest.swap(2, 3))),
        (6, with(&|rest| drop(rest.remove(2)))),
        (4, with(&|rest| drop(rest.remove(0)))),
        // Those below have good hashes.
        (
            5,
            with(&|rest| {
                rest[2].recorded_at = Timestamp::from_micros(1);
                again(rest, 2);
            }),
        ),
        (
            5,
            with(&|rest| {
                rest[2].version += 1;
                again(rest, 2);
            }),
        ),
        (
            5,
            with(&|rest| {
                rest[2].event_type = "a\0b".into();
                again(rest, 2);
            }),
        ),
        (
            5,
            with(&|rest| {
                rest[2].schema_version = u32::MAX;
                again(rest, 2);
            }),
        ),
    ];
    for (number, (expected, events)) in wrong.into_iter().enumerate() {
        let refused = store.import(events).await;
        let Err(ImportError::Invalid { position, .. }) = refused else { panic!("{number}: {refused:?}") };
        assert_eq!(position, expected, "{number}");
        assert_eq!(store.head(), 2);
    }
    let mut first = rest[0].clone();
    first.position = u64::MAX;
    let refused = store.import(vec![first]).await;
    assert!(matches!(refused, Err(ImportError::Invalid { .. })), "{refused:?}");
    assert_eq!(log(&store).await, events[..2]);
    imported(&store, rest).await;
    assert_eq!(log(&store).await, events);
}

pub async fn import_into_another_log_says_where_they_differ(place: Place) {
    let (events, others) = (elsewhere().await, elsewhere().await);
    let store = place.open().await;
    imported(&store, &events[..4]).await;
    rebuild(&store).await;
    fill(&store, &stream(0), 3..4).await;
    let before = log(&store).await;
    let refused = store.import(events.clone()).await;
    assert!(matches!(refused, Err(ImportError::Differs { position: 5 })), "{refused:?}");
    assert_eq!(others, events, "the same clock and the same commands");
    let mut others = others;
    others[1].hash = Hash::ZERO;
    let refused = store.import(others).await;
    assert!(matches!(refused, Err(ImportError::Differs { position: 2 })), "{refused:?}");
    assert_eq!(log(&store).await, before);
    assert!(*store.facts_intact().borrow(), "nothing was taken in, so nothing was lost");
    fill(&store, &stream(0), 4..5).await;
}

pub async fn import_puts_right_what_is_remembered(place: Place) {
    let events = elsewhere().await;
    let store = place.open().await;
    imported(&store, &events[..9]).await;
    rebuild(&store).await;
    // Now the store remembers where the stream is.
    let stale = store.append_and_wait(append(stream(1), 2)).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { actual: 3 })), "{stale:?}");
    let (mut head, mut intact) = (store.committed(), store.facts_intact());
    assert_eq!((*head.borrow_and_update(), *intact.borrow_and_update()), (9, true));
    imported(&store, &events).await;
    assert!(head.has_changed().expect("the store lives") && intact.has_changed().expect("the store lives"));
    assert_eq!((*head.borrow_and_update(), *intact.borrow_and_update()), (10, false));
    let refused = store.append_and_wait(append(stream(1), 3)).await;
    assert!(matches!(refused, Outcome::Unavailable(_)), "{refused:?}");
    rebuild(&store).await;
    let stale = store.append_and_wait(append(stream(1), 3)).await;
    assert!(matches!(stale, Outcome::Stale(Stale::Version { actual: 4 })), "{stale:?}");
    fill(&store, &stream(1), 4..5).await;
}

pub async fn import_while_facts_come_back_makes_that_begin_again(place: Place) {
    let events = elsewhere().await;
    let store = place.open().await;
    imported(&store, &events[..4]).await;
    store.begin_rebuild_facts().await.expect("begins");
    imported(&store, &events[..4]).await;
    assert_eq!(store.put_facts(&[]).await.expect("nothing new has come"), []);
    imported(&store, &events).await;
    assert!(store.put_facts(&[]).await.is_err(), "streams that were passed by have changed");
    assert!(store.finish_rebuild_facts().await.is_err());
    assert!(!*store.facts_intact().borrow());
    rebuild(&store).await;
    assert!(*store.facts_intact().borrow());
}

pub async fn import_is_no_business_of_policies(place: Place) {
    let events = elsewhere().await;
    let store = place.open().await;
    imported(&store, &events[..4]).await;
    assert_eq!(store.policy_position("p").await.expect("reads"), 0, "one that is new begins at the end");
    store.record_reactions(&"p".into(), 0, 2, Vec::new(), None).await.expect("records");
    imported(&store, &events).await;
    assert_eq!(store.policy_position("p").await.expect("reads"), 10);
    assert!(store.record_reactions(&"p".into(), 2, 5, Vec::new(), None).await.is_err());
    // One that meant to begin before the import, and was late.
    store.record_reactions(&"late".into(), 0, 4, Vec::new(), None).await.expect("records");
    assert_eq!(store.policy_position("late").await.expect("reads"), 10);
    assert!(store.record_reactions(&"late".into(), 4, 6, Vec::new(), None).await.is_err());
    store.record_reactions(&"late".into(), 10, 12, Vec::new(), None).await.expect("records");
    assert_eq!(store.policy_position("late").await.expect("reads"), 12);
    store.record_reactions(&"new".into(), 0, 11, Vec::new(), None).await.expect("records");
    assert_eq!(store.policy_position("new").await.expect("reads"), 11);
}

pub async fn import_by_two_at_once_is_one_import(place: Place) {
    let events = elsewhere().await;
    let first = place.open().await;
    let second = if place.is_postgres() { place.open_host(1).await } else { first.clone() };
    let piece_by_piece = |store: Store| {
        let events = events.clone();
        tokio::spawn(async move {
            let mut count = 0;
            for event in events {
                count += store.import(vec![event]).await.expect("imports").imported;
            }
            count
        })
    };
    let (one, two) = (piece_by_piece(first.clone()), piece_by_piece(second));
    assert_eq!(one.await.expect("ends") + two.await.expect("ends"), 10, "each is new once");
    assert_eq!(log(&first).await, events);
    assert!(first.verify(0).await.expect("verifies").valid);
}

pub async fn import_of_many_large_events_is_exact(place: Place) {
    let source = Place::sqlite();
    let store = source.open().await;
    for number in 0..3 {
        let mut many = append(stream(number), 0).events(700);
        many.events.push(event(&format!("\"{}\"", "x".repeat(3_000_000))));
        committed(&store.append_and_wait(many).await);
    }
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(0, |event: &RecordedEvent| event.position);
        let page = store.read_log(LogFilter { after, ..LogFilter::default() }).await.expect("reads");
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let store = place.open().await;
    assert_eq!(imported(&store, &events).await, Imported { imported: 2103, skipped: 0, head: 2103 });
    assert_eq!(imported(&store, &events).await, Imported { imported: 0, skipped: 2103, head: 2103 });
    assert!(store.verify(0).await.expect("verifies").valid);
}
