//! Raw appends: events that were decided elsewhere.

use cairn_model::Principal;
use cairn_tests::{Answer, Client, TestHost, new_id};
use serde_json::{Value, json};
use uuid::Uuid;

const OWNER: &str = "0190e3a1-7c1e-7cc0-8000-00000000000f";

fn created(name: &str, parent: Option<Uuid>) -> Value {
    json!({"type": "FileCreated", "data": {
        "name": name, "parent_id": parent, "owner_id": OWNER, "size": 3, "mime_type": "text/plain"}})
}

fn renamed(name: &str) -> Value {
    json!({"type": "FileRenamed", "data": {"name": name}})
}

async fn append(client: &Client, id: Uuid, body: &Value) -> Answer {
    client.send(client.post(&format!("/v1/streams/file/{id}/events")).json(body)).await
}

#[tokio::test]
async fn events_from_elsewhere_are_as_good_as_decided_ones() {
    let mut host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let body = json!({"expected_version": 0, "occurred_at": "2020-02-03T04:05:06Z",
        "events": [created("old.txt", None), renamed("older.txt")]});
    let answer = append(&client, id, &body).await;
    assert_eq!(answer.header("location"), Some(format!("/v1/aggregates/file/{id}").as_str()));
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let made = answer.created();
    assert_eq!((&made["version"], &made["events"][1]["type"]), (&json!(2), &json!("FileRenamed")));

    let state = client.state("file", id).await;
    assert_eq!((&state["name"], &state["size"]), (&json!("older.txt"), &json!(3)));
    assert!(state["created_at"].as_str().expect("a time").starts_with("2020-02-03T04:05:06"), "{state}");
    let item = client.query("file", &[("id", &id.to_string())]).await.ok();
    assert_eq!((&item["name"], &item["owner_id"]), (&json!("older.txt"), &json!(OWNER)));

    let more = json!({"expected_version": 2, "events": [renamed("new.txt")]});
    assert_eq!(append(&client, id, &more).await.ok()["version"], 3);
    client.command("file", id, "rename", json!({"name": "decided.txt"})).await.ok();
    assert_eq!(client.state("file", id).await["name"], "decided.txt");
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);

    host.restart().await;
    let client = host.client();
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], 4);
}

#[tokio::test]
async fn the_expected_version_is_checked_and_nothing_is_written_otherwise() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    append(&client, id, &json!({"events": [created("a", None)]})).await.created();
    for expected in [0, 2] {
        let body = json!({"expected_version": expected, "events": [renamed("b")]});
        append(&client, id, &body).await.problem(412, "version-mismatch");
    }
    let request = client.post(&format!("/v1/streams/file/{id}/events")).header("If-Match", "\"9\"");
    client.send(request.json(&json!({"events": [renamed("b")]}))).await.problem(412, "version-mismatch");
    append(&client, new_id(), &json!({"expected_version": 3, "events": [created("c", None)]}))
        .await
        .problem(412, "version-mismatch");
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], 1);
}

#[tokio::test]
async fn what_is_no_event_of_the_aggregate_is_named_with_its_place() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let wrong = [
        (json!({"events": []}), "/events"),
        (json!({"events": [renamed("a"), {"type": "FolderCreated", "data": {}}]}), "/events/1/type"),
        (json!({"events": [{"type": "FileRenamed", "data": {"name": 7}}]}), "/events/0/data/name"),
        (
            json!({"events": [{"type": "FileRenamed", "schema_version": 9, "data": {"name": "a"}}]}),
            "/events/0/schema_version",
        ),
        (json!({"events": [renamed("a")], "occurred_at": "9999-01-01T00:00:00Z"}), "/occurred_at"),
        (json!({"events": [renamed("a")], "surprise": 1}), ""),
    ];
    for (body, place) in wrong {
        let problem = append(&client, id, &body).await.problem(400, "invalid-input");
        assert_eq!(problem["errors"][0]["pointer"], place, "{body}: {problem}");
    }
    let other = client.post(&format!("/v1/streams/nothing/{id}/events"));
    client.send(other.json(&json!({"events": [renamed("a")]}))).await.problem(404, "not-found");
}

#[tokio::test]
async fn what_the_guest_cannot_apply_is_the_sender_s_mistake() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    append(&client, id, &json!({"events": [created("a", None)]})).await.created();
    let mut odd = created("b", None);
    // An integer for JSON Schema, but not for the type behind it.
    odd["data"]["size"] = json!(5.0);
    for _ in 0..4 {
        append(&client, new_id(), &json!({"events": [odd]})).await.problem(400, "invalid-input");
        append(&client, id, &json!({"events": [renamed("c"), odd]})).await.problem(400, "invalid-input");
    }
    client.command("file", id, "rename", json!({"name": "d"})).await.ok();
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], 2);
}

#[tokio::test]
async fn claims_hold_for_them_and_a_key_makes_them_idempotent() {
    let host = TestHost::start().await;
    let (client, folder, holder) = (host.client(), new_id(), new_id());
    client.command("folder", folder, "create", json!({"name": "f"})).await.created();
    client.command("file", holder, "create", json!({"name": "same", "parent_id": folder})).await.created();
    let taken = json!({"events": [created("same", Some(folder))]});
    append(&client, new_id(), &taken).await.problem(409, "conflict");

    let id = new_id();
    let body = json!({"events": [created("other", Some(folder))]});
    let send = || {
        let request = client.post(&format!("/v1/streams/file/{id}/events"));
        client.send(request.header("Idempotency-Key", "once").json(&body))
    };
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, &first.text), (201, &second.text));
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], 1);
}

#[tokio::test]
async fn the_scope_alone_opens_the_door() {
    let principal = |scope: &str| Principal {
        id: new_id(),
        tenant: "default".into(),
        groups: Vec::new(),
        scopes: vec![scope.to_owned()],
    };
    let host = TestHost::builder()
        .principal("reader", principal("queries"))
        .principal("feeder", principal("events:append"))
        .start()
        .await;
    let body = json!({"events": [created("a", None)]});
    append(&host.client_of("reader"), new_id(), &body).await.problem(403, "forbidden");
    append(&host.client_of("feeder"), new_id(), &body).await.created();
}
