//! Events that a projection cannot take: only their streams wait, an operator decides, and the log remembers what.

use std::time::Duration;

use cairn_model::{NewEvent, Principal, StreamKey};
use cairn_servers::Postgres;
use cairn_store::{Append, Options, Outcome, Store};
use cairn_tests::{Client, TestHost, eventually, guest, new_id};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);

async fn host() -> TestHost {
    TestHost::builder().plugin(guest("faulty")).start().await
}

async fn probe(client: &Client) -> Uuid {
    let id = new_id();
    client.command("probe", id, "create", json!({})).await.created();
    id
}

/// Adds these numbers one after the other; the positions of the events.
async fn add(client: &Client, probe: Uuid, numbers: &[i64]) -> Vec<u64> {
    let mut positions = Vec::new();
    for by in numbers {
        let added = client.command("probe", probe, "add", json!({"by": by})).await.ok();
        positions.push(added["position"].as_u64().expect("a position"));
    }
    positions
}

/// The numbers that the projection has of this probe, in the order of their versions, once it is where the client is.
async fn numbers(client: &Client, projection: &str, probe: Uuid) -> Vec<i64> {
    let rows = client.query(projection, &[]).await.ok();
    let rows = rows["items"].as_array().expect("rows");
    let own = rows.iter().filter(|row| row[0] == json!(probe));
    own.map(|row| row[2].as_i64().expect("a number")).collect()
}

async fn letters(client: &Client, projection: &str) -> Vec<Value> {
    client.all(&format!("/v1/projections/{projection}/dead-letters"), &[("limit", "1")], "after").await
}

async fn positions(client: &Client, projection: &str) -> Vec<u64> {
    letters(client, projection).await.iter().map(|letter| letter["position"].as_u64().expect("one")).collect()
}

async fn status(client: &Client, projection: &str) -> Value {
    client.get(&format!("/v1/projections/{projection}")).await.ok()
}

/// Waits until the projection stands like this.
async fn until(client: &Client, projection: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(LIMIT, || async {
        let status = status(client, projection).await;
        if is(&status) { Ok(status) } else { Err(status.to_string()) }
    })
    .await
}

/// Decides about dead letters; queries of this client wait until it has been carried out.
async fn decide(client: &Client, path: &str, body: Option<Value>) -> u64 {
    let request = client.post(&format!("/v1/projections/{path}"));
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = client.send(request).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["position"].as_u64().expect("a position")
}

/// One poison event among many, edited, skipped, tried again; then the read model is taken away.
async fn a_poison_event_parks_its_stream_only(mut host: TestHost, read_models_go: impl AsyncFn(&TestHost)) {
    let client = host.client();
    let (sick, well) = (probe(&client).await, probe(&client).await);
    let bad = add(&client, sick, &[1, 13, 2, 666, 3]).await;
    add(&client, well, &[4, 5]).await;
    assert_eq!(numbers(&client, "entries", sick).await, [1]);
    assert_eq!(numbers(&client, "entries", well).await, [4, 5]);
    let parked = letters(&client, "entries").await;
    assert_eq!(positions(&client, "entries").await, bad[1..]);
    assert_eq!((&parked[0]["attempts"], &parked[0]["waits_for"]), (&json!(4), &Value::Null));
    assert!(parked[0]["cause"].as_str().expect("a cause").contains("thirteen"), "{}", parked[0]);
    assert_eq!((&parked[1]["attempts"], &parked[1]["waits_for"]), (&json!(0), &json!(bad[1])));
    let groups = client.get("/v1/projections/entries/dead-letters?limit=1").await.ok()["groups"].clone();
    assert_eq!((&groups[0]["failed"], &groups[0]["waiting"]), (&json!(1), &json!(3)), "{groups}");
    let print = parked[0]["fingerprint"].as_str().expect("a fingerprint");
    let filtered = format!("/v1/projections/entries/dead-letters?fingerprint={print}&stream=probe/{sick}");
    assert_eq!(client.get(&filtered).await.ok()["items"].as_array().expect("items").len(), 4);
    assert_eq!(status(&client, "entries").await["dead_letters"], 4);

    // What fails again is parked again once, and its attempts are counted.
    decide(&client, &format!("entries/dead-letters/{}/retry", bad[1]), None).await;
    assert_eq!(numbers(&client, "entries", sick).await, [1]);
    assert_eq!(letters(&client, "entries").await[0]["attempts"], 5);

    // Edited, it comes home with what waited, up to the next one that fails.
    decide(&client, &format!("entries/dead-letters/{}/retry", bad[1]), Some(json!({"by": 7}))).await;
    assert_eq!(numbers(&client, "entries", sick).await, [1, 7, 2]);
    assert_eq!(positions(&client, "entries").await, bad[3..]);
    let trap = &letters(&client, "entries").await[0];
    assert!(trap["cause"].as_str().expect("a cause").contains("last words"), "{trap}");
    assert!(trap["detail"].as_str().expect("a backtrace").contains("wasm backtrace"), "{trap}");
    assert_eq!(trap["waits_for"], Value::Null);

    // Skipped with a reason, the rest comes home; the log keeps everything as it was.
    let reason = json!({"reason": "it was a typing error"});
    decide(&client, &format!("entries/dead-letters/{}/skip", bad[3]), Some(reason)).await;
    assert_eq!(numbers(&client, "entries", sick).await, [1, 7, 2, 3]);
    assert_eq!(positions(&client, "entries").await, [0; 0]);
    add(&client, sick, &[8]).await;
    assert_eq!(numbers(&client, "entries", sick).await, [1, 7, 2, 3, 8]);
    let events = client.events().await;
    let of = |event_type: &str| events.iter().filter(|event| event["type"] == event_type).collect::<Vec<_>>();
    assert_eq!(of("DeadLetterSkipped")[0]["data"]["reason"], "it was a typing error");
    assert_eq!(of("DeadLetterEdited")[0]["data"]["data"], json!({"by": 7}));
    assert!(of("DeadLetterEdited")[0]["metadata"]["actor"].is_string());
    assert!(of("ProbeAdded").iter().any(|event| event["data"] == json!({"by": 13})));
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);

    // A read model that is built anew honours the decisions.
    host.stop().await;
    read_models_go(&host).await;
    host.restart().await;
    let again = host.client();
    again.has_seen(again.head().await);
    assert_eq!(numbers(&again, "entries", sick).await, [1, 7, 2, 3, 8]);
    assert_eq!(numbers(&again, "entries", well).await, [4, 5]);
    assert_eq!(positions(&again, "entries").await, [0; 0]);
}

#[tokio::test]
async fn a_poison_event_parks_its_stream_only_on_sqlite() {
    let read_models_go = async |host: &TestHost| {
        std::fs::remove_dir_all(host.data().join("read")).expect("they can be deleted")
    };
    a_poison_event_parks_its_stream_only(host().await, read_models_go).await;
}

#[tokio::test]
async fn a_poison_event_parks_its_stream_only_on_postgres() {
    let postgres = Postgres::start();
    let url = postgres.database("cairn");
    let builder = TestHost::builder().plugin(guest("faulty")).argument("--database").argument(&url);
    let read_models_go = async |_: &TestHost| {
        postgres.sql("cairn", "DROP SCHEMA read_entries CASCADE");
    };
    a_poison_event_parks_its_stream_only(builder.start().await, read_models_go).await;
}

#[tokio::test]
async fn another_host_of_the_cluster_hands_decisions_over() {
    let postgres = Postgres::start();
    let url = postgres.database("cairn");
    let start = || TestHost::builder().plugin(guest("faulty")).argument("--database").argument(&url).start();
    let (one, other) = (start().await, start().await);
    let (here, there) = (one.client(), other.client());
    let sick = probe(&here).await;
    let bad = add(&here, sick, &[1, 13, 2]).await;
    assert_eq!(numbers(&here, "entries", sick).await, [1]);
    // Whichever of the two runs it: each is asked once.
    decide(&there, &format!("entries/dead-letters/{}/retry", bad[1]), Some(json!({"by": 7}))).await;
    assert_eq!(numbers(&there, "entries", sick).await, [1, 7, 2]);
    let bad = add(&there, sick, &[666, 3]).await;
    assert_eq!(numbers(&there, "entries", sick).await, [1, 7, 2]);
    decide(&here, &format!("entries/dead-letters/{}/skip", bad[0]), Some(json!({"reason": "x"}))).await;
    assert_eq!(numbers(&here, "entries", sick).await, [1, 7, 2, 3]);
    for (client, path) in [(&here, "entries/pause"), (&there, "strict/pause")] {
        decide(client, path, None).await;
    }
    for client in [&here, &there] {
        assert_eq!(status(client, "entries").await["state"], "paused");
        assert_eq!(status(client, "strict").await["state"], "paused");
    }
}

#[tokio::test]
async fn many_failures_are_tried_again_together_or_stream_by_stream() {
    let host = host().await;
    let client = host.client();
    let mut probes = Vec::new();
    for _ in 0..4 {
        let one = probe(&client).await;
        // What the tables refuse, what loops, and what the guest refuses.
        add(&client, one, &[1_000, 1]).await;
        probes.push(one);
    }
    let looping = probe(&client).await;
    add(&client, looping, &[777, 1]).await;
    let well = probe(&client).await;
    add(&client, well, &[2, 3]).await;
    assert_eq!(numbers(&client, "entries", well).await, [2, 3]);
    assert_eq!(positions(&client, "entries").await.len(), 10);
    let all = letters(&client, "entries").await;
    let cause = |of: Uuid| {
        let letter = all.iter().find(|letter| letter["id"] == json!(of)).expect("a letter");
        letter["cause"].as_str().expect("a cause").to_owned()
    };
    assert!(cause(probes[0]).contains("nowhere"), "{}", cause(probes[0]));
    assert!(cause(looping).contains("deadline"), "{}", cause(looping));
    // One kind, whatever the ids.
    let groups = client.get("/v1/projections/entries/dead-letters").await.ok()["groups"].clone();
    assert_eq!((groups.as_array().expect("groups").len(), &groups[0]["failed"]), (2, &json!(4)), "{groups}");
    let first = positions(&client, "entries").await[0];
    decide(&client, &format!("entries/dead-letters/{first}/retry"), Some(json!({"by": 5}))).await;
    assert_eq!(numbers(&client, "entries", probes[0]).await, [5, 1]);
    decide(&client, &format!("entries/dead-letters/retry?stream=probe/{}", probes[1]), None).await;
    decide(&client, "entries/dead-letters/retry", None).await;
    assert_eq!(numbers(&client, "entries", probes[1]).await, [0; 0]);
    let attempts: Vec<_> =
        letters(&client, "entries").await.iter().map(|one| one["attempts"].clone()).collect();
    let first_attempts =
        all.iter().find(|letter| letter["id"] == json!(probes[1])).expect("one")["attempts"].clone();
    assert_eq!(attempts[0].as_u64(), first_attempts.as_u64().map(|count| count + 2), "{attempts:?}");
}

#[tokio::test]
async fn an_unknown_event_type_is_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (vanished, well) = (new_id(), new_id());
    let store = Store::open(Options::new(folder.path())).await.expect("the store opens");
    for (id, event_type, expected) in
        [(vanished, "ProbeVanished", 0), (vanished, "ProbeAdded", 1), (well, "ProbeAdded", 0)]
    {
        let metadata = json!({
            "actor": Principal::administrator("default").id, "tenant": "default", "command_id": new_id(),
            "correlation_id": "c", "trace_id": "t", "digest": "", "generation": 0, "log_id": store.log_id(),
            "occurred_at": "2026-01-01T00:00:00.000000Z",
        });
        let append = Append {
            events: vec![NewEvent {
                event_type: event_type.into(),
                schema_version: 2,
                data: json!({"by": 4}).to_string(),
            }],
            metadata: metadata.to_string(),
            ..Append::check(StreamKey::new("default", "probe", id), expected)
        };
        let outcome = store.append_and_wait(append).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    store.close().await;
    let host = TestHost::builder().plugin(guest("faulty")).copy_of(folder.path()).start().await;
    let client = host.client();
    client.has_seen(client.head().await);
    assert_eq!(numbers(&client, "entries", well).await, [4]);
    assert_eq!(numbers(&client, "entries", vanished).await, [0; 0]);
    let letters = letters(&client, "entries").await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["type"], "ProbeVanished");
    let position = letters[0]["position"].as_u64().expect("a position");
    decide(&client, &format!("entries/dead-letters/{position}/skip"), Some(json!({"reason": "gone"}))).await;
    assert_eq!(numbers(&client, "entries", vanished).await, [4]);
}

#[tokio::test]
async fn a_projection_that_stops_waits_for_an_operator() {
    let mut host = host().await;
    let client = host.client();
    let (sick, well) = (probe(&client).await, probe(&client).await);
    let bad = add(&client, sick, &[1, 13, 666]).await;
    add(&client, well, &[2]).await;
    let failing = until(&client, "strict", |status| status["state"] == "failing").await;
    assert_eq!(failing["position"], bad[1] - 1);
    assert!(failing["lag_seconds"].as_f64().expect("seconds") > 0.0, "{failing}");
    assert_eq!(failing["dead_letters"], 1);
    // It stands also when the host comes back.
    host.restart().await;
    let client = host.client();
    until(&client, "strict", |status| {
        status["error"].as_str().is_some_and(|error| error.contains("thirteen"))
    })
    .await;
    decide(&client, &format!("strict/dead-letters/{}/retry", bad[1]), Some(json!({"by": 7}))).await;
    until(&client, "strict", |status| status["position"] == bad[2] - 1).await;
    eventually(LIMIT, || async {
        let positions = positions(&client, "strict").await;
        if positions == [bad[2]] { Ok(()) } else { Err(format!("{positions:?}")) }
    })
    .await;
    decide(&client, &format!("strict/dead-letters/{}/skip", bad[2]), Some(json!({"reason": "x"}))).await;
    assert_eq!(numbers(&client, "strict", sick).await, [1, 7]);
    assert_eq!(numbers(&client, "strict", well).await, [2]);
    assert_eq!(status(&client, "strict").await["state"], "running");
    assert_eq!(positions(&client, "strict").await, [0; 0]);
}

#[tokio::test]
async fn what_crosses_streams_is_rebuilt_once_an_event_came_home() {
    let host = host().await;
    let client = host.client();
    let (sick, well) = (probe(&client).await, probe(&client).await);
    let bad = add(&client, sick, &[1, 13, 2]).await;
    add(&client, well, &[3, 4]).await;
    assert_eq!(numbers(&client, "chain", well).await, [3, 4]);
    decide(&client, &format!("chain/dead-letters/{}/retry", bad[1]), Some(json!({"by": 7}))).await;
    until(&client, "chain", |status| status["instance"] == 1).await;
    let beads = client.query("chain", &[]).await.ok();
    let mut beads: Vec<_> = beads["items"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row[1].as_i64(), row[2].as_i64()))
        .collect();
    beads.sort_unstable();
    let beads: Vec<_> = beads.into_iter().filter_map(|bead| bead.1).collect();
    assert_eq!(beads, [1, 7, 2, 3, 4], "as if it had never failed");
    assert_eq!(status(&client, "chain").await["state"], "running");
    let rebuilds = client.events().await;
    let rebuilds = rebuilds.iter().filter(|event| event["type"] == "ProjectionRebuildRequested").count();
    assert_eq!(rebuilds, 1);
}

#[tokio::test]
async fn bad_requests_are_problems() {
    let nobody = Principal { scopes: Vec::new(), ..Principal::administrator("default") };
    let host = TestHost::builder().plugin(guest("faulty")).principal("somebody", nobody).start().await;
    let client = host.client();
    let sick = probe(&client).await;
    let bad = add(&client, sick, &[13]).await[0];
    client.query("entries", &[]).await.ok();
    let letter = format!("/v1/projections/entries/dead-letters/{bad}");
    let somebody = host.client_of("somebody");
    let calls = [
        format!("{letter}/retry"),
        format!("{letter}/skip"),
        "/v1/projections/entries/dead-letters/retry".to_owned(),
        "/v1/projections/entries/pause".to_owned(),
        "/v1/projections/entries/resume".to_owned(),
        "/v1/projections/entries/rebuild".to_owned(),
    ];
    for call in &calls {
        somebody.send(somebody.post(call)).await.problem(403, "forbidden");
    }
    somebody.get("/v1/projections/entries/dead-letters").await.problem(403, "forbidden");
    let cancel = somebody.request(Method::DELETE, "/v1/projections/entries/rebuild");
    somebody.send(cancel).await.problem(403, "forbidden");
    let post = |path: String| client.post(&path);
    client.send(post(calls[0].replace("entries", "nothing"))).await.problem(404, "not-found");
    client.send(post(letter.replace(&bad.to_string(), "1") + "/retry")).await.problem(404, "not-found");
    client.send(post(letter.replace(&bad.to_string(), "x") + "/retry")).await.problem(400, "invalid-input");
    let broken = post(calls[0].clone()).header("Content-Type", "application/json").body("{");
    client.send(broken).await.problem(400, "invalid-input");
    client.send(post(calls[0].clone()).body("{}")).await.problem(415, "unsupported-media-type");
    for body in [json!({}), json!({"reason": " "}), json!({"reason": 1}), json!({"reason": "x", "more": 1})] {
        client.send(post(calls[1].clone()).json(&body)).await.problem(400, "invalid-input");
    }
    let stream = |text: &str| format!("/v1/projections/entries/dead-letters/retry?stream={text}");
    client.send(post(stream("probe"))).await.problem(400, "invalid-input");
    client.send(post(stream(&format!("probe/{}", new_id())))).await.problem(404, "not-found");
    client
        .send(client.request(Method::DELETE, "/v1/projections/entries/rebuild"))
        .await
        .problem(404, "not-found");
    client.get("/v1/projections/entries/dead-letters?after=x").await.problem(400, "invalid-input");
    assert_eq!(positions(&client, "entries").await, [bad], "nothing of this did anything");
}
