//! Read models are built beside the one that queries read: there is no moment without rows, and none with two kinds of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cairn_servers::Postgres;
use cairn_tests::{Builder, Client, TestHost, eventually, guest, new_id, read_model, size};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(120);

fn builder(plugin: &Path, database: Option<&str>) -> Builder {
    let builder = TestHost::builder().plugin(plugin);
    match database {
        Some(url) => builder.argument("--database").argument(url),
        None => builder,
    }
}

/// The faulty plugin with another version of its projection `entries`, whose rows name it.
fn second_version(folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(guest("faulty")).expect("the guest");
    let mark = b"version-of-entries:1";
    let at = bytes.windows(mark.len()).position(|window| window == mark).expect("the mark");
    bytes[at + mark.len() - 1] = b'2';
    let path = folder.join("faulty-2.wasm");
    std::fs::write(&path, bytes).expect("a file");
    path
}

async fn fill(client: &Client, probes: usize, each: usize) {
    let fill_one = |_| async {
        let id = new_id();
        client.command("probe", id, "create", json!({})).await.created();
        for by in 0..each {
            client.command("probe", id, "add", json!({"by": by % 10})).await.ok();
        }
    };
    let ids: Vec<usize> = (0..probes).collect();
    for some in ids.chunks(16) {
        join_all(some.iter().map(fill_one)).await;
    }
}

async fn call(client: &Client, method: Method, path: &str) -> Value {
    let answer = client.send(client.request(method, &format!("/v1/projections/{path}"))).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()
}

async fn status(client: &Client, projection: &str) -> Value {
    client.get(&format!("/v1/projections/{projection}")).await.ok()
}

async fn until(client: &Client, projection: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(LIMIT, || async {
        let status = status(client, projection).await;
        if is(&status) { Ok(status) } else { Err(status.to_string()) }
    })
    .await
}

/// All rows, sorted, once the projection is where the log is.
async fn rows(client: &Client) -> Vec<String> {
    client.has_seen(client.head().await);
    let rows = client.query("entries", &[]).await.ok();
    let mut rows: Vec<String> =
        rows["items"].as_array().expect("rows").iter().map(Value::to_string).collect();
    rows.sort_unstable();
    rows
}

/// Asks all the time until it is told to stop: never fewer rows than before, never rows of two versions. How often it asked.
async fn watch(client: Client, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    let mut before = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.request(Method::GET, "/v1/queries/entries");
        let rows = client.send(answer).await.ok();
        let rows = rows["items"].as_array().expect("rows");
        assert!(rows.len() >= before, "{} rows after {before}", rows.len());
        let made = rows.first().map(|row| row[3].clone());
        assert!(rows.iter().all(|row| Some(&row[3]) == made.as_ref()), "rows of two versions");
        before = rows.len();
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

async fn a_rebuild_under_load_is_never_seen(database: Option<&str>) {
    let host = builder(&guest("faulty"), database).start().await;
    let client = host.client();
    fill(&client, size(40, 400), 20).await;
    let before = rows(&client).await;
    assert_eq!(before.len(), size(40, 400) * 20);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watching = tokio::spawn(watch(host.client(), stop.clone(), asked.clone()));
    let commands = client.events().await.len();
    for round in 1..=2_u64 {
        let load = fill(&client, 8, 20);
        let rebuild = async {
            call(&client, Method::POST, "entries/rebuild").await;
            until(&client, "entries", |status| status["instance"] == round && status["rebuild"].is_null())
                .await;
        };
        tokio::join!(load, rebuild);
    }
    let seen = asked.load(Ordering::Relaxed);
    eventually(LIMIT, || async {
        if asked.load(Ordering::Relaxed) > seen { Ok(()) } else { Err("no query since".to_owned()) }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    watching.await.expect("what queries saw");
    let after = rows(&client).await;
    assert_eq!(after.len(), before.len() + 2 * 8 * 20);
    assert!(before.iter().all(|row| after.binary_search(row).is_ok()));
    // Nothing was done twice: the log has what was sent, and the two wishes.
    assert_eq!(client.events().await.len(), commands + 2 * 8 * 21 + 2);
    // The one before the last is kept, those before it are not.
    let status = status(&client, "entries").await;
    assert_eq!((&status["state"], &status["dead_letters"]), (&json!("running"), &json!(0)));
    if database.is_none() {
        let read = host.data().join("read");
        let exists = |name: &str| read.join(name).exists();
        assert_eq!(
            ["entries.sqlite", "entries.1.sqlite", "entries.2.sqlite"].map(exists),
            [false, true, true]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_load_is_never_seen_on_sqlite() {
    a_rebuild_under_load_is_never_seen(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_under_load_is_never_seen_on_postgres() {
    let postgres = Postgres::start();
    a_rebuild_under_load_is_never_seen(Some(&postgres.database("cairn"))).await;
    let sums = "SELECT md5(string_agg(e::text, ',' ORDER BY id, version)) FROM";
    let shown = postgres.sql("cairn", &format!("{sums} public.entries AS e"));
    assert_eq!(shown, postgres.sql("cairn", &format!("{sums} \"read_entries.2\".entries AS e")));
    assert_eq!(postgres.sql("cairn", "SELECT to_regnamespace('read_entries') IS NULL"), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_the_same_after_a_rebuild() {
    let host = TestHost::start().await;
    let client = host.client();
    let mut folders: Vec<Option<Uuid>> = vec![None];
    for number in 0..30_usize {
        let (id, parent) = (new_id(), folders[number / 3]);
        let made = json!({"name": format!("d{number}"), "parent_id": parent});
        client.command("folder", id, "create", made).await.created();
        folders.push(Some(id));
        let file = json!({"name": format!("f{number}"), "parent_id": id});
        client.command("file", new_id(), "create", file).await.created();
    }
    let last = folders[20].expect("a folder");
    client.command("folder", last, "move", json!({"parent_id": folders[1]})).await.ok();
    // A policy deletes what is in a folder.
    let (gone, inside) = (folders[30].expect("a folder"), new_id());
    client.command("file", inside, "create", json!({"name": "inside", "parent_id": gone})).await.created();
    client.command("folder", gone, "delete", json!({})).await.ok();
    eventually(LIMIT, || async {
        let state = client.state("file", inside).await;
        if state["is_deleted"] == true { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    client.has_seen(client.head().await);
    let before = read_model(&client).await;
    let head = client.head().await;
    call(&client, Method::POST, "files/rebuild").await;
    until(&client, "files", |status| status["instance"] == 1).await;
    assert_eq!(read_model(&client).await, before);
    // The policy did nothing about it: the log has only the wish more.
    assert_eq!(client.head().await, head + 1);
}

/// A changed version is built beside the old rows, which their own code answers until then; killed hosts go on.
async fn a_changed_version_is_built_beside_the_old_one(database: Option<&str>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let second = second_version(folder.path());
    let host = builder(&guest("faulty"), database).shared(&data).start().await;
    let client = host.client();
    fill(&client, size(40, 400), 20).await;
    let before = rows(&client).await;
    // It rests, so the new one is not built before somebody has looked at the old one.
    call(&client, Method::POST, "entries/pause").await;
    drop(host);
    let _ = std::fs::remove_file(data.join("listen"));
    let mut host = builder(&second, database).shared(&data).start().await;
    let client = host.client();
    until(&client, "entries", |status| status["state"] == "paused" && status["rebuild"]["instance"] == 1)
        .await;
    let old = client.request(Method::GET, "/v1/queries/entries");
    let old = client.send(old).await.ok();
    assert_eq!(old["items"].as_array().expect("rows").len(), before.len(), "the old rows are there");
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watching = tokio::spawn(watch(host.client(), stop.clone(), asked.clone()));
    call(&client, Method::POST, "entries/resume").await;
    until(&client, "entries", |status| status["instance"] == 1).await;
    stop.store(true, Ordering::Relaxed);
    watching.await.expect("what queries saw");
    let new = rows(&client).await;
    assert_eq!(new.len(), before.len());
    assert!(new.iter().all(|row| row.ends_with(",2]")), "{:?}", new.first());

    // Back to the first version: the rows that are still there have only to catch up.
    fill(&client, 1, 5).await;
    host.kill9().await;
    let _ = std::fs::remove_file(data.join("listen"));
    let host = builder(&guest("faulty"), database).shared(&data).start().await;
    let client = host.client();
    until(&client, "entries", |status| status["instance"] == 0 && status["rebuild"].is_null()).await;
    let back = rows(&client).await;
    assert_eq!(back.len(), before.len() + 5);
    assert!(back.iter().all(|row| row.ends_with(",1]")), "{:?}", back.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_version_is_built_beside_the_old_one_on_sqlite() {
    a_changed_version_is_built_beside_the_old_one(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_version_is_built_beside_the_old_one_on_postgres() {
    let postgres = Postgres::start();
    a_changed_version_is_built_beside_the_old_one(Some(&postgres.database("cairn"))).await;
}

/// Kills the host in the middle of a build: behind the first page there is an event that takes a second.
async fn a_killed_rebuild_goes_on(database: Option<&str>) {
    let mut host = builder(&guest("faulty"), database).start().await;
    let client = host.client();
    let slow = new_id();
    client.command("probe", slow, "create", json!({})).await.created();
    fill(&client, size(60, 200), 40).await;
    client.command("probe", slow, "add", json!({"by": 555})).await.ok();
    fill(&client, 2, 5).await;
    let before = rows(&client).await;
    call(&client, Method::POST, "entries/rebuild").await;
    let mut reached = 0;
    for _ in 0..2 {
        let client = host.client();
        let status =
            until(&client, "entries", |status| status["rebuild"]["position"].as_u64() > Some(0)).await;
        let position = status["rebuild"]["position"].as_u64().expect("a position");
        assert!(position >= reached, "{position} after {reached}");
        assert_eq!((&status["state"], &status["instance"]), (&json!("rebuilding"), &json!(0)));
        assert!(status["rebuild"]["seconds_left"].as_f64().is_some(), "{status}");
        reached = position;
        host.kill9().await;
        host.restart().await;
    }
    let client = host.client();
    until(&client, "entries", |status| status["instance"] == 1).await;
    assert_eq!(rows(&client).await, before);
    assert_eq!(status(&client, "entries").await["state"], "running");
    let begun = host.log();
    let begun: Vec<_> = begun.lines().filter(|line| line.contains("a read model is built")).collect();
    let (first, last) = (begun[0], begun[begun.len() - 1]);
    assert!(first.contains("position=0") && !last.contains("position=0"), "{begun:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rebuild_goes_on_on_sqlite() {
    a_killed_rebuild_goes_on(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rebuild_goes_on_on_postgres() {
    let postgres = Postgres::start();
    a_killed_rebuild_goes_on(Some(&postgres.database("cairn"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_of_a_cluster_moves_to_the_new_rows() {
    let postgres = Postgres::start();
    let url = postgres.database("cairn");
    let (mut one, other) = (
        builder(&guest("faulty"), Some(&url)).start().await,
        builder(&guest("faulty"), Some(&url)).start().await,
    );
    let (here, there) = (one.client(), other.client());
    fill(&here, 20, 20).await;
    there.has_seen(here.head().await);
    let before = rows(&there).await;
    call(&there, Method::POST, "entries/rebuild").await;
    for client in [&here, &there] {
        until(client, "entries", |status| status["instance"] == 1).await;
        assert_eq!(rows(client).await, before);
    }
    // The first host may be the one that builds; the other one goes on with it.
    call(&there, Method::POST, "entries/rebuild").await;
    one.kill9().await;
    until(&there, "entries", |status| status["instance"] == 2).await;
    assert_eq!(rows(&there).await, before);
}

#[tokio::test]
async fn a_rebuild_is_cancelled_and_a_projection_rests() {
    let mut host = builder(&guest("faulty"), None).start().await;
    let client = host.client();
    fill(&client, 4, 5).await;
    let before = rows(&client).await;
    call(&client, Method::POST, "entries/pause").await;
    call(&client, Method::POST, "entries/pause").await;
    until(&client, "entries", |status| status["state"] == "paused").await;
    fill(&client, 1, 1).await;
    let client = host.client();
    let query = client.request(Method::GET, "/v1/queries/entries");
    let resting = client.send(query).await.ok();
    assert_eq!(resting["items"].as_array().expect("rows").len(), before.len(), "it rests");
    call(&client, Method::POST, "entries/rebuild").await;
    let again = client.post("/v1/projections/entries/rebuild");
    client.send(again).await.problem(409, "conflict");
    let built = host.data().join("read/entries.1.sqlite");
    eventually(LIMIT, || async { if built.exists() { Ok(()) } else { Err("not begun".to_owned()) } }).await;
    host.restart().await;
    let client = host.client();
    let paused = status(&client, "entries").await;
    assert_eq!((&paused["state"], &paused["rebuild"]["instance"]), (&json!("paused"), &json!(1)));
    assert!(paused["lag_events"].as_u64().expect("a lag") >= 2, "{paused}");
    call(&client, Method::DELETE, "entries/rebuild").await;
    eventually(LIMIT, || async { if built.exists() { Err("still there".to_owned()) } else { Ok(()) } }).await;
    assert!(status(&client, "entries").await["rebuild"].is_null());
    call(&client, Method::POST, "entries/resume").await;
    let after = rows(&client).await;
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(status(&client, "entries").await["instance"], 0);
    // A number is never used twice.
    call(&client, Method::POST, "entries/rebuild").await;
    until(&client, "entries", |status| status["instance"] == 2).await;
    assert_eq!(rows(&client).await, after);
}
