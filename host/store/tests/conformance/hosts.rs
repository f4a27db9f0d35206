//! Several hosts on one database; and which databases no host takes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cairn_model::{Access, Read};
use cairn_servers::Postgres;
use cairn_store::{Error, Fence, LogFilter, Outcome, PostgresOptions, Stale, Store};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::place::{Place, Saying, append, committed, fill, stream};

/// How long something is waited for that does come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Appends to a few streams, again whenever somebody else was faster. Answers how often each was written.
async fn crowd(store: Store, seed: u128, count: u64) -> (HashMap<u128, u64>, u64) {
    let mut written = HashMap::new();
    let mut stale = 0;
    for number in 0..count {
        let name = (seed + u128::from(number) * 7) % 5;
        loop {
            let (version, _) = store.head_of(&stream(name)).await.expect("reads");
            let other = (name + 1) % 5;
            let (read, _) = store.head_of(&stream(other)).await.expect("reads");
            let mut new = append(stream(name), version).reading(Read::Stream(stream(other), read));
            new.access = (number % 3 == 0).then(Access::default);
            match store.append_and_wait(new).await {
                Outcome::Committed(_) => break,
                Outcome::Stale(Stale::Version { .. } | Stale::Read(_)) => stale += 1,
                other => panic!("{other:?}"),
            }
        }
        *written.entry(name).or_insert(0) += 1;
    }
    (written, stale)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_write_one_log() {
    let place = Place::postgres();
    let hosts = [place.open_host(0).await, place.open_host(1).await];
    assert_eq!(hosts[0].log_id(), hosts[1].log_id());
    let mut tasks = Vec::new();
    for task in 0..8u8 {
        let store = hosts[usize::from(task % 2)].clone();
        tasks.push(tokio::spawn(crowd(store, u128::from(task), 25)));
    }
    let (mut written, mut stale) = (BTreeMap::new(), 0);
    for task in tasks {
        let (own, refused) = task.await.expect("the task ends");
        stale += refused;
        for (name, count) in own {
            *written.entry(name).or_insert(0) += count;
        }
    }
    assert!(stale > 0, "they have got into each other's way");
    for (name, count) in written {
        assert_eq!(hosts[0].head_of(&stream(name)).await.expect("reads").0, count);
    }
    let events = hosts[1].read_log(LogFilter::default()).await.expect("reads");
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=200).collect::<Vec<_>>());
    for store in &hosts {
        assert_eq!(store.look().await.expect("looks"), 200);
        let found = store.verify(0).await.expect("verifies");
        assert_eq!((found.valid, found.checked), (true, 200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_and_a_key_are_one_hosts() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    for round in 0..30u128 {
        let claim = format!("name/{round}");
        let claiming = |number: u128| append(stream(number), 0).taking(&claim);
        let (one, two) = tokio::join!(
            first.append_and_wait(claiming(1000 + round)),
            second.append_and_wait(claiming(2000 + round)),
        );
        let won = [&one, &two].iter().filter(|outcome| matches!(outcome, Outcome::Committed(_))).count();
        assert_eq!(won, 1, "{one:?} {two:?}");
        let command = || append(stream(3000 + round), 0).with_key(&claim, "p");
        let (one, two) = tokio::join!(first.append_and_wait(command()), second.append_and_wait(command()));
        assert_eq!(committed(&one).body, committed(&two).body);
        assert!(committed(&one).replayed != committed(&two).replayed);
    }
}

#[tokio::test]
async fn what_a_host_remembers_of_streams_follows_the_other_one() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    fill(&first, &stream(1), 0..3).await;
    committed(&second.append_and_wait(append(stream(1), 3).with_access(Access::default())).await);
    // Few foreign events: the memory is brought up to date.
    let read = |version| append(stream(2), 0).reading(Read::Access(stream(1), version));
    assert!(matches!(first.append_and_wait(append(stream(1), 3)).await, Outcome::Stale(_)));
    assert!(matches!(first.append_and_wait(read(0)).await, Outcome::Stale(Stale::Read(_))));
    committed(&first.append_and_wait(read(4)).await);
    // Many: it is dropped.
    let many = append(stream(9), 0).events(1500);
    committed(&second.append_and_wait(many).await);
    fill(&second, &stream(1), 4..5).await;
    assert!(matches!(first.append_and_wait(append(stream(1), 4)).await, Outcome::Stale(_)));
    fill(&first, &stream(1), 5..6).await;
    assert!(first.verify(0).await.expect("verifies").valid);
}

#[tokio::test]
async fn foreign_events_are_noticed_without_being_asked_for() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    let mut committed = second.committed();
    fill(&first, &stream(1), 0..3).await;
    let waiting = committed.wait_for(|position| *position == 3);
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("the store lives");
}

#[tokio::test]
async fn a_lease_is_one_hosts_until_it_ends() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let hour = Duration::from_secs(3600);
    let epoch = first.lease("p", one, hour).await.expect("asks").expect("nobody has it");
    assert_eq!(second.lease("p", two, hour).await.expect("asks"), None);
    assert_eq!(first.lease("p", one, Duration::from_millis(50)).await.expect("asks"), Some(epoch));
    let taking = async {
        loop {
            if let Some(epoch) = second.lease("p", two, hour).await.expect("asks") {
                return epoch;
            }
        }
    };
    let next = tokio::time::timeout(PATIENCE, taking).await.expect("it ends");
    assert!(next > epoch);
    assert_eq!(first.lease("p", one, hour).await.expect("asks"), None);
    let old = Fence { lease: "p".into(), epoch };
    let refused = first.record_reactions(&"p".into(), 0, 1, Vec::new(), Some(&old)).await;
    assert!(matches!(refused, Err(Error::Superseded { .. })), "{refused:?}");
}

#[tokio::test]
async fn facts_are_brought_back_by_one_host() {
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    fill(&first, &stream(1), 0..1).await;
    place.tamper("TRUNCATE claims").await;
    first.begin_rebuild_facts().await.expect("begins");
    let refused = second.append_and_wait(append(stream(2), 0)).await;
    assert!(matches!(refused, Outcome::Unavailable(_)), "{refused:?}");
    second.begin_rebuild_facts().await.expect("begins");
    assert!(first.put_facts(&[]).await.is_err(), "another one has begun");
    assert!(first.finish_rebuild_facts().await.is_err());
    second.finish_rebuild_facts().await.expect("finishes");
    let mut intact = first.facts_intact();
    let whole = intact.wait_for(|intact| *intact);
    tokio::time::timeout(PATIENCE, whole).await.expect("in time").expect("the store lives");
    committed(&first.append_and_wait(append(stream(2), 0)).await);
}

#[tokio::test]
async fn a_server_that_forgets_is_refused() {
    let place = Place::postgres();
    place.tamper("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$").await;
    let refused = Store::open(place.options()).await;
    let Err(Error::Server(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("synchronous_commit"), "{why}");

    let server = Postgres::start_with(&["fsync=off"]);
    let place = Place::on(&server);
    let refused = Store::open(place.options()).await;
    let Err(Error::Server(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("fsync"), "{why}");
    let mut options = place.options();
    options.postgres =
        Some(PostgresOptions { allow_unsafe_durability: true, ..PostgresOptions::new(place.database()) });
    Store::open(options).await.expect("it is allowed");
}

#[tokio::test]
async fn events_are_not_changed_by_accident() {
    let place = Place::postgres();
    let store = place.open().await;
    fill(&store, &stream(1), 0..3).await;
    let mut stranger = PgConnection::connect(place.database()).await.expect("connects");
    for sql in ["UPDATE event_store SET data = '{}'", "DELETE FROM event_store", "TRUNCATE event_store"] {
        let refused = sqlx::raw_sql(sql).execute(&mut stranger).await.expect_err(sql);
        assert!(refused.to_string().contains("events are not changed"), "{refused}");
    }
    assert!(store.verify(0).await.expect("verifies").valid);
}

#[tokio::test]
async fn a_policy_that_begins_during_an_import_begins_after_it() {
    let source = Place::sqlite();
    let store = source.open().await;
    fill(&store, &stream(1), 0..50).await;
    let events = store.read_log(LogFilter::default()).await.expect("reads");
    let place = Place::postgres();
    let (first, second) = (place.open_host(0).await, place.open_host(1).await);
    let importing = tokio::spawn(async move {
        for event in events {
            first.import(vec![event]).await.expect("imports");
        }
    });
    for number in 0..50 {
        let policy = format!("p{number}");
        let beginning = second.look().await.expect("looks").max(1);
        second.record_reactions(&policy.into(), 0, beginning, Vec::new(), None).await.expect("records");
    }
    importing.await.expect("ends");
    for number in 0..50 {
        assert_eq!(second.policy_position(&format!("p{number}")).await.expect("reads"), 50);
    }
}
