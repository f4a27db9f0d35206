//! Who may see and do what, over HTTP.

use cairn_model::Principal;
use cairn_tests::{Client, TestHost, new_id};
use serde_json::{Value, json};
use uuid::Uuid;

/// A principal without scopes beyond aggregates and queries.
fn principal(id: Uuid, groups: &[&str]) -> Principal {
    Principal {
        id,
        tenant: "default".into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        scopes: vec!["aggregates".to_owned(), "queries".to_owned()],
    }
}

/// A host with Ann and Ben, who is in the group `staff`, and their clients and ids.
async fn ann_and_ben() -> (TestHost, [(Client, Uuid); 2]) {
    let (ann, ben) = (new_id(), new_id());
    let builder = TestHost::builder().principal("ann-key", principal(ann, &[]));
    let host = builder.principal("ben-key", principal(ben, &["staff"])).start().await;
    let clients = [(host.client_of("ann-key"), ann), (host.client_of("ben-key"), ben)];
    (host, clients)
}

#[tokio::test]
async fn what_one_may_not_read_does_not_exist_for_one() {
    let (_host, [(ann, _), (ben, _)]) = ann_and_ben().await;
    let (folder, file) = (new_id(), new_id());
    ann.command("folder", folder, "create", json!({"name": "private"})).await.created();
    ann.command("file", file, "create", json!({"name": "a", "parent_id": folder})).await.created();
    let absent = ben.get(&format!("/v1/aggregates/file/{}", new_id())).await.problem(404, "not-found");
    let hidden = ben.get(&format!("/v1/aggregates/file/{file}")).await.problem(404, "not-found");
    assert_eq!(hidden["title"], absent["title"]);
    ben.get(&format!("/v1/aggregates/file/{file}/events")).await.problem(404, "not-found");
    ben.command("file", file, "rename", json!({"name": "b"})).await.problem(404, "not-found");
    ben.command("file", file, "delete", json!({})).await.problem(404, "not-found");
    let into_hidden =
        ben.command("file", new_id(), "create", json!({"name": "x", "parent_id": folder})).await;
    let into_absent =
        ben.command("file", new_id(), "create", json!({"name": "x", "parent_id": new_id()})).await;
    let (hidden, absent) = (into_hidden.problem(404, "not-found"), into_absent.problem(404, "not-found"));
    assert_eq!((&hidden["title"], &hidden["domain_code"]), (&absent["title"], &absent["domain_code"]));
    assert_eq!(ben.query("folder_tree", &[]).await.ok()["items"], json!([]));
    ben.query("file", &[("id", &file.to_string())]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_grant_on_a_folder_holds_for_what_is_in_it_and_a_revoke_ends_it_at_once() {
    let (_host, [(ann, _), (ben, ben_id)]) = ann_and_ben().await;
    let (folder, file) = (new_id(), new_id());
    ann.command("folder", folder, "create", json!({"name": "shared"})).await.created();
    ann.command("file", file, "create", json!({"name": "a", "parent_id": folder})).await.created();
    let grant = |permission: &str| json!({"subject": {"user": ben_id}, "permission": permission});
    ann.command("folder", folder, "grant", grant("read")).await.ok();
    assert_eq!(ben.state("file", file).await["name"], "a");
    let forbidden = ben.command("file", file, "rename", json!({"name": "b"})).await.problem(403, "forbidden");
    assert!(forbidden["detail"].as_str().is_some_and(|detail| detail.contains("write")), "{forbidden}");
    ann.command("folder", folder, "grant", grant("write")).await.ok();
    ben.command("file", file, "rename", json!({"name": "b"})).await.ok();
    ben.command("file", file, "delete", json!({})).await.problem(403, "forbidden");
    let visible = |answer: Value| answer["items"].as_array().expect("items").len();
    ben.has_seen(ann.head().await);
    assert!(visible(ben.query("folder_tree", &[]).await.ok()) >= 2);
    assert!(visible(ben.query("shared_with_me", &[]).await.ok()) >= 1);

    let why = ann.get(&format!("/v1/aggregates/file/{file}/access?principal={ben_id}")).await.ok();
    let grants = why["grants"].as_array().expect("grants");
    assert!(grants.iter().any(|grant| grant["on"] == json!({"aggregate": "folder", "id": folder})), "{why}");

    ann.command("folder", folder, "revoke", grant("write")).await.ok();
    ann.command("folder", folder, "revoke", grant("read")).await.ok();
    ben.get(&format!("/v1/aggregates/file/{file}")).await.problem(404, "not-found");
    assert_eq!(visible(ben.query("folder_tree", &[]).await.ok()), 0, "a list obeys a revoke at once");
}

#[tokio::test]
async fn groups_everyone_and_cut_off_folders() {
    let (_host, [(ann, _), (ben, _)]) = ann_and_ben().await;
    let (outer, inner) = (new_id(), new_id());
    ann.command("folder", outer, "create", json!({"name": "outer"})).await.created();
    ann.command("folder", inner, "create", json!({"name": "inner", "parent_id": outer})).await.created();
    ann.command("folder", outer, "grant", json!({"subject": {"group": "staff"}, "permission": "write"}))
        .await
        .ok();
    ben.command("folder", inner, "rename", json!({"name": "renamed"})).await.ok();
    ann.command("folder", inner, "set_inheritance", json!({"inherit": false})).await.ok();
    ben.get(&format!("/v1/aggregates/folder/{inner}")).await.problem(404, "not-found");
    ann.command("folder", inner, "grant", json!({"subject": "everyone", "permission": "read"})).await.ok();
    ben.command("folder", inner, "rename", json!({"name": "x"})).await.problem(403, "forbidden");
}

#[tokio::test]
async fn nobody_grants_what_they_lack() {
    let (_host, [(ann, _), (ben, ben_id)]) = ann_and_ben().await;
    let folder = new_id();
    ann.command("folder", folder, "create", json!({"name": "f"})).await.created();
    ann.command("folder", folder, "grant", json!({"subject": {"user": ben_id}, "permission": "share"}))
        .await
        .ok();
    let someone = json!({"user": new_id()});
    ben.command("folder", folder, "grant", json!({"subject": someone, "permission": "read"})).await.ok();
    for permission in ["write", "delete", "admin"] {
        let refused = ben
            .command("folder", folder, "grant", json!({"subject": someone, "permission": permission}))
            .await;
        refused.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_conflict_names_the_holder_only_to_those_who_may_read_it() {
    let (_host, [(ann, _), (ben, ben_id)]) = ann_and_ben().await;
    let (folder, hidden) = (new_id(), new_id());
    ann.command("folder", folder, "create", json!({"name": "f"})).await.created();
    ann.command("folder", folder, "grant", json!({"subject": {"user": ben_id}, "permission": "write"}))
        .await
        .ok();
    ann.command("folder", hidden, "create", json!({"name": "taken", "parent_id": folder})).await.created();
    ann.command("folder", hidden, "set_inheritance", json!({"inherit": false})).await.ok();
    let taken = json!({"name": "taken", "parent_id": folder});
    let for_ben = ben.command("file", new_id(), "create", taken.clone()).await.problem(409, "conflict");
    assert!(for_ben.get("holder").is_none(), "{for_ben}");
    assert!(!for_ben.to_string().contains(&hidden.to_string()), "nowhere in the answer: {for_ben}");
    let for_ann = ann.command("file", new_id(), "create", taken).await.problem(409, "conflict");
    assert_eq!(for_ann["holder"]["id"], json!(hidden));
}

#[tokio::test]
async fn the_log_and_the_audit_are_for_administrators() {
    let (host, [(ann, _), _]) = ann_and_ben().await;
    ann.command("file", new_id(), "create", json!({"name": "a"})).await.created();
    ann.get("/v1/audit/verify").await.problem(403, "forbidden");
    host.client().get("/v1/audit/verify").await.ok();
}
