//! One aggregate that everybody wants to change: no conflicts, each version once.

use cairn_tests::{TestHost, new_id, size};
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test]
async fn many_clients_that_rename_one_file_are_all_served() {
    let host = TestHost::start().await;
    let (client, id) = (host.client(), new_id());
    client.command("file", id, "create", json!({"name": "hot"})).await.created();
    let (clients, renames) = (64, size(10, 200));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let client = host.client();
        tasks.spawn(async move {
            let mut versions = Vec::new();
            for index in 0..renames {
                let answer =
                    client.command("file", id, "rename", json!({"name": format!("{number}-{index}")})).await;
                versions.push(answer.ok()["version"].as_u64().expect("a version"));
            }
            assert!(versions.is_sorted(), "a client sees its own commands in their order");
            versions
        });
    }
    let mut versions = tasks.join_all().await.concat();
    versions.sort_unstable();
    let last = 1 + clients * renames as u64;
    assert_eq!(versions, (2..=last).collect::<Vec<_>>(), "each version exactly once");
    assert_eq!(client.get(&format!("/v1/aggregates/file/{id}")).await.ok()["version"], last);
    let events = client.all(&format!("/v1/aggregates/file/{id}/events"), &[("limit", "1000")], "after").await;
    assert_eq!(events.len() as u64, last);
}
