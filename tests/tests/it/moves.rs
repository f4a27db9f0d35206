//! Folders that are moved into each other at the same time: never a cycle.

use std::collections::HashSet;

use cairn_tests::{Client, TestHost, new_id, size};
use serde_json::json;
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
