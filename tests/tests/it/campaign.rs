//! Several hosts on one PostgreSQL and one Redis, of which anything may die, stop or lie at any moment: what was
//! acknowledged is in the log, the read model is what the log says, and Redis Streams have every event once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use cairn_servers::{Postgres, Redis};
use cairn_tests::{Network, Proxy, Random, TestHost, eventually, is_full, new_id, read_model, size};
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::cli;
use crate::journal::{Hosts, Journal, caught_up, check_log, meanwhile};

const CLIENTS: usize = 8;
/// How long anything may take to come back.
const RECOVERY: Duration = Duration::from_secs(120);
/// How many entries the relay keeps, however little memory Redis has: the default of `redis.retain_min_entries`.
const RETAIN_MIN_ENTRIES: u64 = 10_000;
/// The name of the database.
const DATABASE: &str = "cairn";

/// Clients rest between commands in the long form: a log of millions would have to fit into the test's memory.
fn pause() -> Duration {
    if is_full() { Duration::from_millis(10) } else { Duration::ZERO }
}

struct Cluster {
    hosts: Vec<TestHost>,
    clients: Hosts,
    redis: Redis,
    postgres: Postgres,
}

impl Cluster {
    /// So many hosts. They reach PostgreSQL at this port, where it is not its own.
    async fn start(count: usize, postgres: Postgres, port: Option<u16>) -> Self {
        let redis = Redis::start();
        let mut database = postgres.database(DATABASE);
        if let Some(port) = port {
            database = database.replace(&postgres.port().to_string(), &port.to_string());
        }
        let mut hosts = Vec::new();
        for _ in 0..count {
            let host = TestHost::builder().argument("--database").argument(&database);
            hosts.push(host.argument("--redis").argument(redis.url()).start().await);
        }
        let clients = Arc::new(RwLock::new(hosts.iter().map(TestHost::client).collect()));
        Self { hosts, clients, redis, postgres }
    }

    async fn journals(&self) -> Vec<Journal> {
        Journal::begin(&self.hosts[0].client(), CLIENTS, pause()).await
    }

    /// The host has another address after its restart.
    fn moved(&self, index: usize) {
        self.clients.write().expect("the hosts")[index] = self.hosts[index].client();
    }

    /// Waits until every host takes commands again; answers after how long.
    async fn recovered(&self) -> Duration {
        let started = Instant::now();
        for host in &self.hosts {
            let client = host.client();
            eventually(RECOVERY, || async {
                let create = client.post("/v1/aggregates/folder/create").json(&json!({"name": new_id()}));
                match client.try_send(create).await {
                    Ok(answer) if answer.status == 201 => Ok(()),
                    Ok(answer) => Err(answer.text),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await;
        }
        started.elapsed()
    }

    /// The log against the journals, the chain, Redis, and the read model against one that is built from zero.
    async fn check(self, journals: &[Journal]) {
        self.check_kept(journals, u64::MAX).await;
    }

    /// The same where Redis had too little memory: then the relay keeps less, but `kept` entries at least.
    async fn check_kept(mut self, journals: &[Journal], kept: u64) {
        let client = self.hosts[0].client();
        let log = client.events().await;
        check_log(&log, journals);
        let last = log.len() as u64;
        drop(log);
        let verified = client.get("/v1/audit/verify").await.ok();
        assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(last)));
        check_published(&self.redis, last, kept).await;
        for host in &self.hosts {
            caught_up(&host.client(), last).await;
        }
        let before = read_model(&client).await;
        for host in &mut self.hosts {
            host.stop().await;
        }
        drop_read_models(&self.postgres);
        let host = &mut self.hosts[0];
        host.restart().await;
        let client = host.client();
        caught_up(&client, last).await;
        assert_eq!(read_model(&client).await, before);
    }
}

fn drop_read_models(postgres: &Postgres) {
    let find = "SELECT DISTINCT table_schema FROM information_schema.tables
                WHERE table_name = 'projection_positions' AND table_schema <> 'public'";
    let found = postgres.sql(DATABASE, find);
    assert!(!found.is_empty(), "there are read models");
    for schema in found.lines() {
        postgres.sql(DATABASE, &format!("DROP SCHEMA \"{schema}\" CASCADE"));
    }
}

/// Redis Streams have each event once, in order, when the relay has caught up: all of them, or at least the last `kept`.
async fn check_published(redis: &Redis, last: u64, kept: u64) {
    eventually(RECOVERY, || async {
        let newest = cli(redis, &["XREVRANGE", "{cairn}:events", "+", "-", "COUNT", "1"]);
        match newest.lines().next() {
            Some(id) if id == format!("{last}-0") => Ok(()),
            other => Err(format!("the relay is at {other:?} of {last}")),
        }
    })
    .await;
    let oldest = cli(redis, &["XRANGE", "{cairn}:events", "-", "+", "COUNT", "1"]);
    let oldest: u64 = oldest.split('-').next().and_then(|text| text.parse().ok()).expect("an entry's id");
    assert!(oldest <= last.saturating_sub(kept) + 1, "{oldest} to {last} are too few");
    let mut next = oldest;
    while next <= last {
        let page = cli(redis, &["XRANGE", "{cairn}:events", &format!("{next}-0"), "+", "COUNT", "1000"]);
        // An entry is its id, the name of its field, and the field.
        let lines: Vec<&str> = page.lines().collect();
        assert!(!lines.is_empty(), "{next} of {last} is missing");
        for entry in lines.chunks(3) {
            assert_eq!(entry[0], format!("{next}-0"), "every position once, in order");
            let event: serde_json::Value = serde_json::from_str(entry[2]).expect("JSON");
            assert_eq!(
                (&event["specversion"], &event["position"]),
                (&json!("1.0"), &json!(next.to_string()))
            );
            next += 1;
        }
    }
    assert_eq!(cli(redis, &["XLEN", "{cairn}:events"]).trim(), (last - oldest + 1).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_die_one_after_the_other() {
    let mut cluster = Cluster::start(3, Postgres::start(), None).await;
    let mut journals = cluster.journals().await;
    let (mut random, hosts) = (Random::new(), cluster.clients.clone());
    meanwhile(&mut journals, &hosts, async || {
        for _ in 0..size(4, 200) {
            tokio::time::sleep(Duration::from_millis(300 + random.below(1_500))).await;
            let index = random.index(cluster.hosts.len());
            cluster.hosts[index].kill9().await;
            cluster.hosts[index].restart().await;
            cluster.moved(index);
        }
    })
    .await;
    cluster.check(&journals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_dies_again_and_again() {
    let mut cluster = Cluster::start(2, Postgres::start(), None).await;
    let mut journals = cluster.journals().await;
    let (mut random, hosts) = (Random::new(), cluster.clients.clone());
    let mut times = Vec::new();
    meanwhile(&mut journals, &hosts, async || {
        for _ in 0..size(2, 50) {
            tokio::time::sleep(Duration::from_millis(300 + random.below(1_500))).await;
            cluster.postgres.kill9();
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
            cluster.postgres.restart();
            times.push(cluster.recovered().await);
        }
    })
    .await;
    times.sort_unstable();
    println!(
        "all hosts write again after {:?} (median), {:?} (longest)",
        times[times.len() / 2],
        times.last()
    );
    cluster.check(&journals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_stands_still() {
    let cluster = Cluster::start(2, Postgres::start(), None).await;
    let mut journals = cluster.journals().await;
    meanwhile(&mut journals, &cluster.clients, async || {
        for _ in 0..size(1, 3) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.postgres.pause();
            tokio::time::sleep(Duration::from_secs(size(3, 30) as u64)).await;
            cluster.postgres.cont();
            cluster.recovered().await;
        }
    })
    .await;
    cluster.check(&journals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_to_the_database_is_bad() {
    let postgres = Postgres::start();
    let proxy = Proxy::start(postgres.port()).await;
    let cluster = Cluster::start(2, postgres, Some(proxy.port())).await;
    let mut journals = cluster.journals().await;
    let mut random = Random::new();
    meanwhile(&mut journals, &cluster.clients, async || {
        for _ in 0..size(1, 15) {
            for network in [Network::Cut, Network::Slow(Duration::from_millis(50)), Network::Silent] {
                tokio::time::sleep(Duration::from_millis(300 + random.below(700))).await;
                proxy.set(network);
                tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
                // What was half open does not come back, as after a router's restart.
                if network == Network::Silent {
                    proxy.set(Network::Cut);
                }
                proxy.set(Network::Good);
                cluster.recovered().await;
            }
        }
    })
    .await;
    cluster.check(&journals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_comes_and_goes() {
    let mut cluster = Cluster::start(2, Postgres::start(), None).await;
    let mut journals = cluster.journals().await;
    let (mut random, hosts) = (Random::new(), cluster.clients.clone());
    meanwhile(&mut journals, &hosts, async || {
        for _ in 0..size(1, 20) {
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
            cluster.redis.kill9();
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
            cluster.redis.restart();
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
            cli(&cluster.redis, &["FLUSHALL"]);
            for policy in ["noeviction", "allkeys-lru"] {
                cli(&cluster.redis, &["CONFIG", "SET", "maxmemory-policy", policy]);
                cli(&cluster.redis, &["CONFIG", "SET", "maxmemory", "1mb"]);
                tokio::time::sleep(Duration::from_millis(500 + random.below(1_000))).await;
                cli(&cluster.redis, &["CONFIG", "SET", "maxmemory", "0"]);
            }
            cluster.redis.pause();
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
            cluster.redis.cont();
        }
    })
    .await;
    assert_eq!(Journal::unknown(&journals), 0, "no command waits for Redis, or is refused because of it");
    cluster.check_kept(&journals, RETAIN_MIN_ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_sent_to_all_hosts_at_once_has_one_effect_and_one_answer() {
    let mut cluster = Cluster::start(3, Postgres::start(), None).await;
    for round in 0..size(2, 20) {
        let (id, key) = (new_id(), new_id().to_string());
        let payload = json!({"name": format!("once-{round}")});
        let mut tasks = JoinSet::new();
        for number in 0..100 {
            let client = cluster.hosts[number % 3].client();
            let (key, payload) = (key.clone(), payload.clone());
            tasks.spawn(async move { client.try_keyed(&key, "file", id, "create", &payload).await.ok() });
        }
        // One of them does not live to see it.
        cluster.hosts[round % 3].kill9().await;
        let answers = tasks.join_all().await;
        cluster.hosts[round % 3].restart().await;
        let mut texts: Vec<String> = Vec::new();
        for answer in answers.into_iter().flatten() {
            assert_eq!(answer.status, 201, "{}", answer.text);
            texts.push(answer.text);
        }
        for host in &cluster.hosts {
            let answer = host.client().try_keyed(&key, "file", id, "create", &payload).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text);
            texts.push(answer.text);
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "one answer, byte for byte: {texts:?}");
        let client = cluster.hosts[0].client();
        assert_eq!(client.all("/v1/events", &[("id", &id.to_string())], "after").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hot_file_takes_commands_from_every_host() {
    let (clients, renames) = (64, size(5, 100));
    let cluster = Cluster::start(3, Postgres::start(), None).await;
    let file = new_id();
    cluster.hosts[0].client().command("file", file, "create", json!({"name": "hot"})).await.created();
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for number in 0..clients {
        let client = cluster.hosts[number % 3].client();
        tasks.spawn(async move {
            let mut versions = Vec::new();
            for index in 0..renames {
                let name = json!({"name": format!("{number}-{index}")});
                let answer = client.command("file", file, "rename", name).await;
                versions.push(answer.ok()["version"].as_u64().expect("a version"));
            }
            versions
        });
    }
    let mut versions = tasks.join_all().await.concat();
    println!("{:.0} renames/s", versions.len() as f64 / started.elapsed().as_secs_f64());
    versions.sort_unstable();
    let last = 1 + (clients * renames) as u64;
    assert_eq!(versions, (2..=last).collect::<Vec<_>>(), "each version exactly once");
}

/// Sleeps before one in a hundred commits, inside of the transaction.
const SLEEPY: &str = "
    CREATE FUNCTION sleepy() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.01 THEN PERFORM pg_sleep(random() * 0.02); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER sleepy AFTER INSERT ON event_store DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.version = 1) EXECUTE FUNCTION sleepy()";

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_log_misses_nothing_and_sees_nothing_twice() {
    let (writers, total, batch) = (64, size(20_000, 2_000_000) as u64, 50);
    let cluster = Cluster::start(3, Postgres::start(), None).await;
    cluster.postgres.sql(DATABASE, SLEEPY);
    let mut tasks = JoinSet::new();
    let written = Arc::new(AtomicU64::new(0));
    for number in 0..writers {
        let client = cluster.hosts[number % 3].client();
        let written = written.clone();
        tasks.spawn(async move {
            while written.load(Ordering::Relaxed) < total {
                let id = new_id();
                let created = json!({"type": "FileCreated", "data": {
                    "name": id, "parent_id": null, "owner_id": id, "size": 1, "mime_type": "text/plain"}});
                let renames = (1..batch)
                    .map(|index| json!({"type": "FileRenamed", "data": {"name": format!("{id}-{index}")}}));
                let events: Vec<_> = std::iter::once(created).chain(renames).collect();
                let body = json!({"expected_version": 0, "events": events});
                let request = client.post(&format!("/v1/streams/file/{id}/events")).json(&body);
                // A cut connection may leave it open whether this is in the log; the reader sees either.
                if let Ok(answer) = client.try_send(request).await
                    && answer.status == 201
                {
                    written.fetch_add(batch, Ordering::Relaxed);
                }
            }
        });
    }
    let reader = cluster.hosts[2].client();
    let mut seen = 0;
    let mut rounds = 0;
    let mut strangers = Vec::new();
    loop {
        let done = tasks.is_empty();
        let page = reader.get(&format!("/v1/events?after={seen}&limit=1000")).await;
        let items = if page.status == 503 {
            Vec::new()
        } else {
            page.ok()["items"].as_array().expect("a page").clone()
        };
        for event in &items {
            seen += 1;
            assert_eq!(event["position"], seen, "dense and in order");
        }
        if done && items.is_empty() {
            break;
        }
        while tasks.try_join_next().is_some() {}
        rounds += 1;
        if rounds % 50 == 0 {
            let (cut, strange) = (
                "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database() ORDER BY random() LIMIT 2) AS found",
                "BEGIN; CREATE TABLE IF NOT EXISTS strangers (id int); INSERT INTO strangers VALUES (1);
                 SELECT pg_sleep(0.5); COMMIT",
            );
            cluster.postgres.sql(DATABASE, cut);
            // A stranger's transaction that stays open: it has a number from before what comes after it.
            strangers.push(cluster.postgres.begin_sql(DATABASE, strange));
        }
    }
    for mut stranger in strangers {
        stranger.wait().expect("psql ends");
    }
    let head = reader.head().await;
    assert_eq!(seen, head);
    let acknowledged = written.load(Ordering::Relaxed);
    assert!(seen >= acknowledged && acknowledged >= total, "{seen} seen, {acknowledged} acknowledged");
    assert_eq!(reader.get("/v1/audit/verify").await.ok()["valid"], true);
    println!("{seen} events followed");
}
