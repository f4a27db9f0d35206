//! Folders that are moved into each other at the same time: never a cycle. How deep they may go, and what the read model
//! makes of histories in which none of this held.

use std::collections::HashSet;
use std::time::Duration;

use cairn_tests::{Client, Random, TestHost, eventually, new_id, read_model, size};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Walks up from the folder; whether the root is reached.
async fn reaches_the_root(client: &Client, folder: Uuid) -> bool {
    let (mut seen, mut at) = (HashSet::new(), folder);
    while seen.insert(at) {
        match client.state("folder", at).await["parent_id"].as_str() {
            Some(parent) => at = parent.parse().expect("an id"),
            None => return true,
        }
    }
    false
}

#[tokio::test]
async fn crossing_moves_never_make_a_cycle() {
    let host = TestHost::start().await;
    let client = host.client();
    for round in 0..size(50, 1_000) {
        // A ring of two, three or four folders, each to be moved into the next one at once.
        let ring: Vec<Uuid> = (0..2 + round % 3).map(|_| new_id()).collect();
        for (index, id) in ring.iter().enumerate() {
            client
                .command("folder", *id, "create", json!({"name": format!("{round}-{index}")}))
                .await
                .created();
        }
        let mut tasks = JoinSet::new();
        for (index, id) in ring.iter().copied().enumerate() {
            let (client, into) = (host.client(), ring[(index + 1) % ring.len()]);
            tasks
                .spawn(async move { client.command("folder", id, "move", json!({"parent_id": into})).await });
        }
        let answers = tasks.join_all().await;
        let moved = answers.iter().filter(|answer| answer.status == 200).count();
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            answer.problem(422, "rejected");
        }
        assert_eq!(moved, ring.len() - 1, "all but the one that would close the ring");
        for id in &ring {
            assert!(reaches_the_root(&client, *id).await, "round {round}: a cycle");
        }
    }
}

#[tokio::test]
async fn a_folder_goes_neither_into_itself_nor_below_itself() {
    let host = TestHost::start().await;
    let client = host.client();
    let chain: Vec<Uuid> = (0..20).map(|_| new_id()).collect();
    for (index, id) in chain.iter().enumerate() {
        let parent = index.checked_sub(1).map(|above| chain[above]);
        client
            .command("folder", *id, "create", json!({"name": format!("level {index}"), "parent_id": parent}))
            .await
            .created();
    }
    for below in &chain {
        let refused = client.command("folder", chain[0], "move", json!({"parent_id": below})).await;
        assert!(refused.problem(422, "rejected")["domain_code"].is_string());
    }
    client.command("folder", chain[10], "move", json!({"parent_id": chain[3]})).await.ok();
}

#[tokio::test]
async fn two_hundred_levels_are_enough() {
    let host = TestHost::start().await;
    let client = host.client();
    let mut last: Option<Uuid> = None;
    for level in 1..=200 {
        let id = new_id();
        let payload = json!({"name": format!("level {level}"), "parent_id": last});
        client.command("folder", id, "create", payload).await.created();
        last = Some(id);
    }
    let too_deep = |problem: Value| assert_eq!(problem["domain_code"], "too-deep", "{problem}");
    for aggregate in ["file", "folder"] {
        let (id, payload) = (new_id(), json!({"name": "below", "parent_id": last}));
        too_deep(client.command(aggregate, id, "create", payload).await.problem(422, "rejected"));
        client.command(aggregate, id, "create", json!({"name": aggregate})).await.created();
        let answer = client.command(aggregate, id, "move", json!({"parent_id": last})).await;
        too_deep(answer.problem(422, "rejected"));
    }
    let above = client.query("ancestors", &[("id", &last.expect("a folder").to_string())]).await.ok();
    assert_eq!(above["items"].as_array().expect("items").len(), 199);
}

/// An event that fits its schema, and nothing else that commands know.
fn any_event(random: &mut Random, aggregate: &str, ids: &[Uuid], with_deletions: bool) -> Value {
    let id = |random: &mut Random| ids[random.index(ids.len())];
    let parent = match random.below(4) {
        0 => Value::Null,
        _ => json!(id(random)),
    };
    let name = format!("n{}", random.below(1_000_000));
    let (subject, permission) = (json!({"user": id(random)}), ["read", "admin"][random.index(2)]);
    let (what, data) = match random.below(if with_deletions { 9 } else { 7 }) {
        0 | 1 => {
            let owner = id(random);
            let mut data = json!({"name": name, "parent_id": parent, "owner_id": owner});
            if aggregate == "file" {
                data["size"] = json!(random.below(1_000));
                data["mime_type"] = json!("text/plain");
            }
            ("Created", data)
        }
        2 | 3 => ("Moved", json!({"parent_id": parent})),
        4 => ("Renamed", json!({"name": name})),
        5 => ("PermissionGranted", json!({"subject": subject, "permission": permission})),
        6 => ("PermissionRevoked", json!({"subject": subject, "permission": permission})),
        7 => ("Deleted", json!({"deletion": id(random), "with_folder": parent})),
        _ => ("Restored", json!({"deletion": id(random), "with_folder": parent})),
    };
    let noun = if aggregate == "file" { "File" } else { "Folder" };
    json!({"type": format!("{noun}{what}"), "data": data})
}

/// Appends whatever comes, many appends at once.
async fn append_anything(
    client: &Client,
    random: &mut Random,
    ids: &[Uuid],
    count: usize,
    with_deletions: bool,
) {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let place = random.index(ids.len());
        // Most ids are of one kind, and of the last two it is the first that comes.
        let is_file = if place + 2 < ids.len() { place.is_multiple_of(3) } else { random.below(2) == 0 };
        let aggregate = if is_file { "file" } else { "folder" };
        let events: Vec<Value> =
            (0..=random.below(3)).map(|_| any_event(random, aggregate, ids, with_deletions)).collect();
        let (client, id) = (client.clone(), ids[place]);
        tasks.spawn(async move {
            let path = format!("/v1/streams/{aggregate}/{id}/events");
            let answer = client.send(client.post(&path).json(&json!({"events": events}))).await;
            assert!([200, 201, 409].contains(&answer.status), "{events:?}: {}", answer.text);
        });
        if tasks.len() == 16 {
            tasks.join_next().await.expect("a task").expect("an append");
        }
    }
    tasks.join_all().await;
}

/// Waits until the read model has everything that is in the log.
async fn caught_up(client: &Client) {
    eventually(Duration::from_secs(60), || async {
        let head = client.head().await;
        let listed = client.get("/v1/projections").await.ok();
        let files = &listed["items"][0];
        if files["position"].as_u64().is_some_and(|at| at >= head) { Ok(()) } else { Err(files.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn no_history_keeps_the_read_model_from_going_on() {
    let mut random = Random::new();
    let host = TestHost::start().await;
    let client = host.client();
    let ids: Vec<Uuid> = (0..12).map(|_| new_id()).collect();
    append_anything(&client, &mut random, &ids, size(300, 5_000), false).await;
    caught_up(&client).await;

    // However the events are cut into batches, the same comes of them.
    let grown = read_model(&client).await;
    let (data, mut host) = (host.data(), host);
    host.stop().await;
    let again = TestHost::builder().copy_of(&data).start_without_read_models().await;
    caught_up(&again.client()).await;
    assert_eq!(read_model(&again.client()).await, grown);

    let client = again.client();
    append_anything(&client, &mut random, &ids, size(300, 5_000), true).await;
    caught_up(&client).await;
    let fine = new_id();
    client.command("file", fine, "create", json!({"name": "fine"})).await.created();
    assert_eq!(client.query("file", &[("id", &fine.to_string())]).await.ok()["name"], "fine");
    client.query("folder_tree", &[]).await.ok();
}
