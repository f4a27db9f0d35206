//! The cache: what it gives is right, whatever Redis holds, and without Redis it costs nothing.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cairn_bus::{Cache, CacheOptions, RedisOptions, Validity};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::time::Instant;
use uuid::Uuid;

use crate::server::{Server, eventually};

const LOG: Uuid = Uuid::from_u128(1);

fn cache(options: &RedisOptions) -> Cache {
    Cache::redis(options, LOG).expect("the options hold")
}

/// Lookups that may take their time, since the machine may be busy.
fn patient(server: &Server) -> RedisOptions {
    let cache = CacheOptions { get_timeout_ms: 5_000, ..CacheOptions::default() };
    RedisOptions { cache, ..server.options() }
}

async fn found(cache: &Cache, key: &[u8], validity: Validity<'_>) -> Bytes {
    eventually("the value arrives", async || cache.get(key, validity).await).await
}

/// Puts until it has arrived in Redis, as `put` may drop what it cannot write at once.
async fn arrives(writer: &Cache, reader: &Cache, key: &[u8], validity: Validity<'_>, value: &'static [u8]) {
    let got = eventually("the value arrives", async || {
        writer.put(key, validity, Bytes::from_static(value));
        reader.get(key, validity).await
    })
    .await;
    assert_eq!(got, value);
}

#[tokio::test]
async fn hosts_share_values() {
    let server = Server::start().await;
    let (one, two) = (cache(&patient(&server)), cache(&patient(&server)));
    arrives(&one, &two, b"k", Validity::At(1), b"v").await;
    assert_eq!(two.get(b"k", Validity::At(2)).await, None);
    let tagged = |number| Validity::Tagged { tag: "t", number };
    arrives(&one, &two, b"k", tagged(1), b"w").await;
    assert_eq!(two.get(b"k", tagged(2)).await, None);
    let stranger = Cache::redis(&patient(&server), Uuid::from_u128(2)).expect("the options hold");
    arrives(&stranger, &stranger, b"other", Validity::At(1), b"x").await;
    assert_eq!(stranger.get(b"k", Validity::At(1)).await, None);
}

#[tokio::test]
async fn values_in_redis_expire() {
    let server = Server::start().await;
    let one = cache(&patient(&server));
    arrives(&one, &cache(&patient(&server)), b"k", Validity::At(1), b"v").await;
    let keys: Vec<String> = server.command("KEYS cairn:cache:*").await;
    assert_eq!(keys.len(), 1);
    assert!(keys[0].starts_with(&format!("cairn:cache:{LOG}:")));
    let ttl: i64 = server.command(&format!("TTL {}", keys[0])).await;
    assert!((1..=3_600).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let server = Server::start().await;
    let mut options = patient(&server);
    options.cache.value_bytes = 10;
    let one = cache(&options);
    one.put(b"large", Validity::At(1), Bytes::from_static(b"12345678901"));
    assert_eq!(one.get(b"large", Validity::At(1)).await, None);
    arrives(&one, &cache(&options), b"small", Validity::At(1), b"1234567890").await;
    // Somebody else thinks otherwise.
    let generous = cache(&patient(&server));
    arrives(&generous, &cache(&patient(&server)), b"large", Validity::At(1), b"12345678901").await;
    assert_eq!(one.get(b"large", Validity::At(1)).await, None);
}

#[tokio::test]
async fn what_somebody_else_wrote_is_not_used() {
    let server = Server::start().await;
    let writer = cache(&patient(&server));
    arrives(&writer, &cache(&patient(&server)), b"k", Validity::At(1), b"value").await;
    let keys: Vec<String> = server.command("KEYS cairn:cache:*").await;
    for harm in ["SETRANGE KEY 20 x", "APPEND KEY x", "SET KEY value", "SETRANGE KEY 0 x", "SET KEY ,"] {
        server.order(&harm.replace("KEY", &keys[0])).await;
        let reader = cache(&patient(&server));
        // It is connected: it finds another value.
        arrives(&writer, &reader, b"other", Validity::At(1), b"other").await;
        assert_eq!(reader.get(b"k", Validity::At(1)).await, None, "{harm}");
    }
    // A value in the place of another.
    arrives(&writer, &cache(&patient(&server)), b"k", Validity::At(2), b"newer").await;
    let other = server.command::<Vec<String>>("KEYS cairn:cache:*").await;
    for key in other.iter().filter(|key| **key != keys[0]) {
        server.order(&format!("COPY {} {key} REPLACE", keys[0])).await;
    }
    assert_eq!(cache(&patient(&server)).get(b"k", Validity::At(2)).await, None);
}

#[tokio::test]
async fn a_dead_redis_means_fast_misses() {
    let mut server = Server::start().await;
    let one = cache(&patient(&server));
    arrives(&one, &cache(&patient(&server)), b"k", Validity::At(1), b"v").await;
    server.kill();
    let start = Instant::now();
    for number in 0..10_000u64 {
        assert_eq!(one.get(&number.to_be_bytes(), Validity::At(9)).await, None);
        one.put(&number.to_be_bytes(), Validity::At(9), Bytes::from_static(b"v"));
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(one.get(b"k", Validity::At(1)).await.as_deref(), Some(&b"v"[..]));
    assert_eq!(one.get(&7u64.to_be_bytes(), Validity::At(9)).await.as_deref(), Some(&b"v"[..]));
    server.restart().await;
    arrives(&one, &cache(&patient(&server)), b"again", Validity::At(1), b"v").await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_left_alone() {
    let server = Server::start().await;
    let mut options = server.options();
    options.cache.get_timeout_ms = 50;
    let one = cache(&options);
    eventually("it is connected", async || {
        one.put(b"k", Validity::At(1), Bytes::from_static(b"v"));
        one.clear_memory();
        one.get(b"k", Validity::At(1)).await
    })
    .await;
    server.signal("-STOP");
    let start = Instant::now();
    for number in 0..1_000u64 {
        assert_eq!(one.get(&number.to_be_bytes(), Validity::At(9)).await, None);
    }
    // A few lookups wait; a thousand times 50 ms would be 50 s.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.signal("-CONT");
    one.clear_memory();
    found(&one, b"k", Validity::At(1)).await;
}

#[derive(Clone, Debug)]
enum Step {
    /// The truth of a key changes.
    Change(u8),
    /// A host makes the value from the truth and puts it.
    Put(usize, u8),
    /// A host asks.
    Get(usize, u8),
    /// A host asks for what was true some changes ago.
    GetOld(usize, u8, u64),
    /// A host forgets.
    Forget(usize),
    /// Redis forgets.
    Flush,
    /// A value in Redis is harmed.
    Harm,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..4u8;
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Change),
        5 => (0..2usize, key.clone()).prop_map(|(host, key)| Step::Put(host, key)),
        8 => (0..2usize, key.clone()).prop_map(|(host, key)| Step::Get(host, key)),
        2 => (0..2usize, key, 1..4u64).prop_map(|(host, key, ago)| Step::GetOld(host, key, ago)),
        2 => (0..2usize).prop_map(Step::Forget),
        1 => Just(Step::Flush),
        1 => Just(Step::Harm),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What a key says in its `number`-th state.
fn truth(run: u64, key: u8, number: u64) -> Bytes {
    Bytes::from(format!("{run}/{key}/{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_of_events_makes_it_stale() {
    let server = Server::start().await;
    let hosts = [cache(&patient(&server)), cache(&patient(&server))];
    arrives(&hosts[0], &hosts[1], b"warm", Validity::At(1), b"v").await;
    arrives(&hosts[1], &hosts[0], b"warm", Validity::At(2), b"v").await;
    let handle = tokio::runtime::Handle::current();
    let run_all = move || {
        let mut runs = 0;
        let hits = std::cell::Cell::new(0);
        let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
        let counter = std::cell::RefCell::new(&mut runs);
        let result = runner.run(&steps(), |steps| {
            let mut runs = counter.borrow_mut();
            **runs += 1;
            let run = **runs;
            let mut numbers: HashMap<u8, u64> = HashMap::new();
            for step in steps {
                let (host, key, number) = match step {
                    Step::Change(key) => {
                        *numbers.entry(key).or_default() += 1;
                        continue;
                    }
                    Step::Put(host, key) => {
                        let number = numbers.get(&key).copied().unwrap_or(0);
                        let name = format!("{run}/{key}");
                        let tagged = Validity::Tagged { tag: "t", number };
                        hosts[host].put(name.as_bytes(), tagged, truth(run, key, number));
                        continue;
                    }
                    Step::Forget(host) => {
                        hosts[host].clear_memory();
                        continue;
                    }
                    Step::Flush => {
                        handle.block_on(server.order("FLUSHALL"));
                        continue;
                    }
                    Step::Harm => {
                        let keys: Vec<String> = handle.block_on(server.command("KEYS cairn:cache:*"));
                        if let Some(key) = keys.first() {
                            handle.block_on(server.order(&format!("SETRANGE {key} 18 x")));
                        }
                        continue;
                    }
                    Step::Get(host, key) => (host, key, numbers.get(&key).copied().unwrap_or(0)),
                    Step::GetOld(host, key, ago) => {
                        (host, key, numbers.get(&key).copied().unwrap_or(0).saturating_sub(ago))
                    }
                };
                let name = format!("{run}/{key}");
                let got =
                    handle.block_on(hosts[host].get(name.as_bytes(), Validity::Tagged { tag: "t", number }));
                if let Some(value) = got {
                    hits.set(hits.get() + 1);
                    prop_assert_eq!(value, truth(run, key, number));
                }
            }
            Ok(())
        });
        result.expect("never stale");
        assert!(hits.get() > 0, "it was no cache at all");
    };
    tokio::task::spawn_blocking(run_all).await.expect("no panic");
}
