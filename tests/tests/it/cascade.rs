//! Deleting a folder takes along what is in it; restoring it brings back just that.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_tests::{Client, Random, TestHost, eventually, new_id, size};
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

/// Makes so many files in a folder.
async fn files_in(client: &Client, folder: Uuid, count: usize) {
    let mut tasks = JoinSet::new();
    for part in 0..32 {
        let client = client.clone();
        tasks.spawn(async move {
            for index in (part..count).step_by(32) {
                let payload = json!({"name": format!("f{index}"), "parent_id": folder});
                client.command("file", new_id(), "create", payload).await.created();
            }
        });
    }
    tasks.join_all().await;
}

/// Waits until so many things live below a folder.
async fn living_below(client: &Client, folder: Uuid, expected: usize) {
    let id = folder.to_string();
    eventually(LIMIT, || async {
        client.has_seen(client.head().await);
        let tree = client.query("folder_tree", &[("folder_id", &id)]).await.ok();
        let found = tree["items"].as_array().expect("items").len();
        if found == expected { Ok(()) } else { Err(format!("{found} live, not {expected}")) }
    })
    .await;
}

#[tokio::test]
async fn a_folder_may_have_more_in_it_than_is_seen_to_at_once() {
    let host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let count = size(6_000, 49_000);
    files_in(&client, top, count).await;
    client.command("folder", top, "delete", json!({})).await.ok();
    living_below(&client, top, 0).await;
    client.command("folder", top, "restore", json!({})).await.ok();
    living_below(&client, top, count).await;
    for (event_type, expected) in
        [("FileDeleted", count), ("FileRestored", count), ("FolderCascadeContinued", (count - 1) / 5_000 * 2)]
    {
        let events = client.all("/v1/events", &[("type", event_type), ("limit", "1000")], "after").await;
        assert_eq!(events.len(), expected, "{event_type}");
    }
}

/// A chain of folders, each in the one before it, and a file in each.
async fn chain(client: &Client, top: Uuid, length: usize) -> Vec<(&'static str, Uuid)> {
    let mut items = Vec::new();
    let mut parent = top;
    for level in 0..length {
        let (folder, file) = (new_id(), new_id());
        let payload = json!({"name": format!("level {level}"), "parent_id": parent});
        client.command("folder", folder, "create", payload).await.created();
        client
            .command("file", file, "create", json!({"name": "in between", "parent_id": folder}))
            .await
            .created();
        items.extend([("folder", folder), ("file", file)]);
        parent = folder;
    }
    items
}

#[tokio::test]
async fn it_goes_all_the_way_down_and_up_again() {
    let host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let mut items = chain(&client, top, size(60, 190)).await;
    // By a move a tree gets deeper than anything can be made.
    let (_, last) = items[items.len() - 2];
    let below = new_id();
    client.command("folder", below, "create", json!({"name": "below"})).await.created();
    items.push(("folder", below));
    items.extend(chain(&client, below, size(60, 190)).await);
    client.command("folder", below, "move", json!({"parent_id": last})).await.ok();
    client.command("folder", top, "delete", json!({})).await.ok();
    let all: Vec<Uuid> = items.iter().map(|(_, id)| *id).collect();
    settled(&client, &items, &all).await;
    for (aggregate, id) in &items {
        assert_eq!(client.state(aggregate, *id).await["deletion"]["with_folder"], json!(top));
    }
    client.command("folder", top, "restore", json!({})).await.ok();
    settled(&client, &items, &[]).await;
}

#[tokio::test]
async fn whoever_comes_in_between_changes_nothing_of_the_end() {
    let host = TestHost::start().await;
    let (client, top, mut random) = (host.client(), new_id(), Random::new());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let mut items = fill(&client, top, 60).await;
    items.extend(chain(&client, top, 10).await);
    // One of the folders is gone by itself, with what is in it: two more folders, each in the one before.
    let (_, own) = items[30];
    client.command("folder", own, "delete", json!({})).await.ok();
    let mut gone: Vec<Uuid> = items[30..60].iter().map(|(_, id)| *id).collect();
    settled(&client, &items, &gone).await;

    let all: Vec<Uuid> = items.iter().map(|(_, id)| *id).collect();
    for _ in 0..size(4, 50) {
        // Nothing waits for the cascades, and some of them meet the next one.
        for _ in 0..random.below(5) {
            client.command("folder", top, "delete", json!({})).await.ok();
            client.command("folder", top, "restore", json!({})).await.ok();
        }
        client.command("folder", top, "delete", json!({})).await.ok();
        settled(&client, &items, &all).await;
        client.command("folder", top, "restore", json!({})).await.ok();
        settled(&client, &items, &gone).await;
    }

    // What gets out before it is reached lives, with all that is in it; everything else goes.
    let out: Vec<(&'static str, Uuid)> =
        items.iter().copied().filter(|(_, id)| !gone.contains(id)).step_by(4).collect();
    client.command("folder", top, "delete", json!({})).await.ok();
    for (aggregate, id) in out {
        let name = client.state(aggregate, id).await["name"].clone();
        let answer = client.command(aggregate, id, "move", json!({"parent_id": null})).await;
        assert!(
            answer.status == 200 || answer.status == 422 || answer.status == 409,
            "{name} {}",
            answer.text
        );
    }
    gone = all;
    let outside = living_outside(&client, &items).await;
    gone.retain(|id| !outside.contains(id));
    settled(&client, &items, &gone).await;
}

/// Which of the items are at the root by now or below something that is.
async fn living_outside(client: &Client, items: &[(&'static str, Uuid)]) -> Vec<Uuid> {
    let mut parents = BTreeMap::new();
    for (aggregate, id) in items {
        let state = client.state(aggregate, *id).await;
        parents.insert(id.to_string(), state["parent_id"].as_str().map(str::to_owned));
    }
    let is_outside = |id: &Uuid| {
        let mut at = id.to_string();
        loop {
            match parents.get(&at) {
                Some(Some(parent)) => at = parent.clone(),
                Some(None) => return true,
                None => return false,
            }
        }
    };
    items.iter().map(|(_, id)| *id).filter(is_outside).collect()
}

#[tokio::test]
async fn a_host_stops_in_the_middle_and_goes_on_later() {
    let mut host = TestHost::start().await;
    let (client, top) = (host.client(), new_id());
    client.command("folder", top, "create", json!({"name": "top"})).await.created();
    let items = fill(&client, top, 300).await;
    client.command("folder", top, "delete", json!({})).await.ok();
    host.stop().await;
    host.restart().await;
    let all: Vec<Uuid> = items.iter().map(|(_, id)| *id).collect();
    settled(&host.client(), &items, &all).await;
}
