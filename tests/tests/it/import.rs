//! The importer: a directory tree comes in whole, once, however often it is begun.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cairn_tests::{Client, TestHost, all_items, files_import, is_full};
use serde_json::Value;
use walkdir::WalkDir;

/// A tree of a few hundred entries with everything that trees have.
fn make_tree(top: &Path) {
    for index in 0..30 {
        let folder = top.join(format!("folder {index}/inner/日本語"));
        fs::create_dir_all(&folder).expect("a folder");
        for file in 0..8 {
            fs::write(folder.join(format!("file-{file}.txt")), "x".repeat(file)).expect("a file");
        }
        fs::write(folder.join("../É.md"), "").expect("a file");
    }
    fs::create_dir(top.join("empty")).expect("a folder");
    symlink("/etc", top.join("link-to-folder")).expect("a link");
    symlink("nowhere", top.join("dangling")).expect("a link");
    fs::write(top.join(OsStr::from_bytes(b"bad-\xff-name")), "").expect("a file");
    let bad = top.join(OsStr::from_bytes(b"bad-\xff-folder"));
    fs::create_dir(&bad).expect("a folder");
    fs::write(bad.join("unreachable"), "").expect("a file");
}

fn importer(host: &TestHost, dir: &Path, concurrency: usize) -> Command {
    let mut command = Command::new(files_import());
    command.arg(dir).args([
        "--url",
        &host.url(),
        "--json",
        "--concurrency",
        &concurrency.to_string(),
        "--key-file",
    ]);
    command.arg(host.key_file()).stdin(Stdio::null());
    command
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// What the directory has, as the importer should count and name it.
struct Expected {
    folders: u64,
    files: u64,
    links: u64,
    non_utf8: u64,
    paths: BTreeSet<String>,
}

fn expected(dir: &Path) -> Expected {
    let mut expected = Expected { folders: 0, files: 0, links: 0, non_utf8: 0, paths: BTreeSet::new() };
    let above = dir.parent().expect("a parent");
    for entry in WalkDir::new(dir).into_iter().flatten() {
        let kind = entry.file_type();
        if kind.is_symlink() {
            expected.links += 1;
        } else if let Some(path) = entry.path().strip_prefix(above).expect("below").to_str() {
            expected.paths.insert(path.to_owned());
            if kind.is_dir() { expected.folders += 1 } else { expected.files += 1 }
        } else {
            expected.non_utf8 += 1;
        }
    }
    expected
}

async fn check(client: &Client, dir: &Path, summary: &Value) {
    let expected = expected(dir);
    assert_eq!(summary["folders"], expected.folders, "{summary}");
    assert_eq!(summary["files"], expected.files, "{summary}");
    assert_eq!(summary["skipped_links"], expected.links, "{summary}");
    assert_eq!(summary["non_utf8"], expected.non_utf8, "{summary}");
    assert_eq!(summary["failed"], 0, "{summary}");
    let items = all_items(client).await;
    let paths: BTreeSet<String> =
        items.iter().map(|item| item["path"].as_str().expect("a path").to_owned()).collect();
    let missing: Vec<_> = expected.paths.difference(&paths).take(5).collect();
    let unexpected: Vec<_> = paths.difference(&expected.paths).take(5).collect();
    assert!(missing.is_empty() && unexpected.is_empty(), "missing {missing:?}, unexpected {unexpected:?}");
    assert_eq!(items.len(), expected.paths.len(), "no path twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_in_whole_and_again_without_a_new_event() {
    let host = TestHost::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let top = folder.path().join("top");
    make_tree(&top);
    let client = host.client();
    let output = importer(&host, &top, 64).output().expect("the importer runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(&client, &top, &summary(&output)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not UTF-8"), "what was left out is reported: {said}");

    let head = client.head().await;
    let again = importer(&host, &top, 64).output().expect("the importer runs");
    assert!(again.status.success());
    check(&client, &top, &summary(&again)).await;
    assert_eq!(client.head().await, head, "no event twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_is_completed_by_the_next_one() {
    let mut host = TestHost::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let top: PathBuf = folder.path().join("top");
    make_tree(&top);
    let client = host.client();
    let begun = client.head().await;
    let mut killed =
        importer(&host, &top, 2).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while client.head().await < begun + 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.kill().expect("killed");
    killed.wait().expect("waited for");

    // The second one sees the host itself go away in the middle and come back on another port: it gives up in time.
    let mut lonely = importer(&host, &top, 2)
        .args(["--patience-s", "1"])
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    host.kill9().await;
    assert!(!lonely.wait().expect("waited for").success(), "an import without a host fails");
    host.restart().await;

    let output = importer(&host, &top, 64).output().expect("the importer runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let client = host.client();
    check(&client, &top, &summary(&output)).await;
    let expected = expected(&top);
    for (event_type, count) in [("FileCreated", expected.files), ("FolderCreated", expected.folders)] {
        let events = client.all("/v1/events", &[("type", event_type), ("limit", "1000")], "after").await;
        assert_eq!(events.len() as u64, count, "{event_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_missing_host_are_said_clearly() {
    let host = TestHost::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |arguments: &[&str]| {
        let output =
            Command::new(files_import()).arg(folder.path()).args(arguments).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&["--url", &host.url(), "--key", "wrong"]);
    assert!(said.contains("does not accept the key"), "{said}");
    let said = run(&["--url", "http://127.0.0.1:1", "--key", "x", "--patience-s", "0"]);
    assert!(said.contains("cannot be reached"), "{said}");
    let said = run(&["--url", &host.url(), "--key-file", "/nowhere/admin.key"]);
    assert!(said.contains("/nowhere/admin.key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_tree_of_many_thousand_files() {
    let dir = if is_full() { Path::new("/usr/share") } else { Path::new(env!("CARGO_MANIFEST_DIR")) };
    let host = TestHost::start().await;
    let output = importer(&host, dir, 64).output().expect("the importer runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(&host.client(), dir, &summary(&output)).await;
}
