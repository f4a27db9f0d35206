//! PostgreSQL going away in the middle of things.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cairn_servers::Postgres;
use cairn_store::{Options, Outcome, PostgresOptions, Store};
use sqlx::{Connection, PgConnection};

use crate::place::{Place, Saying, append, committed, stream, together};
use crate::proxy::{Lose, Proxy};

/// How long something is waited for that does come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends to streams of their own, as long as it is told to.
#[derive(Default)]
struct Load {
    stopping: AtomicBool,
    acknowledged: AtomicU64,
}

/// What the appends of a load were told.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<u128>,
    unknown: BTreeSet<u128>,
    refused: BTreeSet<u128>,
}

impl Load {
    async fn run(self: Arc<Self>, store: Store, tasks: u128) -> Told {
        let mut running = Vec::new();
        for task in 0..tasks {
            let (load, store) = (self.clone(), store.clone());
            running.push(tokio::spawn(async move { load.one(store, task * 1_000_000).await }));
        }
        let mut all = Told::default();
        for task in running {
            let told = task.await.expect("the task ends");
            all.acknowledged.extend(told.acknowledged);
            all.unknown.extend(told.unknown);
            all.refused.extend(told.refused);
        }
        all
    }

    async fn one(&self, store: Store, from: u128) -> Told {
        let mut told = Told::default();
        for number in from.. {
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            let new = append(stream(number), 0).taking(&format!("name/{number}"));
            match store.append_and_wait(new).await {
                Outcome::Committed(_) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    told.acknowledged.insert(number);
                }
                Outcome::Unknown(_) => drop(told.unknown.insert(number)),
                Outcome::Unavailable(_) => {
                    told.refused.insert(number);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => panic!("{other:?}"),
            }
        }
        told
    }

    /// Waits until so many more have been acknowledged.
    async fn goes_on(&self, count: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + count;
        let going = async {
            while self.acknowledged.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, going).await.expect("appends go on");
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Whatever was acknowledged is in the log once, what is unknown at most once, what was refused not at all.
async fn is_true(store: &Store, told: &Told) {
    let events = async {
        let mut found = Vec::new();
        let mut after = 0;
        loop {
            let page = cairn_store::LogFilter { after, ..cairn_store::LogFilter::default() };
            let events = store.read_log(page).await.expect("reads");
            let Some(last) = events.last() else { return found };
            after = last.position;
            found.extend(events.into_iter().map(|event| event.stream.id.as_u128()));
        }
    };
    let found = events.await;
    let once: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(found.len(), once.len(), "nothing is there twice");
    assert!(told.acknowledged.is_subset(&once), "nothing acknowledged is lost");
    assert!(told.refused.is_disjoint(&once), "nothing refused is there");
    let explained: BTreeSet<_> = told.acknowledged.union(&told.unknown).copied().collect();
    assert!(once.is_subset(&explained), "nothing is there that nobody was told of");
    // The connection that looks may be one of those that were cut.
    while store.look().await.is_err() {}
    let checked = store.verify(0).await.expect("verifies");
    assert_eq!((checked.valid, checked.checked), (true, found.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_and_so_does_the_store() {
    let mut server = Postgres::start();
    let place = Place::on(&server);
    let store = place.open().await;
    let load = Arc::new(Load::default());
    let running = tokio::spawn(load.clone().run(store.clone(), 16));
    for _ in 0..3 {
        load.goes_on(300).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill9();
            server.restart();
            server
        })
        .await
        .expect("it comes back");
    }
    load.goes_on(300).await;
    load.stop();
    let told = running.await.expect("the load ends");
    is_true(&store, &told).await;
    store.check().await.expect("it is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_may_be_cut_at_any_time() {
    let place = Place::postgres();
    let store = place.open().await;
    let load = Arc::new(Load::default());
    let running = tokio::spawn(load.clone().run(store.clone(), 16));
    for _ in 0..30 {
        load.goes_on(20).await;
        place
            .tamper(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'cairn'",
            )
            .await;
    }
    load.goes_on(100).await;
    load.stop();
    let told = running.await.expect("the load ends");
    is_true(&store, &told).await;
}

/// A store whose way to the server leads through a proxy.
async fn through(proxy: &Proxy, place: &Place, server: &Postgres) -> Store {
    let url = place.database().replace(&server.port().to_string(), &proxy.port.to_string());
    let options = Options { postgres: Some(PostgresOptions::new(url)), ..place.options() };
    Store::open(options).await.expect("the store opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_gets_lost_is_looked_up() {
    let server = Postgres::start();
    let place = Place::on(&server);
    let proxy = Proxy::to(server.port()).await;
    let store = through(&proxy, &place, &server).await;
    for round in 0..20u128 {
        let number = round * 10;
        proxy.lose(Lose::Answer);
        let outcomes = together(&store, vec![append(stream(number), 0), append(stream(number + 1), 0)]).await;
        assert!(proxy.has_lost());
        for outcome in &outcomes {
            committed(outcome);
        }
        let mut unchanged = append(stream(number), 1).events(0).with_key(&format!("k{round}"), "p");
        unchanged.record_unchanged = true;
        proxy.lose(Lose::Answer);
        assert!(!committed(&store.append_and_wait(unchanged).await).replayed);
        assert!(proxy.has_lost());

        proxy.lose(Lose::Question);
        // As it is known that it did not happen, it can be done again.
        committed(&store.append_and_wait(append(stream(number + 2), 0)).await);
        assert!(proxy.has_lost());
    }
    assert_eq!(store.head(), 60);
    assert!(store.verify(0).await.expect("verifies").valid);
}

#[tokio::test]
async fn strangers_transactions_delay_nobody() {
    let place = Place::postgres();
    let store = place.open().await;
    let mut stranger = PgConnection::connect(place.database()).await.expect("connects");
    let begin = "CREATE TABLE own (n int4); COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ;
                 INSERT INTO own VALUES (1); SELECT count(*) FROM event_store";
    sqlx::raw_sql(begin).execute(&mut stranger).await.expect("begins");
    let append_and_read = async {
        for number in 0..50 {
            let position = committed(&store.append_and_wait(append(stream(number), 0)).await).position;
            let filter = cairn_store::LogFilter { after: position - 1, ..cairn_store::LogFilter::default() };
            assert_eq!(store.read_log(filter).await.expect("reads").len(), 1);
        }
    };
    tokio::time::timeout(PATIENCE, append_and_read).await.expect("nobody waits");
    sqlx::raw_sql("COMMIT").execute(&mut stranger).await.expect("commits");
}

/// A host that stands still while it has the lock is cut off by the server.
#[tokio::test]
async fn a_host_that_sleeps_on_the_lock_loses_it() {
    let place = Place::postgres();
    let store = place.open().await;
    let mut sleeper = PgConnection::connect(place.database()).await.expect("connects");
    let sleep = "SET idle_in_transaction_session_timeout = 300; BEGIN;
                 SELECT pg_advisory_xact_lock(7161120822695587687)";
    sqlx::raw_sql(sleep).execute(&mut sleeper).await.expect("takes the lock");
    let appending = store.append_and_wait(append(stream(1), 0));
    committed(&tokio::time::timeout(PATIENCE, appending).await.expect("in time"));
    sqlx::raw_sql("SELECT 1").execute(&mut sleeper).await.expect_err("it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_not_waited_for_without_end() {
    let server = Postgres::start();
    let place = Place::on(&server);
    let short = Duration::from_millis(400);
    let settings = PostgresOptions {
        statement_timeout: short,
        lock_timeout: Duration::from_millis(300),
        pause_limit: Duration::from_millis(200),
        settle_limit: short,
        ..PostgresOptions::new(place.database())
    };
    let store = Store::open(Options { postgres: Some(settings), ..place.options() }).await.expect("opens");
    committed(&store.append_and_wait(append(stream(1), 0)).await);
    server.pause();
    let outcome = tokio::time::timeout(PATIENCE, store.append_and_wait(append(stream(2), 0)));
    let outcome = outcome.await.expect("an answer in time");
    assert!(matches!(outcome, Outcome::Unavailable(_) | Outcome::Unknown(_)), "{outcome:?}");
    assert!(tokio::time::timeout(PATIENCE, store.check()).await.expect("in time").is_err());
    server.cont();
    let again = async {
        while !matches!(store.append_and_wait(append(stream(3), 0)).await, Outcome::Committed(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it comes back");
    assert!(store.verify(0).await.expect("verifies").valid);
}
