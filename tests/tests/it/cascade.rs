//! Deleting a folder takes along what is in it; restoring it brings back just that.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_tests::{Client, TestHost, eventually, new_id, size};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(120);

/// Which of the items are deleted.
async fn deleted(client: &Client, items: &[(&'static str, Uuid)]) -> BTreeMap<Uuid, bool> {
    let mut tasks = JoinSet::new();
    for chunk in items.chunks(items.len().div_ceil(16)) {
        let (client, chunk) = (client.clone(), chunk.to_vec());
        tasks.spawn(async move {
            let mut states = Vec::new();
            for (aggregate, id) in chunk {
                let state = client.state(aggregate, id).await;
                states.push((id, state["is_deleted"].as_bool().expect("is_deleted")));
            }
            states
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// Folders with nine files each, every third folder inside the one before, below `top`.
async fn fill(client: &Client, top: Uuid, count: usize) -> Vec<(&'static str, Uuid)> {
    let mut items: Vec<(&'static str, Uuid)> = Vec::new();
    let mut folder = top;
    for index in 0..count {
        let id = new_id();
        if index % 10 == 0 {
            let parent = if index % 30 == 0 { top } else { folder };
            client
                .command("folder", id, "create", json!({"name": format!("d{index}"), "parent_id": parent}))
                .await
                .created();
            folder = id;
            items.push(("folder", id));
        } else {
            client
                .command("file", id, "create", json!({"name": format!("f{index}"), "parent_id": folder}))
                .await
                .created();
            items.push(("file", id));
        }
    }
    items
}

#[tokio::test]
async fn a_folder_takes_everything_along_and_brings_just_that_back() {
    let host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let items = fill(&client, top, size(100, 1_000)).await;

    // Deleted on their own before: every 13th file, and the last folder with what is in it.
    let own: Vec<Uuid> =
        items.iter().filter(|(kind, _)| *kind == "file").step_by(13).map(|(_, id)| *id).collect();
    for id in &own {
        client.command("file", *id, "delete", json!({})).await.ok();
    }
    let (_, last_folder) = *items.iter().rfind(|(kind, _)| *kind == "folder").expect("a folder");
    client.command("folder", last_folder, "delete", json!({})).await.ok();
    let at_last = items.iter().position(|(_, id)| *id == last_folder).expect("its place");
    let gone: Vec<Uuid> = items[at_last..].iter().map(|(_, id)| *id).chain(own.iter().copied()).collect();
    settled(&client, &items, &gone).await;

    client.command("folder", top, "delete", json!({})).await.ok();
    let all: Vec<Uuid> = items.iter().map(|(_, id)| *id).collect();
    settled(&client, &items, &all).await;
    let refused = client.command("file", new_id(), "create", json!({"name": "late", "parent_id": top})).await;
    assert!(refused.status == 422 || refused.status == 404, "{}", refused.text);

    client.command("folder", top, "restore", json!({})).await.ok();
    settled(&client, &items, &gone).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    settled(&client, &items, &gone).await;

    client.command("folder", last_folder, "restore", json!({})).await.ok();
    settled(&client, &items, &own).await;
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);
}

/// Waits until exactly these are deleted.
async fn settled(client: &Client, items: &[(&'static str, Uuid)], expected: &[Uuid]) {
    eventually(LIMIT, || async {
        let now = deleted(client, items).await;
        let wrong = now.iter().filter(|(id, gone)| **gone != expected.contains(id)).count();
        if wrong == 0 {
            Ok(())
        } else {
            Err(format!("{wrong} of {} items are not as they should be", now.len()))
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_moved_out_in_time_stays() {
    let host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let items = fill(&client, top, 20).await;
    let (_, moved) = items[5];
    client.command("file", moved, "move", json!({"parent_id": null})).await.ok();
    client.command("folder", top, "delete", json!({})).await.ok();
    let expected: Vec<Uuid> = items.iter().map(|(_, id)| *id).filter(|id| *id != moved).collect();
    settled(&client, &items, &expected).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    settled(&client, &items, &expected).await;
}

#[tokio::test]
async fn a_cascade_goes_on_after_a_crash() {
    let mut host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let items = fill(&client, top, size(200, 1_000)).await;
    client.command("folder", top, "delete", json!({})).await.ok();
    let all: Vec<Uuid> = items.iter().map(|(_, id)| *id).collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        host.kill9().await;
        host.restart().await;
    }
    let client = host.client();
    settled(&client, &items, &all).await;
    for event_type in ["FileDeleted", "FolderDeleted"] {
        let events = client.all("/v1/events", &[("type", event_type), ("limit", "1000")], "after").await;
        let mut ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().expect("an id")).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "nothing was deleted twice");
    }
}
