//! A name belongs to one living sibling, whoever comes at the same time.

use cairn_tests::{Client, TestHost, new_id, size};
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: usize = 32;

#[tokio::test]
async fn of_many_that_create_one_name_at_once_one_gets_it_and_the_others_learn_who() {
    let host = TestHost::start().await;
    let (client, folder) = (host.client(), new_id());
    client.command("folder", folder, "create", json!({"name": "shared"})).await.created();
    for round in 0..size(10, 200) {
        let mut tasks = JoinSet::new();
        for index in 0..CLIENTS {
            let (client, id) = (host.client(), new_id());
            // Files and folders share one namespace.
            let aggregate = if index % 2 == 0 { "file" } else { "folder" };
            tasks.spawn(async move {
                let payload = json!({"name": format!("report {round}"), "parent_id": folder});
                (aggregate, id, client.command(aggregate, id, "create", payload).await)
            });
        }
        let (winners, losers): (Vec<_>, Vec<_>) =
            tasks.join_all().await.into_iter().partition(|(_, _, answer)| answer.status == 201);
        let [(aggregate, id, _)] = winners.as_slice() else { panic!("{} got it", winners.len()) };
        assert_eq!(losers.len(), CLIENTS - 1);
        for (_, _, answer) in losers {
            assert_eq!(answer.problem(409, "conflict")["holder"], json!({"aggregate": aggregate, "id": id}));
        }
    }
}

#[tokio::test]
async fn renames_and_moves_at_once_leave_one_of_each_name() {
    let host = TestHost::start().await;
    let client = host.client();
    let (folder, other) = (new_id(), new_id());
    client.command("folder", folder, "create", json!({"name": "to"})).await.created();
    client.command("folder", other, "create", json!({"name": "from"})).await.created();
    let mut files = Vec::new();
    for index in 0..CLIENTS {
        let (id, inside) = (new_id(), index % 2 == 0);
        let name = if inside { format!("own {index}") } else { "wanted".to_owned() };
        let parent = if inside { folder } else { new_id() };
        if !inside {
            let payload = json!({"name": format!("place {index}"), "parent_id": other});
            client.command("folder", parent, "create", payload).await.created();
        }
        client.command("file", id, "create", json!({"name": name, "parent_id": parent})).await.created();
        files.push((id, inside));
    }
    let mut tasks = JoinSet::new();
    for (id, inside) in files {
        let client = host.client();
        tasks.spawn(async move {
            if inside {
                client.command("file", id, "rename", json!({"name": "wanted"})).await.status
            } else {
                client.command("file", id, "move", json!({"parent_id": folder})).await.status
            }
        });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), CLIENTS - 1, "{statuses:?}");
}

#[tokio::test]
async fn names_are_compared_in_nfc_with_their_case() {
    let host = TestHost::start().await;
    let client = host.client();
    client.command("file", new_id(), "create", json!({"name": "caf\u{e9}"})).await.created();
    let decomposed = client.command("file", new_id(), "create", json!({"name": "cafe\u{301}"})).await;
    decomposed.problem(409, "conflict");
    client.command("file", new_id(), "create", json!({"name": "Caf\u{e9}"})).await.created();
}

#[tokio::test]
async fn a_deleted_thing_gives_its_name_free_and_takes_it_back_only_if_it_still_is() {
    let host = TestHost::start().await;
    let (client, old, new) = (host.client(), new_id(), new_id());
    client.command("file", old, "create", json!({"name": "a"})).await.created();
    client.command("file", old, "delete", json!({})).await.ok();
    client.command("file", new, "create", json!({"name": "a"})).await.created();
    client.command("file", old, "restore", json!({})).await.problem(409, "conflict");
    client.command("file", new, "rename", json!({"name": "b"})).await.ok();
    client.command("file", old, "restore", json!({})).await.ok();
}

#[tokio::test]
async fn an_id_belongs_to_one_thing_for_good() {
    let host = TestHost::start().await;
    let client = host.client();
    for (first, second) in [("file", "folder"), ("folder", "file")] {
        let id = new_id();
        client.command(first, id, "create", json!({"name": format!("a {first}")})).await.created();
        let taken = client.command(second, id, "create", json!({"name": "b"})).await.problem(409, "conflict");
        assert_eq!(taken["holder"], json!({"aggregate": first, "id": id}));
        client.command(first, id, "delete", json!({})).await.ok();
        client.command(second, id, "create", json!({"name": "b"})).await.problem(409, "conflict");
        client.command(first, id, "restore", json!({})).await.ok();
        assert_eq!(client.query(first, &[("id", &id.to_string())]).await.ok()["kind"], first);
        client.query(second, &[("id", &id.to_string())]).await.problem(404, "not-found");
    }
    let path = format!("/v1/streams/folder/{}/events", first_file(&client).await);
    let body = json!({"events": [{"type": "FolderCreated", "data": {
        "name": "c", "parent_id": null, "owner_id": new_id()}}]});
    client.send(client.post(&path).json(&body)).await.problem(409, "conflict");
}

async fn first_file(client: &Client) -> String {
    let hits = client.query("search", &[("q", "a file")]).await.ok();
    hits["items"][0]["id"].as_str().expect("an id").to_owned()
}
