//! An aggregate with a long history: its state is the fold of it, with and without snapshots.

use cairn_tests::{TestHost, new_id, size, sqlite};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_long_history_folds_to_the_same_state_with_and_without_snapshots() {
    let mut host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    let last = size(1_000, 10_000);
    client.command("file", id, "create", json!({"name": "0"})).await.created();
    let mut tasks = JoinSet::new();
    for worker in 0..50 {
        let client = client.clone();
        tasks.spawn(async move {
            for version in (worker + 2..=last).step_by(50) {
                client.command("file", id, "rename", json!({"name": version.to_string()})).await.ok();
            }
        });
    }
    tasks.join_all().await;
    let path = format!("/v1/aggregates/file/{id}");
    let events = client.all(&format!("{path}/events"), &[("limit", "1000")], "after").await;
    assert_eq!(events.len(), last);
    let resident = client.get(&path).await.ok();
    assert_eq!(resident["version"], last);
    assert_eq!(resident["state"]["name"], events[last - 1]["data"]["name"]);
    let checkpoints = [1, 2, last / 3, last / 2, last - 1, last];
    let before: Vec<Value> = states(&host, &path, &checkpoints).await;
    assert_eq!(before[5]["state"], resident["state"], "the fold up to the last version is the present state");
    for (state, version) in before.iter().zip(checkpoints) {
        assert_eq!(state["state"]["name"], events[version - 1]["data"]["name"]);
    }

    host.restart().await;
    assert_eq!(
        host.client().get(&path).await.ok(),
        resident,
        "from the newest snapshot and the events after it"
    );

    host.stop().await;
    let log = host.data().join("cairn.db");
    if let Some(count) = sqlite(&log, "SELECT count(*) FROM snapshots") {
        assert_ne!(count.trim(), "0", "snapshots are written");
        sqlite(&log, "DELETE FROM snapshots");
    }
    host.restart().await;
    assert_eq!(host.client().get(&path).await.ok(), resident, "from the first event on");
    assert_eq!(states(&host, &path, &checkpoints).await, before);
    let renamed = host.client().command("file", id, "rename", json!({"name": "end"})).await.ok();
    assert_eq!(renamed["version"], last + 1);
}

async fn states(host: &TestHost, path: &str, versions: &[usize]) -> Vec<Value> {
    let client = host.client();
    let mut states = Vec::new();
    for version in versions {
        states.push(client.get(&format!("{path}?version={version}")).await.ok());
    }
    states
}
