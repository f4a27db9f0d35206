//! One key, one effect, one answer.

use cairn_tests::{TestHost, guest, new_id};
use serde_json::json;

#[tokio::test]
async fn the_same_request_again_gets_the_same_bytes_and_appends_nothing() {
    let mut host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let payload = json!({"name": "a.txt"});
    let first = client.try_keyed("k-1", "file", id, "create", &payload).await.expect("an answer");
    assert_eq!(first.status, 201);
    let head = client.head().await;
    let again = client.try_keyed("k-1", "file", id, "create", &payload).await.expect("an answer");
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    for header in ["etag", "location", "cairn-position", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
    host.restart().await;
    let client = host.client();
    let later = client.try_keyed("k-1", "file", id, "create", &payload).await.expect("an answer");
    assert_eq!((later.status, &later.text), (first.status, &first.text), "after a restart too");
    assert_eq!(client.events().await.len() as u64, client.head().await);
    let created = client.all("/v1/events", &[("id", &id.to_string())], "after").await;
    assert_eq!(created.len(), 1);
    assert!(client.head().await >= head);
}

#[tokio::test]
async fn a_command_without_events_is_recorded_too() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "a"})).await.created();
    let same =
        client.try_keyed("k", "file", id, "rename", &json!({"name": "a"})).await.expect("an answer").ok();
    assert_eq!(same["events"], json!([]));
    client.command("file", id, "rename", json!({"name": "b"})).await.ok();
    let again =
        client.try_keyed("k", "file", id, "rename", &json!({"name": "a"})).await.expect("an answer").ok();
    assert_eq!(again, same, "the answer of then, though it would be another now");
    assert_eq!(client.state("file", id).await["name"], "b");
}

#[tokio::test]
async fn a_key_stands_for_one_command_with_one_payload() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.try_keyed("k", "file", id, "create", &json!({"name": "a"})).await.expect("an answer").created();
    let others = [
        client.try_keyed("k", "file", id, "create", &json!({"name": "b"})).await,
        client.try_keyed("k", "file", id, "rename", &json!({"name": "a"})).await,
        client.try_keyed("k", "file", new_id(), "create", &json!({"name": "a"})).await,
    ];
    for other in others {
        other.expect("an answer").problem(422, "idempotency-key-reused");
    }
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let refused =
        client.try_keyed("k", "file", id, "rename", &json!({"name": "a"})).await.expect("an answer");
    refused.problem(404, "not-found");
    client.command("file", id, "create", json!({"name": "x"})).await.created();
    client.try_keyed("k", "file", id, "rename", &json!({"name": "a"})).await.expect("an answer").ok();
}

#[tokio::test]
async fn an_old_answer_is_given_although_the_plugin_fails_by_now() {
    let host = TestHost::builder().plugin(guest("faulty")).start().await;
    let (client, id) = (host.client(), new_id());
    client.command("probe", id, "create", json!({})).await.created();
    let payload = json!({"by": 1, "once": true});
    let first = client.try_keyed("k", "probe", id, "add", &payload).await.expect("an answer");
    let again = client.try_keyed("k", "probe", id, "add", &payload).await.expect("an answer");
    assert_eq!((again.status, &again.text), (200, &first.text));
    let other = client.try_keyed("other", "probe", id, "add", &payload).await.expect("an answer");
    other.problem(500, "plugin-fault");
}

#[tokio::test]
async fn equal_keys_in_flight_have_one_effect_and_one_answer() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let client = client.clone();
        tasks.spawn(async move {
            let sent = client.try_keyed("k", "file", id, "create", &json!({"name": "a"})).await;
            let answer = sent.expect("an answer");
            (answer.status, answer.text)
        });
    }
    let mut answers = tasks.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, 201);
    assert_eq!(client.all("/v1/events", &[("id", &id.to_string())], "after").await.len(), 1);
}

#[tokio::test]
async fn an_old_answer_at_a_snapshot_s_version_leaves_no_snapshot_of_what_never_was() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "0"})).await.created();
    let first =
        client.try_keyed("old", "file", id, "rename", &json!({"name": "x"})).await.expect("an answer");
    for name in 3..=99 {
        client.command("file", id, "rename", json!({"name": name.to_string()})).await.ok();
    }
    // Decided anew it would be version 100, where a snapshot is taken.
    let again =
        client.try_keyed("old", "file", id, "rename", &json!({"name": "x"})).await.expect("an answer");
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], 99);
    assert_eq!(client.command("file", id, "rename", json!({"name": "y"})).await.ok()["version"], 100);
}
