//! What consumers see: every event once, in order, without gaps, as far back as is retained.

use std::collections::BTreeSet;

use cairn_bus::RedisOptions;

use crate::log::{ALL, FILES, Log};
use crate::server::{Server, eventually, read_entry};

type Delivered = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

#[tokio::test]
async fn events_are_published_in_order_as_cloud_events() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(1_700);
    let mut relay = log.relay(&server.options(), 1);
    let status = relay.catches_up(&log).await;
    assert!(status.connected);
    assert_eq!((status.published, status.head, status.lag_events, status.losses), (1_700, 1_700, 0, 0));
    log.is_published(&server, 0).await;
    for (id, event) in server.entries(FILES).await {
        assert_eq!(id, format!("{}-0", event["position"].as_str().expect("text")));
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], format!("/cairn/{}", log.id));
        assert_eq!(event["aggregate"], "file");
    }
}

#[tokio::test]
async fn new_events_follow_at_once() {
    let server = Server::start().await;
    let log = Log::new(1);
    // Only wake-ups can make it look: audits are far apart.
    let mut relay = log.relay(&RedisOptions { audit_ms: 3_600_000, ..server.options() }, 1);
    relay.until("it is connected", |status| status.connected).await;
    for _ in 0..20 {
        log.append(3);
        relay.catches_up(&log).await;
    }
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(100);
    log.relay(&server.options(), 1).catches_up(&log).await;
    let before = server.entries(ALL).await;
    let added: u64 = entries_added(&server).await;
    log.relay(&server.options(), 2).catches_up(&log).await;
    // Not even when nobody remembers what was published.
    server.order("DEL {cairn}:relay").await;
    log.relay(&server.options(), 3).catches_up(&log).await;
    assert_eq!(server.entries(ALL).await, before);
    assert_eq!(entries_added(&server).await, added);
}

async fn entries_added(server: &Server) -> u64 {
    let info: redis::Value = server.command("XINFO STREAM {cairn}:events").await;
    let fields: std::collections::HashMap<String, redis::Value> =
        redis::from_redis_value(info).expect("a map");
    redis::from_redis_value(fields["entries-added"].clone()).expect("a number")
}

#[tokio::test]
async fn a_consumer_group_gets_each_event_once() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(300);
    server.order("XGROUP CREATE {cairn}:events group 0 MKSTREAM").await;
    let mut relay = log.relay(&server.options(), 1);
    let mut seen = Vec::new();
    let mut turn = 0;
    while seen.len() < 600 {
        if seen.len() == 300 {
            log.append(300);
        }
        turn += 1;
        let command = format!("XREADGROUP GROUP group consumer{} COUNT 50 STREAMS {ALL} >", turn % 2);
        let delivered: Delivered = server.command(&command).await;
        for (_, entries) in delivered.unwrap_or_default() {
            for entry in entries {
                let (id, _) = read_entry(entry);
                server.order(&format!("XACK {ALL} group {id}")).await;
                seen.push(id);
            }
        }
    }
    relay.catches_up(&log).await;
    let expected: Vec<String> = (1..=600).map(|position| format!("{position}-0")).collect();
    assert_eq!(seen, expected);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 600);
}

#[tokio::test]
async fn streams_are_trimmed_to_what_is_retained() {
    let server = Server::start().await;
    let log = Log::new(1);
    let options = RedisOptions { retain_entries: 100, ..server.options() };
    let mut relay = log.relay(&options, 1);
    log.append(1_000);
    relay.catches_up(&log).await;
    log.is_published(&server, 900).await;
    // A stream whose last event is long past is trimmed too, and is not mistaken for a lost one.
    for _ in 0..300 {
        log.append_one("file", "x");
    }
    relay.catches_up(&log).await;
    log.is_published(&server, 1_200).await;
    assert!(server.positions("{cairn}:events:other").await.is_empty());
    log.append_one("other", "x");
    let status = relay.catches_up(&log).await;
    assert_eq!(server.positions("{cairn}:events:other").await, [1_301]);
    assert_eq!(status.losses, 0);
}

#[tokio::test]
async fn what_a_consumer_deleted_is_not_put_back() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(10);
    let mut relay = log.relay(&server.options(), 1);
    relay.catches_up(&log).await;
    server.order("XDEL {cairn}:events 9-0 10-0").await;
    log.append(1);
    relay.catches_up(&log).await;
    relay.abort().await;
    let mut relay = log.relay(&server.options(), 2);
    log.append(1);
    relay.catches_up(&log).await;
    assert_eq!(server.positions(ALL).await, [1, 2, 3, 4, 5, 6, 7, 8, 11, 12]);
}

#[tokio::test]
async fn a_relay_that_was_away_for_long_goes_on_where_the_streams_begin_now() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(50);
    let options = RedisOptions { retain_entries: 100, ..server.options() };
    let mut relay = log.relay(&options, 1);
    relay.catches_up(&log).await;
    relay.abort().await;
    log.append(1_000);
    log.relay(&options, 2).catches_up(&log).await;
    log.is_published(&server, 950).await;
}

#[tokio::test]
async fn a_relay_that_dies_anywhere_leaves_nothing_out() {
    let server = Server::start().await;
    let log = Log::new(1);
    let options = RedisOptions { batch_events: 7, ..server.options() };
    for epoch in 1..=20 {
        log.append(100);
        let mut relay = log.relay(&options, epoch);
        let goal = log.head() - 60;
        relay.until("it has begun", |status| status.published > goal).await;
        relay.abort().await;
    }
    log.relay(&options, 21).catches_up(&log).await;
    log.is_published(&server, 0).await;
    eventually("the hash says so", async || {
        let last: u64 = server.command("HGET {cairn}:relay {cairn}:events").await;
        (last == 2_000).then_some(())
    })
    .await;
}
