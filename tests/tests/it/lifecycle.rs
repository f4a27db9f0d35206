//! Starting, stopping, and what may be deleted meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cairn_tests::{TestHost, new_id, read_model};
use serde_json::json;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut host = TestHost::start().await;
    let (client, folder) = (host.client(), new_id());
    client.command("folder", folder, "create", json!({"name": "f"})).await.created();
    client.command("file", new_id(), "create", json!({"name": "a", "parent_id": folder})).await.created();
    let (before, log, key) = (read_model(&client).await, client.events().await, host.key());
    host.restart().await;
    let client = host.client();
    assert_eq!(host.key(), key);
    assert_eq!(read_model(&client).await, before);
    assert_eq!(client.events().await[..log.len()], log);
}

#[tokio::test]
async fn read_models_and_caches_come_back_when_they_are_deleted() {
    let mut host = TestHost::start().await;
    let client = host.client();
    for index in 0..30 {
        client.command("file", new_id(), "create", json!({"name": format!("f{index}")})).await.created();
    }
    let before = read_model(&client).await;
    host.stop().await;
    for folder in ["read", "cache"] {
        let _ = fs::remove_dir_all(host.data().join(folder));
    }
    host.restart().await;
    assert_eq!(read_model(&host.client()).await, before);
}

#[tokio::test]
async fn a_data_folder_has_one_host() {
    let host = TestHost::start().await;
    let data = host.data();
    let second = TestHost::builder().shared(&data);
    let (_, log) = second.start_and_fail().await;
    assert!(log.contains(&data.display().to_string()), "the message names the folder: {log}");
    host.client().get("/readyz").await.ok();
}

#[tokio::test]
async fn the_key_is_its_owners_only() {
    let host = TestHost::start().await;
    let mode = fs::metadata(host.key_file()).expect("the key's file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_host_that_is_alive_and_ready_says_so_without_a_key() {
    let host = TestHost::start().await;
    let stranger = host.client_of("wrong");
    for path in ["/livez", "/readyz"] {
        assert_eq!(stranger.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn commands_that_were_acknowledged_before_a_stop_are_there_and_none_is_half_done() {
    let mut host = TestHost::start().await;
    let client = host.client();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for index in 0..500 {
                let id = new_id();
                let payload = json!({"name": format!("{number}-{index}")});
                let sent = client.try_keyed(&id.to_string(), "file", id, "create", &payload).await;
                match sent {
                    Ok(answer) if answer.status == 201 => acknowledged.push(id),
                    _ => break,
                }
            }
            acknowledged
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    host.stop().await;
    let acknowledged = tasks.join_all().await.concat();
    assert!(!acknowledged.is_empty());
    host.restart().await;
    let client = host.client();
    let ids: std::collections::HashSet<String> =
        client.events().await.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
    for id in acknowledged {
        assert!(ids.contains(&id.to_string()), "{id} was acknowledged");
    }
}
