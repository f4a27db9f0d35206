//! A log goes from one store to another as lines, and stays what it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cairn_model::{NewEvent, StreamKey};
use cairn_servers::Postgres;
use cairn_store::{Append, Options, Outcome, Store};
use cairn_tests::{Client, TestHost, cairn, eventually, files_plugin, new_id, read_model, size};
use serde_json::json;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);

/// Where a log is.
enum Log {
    Folder(PathBuf),
    Database(String),
}

impl Log {
    fn run(&self, command: &str, rest: &[&Path]) -> Command {
        let mut cairn = Command::new(cairn());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAIRN_") {
                cairn.env_remove(name);
            }
        }
        match self {
            Self::Folder(path) => cairn.args([command, "--data"]).arg(path),
            Self::Database(url) => cairn.args([command, "--database", url]),
        };
        cairn.args(rest).stdin(Stdio::null());
        cairn
    }

    fn import(&self, file: &Path) -> String {
        well(self.run("import", &[file]))
    }

    fn export(&self, file: &Path) -> Vec<u8> {
        assert_eq!(well(self.run("export", &[Path::new("-o"), file])), "");
        fs::read(file).expect("the exported file")
    }
}

/// What it says when it ends well.
fn well(mut command: Command) -> String {
    let output = command.output().expect("cairn starts");
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// What it says when it does not.
fn badly(mut command: Command) -> String {
    let output = command.output().expect("cairn starts");
    assert!(!output.status.success(), "{command:?} ended well");
    errors(&output)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Some of everything; answers a folder with a file `kept` in it.
async fn busy(client: &Client) -> Uuid {
    let (folder, gone, inside) = (new_id(), new_id(), new_id());
    client.command("folder", folder, "create", json!({"name": "f \u{e4}\u{1f600} \"\\"})).await.created();
    client.command("file", new_id(), "create", json!({"name": "kept", "parent_id": folder})).await.created();
    for index in 0..20 {
        let file = new_id();
        let payload = json!({"name": format!("n{index}"), "parent_id": folder, "size": index});
        client.command("file", file, "create", payload).await.created();
        client.command("file", file, "rename", json!({"name": format!("m{index}")})).await.ok();
        let grant = json!({"subject": {"group": "staff"}, "permission": "write"});
        client.command("file", file, "grant", grant).await.ok();
    }
    client.command("folder", gone, "create", json!({"name": "gone", "parent_id": folder})).await.created();
    client.command("file", inside, "create", json!({"name": "inside", "parent_id": gone})).await.created();
    client.command("folder", gone, "delete", json!({})).await.ok();
    eventually(LIMIT, || async {
        let state = client.state("file", inside).await;
        if state["is_deleted"] == true { Ok(()) } else { Err("what is in the folder is not deleted".into()) }
    })
    .await;
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_to_postgresql_and_back_and_hosts_go_on_with_it() {
    let (postgres, folder) = (Postgres::start(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    let mut host = TestHost::start().await;
    let client = host.client();
    let kept_in = busy(&client).await;
    let (head, before) = (client.head().await, read_model(&client).await);
    let over_http = client.get("/v1/export").await;
    assert_eq!(over_http.header("cairn-position"), Some(head.to_string().as_str()));
    assert_eq!(over_http.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(over_http.text.lines().count() as u64, head);

    let source = Log::Folder(host.data());
    let refused = badly(source.run("export", &[]));
    assert!(refused.contains("is in use: stop the host"), "{refused}");
    host.stop().await;
    let lines = source.export(&path("one"));
    assert!(lines == over_http.text.as_bytes(), "both ways out give the same");
    assert!(well(source.run("export", &[])).as_bytes() == lines, "standard output too");

    let (database, back) = (Log::Database(postgres.database("cairn")), Log::Folder(path("back")));
    let said = database.import(&path("one"));
    assert!(said.contains(&format!("{head} events imported, 0 were there already")), "{said}");
    assert!(database.export(&path("two")) == lines, "PostgreSQL has kept every byte");
    back.import(&path("two"));
    assert!(back.export(&path("three")) == lines, "and so it came back");
    let said = back.import(&path("one"));
    assert!(said.contains(&format!("0 events imported, {head} were there already")), "{said}");

    let Log::Database(url) = &database else { unreachable!("it is one") };
    let on_postgres = TestHost::builder().argument("--database").argument(url);
    let refused = badly(back.run("serve", &[Path::new("--listen"), Path::new("127.0.0.1:0")]));
    assert!(refused.contains("start with --plugin FILE"), "{refused}");
    for builder in [on_postgres, TestHost::builder().shared(path("back"))] {
        let mut host = builder.plugin(files_plugin()).start().await;
        let client = host.client();
        decides(&client, kept_in).await;
        client.has_seen(head);
        assert_eq!(read_model(&client).await, before);
        let verified = client.get("/v1/audit/verify").await.ok();
        assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(head)));
        assert_eq!(client.head().await, head, "no policy reacts to what is past");
        client
            .command("file", new_id(), "create", json!({"name": "new", "parent_id": kept_in}))
            .await
            .created();
        assert_eq!(client.head().await, head + 1);
        host.stop().await;
    }
}

/// Waits until access and claims are back: before, nothing is decided. Then the name in the folder is taken.
async fn decides(client: &Client, folder: Uuid) {
    eventually(LIMIT, || async {
        let payload = json!({"name": "kept", "parent_id": folder});
        let taken = client.command("file", new_id(), "create", payload).await;
        if taken.status == 503 { Err(taken.text) } else { Ok(taken.problem(409, "conflict")) }
    })
    .await;
}

/// A log with so many events of a type that no plugin knows, in streams of ten.
async fn long(folder: &Path, count: usize) {
    let store = Store::open(Options::new(folder)).await.expect("the store opens");
    let mut outcomes = Vec::new();
    for number in 0..count / 10 {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        let data =
            |index| format!("{{\"stream\":{number},\"index\":{index},\"text\":\"{}\"}}", "x".repeat(50));
        let event = |data| NewEvent { event_type: "ThingHappened".into(), schema_version: 1, data };
        let append = Append {
            events: (0..10).map(|index| event(data(index))).collect(),
            metadata: r#"{"tenant":"default"}"#.to_owned(),
            ..Append::check(StreamKey::new("default", "thing", Uuid::from_u128(number as u128)), 0)
        };
        store.append(append, move |outcome| sender.send(outcome).expect("the test waits"));
        outcomes.push(outcome);
    }
    for outcome in outcomes {
        let outcome = outcome.await.expect("an outcome");
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    store.close().await;
}

/// Starts the import and kills it once something of it was written; `false` if it ended before.
async fn break_off(log: &Log, file: &Path, has_begun: impl Fn() -> bool) -> bool {
    let mut import: Child = log.run("import", &[file]).stdout(Stdio::null()).spawn().expect("cairn starts");
    loop {
        if let Some(status) = import.try_wait().expect("a process") {
            assert!(status.success(), "the import failed");
            return false;
        }
        if has_begun() {
            import.kill().expect("it is killed");
            import.wait().expect("it ends");
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let count = size(30_000, 300_000);
    long(&path("source"), count).await;
    let file = path("file");
    let lines = Log::Folder(path("source")).export(&file);

    let target = Log::Folder(path("target"));
    let written = path("target/cairn.db-wal");
    let mut broken_off = 0;
    for _ in 0..3 {
        // The log that was killed last is opened and closed well: its write-ahead log goes.
        let size = || fs::metadata(&written).map_or(0, |file| file.len());
        if broken_off > 0 {
            target.export(&path("part"));
        }
        broken_off += u32::from(break_off(&target, &file, || size() > 500_000).await);
    }
    assert!(broken_off > 0, "it was too fast to be killed");
    let part = target.export(&path("part"));
    assert!(!part.is_empty() && part.len() < lines.len() && lines.starts_with(&part));
    target.import(&file);
    assert!(target.export(&path("whole")) == lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_postgresql_that_was_killed_goes_on() {
    let (postgres, folder) = (Postgres::start(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    let count = size(30_000, 300_000);
    long(&path("source"), count).await;
    let file = path("file");
    let lines = Log::Folder(path("source")).export(&file);

    let target = Log::Database(postgres.database("cairn"));
    target.export(&path("empty"));
    let there =
        || -> usize { postgres.sql("cairn", "SELECT count(*) FROM event_store").parse().expect("a number") };
    let mut broken_off = 0;
    for _ in 0..3 {
        let before = there();
        broken_off += u32::from(break_off(&target, &file, || there() > before).await);
    }
    assert!(broken_off > 0, "it was too fast to be killed");
    target.import(&file);
    assert_eq!(there(), count);
    assert!(target.export(&path("whole")) == lines);
}

#[tokio::test]
async fn what_was_changed_is_refused_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    long(&path("source"), 2_500).await;
    let text = String::from_utf8(Log::Folder(path("source")).export(&path("file"))).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n")
    };
    let hash = |line: &str| line.replace(r#""hash":""#, r#""hash":"0"#);
    let wrong = [
        (with(&|lines| lines[2_000] = lines[2_000].replace("xxx", "xxy")), "line 2001: "),
        (with(&|lines| lines[2_000] = hash(&lines[2_000])), "line 2001: "),
        (with(&|lines| lines.swap(2_000, 2_001)), "line 2001: "),
        (with(&|lines| drop(lines.remove(2_000))), "line 2001: "),
        (with(&|lines| lines[2_000].clear()), "line 2001: "),
        (with(&|lines| lines[2_499].truncate(100)), "line 2500: "),
        (with(&|lines| drop(lines.remove(0))), "line 1: "),
        (with(&|lines| lines[5].push_str(&"x".repeat(17 << 20))), "line 6 is longer"),
    ];
    let target = Log::Folder(path("target"));
    for (text, said) in wrong {
        fs::write(path("bad"), text).expect("a file");
        let refused = badly(target.run("import", &[&path("bad")]));
        assert!(refused.contains(said), "{said:?}: {refused}");
        assert_eq!(target.export(&path("nothing")), b"", "nothing was imported: {said}");
        let mut piped = target.run("import", &[Path::new("-")]);
        piped.stdin(fs::File::open(path("bad")).expect("the file"));
        assert!(badly(piped).contains(said));
    }
    let mut piped = target.run("import", &[Path::new("-")]);
    piped.stdin(fs::File::open(path("file")).expect("the file"));
    well(piped);
    assert!(target.export(&path("again")) == text.as_bytes());
    let names =
        fs::read_dir(path("target")).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<_> = names.filter(|name| name != "lock" && name != "read").collect();
    assert_eq!(names, ["cairn.db"], "nothing is left");
    let refused = badly(Log::Folder(path("absent")).run("export", &[]));
    assert!(refused.contains("there is no log in") && !path("absent").exists(), "{refused}");
}
