//! A disk that is full: commands are refused in good order, nothing is damaged, and it goes on without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use cairn_servers::Postgres;
use cairn_tests::{Client, TestHost, eventually, new_id};
use serde_json::json;
use tempfile::TempDir;

use crate::journal::{Journal, check_log, meanwhile};

/// How long it may take until the disk is full, and until commands are taken again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A small disk of its own. Only root can mount one.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("cairn-disk-").tempdir().expect("a temporary folder");
        let size = format!("size={megabytes}m,mode=1777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "cairn"]).arg(folder.path());
        let status = mount.status().expect("mount(8) starts");
        assert!(status.success(), "a small disk cannot be mounted");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all that is free, and again what was freed meanwhile.
    fn fill(&self) {
        let mut filler =
            File::options().create(true).append(true).open(self.filler()).expect("a file on the disk");
        for piece in [1 << 20, 4096, 1] {
            while filler.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // An error leaves a mounted folder behind; a test that failed shall say why, not this.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id(1) starts");
    let is_root = output.stdout.trim_ascii() == b"0";
    if !is_root {
        println!("NOT TESTED: only root can mount a small disk");
    }
    is_root
}

/// Fills the disk under load until commands are refused and the host says so, then frees it.
async fn fill_and_free(disk: &SmallDisk, client: &Client, free: impl FnOnce()) {
    eventually(PATIENCE, || async {
        disk.fill();
        let create = client.post("/v1/aggregates/folder/create").json(&json!({"name": new_id()}));
        let (answer, ready) = (client.send(create).await, client.get("/readyz").await);
        let is_told = answer.status == 503 && answer.json()["code"] == "store-unavailable";
        if is_told && ready.status == 503 {
            Ok(())
        } else {
            Err(format!("{}, and ready: {}", answer.text, ready.text))
        }
    })
    .await;
    disk.free();
    free();
    eventually(PATIENCE, || async {
        let create = client.post("/v1/aggregates/folder/create").json(&json!({"name": new_id()}));
        let (answer, ready) = (client.send(create).await, client.get("/readyz").await);
        let well = answer.status == 201 && ready.status == 200;
        if well { Ok(()) } else { Err(format!("{}, and ready: {}", answer.text, ready.text)) }
    })
    .await;
}

async fn check(host: &TestHost, journals: &[Journal]) {
    let client = host.client();
    let log = client.events().await;
    check_log(&log, journals);
    let verified = client.get("/v1/audit/verify").await.ok();
    assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(log.len())));
    let id = new_id();
    client.command("file", id, "create", json!({"name": "last"})).await.created();
    assert_eq!(client.query("file", &[("id", &id.to_string())]).await.ok()["name"], "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_on_a_full_disk_refuses_and_recovers() {
    if !is_root() {
        return;
    }
    let disk = SmallDisk::mount(48);
    let host = TestHost::builder().shared(disk.path().join("data")).start().await;
    let client = host.client();
    let mut journals = Journal::begin(&client, 4, Duration::ZERO).await;
    let hosts = Arc::new(RwLock::new(vec![client.clone()]));
    meanwhile(&mut journals, &hosts, async || fill_and_free(&disk, &client, || ()).await).await;
    check(&host, &journals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_a_full_disk_is_unavailable_and_comes_back() {
    if !is_root() {
        return;
    }
    let disk = SmallDisk::mount(256);
    let mut postgres = Postgres::start_in(disk.path(), &["max_wal_size=64MB"]);
    let host = TestHost::builder().argument("--database").argument(postgres.database("cairn")).start().await;
    let client = host.client();
    let mut journals = Journal::begin(&client, 4, Duration::ZERO).await;
    let hosts = Arc::new(RwLock::new(vec![client.clone()]));
    meanwhile(&mut journals, &hosts, async || {
        // PostgreSQL ends where it cannot write its own log.
        fill_and_free(&disk, &client, || postgres.restart()).await;
    })
    .await;
    check(&host, &journals).await;
    drop(host);
}
