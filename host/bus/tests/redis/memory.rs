//! A Redis without memory.

use crate::log::{ALL, Log};
use crate::server::{Server, eventually};

async fn used_memory(server: &Server) -> u64 {
    let info: String = server.command("INFO memory").await;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("the line");
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_redis_that_refuses_to_write_is_written_to_when_it_can_again() {
    for policy in ["noeviction", "allkeys-lru"] {
        let server = Server::start().await;
        let log = Log::new(1);
        log.append(100);
        let mut relay = log.relay(&server.options(), 1);
        relay.catches_up(&log).await;
        server.order(&format!("CONFIG SET maxmemory-policy {policy}")).await;
        server.order("CONFIG SET maxmemory 1mb").await;
        log.append(6_000);
        let out_of_memory = |error: &String| error.contains("OOM");
        relay
            .until("it says so", |status| {
                status.lag_events > 0 && status.error.as_ref().is_some_and(out_of_memory)
            })
            .await;
        server.order("CONFIG SET maxmemory 0").await;
        relay.catches_up(&log).await;
        log.is_published(&server, 0).await;
    }
}

#[tokio::test]
async fn less_is_retained_when_there_is_no_room_for_all() {
    let server = Server::start().await;
    let log = Log::new(1);
    server.order("CONFIG SET maxmemory-policy noeviction").await;
    server.order(&format!("CONFIG SET maxmemory {}", used_memory(&server).await + (3 << 20))).await;
    let options = cairn_bus::RedisOptions { retain_min_entries: 200, ..server.options() };
    log.append(20_000);
    let mut relay = log.relay(&options, 1);
    relay.catches_up(&log).await;
    let positions = server.positions(ALL).await;
    assert!(positions.len() >= 200 && positions.len() < 20_000, "{}", positions.len());
    let expected: Vec<u64> = (20_001 - positions.len() as u64..=20_000).collect();
    assert_eq!(positions, expected);
}

#[tokio::test]
async fn a_redis_that_evicts_streams_gets_them_again_when_it_has_room() {
    let server = Server::start().await;
    let log = Log::new(1);
    server.order("CONFIG SET maxmemory-policy allkeys-lru").await;
    server.order(&format!("CONFIG SET maxmemory {}", used_memory(&server).await + (2 << 20))).await;
    let mut relay = log.relay(&server.options(), 1);
    log.append(6_000);
    eventually("keys are evicted", async || {
        let info: String = server.command("INFO stats").await;
        let line = info.lines().find_map(|line| line.strip_prefix("evicted_keys:")).expect("the line");
        (line.trim() != "0").then_some(())
    })
    .await;
    log.append(1_000);
    server.order("CONFIG SET maxmemory 0").await;
    relay.catches_up(&log).await;
    log.is_published(&server, 0).await;
}
