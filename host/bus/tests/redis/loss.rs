//! Redis loses what it had, in every way: it comes back from the log.

use std::time::Duration;

use crate::log::{ALL, FILES, FOLDERS, Log};
use crate::server::Server;

#[tokio::test]
async fn everything_is_flushed_while_events_come() {
    let server = Server::start().await;
    let log = Log::new(1);
    let mut relay = log.relay(&server.options(), 1);
    for _ in 0..5 {
        log.append(500);
        server.order("FLUSHALL").await;
        log.append(500);
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
    }
}

#[tokio::test]
async fn everything_is_flushed_while_nothing_happens() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(1_000);
    let mut relay = log.relay(&server.options(), 1);
    relay.catches_up(&log).await;
    server.order("FLUSHALL").await;
    log.is_published(&server, 0).await;
    assert!(relay.until("it was noticed", |status| status.losses == 1).await.error.is_none());
}

#[tokio::test]
async fn any_one_stream_is_lost() {
    for lost in [ALL, FILES, FOLDERS, "{cairn}:relay"] {
        let server = Server::start().await;
        let log = Log::new(1);
        log.append(700);
        let mut relay = log.relay(&server.options(), 1);
        relay.catches_up(&log).await;
        server.order(&format!("DEL {lost}")).await;
        // Nothing touches it.
        log.is_published(&server, 0).await;
        // It is touched.
        server.order(&format!("DEL {lost}")).await;
        log.append(70);
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
        // It is lost together with the hash, while no relay runs.
        relay.abort().await;
        server.order(&format!("DEL {lost} {{cairn}}:relay")).await;
        log.append(70);
        let mut relay = log.relay(&server.options(), 2);
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
        // It is lost alone, while no relay runs.
        relay.abort().await;
        server.order(&format!("DEL {lost}")).await;
        let mut relay = log.relay(&server.options(), 3);
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
    }
}

#[tokio::test]
async fn a_stream_that_nothing_touches_is_missed_while_others_are_written_to() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(7);
    let options = cairn_bus::RedisOptions { batch_events: 1, ..server.options() };
    let mut relay = log.relay(&options, 1);
    relay.catches_up(&log).await;
    for _ in 0..20_000 {
        log.append_one("file", "x");
    }
    server.order(&format!("DEL {FOLDERS}")).await;
    let status = relay.until("it is missed", |status| status.losses == 1).await;
    assert!(status.lag_events > 0, "{status:?}");
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn a_relay_that_dies_while_it_fills_in_is_replaced_by_one_that_goes_on() {
    let server = Server::start().await;
    let log = Log::new(1);
    log.append(3_000);
    let options = cairn_bus::RedisOptions { batch_events: 20, audit_ms: 3_600_000, ..server.options() };
    let mut relay = log.relay(&options, 1);
    relay.catches_up(&log).await;
    server.order(&format!("DEL {FOLDERS}")).await;
    for epoch in 2..=10 {
        let mut next = log.relay(&options, epoch);
        next.until("it fills in", |status| status.published > 0 && status.published < 3_000).await;
        next.abort().await;
    }
    log.relay(&options, 11).catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn redis_is_killed_and_comes_back_empty() {
    let mut server = Server::start().await;
    let log = Log::new(1);
    log.append(500);
    let mut relay = log.relay(&server.options(), 1);
    relay.catches_up(&log).await;
    server.kill();
    log.append(500);
    relay.until("it says so", |status| !status.connected && status.error.is_some()).await;
    server.restart().await;
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn redis_is_killed_again_and_again_under_load() {
    let mut server = Server::start().await;
    let log = Log::new(1);
    let options = cairn_bus::RedisOptions { batch_events: 50, ..server.options() };
    let mut relay = log.relay(&options, 1);
    for _ in 0..5 {
        log.append(2_000);
        let goal = log.head() - 1_900;
        relay.until("it has begun", |status| status.published >= goal).await;
        server.restart().await;
    }
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn redis_hangs_and_goes_on() {
    let server = Server::start().await;
    let log = Log::new(1);
    let options =
        cairn_bus::RedisOptions { command_timeout_ms: 200, connect_timeout_ms: 200, ..server.options() };
    let mut relay = log.relay(&options, 1);
    relay.until("it is connected", |status| status.connected).await;
    server.signal("-STOP");
    log.append(1_000);
    relay.until("it says so", |status| status.error.is_some()).await;
    server.signal("-CONT");
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn it_starts_before_redis_does() {
    let mut server = Server::start().await;
    server.kill();
    let log = Log::new(1);
    log.append(10);
    let mut relay = log.relay(&server.options(), 1);
    let status = relay.until("it says so", |status| status.error.is_some()).await;
    assert!(!status.connected);
    tokio::time::timeout(Duration::from_secs(1), async { log.append(10) })
        .await
        .expect("nobody waits for Redis");
    server.restart().await;
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}

#[tokio::test]
async fn streams_that_were_spoilt_are_made_anew() {
    let spoiled = [
        format!("XADD {FILES} * event garbage"),
        format!("XADD {FILES} 100-1 event garbage"),
        format!("XADD {ALL} * other field"),
        format!("SET {ALL} text"),
        format!("HSET {FOLDERS} a b"),
        "SET {cairn}:relay text".to_owned(),
        "HSET {cairn}:relay {cairn}:events x streams y".to_owned(),
    ];
    for spoil in spoiled {
        let server = Server::start().await;
        let log = Log::new(1);
        log.append(100);
        let mut relay = log.relay(&server.options(), 1);
        relay.catches_up(&log).await;
        for key in [ALL, FOLDERS, "{cairn}:relay"] {
            if spoil.starts_with(&format!("SET {key} ")) || spoil.starts_with(&format!("HSET {key} a")) {
                server.order(&format!("DEL {key}")).await;
            }
        }
        server.order(&spoil).await;
        log.append(10);
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
        // And when nobody was there to see it.
        relay.abort().await;
        log.append(10);
        log.relay(&server.options(), 2).catches_up(&log).await;
        log.is_published(&server, 0).await;
    }
}
