//! What survives, and what is noticed when it did not.

use cairn_model::{Access, StreamRef};
use cairn_store::{Error, Facts, LogFilter, Outcome, Store};
use tokio::sync::mpsc;

use crate::place::{Place, Saying, append, committed, fill, stream, together};

pub async fn everything_is_there_after_reopening(place: Place) {
    let store = place.open().await;
    let log_id = store.log_id();
    fill(&store, &stream(1), 0..5).await;
    let before = store.read_log(LogFilter::default()).await.expect("reads");
    drop(store);
    let store = place.open().await;
    assert_eq!(store.log_id(), log_id);
    assert_eq!(store.head(), 5);
    assert_eq!(store.read_log(LogFilter::default()).await.expect("reads"), before);
    fill(&store, &stream(1), 5..6).await;
    store.close().await;
    let refused = store.append_and_wait(append(stream(1), 6)).await;
    assert!(matches!(refused, Outcome::Unavailable(_)), "{refused:?}");
    drop(store);
    let store = place.open().await;
    assert_eq!(store.head(), 6);
    assert!(store.verify(0).await.expect("verifies").valid);
}

pub async fn a_kept_answer_survives_reopening(place: Place) {
    let store = place.open().await;
    let command = || append(stream(1), 0).with_key("k", "p");
    let first = store.append_and_wait(command()).await;
    drop(store);
    let store = place.open().await;
    let again = store.append_and_wait(command()).await;
    assert!(committed(&again).replayed);
    assert_eq!(committed(&again).body, committed(&first).body);
}

pub async fn a_folder_has_one_store(place: Place) {
    let store = place.open().await;
    let second = Store::open(place.options()).await;
    assert!(matches!(second, Err(Error::DataFolderInUse { .. })), "{second:?}");
    drop(store);
    place.open().await;
}

pub async fn what_was_queued_is_written_by_closing(place: Place) {
    let store = place.open().await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for number in 0..200 {
        let sender = sender.clone();
        store.append(append(stream(number), 0), move |outcome| {
            sender.send(outcome).expect("the test waits");
        });
    }
    drop(sender);
    store.close().await;
    let mut count = 0;
    while let Some(outcome) = receiver.recv().await {
        committed(&outcome);
        count += 1;
    }
    assert_eq!(count, 200);
    store.close().await;
}

pub async fn recorded_at_never_goes_back(place: Place) {
    let store = place.open().await;
    fill(&store, &stream(1), 0..1).await;
    place.clock.advance_micros(-3_600_000_000);
    fill(&store, &stream(1), 1..2).await;
    drop(store);
    let store = place.open().await;
    fill(&store, &stream(1), 2..3).await;
    place.clock.advance_micros(7_200_000_000);
    fill(&store, &stream(1), 3..4).await;
    let events = store.read_stream(&stream(1), 0, 10).await.expect("reads");
    let times: Vec<i64> = events.iter().map(|event| event.recorded_at.micros()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times[0], times[2]);
    assert!(times[2] < times[3]);
}

pub async fn an_untouched_log_verifies(place: Place) {
    let store = place.open().await;
    let many = (0..2500).map(|number| append(stream(number), 0)).collect();
    together(&store, many).await;
    let whole = store.verify(0).await.expect("verifies");
    assert_eq!((whole.valid, whole.checked, whole.first_invalid_position), (true, 2500, None));
    let part = store.verify(2001).await.expect("verifies");
    assert_eq!((part.valid, part.checked), (true, 500));
}

/// Each with the position at which it is found.
const TAMPERING: [(&str, u64); 10] = [
    ("UPDATE event_store SET data = '{}' WHERE position = 7", 7),
    ("UPDATE event_store SET metadata = '{}' WHERE position = 7", 7),
    ("UPDATE event_store SET tenant = 'x' WHERE position = 3", 3),
    ("UPDATE event_store SET version = 99 WHERE position = 2", 2),
    ("UPDATE event_store SET schema_version = 2 WHERE position = 2", 2),
    ("UPDATE event_store SET type = 'Other' WHERE position = 1", 1),
    ("UPDATE event_store SET recorded_at = '2023-11-14T22:13:20.000001Z' WHERE position = 10", 10),
    ("DELETE FROM event_store WHERE position = 5", 5),
    ("DELETE FROM event_store WHERE position = 1", 1),
    ("UPDATE event_store SET position = 11 WHERE position = 4", 4),
];

const TAMPERING_WITH_SQLITE: [(&str, u64); 4] = [
    ("UPDATE event_store SET id = upper('00000000-0000-0000-0000-0000000000aa') WHERE position = 3", 3),
    ("UPDATE event_store SET recorded_at = '2023-11-14T22:13:20.000000+00:00' WHERE position = 10", 10),
    ("UPDATE event_store SET hash = zeroblob(32) WHERE position = 9", 9),
    ("UPDATE event_store SET hash = zeroblob(3) WHERE position = 9", 9),
];

const TAMPERING_WITH_POSTGRES: [(&str, u64); 4] = [
    ("UPDATE event_store SET id = '00000000-0000-0000-0000-0000000000aa' WHERE position = 3", 3),
    ("UPDATE event_store SET recorded_at = 'infinity' WHERE position = 10", 10),
    ("UPDATE event_store SET hash = sha256('') WHERE position = 9", 9),
    ("UPDATE event_store SET hash = '' WHERE position = 9", 9),
];

pub async fn tampering_is_found_where_it_was_done(first: Place) {
    let special = first.either(TAMPERING_WITH_SQLITE, TAMPERING_WITH_POSTGRES);
    for (sql, position) in TAMPERING.into_iter().chain(special) {
        let place = first.fresh();
        let store = place.open().await;
        fill(&store, &stream(1), 0..10).await;
        place.tamper(sql).await;
        let found = store.verify(0).await.expect("verifies");
        assert_eq!((found.valid, found.first_invalid_position), (false, Some(position)), "{sql}");
        assert_eq!(found.checked, position - 1, "{sql}");
    }
    let store = first.open().await;
    fill(&store, &stream(1), 0..10).await;
    first.tamper("DELETE FROM event_store WHERE position = 10").await;
    let found = store.verify(0).await.expect("verifies");
    assert_eq!(found.first_invalid_position, Some(10), "the running store knows where its log ends");
}

fn facts(number: u128, claim: &str) -> Facts {
    let access =
        Access { parent: Some(StreamRef::new("folder", stream(9).id)), inherits: true, ..Access::default() };
    Facts { stream: stream(number), access: Some((1, access)), claims: vec![claim.to_owned()] }
}

async fn rebuild(store: &Store) {
    store.begin_rebuild_facts().await.expect("begins");
    let refused = store.append_and_wait(append(stream(3), 0)).await;
    assert!(matches!(refused, Outcome::Unavailable(_)), "nothing is appended on half of the facts");
    let all = [facts(1, "a"), facts(2, "b")];
    assert_eq!(store.put_facts(&all).await.expect("puts"), []);
    assert_eq!(store.put_facts(&all).await.expect("puts"), [], "twice is once");
    let foreign = store.put_facts(&[facts(3, "a")]).await.expect("puts");
    assert_eq!(foreign, [(stream(3), "a".to_owned())]);
    store.finish_rebuild_facts().await.expect("finishes");
}

async fn are_back(store: &Store) {
    assert!(*store.facts_intact().borrow());
    let taken = store.append_and_wait(append(stream(4), 0).taking("a")).await;
    assert!(matches!(taken, Outcome::Claimed { .. }), "{taken:?}");
    let chain = store.access_chain(&stream(1)).await.expect("reads");
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[0].version, 1);
}

pub async fn emptied_facts_are_noticed_while_running(place: Place) {
    let store = place.open().await;
    committed(&store.append_and_wait(append(stream(1), 0).taking("a")).await);
    committed(&store.append_and_wait(append(stream(2), 0).taking("b")).await);
    let mut intact = store.facts_intact();
    assert!(*intact.borrow_and_update());
    place.tamper("DELETE FROM claims").await;
    let refused = store.append_and_wait(append(stream(3), 0).taking("a")).await;
    assert!(matches!(refused, Outcome::Unavailable(_)), "{refused:?}");
    assert!(intact.has_changed().expect("the store lives"));
    assert!(!*intact.borrow_and_update());
    rebuild(&store).await;
    are_back(&store).await;
}

pub async fn dropped_facts_are_noticed_at_the_start_and_come_back(place: Place) {
    let store = place.open().await;
    committed(&store.append_and_wait(append(stream(1), 0).taking("a")).await);
    committed(&store.append_and_wait(append(stream(2), 0).taking("b")).await);
    store.close().await;
    drop(store);
    // Views over the tables belong to read models, which bring them back.
    let sql = "DROP TABLE access; DROP TABLE claims; DROP TABLE snapshots";
    place.tamper(place.either(sql, "DROP TABLE access, claims, snapshots CASCADE")).await;
    let store = place.open().await;
    assert!(!*store.facts_intact().borrow());
    store.begin_rebuild_facts().await.expect("begins");
    drop(store);
    let store = place.open().await;
    assert!(!*store.facts_intact().borrow(), "a rebuild that was broken off is not whole");
    rebuild(&store).await;
    are_back(&store).await;
}

pub async fn old_answers_are_taken_away_in_pieces(place: Place) {
    let store = place.open().await;
    let command = |number: u128| append(stream(number), 0).with_key(&format!("k{number}"), "p");
    together(&store, (0..2500).map(command).collect()).await;
    place.clock.advance_micros(1_000_000);
    let border = place.clock.now();
    together(&store, (2500..2510).map(command).collect()).await;
    assert_eq!(store.prune_idempotency(border, 1200).await.expect("prunes"), 1200);
    assert_eq!(store.prune_idempotency(border, 10_000).await.expect("prunes"), 1300);
    assert_eq!(store.prune_idempotency(border, 10_000).await.expect("prunes"), 0);
    let gone = store.append_and_wait(command(7)).await;
    assert!(matches!(gone, Outcome::Stale(_)), "{gone:?}");
    assert!(committed(&store.append_and_wait(command(2505)).await).replayed);
}

pub async fn tables_dropped_while_running_are_noticed(place: Place) {
    let store = place.open().await;
    committed(&store.append_and_wait(append(stream(1), 0)).await);
    let sql = "DROP TABLE access; DROP TABLE claims; DROP TABLE snapshots";
    place.tamper(place.either(sql, "DROP TABLE access, claims, snapshots CASCADE")).await;
    // A statement may fail first; with the next batch the loss is seen.
    let mut intact = store.facts_intact();
    while *intact.borrow_and_update() {
        let refused = store.append_and_wait(append(stream(2), 0)).await;
        assert!(matches!(refused, Outcome::Unavailable(_)), "{refused:?}");
    }
    store.begin_rebuild_facts().await.expect("begins");
    store.finish_rebuild_facts().await.expect("finishes");
    committed(&store.append_and_wait(append(stream(2), 0)).await);
    assert!(store.verify(0).await.expect("verifies").valid);
}

pub async fn what_the_database_does_not_take_is_refused_alone(place: Place) {
    let store = place.open().await;
    let sqlite = "CREATE TRIGGER no_poison BEFORE INSERT ON event_store WHEN NEW.type = 'Poison'
                  BEGIN SELECT RAISE(ABORT, 'poison'); END";
    let postgres = "CREATE FUNCTION no_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.type = 'Poison' THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$;
                    CREATE TRIGGER no_poison BEFORE INSERT ON event_store FOR EACH ROW EXECUTE FUNCTION no_poison()";
    place.tamper(place.either(sqlite, postgres)).await;
    let mut poison = append(stream(2), 0);
    poison.events[0].event_type = "Poison".into();
    let outcomes = together(&store, vec![append(stream(1), 0), poison, append(stream(3), 0)]).await;
    committed(&outcomes[0]);
    assert!(matches!(outcomes[1], Outcome::Unavailable(_)), "{:?}", outcomes[1]);
    committed(&outcomes[2]);
    assert_eq!(store.head(), 2);
    assert!(store.verify(0).await.expect("verifies").valid);
}
