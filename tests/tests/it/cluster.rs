//! Several hosts on one log in PostgreSQL.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cairn_servers::{Postgres, Redis};
use cairn_tests::{TestHost, eventually, new_id};
use futures_util::future::join_all;
use serde_json::json;

/// How long another host may take to take over.
const TAKE_OVER: Duration = Duration::from_secs(60);

async fn host(database: &str) -> TestHost {
    TestHost::builder().argument("--database").argument(database).start().await
}

/// Runs a command with redis-cli and answers what it prints.
pub fn cli(redis: &Redis, words: &[&str]) -> String {
    let output = Command::new("redis-cli").arg("-p").arg(redis.port().to_string()).args(words).output();
    String::from_utf8(output.expect("redis-cli").stdout).expect("text")
}

#[tokio::test]
async fn what_one_host_writes_another_one_reads() {
    let postgres = Postgres::start();
    let database = postgres.database("cairn");
    let (one, other) = (host(&database).await, host(&database).await);
    let (here, there) = (one.client(), other.client());
    let (folder, file) = (new_id(), new_id());
    here.command("folder", folder, "create", json!({"name": "f"})).await.created();
    let made = there.command("file", file, "create", json!({"name": "a", "parent_id": folder})).await;
    let position = made.header("cairn-position").expect("a position").to_owned();
    made.created();
    // Names are unique over all hosts, and a stale aggregate is brought up to date.
    here.command("file", new_id(), "create", json!({"name": "a", "parent_id": folder}))
        .await
        .problem(409, "conflict");
    assert_eq!(here.command("file", file, "rename", json!({"name": "b"})).await.ok()["version"], 2);
    assert_eq!(there.command("file", file, "rename", json!({"name": "c"})).await.ok()["version"], 3);
    assert_eq!(here.state("file", file).await["name"], "c");
    for client in [&here, &there] {
        let query = client.request(reqwest::Method::GET, &format!("/v1/queries/file?id={file}"));
        client.send(query.header("Cairn-Min-Position", &position)).await.ok();
        assert_eq!(client.query("file", &[("id", &file.to_string())]).await.ok()["kind"], "file");
    }
    // The cascade runs on one of them only, and only once.
    here.command("folder", folder, "delete", json!({})).await.ok();
    eventually(TAKE_OVER, || async {
        let state = there.state("file", file).await;
        if state["is_deleted"] == true { Ok(()) } else { Err(format!("not deleted: {state}")) }
    })
    .await;
    assert_eq!(there.state("file", file).await["name"], "c");
    assert_eq!(here.get("/v1/audit/verify").await.ok()["valid"], true);
    assert_eq!(here.events().await.len() as u64, there.head().await);
}

#[tokio::test]
async fn a_dead_host_is_replaced() {
    let postgres = Postgres::start();
    let database = postgres.database("cairn");
    let mut one = host(&database).await;
    let other = host(&database).await;
    one.client().command("folder", new_id(), "create", json!({"name": "f"})).await.created();
    one.kill9().await;
    let (client, file) = (other.client(), new_id());
    client.command("file", file, "create", json!({"name": "a"})).await.created();
    assert_eq!(client.query("file", &[("id", &file.to_string())]).await.ok()["name"], "a");
}

#[tokio::test]
async fn the_server_may_be_killed_under_a_running_host() {
    let mut postgres = Postgres::start();
    let host = host(&postgres.database("cairn")).await;
    let (client, file) = (host.client(), new_id());
    client.command("file", file, "create", json!({"name": "0"})).await.created();
    postgres.kill9();
    let answer = client.command("file", file, "rename", json!({"name": "1"})).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    postgres.restart();
    eventually(TAKE_OVER, || async {
        let answer = client.command("file", file, "rename", json!({"name": "2"})).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    assert_eq!(client.query("file", &[("id", &file.to_string())]).await.ok()["name"], "2");
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);
}

#[tokio::test]
async fn a_hot_file_takes_commands_from_every_host() {
    const CLIENTS: usize = 64;
    const EACH: usize = 10;
    let postgres = Postgres::start();
    let database = postgres.database("cairn");
    let hosts = [host(&database).await, host(&database).await, host(&database).await];
    let file = new_id();
    hosts[0].client().command("file", file, "create", json!({"name": "0"})).await.created();
    let clients: Vec<_> = (0..CLIENTS).map(|number| Arc::new(hosts[number % hosts.len()].client())).collect();
    let rename = |number: usize| {
        let client = clients[number].clone();
        async move {
            for round in 0..EACH {
                client
                    .command("file", file, "rename", json!({"name": format!("{number}-{round}")}))
                    .await
                    .ok();
            }
        }
    };
    join_all((0..CLIENTS).map(rename)).await;
    let state = clients[0].get(&format!("/v1/aggregates/file/{file}")).await.ok();
    assert_eq!(state["version"], 1 + CLIENTS * EACH);
}

#[tokio::test]
async fn hosts_that_start_together_activate_a_plugin_once() {
    let postgres = Postgres::start();
    let database = postgres.database("cairn");
    let (one, other, third) = tokio::join!(host(&database), host(&database), host(&database));
    let mut activations = one.client().events().await;
    activations.retain(|event| event["type"] == "PluginActivated");
    assert_eq!(activations.len(), 1, "{activations:?}");
    for host in [one, other, third] {
        host.client().command("folder", new_id(), "create", json!({"name": host.address()})).await.created();
    }
}

#[tokio::test]
async fn a_cached_answer_is_never_an_old_one() {
    const ROUNDS: usize = 20;
    let (postgres, mut redis) = (Postgres::start(), Redis::start());
    let database = postgres.database("cairn");
    let host = || {
        let database = TestHost::builder().argument("--database").argument(&database);
        database.argument("--redis").argument(redis.url()).start()
    };
    let (one, other) = (host().await, host().await);
    let (here, there) = (one.client(), other.client());
    let file = new_id();
    here.command("file", file, "create", json!({"name": "0"})).await.created();
    let id = file.to_string();
    for round in 1..=ROUNDS {
        let name = round.to_string();
        here.command("file", file, "rename", json!({"name": name})).await.ok();
        there.has_seen(here.head().await);
        for client in [&there, &here, &there, &here] {
            assert_eq!(client.query("file", &[("id", &id)]).await.ok()["name"], name);
        }
    }
    // Without Redis it goes on.
    redis.kill9();
    here.command("file", file, "rename", json!({"name": "last"})).await.ok();
    there.has_seen(here.head().await);
    assert_eq!(there.query("file", &[("id", &id)]).await.ok()["name"], "last");
    let ready = there.get("/readyz").await.ok();
    assert!(ready["relay"].is_object(), "{ready}");
}

#[tokio::test]
async fn the_log_is_published_to_redis_and_comes_back_after_a_flush() {
    let redis = Redis::start();
    let host = TestHost::builder().argument("--redis").argument(redis.url()).start().await;
    let client = host.client();
    for number in 0..20 {
        client.command("file", new_id(), "create", json!({"name": number.to_string()})).await.created();
    }
    let head = client.head().await;
    let published = || async {
        let length = cli(&redis, &["XLEN", "{cairn}:events"]);
        if length.trim() == head.to_string() { Ok(()) } else { Err(format!("{length} of {head}")) }
    };
    eventually(TAKE_OVER, published).await;
    let ready = client.get("/readyz").await.ok();
    assert_eq!(ready["relay"]["connected"], true, "{ready}");
    cli(&redis, &["FLUSHALL"]);
    client.command("file", new_id(), "create", json!({"name": "after"})).await.created();
    let head = head + 1;
    eventually(TAKE_OVER, || async {
        let length = cli(&redis, &["XLEN", "{cairn}:events"]);
        if length.trim() == head.to_string() { Ok(()) } else { Err(format!("{length} of {head}")) }
    })
    .await;
}
