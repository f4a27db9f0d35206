//! The files plugin's queries over a small tree, and reading one's own writes.

use cairn_model::Principal;
use cairn_tests::{Client, TestHost, is_full, new_id};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// docs/{readme.md, deep/{er/{x.txt}}} and a.txt at the root; the ids of docs, deep, er, readme.md, x.txt.
async fn tree(client: &Client) -> [Uuid; 5] {
    let ids = [new_id(), new_id(), new_id(), new_id(), new_id()];
    let [docs, deep, er, readme, x] = ids;
    client.command("folder", docs, "create", json!({"name": "docs"})).await.created();
    client.command("folder", deep, "create", json!({"name": "deep", "parent_id": docs})).await.created();
    client.command("folder", er, "create", json!({"name": "er", "parent_id": deep})).await.created();
    let payload = json!({"name": "ReadMe.md", "parent_id": docs, "size": 7, "mime_type": "text/markdown"});
    client.command("file", readme, "create", payload).await.created();
    client.command("file", x, "create", json!({"name": "x.txt", "parent_id": er})).await.created();
    client.command("file", new_id(), "create", json!({"name": "a.txt"})).await.created();
    ids
}

fn names(answer: &Value) -> Vec<&str> {
    let items = answer["items"].as_array().expect("a list of items");
    items.iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn children_tree_ancestors_and_search_answer_from_the_read_model() {
    let host = TestHost::start().await;
    let client = host.client();
    let [docs, deep, er, readme, x] = tree(&client).await;
    let docs_text = docs.to_string();

    let mut root = client.query("folder_children", &[]).await.ok();
    assert_eq!(names(&root).len(), 2);
    root = client.query("folder_children", &[("folder_id", &docs_text)]).await.ok();
    let mut found = names(&root);
    found.sort_unstable();
    assert_eq!(found, ["ReadMe.md", "deep"]);

    let whole = client.query("folder_tree", &[("folder_id", &docs_text)]).await.ok();
    let mut paths: Vec<(u64, &str)> = whole["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| item["id"] != json!(docs))
        .map(|item| (item["depth"].as_u64().expect("a depth"), item["path"].as_str().expect("a path")))
        .collect();
    paths.sort_unstable();
    let depths: Vec<u64> = paths.iter().map(|(depth, _)| *depth).collect();
    assert_eq!(depths, [1, 1, 2, 3]);
    assert!(paths[3].1.ends_with("deep/er/x.txt"), "{paths:?}");
    let flat = client.query("folder_tree", &[("folder_id", &docs_text), ("depth", "1")]).await.ok();
    assert!(!names(&flat).contains(&"er"), "depth 1 is children only");

    let above = client.query("ancestors", &[("id", &x.to_string())]).await.ok();
    let ids: Vec<&Value> = above["items"].as_array().expect("items").iter().map(|item| &item["id"]).collect();
    for folder in [docs, deep, er] {
        assert!(ids.contains(&&json!(folder)), "{above}");
    }
    let hits = client.query("search", &[("q", "readme")]).await.ok();
    assert_eq!(hits["items"][0]["id"], json!(readme), "case does not matter: {hits}");
}

#[tokio::test]
async fn an_item_has_at_least_what_the_contract_names() {
    let host = TestHost::start().await;
    let client = host.client();
    let [docs, _, _, readme, _] = tree(&client).await;
    let file = client.query("file", &[("id", &readme.to_string())]).await;
    assert!(file.header("cairn-position").is_some());
    let file = file.ok();
    let folder = client.query("folder", &[("id", &docs.to_string())]).await.ok();
    for field in ["id", "kind", "name", "parent_id", "owner_id", "version", "created_at", "updated_at"] {
        assert!(file.get(field).is_some(), "file lacks {field}: {file}");
        assert!(folder.get(field).is_some(), "folder lacks {field}: {folder}");
    }
    assert_eq!((&file["kind"], &folder["kind"]), (&json!("file"), &json!("folder")));
    assert_eq!((&file["size"], &file["mime_type"]), (&json!(7), &json!("text/markdown")));
    client.query("file", &[("id", &new_id().to_string())]).await.problem(404, "not-found");
    client.query("file", &[("id", &docs.to_string())]).await.problem(404, "not-found");
}

#[tokio::test]
async fn children_come_in_pages_that_miss_and_repeat_nothing() {
    let host = TestHost::start().await;
    let (client, folder) = (host.client(), new_id());
    client.command("folder", folder, "create", json!({"name": "many"})).await.created();
    for index in 0..25 {
        let payload = json!({"name": format!("f{index:02}"), "parent_id": folder});
        client.command("file", new_id(), "create", payload).await.created();
    }
    let folder = folder.to_string();
    let params = [("folder_id", folder.as_str()), ("limit", "10")];
    let first = client.query("folder_children", &params).await.ok();
    assert_eq!(names(&first).len(), 10);
    assert!(first["next"].is_string());
    let all = client.all("/v1/queries/folder_children", &params, "cursor").await;
    let found: Vec<String> =
        all.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(found, (0..25).map(|index| format!("f{index:02}")).collect::<Vec<_>>());
    client.query("folder_children", &[("cursor", "no-cursor")]).await.problem(400, "invalid-input");
}

#[tokio::test]
async fn what_is_renamed_moved_deleted_and_restored_is_read_so_at_once() {
    let host = TestHost::start().await;
    let client = host.client();
    let [docs, deep, _, readme, x] = tree(&client).await;
    client.command("file", readme, "rename", json!({"name": "new"})).await.ok();
    assert_eq!(client.query("file", &[("id", &readme.to_string())]).await.ok()["name"], "new");
    client.command("folder", deep, "move", json!({"parent_id": null})).await.ok();
    let tree = client.query("folder_tree", &[("folder_id", &docs.to_string())]).await.ok();
    assert!(!names(&tree).contains(&"x.txt"), "what is below a moved folder moves with it: {tree}");
    let above = client.query("ancestors", &[("id", &x.to_string())]).await.ok();
    assert!(!names(&above).contains(&"docs"), "{above}");
    client.command("file", readme, "delete", json!({})).await.ok();
    assert_eq!(names(&client.query("trash", &[]).await.ok()), ["new"]);
    assert!(
        !names(&client.query("folder_children", &[("folder_id", &docs.to_string())]).await.ok())
            .contains(&"new")
    );
    client.command("file", readme, "restore", json!({})).await.ok();
    assert!(names(&client.query("trash", &[]).await.ok()).is_empty());
}

#[tokio::test]
async fn a_query_waits_for_the_position_that_it_is_given_and_says_so_when_it_cannot() {
    let host = TestHost::start().await;
    let client = host.client();
    let far = client.head().await + 1_000;
    for prefer in ["wait=1", "respond-async, wait=1;why=tired", "WAIT = \"1\""] {
        let request = client.request(reqwest::Method::GET, "/v1/queries/folder_children");
        let request = request.header("Cairn-Min-Position", far).header("Prefer", prefer);
        client.send(request).await.problem(503, "projection-behind");
    }
    let request = client.request(reqwest::Method::GET, "/v1/queries/folder_children");
    let request = request.header("Cairn-Min-Position", far).header("Prefer", "wait=soon");
    client.send(request).await.problem(400, "invalid-input");
    let listed = client.get("/v1/projections").await.ok();
    let names: Vec<&Value> =
        listed["items"].as_array().expect("items").iter().map(|item| &item["name"]).collect();
    assert!(names.contains(&&json!("files")), "{listed}");
}

/// The paths of the whole tree down to a depth, each with the depth of its item.
async fn whole_tree(client: &Client, depth: u32) -> Vec<(String, u64)> {
    let tree = client.query("folder_tree", &[("depth", &depth.to_string())]).await.ok();
    let items = tree["items"].as_array().expect("items").iter();
    let place = |item: &Value| Some((item["path"].as_str()?.to_owned(), item["depth"].as_u64()?));
    items.map(|item| place(item).expect("a path and a depth")).collect()
}

#[tokio::test]
async fn the_whole_tree_goes_as_deep_as_it_is_asked_for() {
    let ben_id = new_id();
    let ben = Principal {
        id: ben_id,
        tenant: "default".into(),
        groups: vec!["staff".to_owned()],
        scopes: vec!["queries".to_owned()],
    };
    let host = TestHost::builder().principal("ben", ben).start().await;
    let client = host.client();
    let [_, deep, er, _, x] = tree(&client).await;
    assert_eq!(whole_tree(&client, 1).await, [("a.txt".to_owned(), 1), ("docs".to_owned(), 1)]);
    let two: Vec<String> = whole_tree(&client, 2).await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(two, ["a.txt", "docs", "docs/ReadMe.md", "docs/deep"]);
    assert_eq!(whole_tree(&client, 3).await.len(), 5);
    assert_eq!(whole_tree(&client, 4).await.len(), 6);
    assert_eq!(whole_tree(&client, 2_147_483_647).await.len(), 6);

    // It begins at the highest readable folders, wherever they are.
    let ben = host.client_of("ben");
    let grant = |permission: &str| json!({"subject": {"group": "staff"}, "permission": permission});
    client.command("folder", deep, "grant", grant("read")).await.ok();
    ben.has_seen(client.head().await);
    assert_eq!(whole_tree(&ben, 1).await, [("deep".to_owned(), 1)]);
    assert_eq!(whole_tree(&ben, 2).await, [("deep".to_owned(), 1), ("deep/er".to_owned(), 2)]);
    client.command("folder", er, "set_inheritance", json!({"inherit": false})).await.ok();
    client.command("file", x, "grant", grant("read")).await.ok();
    ben.has_seen(client.head().await);
    assert_eq!(whole_tree(&ben, 1).await, [("deep".to_owned(), 1), ("x.txt".to_owned(), 1)]);
}

#[tokio::test]
async fn a_tree_that_is_too_large_can_be_had_to_a_depth() {
    if !is_full() {
        return;
    }
    let host = TestHost::start().await;
    let (client, folder) = (host.client(), new_id());
    client.command("folder", folder, "create", json!({"name": "many"})).await.created();
    let mut tasks = JoinSet::new();
    for part in 0..32 {
        let client = client.clone();
        tasks.spawn(async move {
            for index in (part..50_001).step_by(32) {
                let payload = json!({"name": format!("f{index}"), "parent_id": folder});
                client.command("file", new_id(), "create", payload).await.created();
            }
        });
    }
    tasks.join_all().await;
    let refused = client.query("folder_tree", &[]).await.problem(422, "rejected");
    assert_eq!(refused["domain_code"], "tree-too-large");
    assert_eq!(whole_tree(&client, 1).await, [("many".to_owned(), 1)]);
}
