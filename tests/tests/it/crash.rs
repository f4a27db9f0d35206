//! kill -9 under load, again and again: what was acknowledged is in the log, what is unknown is there once or not.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cairn_tests::{Client, Random, TestHost, eventually, new_id, read_model, size, sqlite};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const CLIENTS: usize = 8;

/// A command that was sent, and what came of it.
#[derive(Clone, Debug)]
struct Sent {
    key: String,
    id: Uuid,
    command: &'static str,
    payload: Value,
    /// Version and position of the answer; `None` while the outcome is unknown.
    acknowledged: Option<(u64, u64)>,
}

/// What one client remembers over all rounds.
struct Journal {
    folder: Uuid,
    sent: Vec<Sent>,
    files: Vec<Uuid>,
    random: Random,
    number: usize,
}

impl Journal {
    /// Sends commands until the host is gone; first again what is unknown from the round before, each second one.
    async fn work(mut self, client: Client) -> Self {
        for index in 0..self.sent.len() {
            if self.sent[index].acknowledged.is_none() && index % 2 == 0 {
                let again = self.sent[index].clone();
                match send(&client, &again).await {
                    Some(outcome) => self.sent[index].acknowledged = Some(outcome),
                    None => return self,
                }
            }
        }
        loop {
            let next = self.next();
            self.sent.push(next.clone());
            let Some(outcome) = send(&client, &next).await else { return self };
            if next.command == "create" {
                self.files.push(next.id);
            }
            if let Some(last) = self.sent.last_mut() {
                last.acknowledged = Some(outcome);
            }
        }
    }

    fn next(&mut self) -> Sent {
        let name = format!("{}-{}", self.number, self.sent.len());
        let renames = !self.files.is_empty() && self.random.below(2) == 0;
        let (id, command, payload) = if renames {
            let at = self.random.index(self.files.len());
            (self.files[at], "rename", json!({"name": name}))
        } else {
            (new_id(), "create", json!({"name": name, "parent_id": self.folder}))
        };
        Sent { key: new_id().to_string(), id, command, payload, acknowledged: None }
    }
}

/// Sends it; `None` when it is not known what became of it.
async fn send(client: &Client, sent: &Sent) -> Option<(u64, u64)> {
    let answer = client.try_keyed(&sent.key, "file", sent.id, sent.command, &sent.payload).await.ok()?;
    if answer.status == 503 {
        return None;
    }
    assert!(answer.status == 200 || answer.status == 201, "{sent:?}: {}", answer.text);
    let body = answer.json();
    Some((body["version"].as_u64().expect("a version"), body["position"].as_u64().expect("a position")))
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_and_doubles_nothing() {
    let mut host = TestHost::start().await;
    let mut random = Random::new();
    let folder = new_id();
    host.client().command("folder", folder, "create", json!({"name": "busy"})).await.created();
    let mut journals: Vec<Journal> = (0..CLIENTS)
        .map(|number| Journal {
            folder,
            sent: Vec::new(),
            files: Vec::new(),
            random: Random::seeded(random.below(u64::MAX)),
            number,
        })
        .collect();
    for _ in 0..size(5, 100) {
        let mut tasks = JoinSet::new();
        for journal in journals.drain(..) {
            tasks.spawn(journal.work(host.client()));
        }
        tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await;
        host.kill9().await;
        journals = tasks.join_all().await;
        host.restart().await;
    }
    let client = host.client();
    let log = client.events().await;
    check_log(&log, &journals);
    let verified = client.get("/v1/audit/verify").await.ok();
    assert_eq!((&verified["valid"], &verified["checked"]), (&json!(true), &json!(log.len())));
    check_rebuilt(&mut host, log.len() as u64).await;
}

/// Every journal against the log.
fn check_log(log: &[Value], journals: &[Journal]) {
    let mut versions: HashMap<&str, u64> = HashMap::new();
    let mut names: HashMap<(String, &str), Vec<(u64, u64)>> = HashMap::new();
    let mut commands = HashSet::new();
    for (index, event) in log.iter().enumerate() {
        assert_eq!(event["position"], index as u64 + 1, "positions are dense");
        let id = event["id"].as_str().expect("an id");
        let version = versions.entry(id).or_default();
        *version += 1;
        assert_eq!(event["version"], *version, "versions are dense");
        if event["aggregate"] == "file" {
            let name = event["data"]["name"].as_str().expect("a name");
            names.entry((id.to_owned(), name)).or_default().push((*version, index as u64 + 1));
            let command = event["metadata"]["command_id"].as_str().expect("a command id");
            assert!(commands.insert(command), "no command is carried out twice");
        }
    }
    let (mut acknowledged, mut unknown, mut there) = (0, 0, 0);
    for sent in journals.iter().flat_map(|journal| &journal.sent) {
        let name = sent.payload["name"].as_str().expect("a name");
        let found = names.remove(&(sent.id.to_string(), name)).unwrap_or_default();
        match sent.acknowledged {
            Some(place) => {
                assert_eq!(found, [place], "acknowledged: {sent:?}");
                acknowledged += 1;
            }
            None => {
                assert!(found.len() <= 1, "unknown, and {} times: {sent:?}", found.len());
                unknown += 1;
                there += found.len();
            }
        }
    }
    assert!(names.is_empty(), "events that nobody sent: {names:?}");
    assert!(acknowledged > 0);
    println!("{acknowledged} acknowledged, {unknown} unknown, {there} of these in the log");
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

async fn caught_up(client: &Client, last: u64) {
    eventually(Duration::from_secs(120), || async {
        let listed = client.get("/v1/projections").await.ok();
        let position = listed["items"][0]["position"].as_u64().expect("a position");
        if position >= last { Ok(()) } else { Err(format!("the read model is at {position} of {last}")) }
    })
    .await;
}
