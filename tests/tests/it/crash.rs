//! kill -9 under load, again and again: what was acknowledged is in the log, what is unknown is there once or not.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use cairn_tests::{Random, TestHost, read_model, size, sqlite};
use serde_json::json;

use crate::journal::{Journal, caught_up, check_log, meanwhile};

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_and_doubles_nothing() {
    let mut host = TestHost::start().await;
    let mut random = Random::new();
    let mut journals = Journal::begin(&host.client(), CLIENTS, Duration::ZERO).await;
    for _ in 0..size(5, 100) {
        let hosts = Arc::new(RwLock::new(vec![host.client()]));
        meanwhile(&mut journals, &hosts, async || {
            tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await;
            host.kill9().await;
        })
        .await;
        host.restart().await;
    }
    let client = host.client();
    let log = client.events().await;
    check_log(&log, &journals);
    let verified = client.get("/v1/audit/verify").await.ok();
    assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(log.len())));
    check_rebuilt(&mut host, log.len() as u64).await;
}

/// The read model against one that is built from the log from zero.
async fn check_rebuilt(host: &mut TestHost, last: u64) {
    let client = host.client();
    caught_up(&client, last).await;
    let before = read_model(&client).await;
    host.stop().await;
    let mut fresh = TestHost::builder().copy_of(host.data()).start_without_read_models().await;
    let client = fresh.client();
    caught_up(&client, last).await;
    assert_eq!(read_model(&client).await, before);
    fresh.stop().await;
    for table in ["file_views", "folder_tree", "file_permissions"] {
        let rows = |host: &TestHost| {
            sqlite(&host.data().join("read/files.sqlite"), &format!("SELECT * FROM {table} ORDER BY 1, 2, 3"))
        };
        if let (Some(old), Some(new)) = (rows(host), rows(&fresh)) {
            assert!(old == new, "the rows of {table} differ");
        }
    }
}
