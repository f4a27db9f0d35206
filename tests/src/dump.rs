//! Everything that a read model says, in a form that can be compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::Client;

/// How many items are asked for one by one, besides the lists.
const SINGLE_ITEMS: usize = 50;
/// How many items one query surely answers.
const ONE_ANSWER: usize = 5_000;

/// Copies a data folder, without the address of the host that ran on it.
///
/// # Panics
/// When something cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.file_name() != "listen" && entry.file_name() != "lock" {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Every item that is not deleted, each with its `path` from the root, read folder by folder and page by page: a tree
/// may have more items than one query answers.
///
/// # Panics
/// When a query fails.
pub async fn all_items(client: &Client) -> Vec<Value> {
    client.has_seen(client.head().await);
    let mut items = Vec::new();
    let mut open: Vec<(Option<String>, String)> = vec![(None, String::new())];
    while let Some((folder, path)) = open.pop() {
        let mut params = vec![("limit", "1000")];
        params.extend(folder.as_deref().map(|id| ("folder_id", id)));
        for mut item in client.all("/v1/queries/folder_children", &params, "cursor").await {
            let name = item["name"].as_str().expect("a name");
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if item["kind"] == "folder" {
                open.push((item["id"].as_str().map(str::to_owned), path.clone()));
            }
            item["path"] = json!(path);
            items.push(item);
        }
    }
    items.sort_by_key(|item| item["id"].to_string());
    items
}

/// What the files plugin's read model answers: every item, the trash, the whole tree where it is small enough for one
/// answer, and for some items their permissions and the folders above them.
///
/// # Panics
/// When a query fails.
pub async fn read_model(client: &Client) -> Value {
    let items = all_items(client).await;
    let mut tree = Vec::new();
    if items.len() < ONE_ANSWER {
        tree = client.all("/v1/queries/folder_tree", &[], "cursor").await;
        tree.sort_by_key(|item| item["id"].to_string());
    }
    let mut trash = client.all("/v1/queries/trash", &[("limit", "1000")], "cursor").await;
    trash.sort_by_key(|item| item["id"].to_string());
    let mut single = Vec::new();
    for item in items.iter().step_by((items.len() / SINGLE_ITEMS).max(1)) {
        let id = [("id", item["id"].as_str().expect("an id"))];
        let kind = item["kind"].as_str().expect("a kind");
        let whole = client.query(kind, &id).await.ok();
        let permissions = client.query("permissions", &id).await.ok();
        let ancestors = client.query("ancestors", &id).await.ok();
        single.push(json!({"item": whole, "permissions": permissions, "ancestors": ancestors}));
    }
    json!({"items": items, "tree": tree, "trash": trash, "single": single})
}

/// Runs SQL with the sqlite3 program on a file that no host has open; `None` where there is no such program.
///
/// # Panics
/// When the SQL fails.
pub fn sqlite(file: &Path, sql: &str) -> Option<String> {
    let output = Command::new("sqlite3").arg(file).arg(sql).output().ok()?;
    assert!(output.status.success(), "sqlite3: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
