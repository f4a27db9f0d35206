//! Commands, states and histories, as the table of the API says.

use cairn_tests::{TestHost, new_id};
use serde_json::{Value, json};

/// The versions and types in an answer's list of events.
fn events(answer: &Value) -> Vec<(u64, &str)> {
    let list = answer["events"].as_array().expect("a list of events");
    list.iter()
        .map(|e| (e["version"].as_u64().expect("a version"), e["type"].as_str().expect("a type")))
        .collect()
}

#[tokio::test]
async fn a_creating_command_answers_201_with_everything_that_a_client_needs_next() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let answer = client.command("file", id, "create", json!({"name": "a.txt", "size": 5})).await;
    assert_eq!(answer.header("location"), Some(format!("/v1/aggregates/file/{id}").as_str()));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let position: u64 = answer.header("cairn-position").expect("a position").parse().expect("a number");
    let body = answer.created();
    assert_eq!((&body["aggregate"], &body["id"], &body["version"]), (&json!("file"), &json!(id), &json!(1)));
    assert_eq!(body["position"], position);
    assert_eq!(events(&body), [(1, "FileCreated")]);
    assert_eq!(body["events"][0]["position"], position);
    assert!(body.get("result").is_some());

    let state = client.get(&format!("/v1/aggregates/file/{id}")).await;
    assert_eq!(state.header("etag"), Some("\"1\""));
    let state = state.ok();
    assert_eq!((&state["version"], &state["state"]["name"]), (&json!(1), &json!("a.txt")));
    assert!(state["access"]["owner"].is_string());
}

#[tokio::test]
async fn without_an_id_the_host_makes_one() {
    let host = TestHost::start().await;
    let client = host.client();
    let made = client.send(client.post("/v1/aggregates/folder/create").json(&json!({"name": "x"}))).await;
    let location = made.header("location").expect("a location").to_owned();
    let body = made.created();
    let id = body["id"].as_str().expect("an id");
    assert_eq!(location, format!("/v1/aggregates/folder/{id}"));
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7: {id}");
    assert_eq!(client.get(&location).await.ok()["state"]["name"], "x");
}

#[tokio::test]
async fn a_command_that_changes_nothing_answers_200_without_events() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let created = client.command("file", id, "create", json!({"name": "a"})).await.created();
    let same = client.command("file", id, "rename", json!({"name": "a"})).await.ok();
    assert_eq!((&same["events"], &same["version"]), (&json!([]), &json!(1)));
    assert_eq!(same["position"], created["position"], "the last position of the stream");
    assert_eq!(
        client.head().await,
        created["position"].as_u64().expect("a position"),
        "nothing was appended"
    );
}

#[tokio::test]
async fn if_match_lets_only_the_present_version_pass() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    let path = format!("/v1/aggregates/file/{id}/rename");
    let rename =
        |tag: &str, name: &str| client.post(&path).header("If-Match", tag).json(&json!({"name": name}));
    let answer = client.send(rename("\"1\"", "b")).await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    answer.ok();
    let refused = client.send(rename("\"1\"", "c")).await.problem(412, "version-mismatch");
    assert_eq!(refused["current_version"], 2);
    assert_eq!(client.state("file", id).await["name"], "b");
}

#[tokio::test]
async fn earlier_states_can_be_read_by_version_and_by_time() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "v1"})).await.created();
    for version in 2..=5 {
        client.command("file", id, "rename", json!({"name": format!("v{version}")})).await.ok();
    }
    let path = format!("/v1/aggregates/file/{id}");
    let history = client.all(&format!("{path}/events"), &[("limit", "2")], "after").await;
    let versions: Vec<u64> = history.iter().map(|e| e["version"].as_u64().expect("a version")).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5], "pages of two");
    for version in 1..=5_u64 {
        let state = client.get(&format!("{path}?version={version}")).await.ok();
        assert_eq!(
            (&state["version"], &state["state"]["name"]),
            (&json!(version), &json!(format!("v{version}")))
        );
    }
    let at = history[2]["recorded_at"].as_str().expect("a time");
    let state = client.send(client.request(reqwest::Method::GET, &path).query(&[("at", at)])).await.ok();
    assert!(state["version"].as_u64().expect("a version") >= 3, "{state}");
    client.get(&format!("{path}?at=2001-01-01T00:00:00Z")).await.problem(404, "not-found");
    client.get(&format!("{path}?version=6")).await.problem(404, "not-found");
}

#[tokio::test]
async fn an_event_reads_as_the_contract_says() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = client.post(&format!("/v1/aggregates/folder/{id}/create")).json(&json!({"name": "x"}));
    client.send(request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))).await.created();
    let params = [("aggregate", "folder"), ("id", &id.to_string()), ("type", "FolderCreated")];
    let found = client.all("/v1/events", &params, "after").await;
    let [event] = found.as_slice() else { panic!("one event: {found:?}") };
    let mut fields: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "aggregate",
        "data",
        "hash",
        "id",
        "metadata",
        "position",
        "recorded_at",
        "schema_version",
        "type",
        "version",
    ];
    assert_eq!(fields, expected);
    assert_eq!(event["data"]["name"], "x");
    let metadata = &event["metadata"];
    assert_eq!((&metadata["trace_id"], &metadata["tenant"]), (&json!(trace), &json!("default")));
    for field in ["actor", "command_id", "correlation_id", "digest", "log_id"] {
        assert!(metadata[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {metadata}");
    }
    assert!(metadata["generation"].as_u64().is_some_and(|number| number > 0));
    let plugins = client.get("/v1/plugins").await.ok();
    assert_eq!(metadata["digest"], plugins["items"][0]["digest"], "which code decided it is in the log");
}

#[tokio::test]
async fn the_log_is_dense_and_its_chain_holds() {
    let host = TestHost::start().await;
    let client = host.client();
    for index in 0..20 {
        client.command("file", new_id(), "create", json!({"name": format!("f{index}")})).await.created();
    }
    let events = client.all("/v1/events", &[("limit", "7")], "after").await;
    let positions: Vec<u64> = events.iter().map(|e| e["position"].as_u64().expect("a position")).collect();
    assert_eq!(positions, (1..=client.head().await).collect::<Vec<_>>());
    let verified = client.get("/v1/audit/verify").await.ok();
    assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(positions.len())));
    assert_eq!(verified["first_invalid_position"], Value::Null);
}

#[tokio::test]
async fn every_command_of_the_files_plugin_can_be_sent() {
    let host = TestHost::start().await;
    let (client, file, folder, other) = (host.client(), new_id(), new_id(), new_id());
    client.command("folder", folder, "create", json!({"name": "folder"})).await.created();
    client.command("folder", other, "create", json!({"name": "other", "parent_id": folder})).await.created();
    client
        .command("file", file, "create", json!({"name": "f", "size": 1, "mime_type": "text/plain"}))
        .await
        .created();
    let someone = new_id();
    let steps: Vec<(&str, uuid::Uuid, &str, Value, &str)> = vec![
        ("file", file, "rename", json!({"name": "g"}), "FileRenamed"),
        ("file", file, "move", json!({"parent_id": folder}), "FileMoved"),
        ("file", file, "update_content", json!({"size": 9, "mime_type": "image/png"}), ""),
        ("file", file, "grant", json!({"subject": {"user": someone}, "permission": "read"}), ""),
        ("file", file, "revoke", json!({"subject": {"user": someone}, "permission": "read"}), ""),
        ("file", file, "delete", json!({}), "FileDeleted"),
        ("file", file, "restore", json!({}), "FileRestored"),
        ("file", file, "move", json!({"parent_id": null}), "FileMoved"),
        ("file", file, "transfer_ownership", json!({"owner_id": someone}), ""),
        ("folder", other, "rename", json!({"name": "o"}), "FolderRenamed"),
        ("folder", other, "move", json!({"parent_id": null}), "FolderMoved"),
        ("folder", other, "grant", json!({"subject": "everyone", "permission": "write"}), ""),
        ("folder", other, "revoke", json!({"subject": "everyone", "permission": "write"}), ""),
        ("folder", other, "grant", json!({"subject": {"group": "staff"}, "permission": "share"}), ""),
        ("folder", other, "set_inheritance", json!({"inherit": false}), ""),
        ("folder", other, "delete", json!({}), "FolderDeleted"),
        ("folder", other, "restore", json!({}), "FolderRestored"),
        ("folder", other, "transfer_ownership", json!({"owner_id": someone}), ""),
    ];
    for (aggregate, id, command, payload, expected) in steps {
        let answer = client.command(aggregate, id, command, payload).await.ok();
        let types: Vec<&str> = events(&answer).into_iter().map(|(_, name)| name).collect();
        assert!(!types.is_empty(), "{aggregate} {command} appended nothing");
        assert!(expected.is_empty() || types == [expected], "{aggregate} {command}: {types:?}");
    }
    let state = client.state("file", file).await;
    assert_eq!(
        (&state["size"], &state["mime_type"], &state["owner_id"]),
        (&json!(9), &json!("image/png"), &json!(someone))
    );
}
