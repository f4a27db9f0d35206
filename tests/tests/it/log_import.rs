//! `POST /v1/import`: a running host takes the rest of its log in.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use cairn_model::Principal;
use cairn_tests::{Answer, Client, TestHost, cairn, eventually, new_id, read_model};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);

async fn import(client: &Client, lines: impl Into<reqwest::Body>) -> Answer {
    client.send(client.post("/v1/import").header("Content-Type", "application/x-ndjson").body(lines)).await
}

/// A log that is elsewhere.
struct Elsewhere {
    lines: Vec<String>,
    read_model: serde_json::Value,
    folder: Uuid,
}

impl Elsewhere {
    /// A folder with files, one of them deleted with the folder that it was in.
    async fn make() -> Self {
        let host = TestHost::start().await;
        let (client, folder, gone, inside) = (host.client(), new_id(), new_id(), new_id());
        client.command("folder", folder, "create", json!({"name": "f"})).await.created();
        client.command("folder", gone, "create", json!({"name": "gone"})).await.created();
        client.command("file", inside, "create", json!({"name": "i", "parent_id": gone})).await.created();
        client.command("folder", gone, "delete", json!({})).await.ok();
        eventually(LIMIT, || async {
            let state = client.state("file", inside).await;
            if state["is_deleted"] == true { Ok(()) } else { Err("it is not deleted".to_owned()) }
        })
        .await;
        for index in 0..10 {
            let payload = json!({"name": format!("n{index}"), "parent_id": folder});
            client.command("file", new_id(), "create", payload).await.created();
        }
        let read_model = read_model(&client).await;
        let lines = client.get("/v1/export").await.text.lines().map(|line| format!("{line}\n")).collect();
        Self { lines, read_model, folder }
    }

    /// A data folder with the beginning of it.
    fn begin(&self, count: usize) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("begin.ndjson");
        fs::write(&file, self.lines[..count].concat()).expect("a file");
        let mut command = std::process::Command::new(cairn());
        let done = command.args(["import", "--data"]).arg(folder.path()).arg(&file).output().expect("cairn");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::remove_file(file).expect("the file goes");
        folder
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_host_takes_the_rest_of_its_log_in() {
    let log = Elsewhere::make().await;
    let (begun, all) = (5, log.lines.len());
    let folder = log.begin(begun);
    let host = TestHost::builder().shared(folder.path()).start().await;
    let client = host.client();
    assert_eq!(client.head().await, begun as u64);
    // The last of them is the deletion of a folder, and what that led to is not here yet.
    let tail = client.get(&format!("/v1/export?after={}", begun - 1)).await.text;
    assert_eq!(tail, log.lines[begun - 1]);

    let tail = log.lines[begun..].concat();
    let done = import(&client, tail.clone()).await.ok();
    assert_eq!(done, json!({"imported": all - begun, "skipped": 0, "position": all}));
    let done = import(&client, log.lines.concat()).await.ok();
    assert_eq!(done, json!({"imported": 0, "skipped": all, "position": all}));
    assert_eq!(client.get("/v1/export").await.text, log.lines.concat());
    assert_eq!(client.get("/v1/audit/verify").await.ok()["valid"], true);
    client.has_seen(all as u64);
    // Access and claims come back from the log first.
    eventually(LIMIT, || async {
        let ready = client.get("/readyz").await;
        if ready.status == 200 { Ok(()) } else { Err(ready.text) }
    })
    .await;
    assert_eq!(read_model(&client).await, log.read_model);
    let create = |name: &str| json!({"name": name, "parent_id": log.folder});
    client.command("file", new_id(), "create", create("n3")).await.problem(409, "conflict");
    assert_eq!(client.head().await, all as u64, "no policy reacts to what is past");
    client.command("file", new_id(), "create", create("new")).await.created();
    assert_eq!(client.head().await, all as u64 + 1);
    // It goes its own way now.
    import(&client, tail).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_good_is_refused_as_a_whole() {
    let log = Elsewhere::make().await;
    let begun = 5;
    let folder = log.begin(begun);
    let reader = Principal {
        id: new_id(),
        tenant: "default".into(),
        groups: Vec::new(),
        scopes: vec!["queries".into()],
    };
    let host = TestHost::builder().shared(folder.path()).principal("reader", reader).start().await;
    let client = host.client();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = log.lines.clone();
        change(&mut lines);
        lines.concat()
    };
    let wrong = [
        (with(&|lines| lines[9] = lines[9].replace("\"data\":{", "\"data\":{\"x\":1,")), "line 10"),
        (with(&|lines| lines.swap(8, 9)), "line 9"),
        (with(&|lines| drop(lines.remove(8))), "line 9"),
        (with(&|lines| drop(lines.drain(..8))), "line 1"),
        (with(&|lines| lines[10].truncate(40)), "line 11"),
        ("{}\n".to_owned(), "line 1"),
        ("\n".to_owned(), "line 1"),
    ];
    for (lines, place) in wrong {
        let problem = import(&client, lines).await.problem(400, "invalid-input");
        assert_eq!(problem["errors"][0]["pointer"], place, "{problem}");
        assert_eq!(client.head().await, begun as u64, "{place}");
    }
    let long = format!("{}{}", log.lines[..6].concat(), "x".repeat(17 << 20));
    let problem = import(&client, long).await.problem(413, "body-too-large");
    assert!(problem["detail"].as_str().expect("a detail").contains("line 7"), "{problem}");
    let json = client.post("/v1/import").header("Content-Type", "application/json").body("{}");
    client.send(json).await.problem(415, "unsupported-media-type");
    let reader = host.client_of("reader");
    import(&reader, log.lines.concat()).await.problem(403, "forbidden");
    reader.get("/v1/export").await.problem(403, "forbidden");
    client.get("/v1/export?after=x").await.problem(400, "invalid-input");
    assert_eq!(client.head().await, begun as u64);

    // One event of its own, and the logs part.
    eventually(LIMIT, || async {
        let made = client.command("folder", new_id(), "create", json!({"name": "own"})).await;
        if made.status == 201 { Ok(()) } else { Err(made.text) }
    })
    .await;
    let before = client.get("/v1/export").await.text;
    let problem = import(&client, log.lines.concat()).await.problem(409, "conflict");
    let position = format!("position {}", begun + 1);
    assert!(problem["detail"].as_str().expect("a detail").contains(&position), "{problem}");
    import(&client, log.lines[begun + 1..].concat()).await.problem(409, "conflict");
    let other = TestHost::start().await;
    let problem = import(&other.client(), log.lines.concat()).await.problem(409, "conflict");
    assert!(problem["detail"].as_str().expect("a detail").contains("position 1"), "{problem}");
    assert_eq!(client.get("/v1/export").await.text, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_or_breaks_off_leaves_nothing_behind() {
    let log = Elsewhere::make().await;
    let folder = log.begin(5);
    let quick = ["--set", "limits.body_timeout_ms=1000"];
    let builder = TestHost::builder().shared(folder.path());
    let host = quick.into_iter().fold(builder, |builder, word| builder.argument(word)).start().await;
    let client = host.client();
    let whole = log.lines.concat();
    let head = |length: usize| {
        format!(
            "POST /v1/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n",
            host.key()
        )
    };
    let begun = head(whole.len() + 1) + &whole;
    let mut broken_off = host.connect();
    broken_off.write_all(begun.as_bytes()).expect("sent");
    drop(broken_off);
    // The turn is free again, though nobody has come to an end.
    eventually(LIMIT, || async {
        let mut stalled = host.connect();
        stalled.write_all(begun.as_bytes()).expect("sent");
        let mut answer = String::new();
        stalled.read_to_string(&mut answer).expect("an answer");
        if answer.starts_with("HTTP/1.1 408") { Ok(()) } else { Err(answer) }
    })
    .await;
    assert_eq!(client.head().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_let_imported_events_be_and_go_on_with_those_after_them() {
    let log = Elsewhere::make().await;
    let deletion = log.lines.iter().position(|line| line.contains("FolderDeleted")).expect("a deletion");
    let inside = log.lines[..deletion].iter().rfind(|line| line.contains("FileCreated")).expect("a file");
    let inside: serde_json::Value = serde_json::from_str(inside).expect("an event");
    let inside: Uuid = inside["id"].as_str().expect("an id").parse().expect("a UUID");
    let folder = log.begin(deletion);
    let host = TestHost::builder().shared(folder.path()).start().await;
    let client = host.client();
    assert_eq!(import(&client, log.lines[deletion].clone()).await.ok()["imported"], 1);

    let (own, own_file) = (new_id(), new_id());
    client.command("folder", own, "create", json!({"name": "own"})).await.created();
    client.command("file", own_file, "create", json!({"name": "a", "parent_id": own})).await.created();
    client.command("folder", own, "delete", json!({})).await.ok();
    eventually(LIMIT, || async {
        let state = client.state("file", own_file).await;
        if state["is_deleted"] == true { Ok(()) } else { Err("it is not deleted".to_owned()) }
    })
    .await;
    assert_eq!(client.state("file", inside).await["is_deleted"], false, "that is the business of elsewhere");
    assert_eq!(client.head().await, deletion as u64 + 5);
}
