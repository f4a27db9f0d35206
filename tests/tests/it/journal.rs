//! What clients sent and what they were told, and what of that must be in the log: acknowledged commands once, unknown
//! ones once or not at all, and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use cairn_tests::{Client, Random, new_id};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long a client rests that was not answered.
const REST: Duration = Duration::from_millis(10);

/// The hosts that clients choose from; a host that comes back has another address.
pub type Hosts = Arc<RwLock<Vec<Client>>>;

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

/// What one client remembers.
pub struct Journal {
    folder: Uuid,
    sent: Vec<Sent>,
    /// Which of them are unknown and will be sent again.
    open: Vec<usize>,
    files: Vec<Uuid>,
    random: Random,
    number: usize,
    pause: Duration,
}

impl Journal {
    /// Those of so many clients, who work in one folder that is made here, each with a pause after every answer.
    pub async fn begin(client: &Client, count: usize, pause: Duration) -> Vec<Self> {
        let (folder, mut random) = (new_id(), Random::new());
        client.command("folder", folder, "create", json!({"name": folder})).await.created();
        let journal = |number| Self {
            folder,
            sent: Vec::new(),
            open: Vec::new(),
            files: Vec::new(),
            random: Random::seeded(random.below(u64::MAX)),
            number,
            pause,
        };
        (0..count).map(journal).collect()
    }

    /// Sends commands, each to one of the hosts, until it is told to stop. What was not answered is sent again under its
    /// key, every second time.
    async fn work(mut self, hosts: Hosts, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let client = {
                let hosts = hosts.read().expect("the hosts");
                hosts[self.random.index(hosts.len())].clone()
            };
            let index = self.open.pop().unwrap_or_else(|| self.next());
            match send(&client, &self.sent[index]).await {
                Some(place) => {
                    let sent = &mut self.sent[index];
                    sent.acknowledged = Some(place);
                    if sent.command == "create" {
                        self.files.push(sent.id);
                    }
                    if !self.pause.is_zero() {
                        tokio::time::sleep(self.pause).await;
                    }
                }
                None => {
                    if self.random.below(2) == 0 {
                        self.open.push(index);
                    }
                    tokio::time::sleep(REST).await;
                }
            }
        }
        self
    }

    /// Notes a new command; answers its place.
    fn next(&mut self) -> usize {
        let name = format!("{}-{}", self.number, self.sent.len());
        let renames = !self.files.is_empty() && self.random.below(2) == 0;
        let (id, command, payload) = if renames {
            let at = self.random.index(self.files.len());
            (self.files[at], "rename", json!({"name": name}))
        } else {
            (new_id(), "create", json!({"name": name, "parent_id": self.folder}))
        };
        self.sent.push(Sent { key: new_id().to_string(), id, command, payload, acknowledged: None });
        self.sent.len() - 1
    }

    /// How many commands have an unknown outcome.
    pub fn unknown(journals: &[Self]) -> usize {
        let all = journals.iter().flat_map(|journal| &journal.sent);
        all.filter(|sent| sent.acknowledged.is_none()).count()
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

/// Lets all clients work while something else is done.
pub async fn meanwhile<F: AsyncFnOnce()>(journals: &mut Vec<Journal>, hosts: &Hosts, done: F) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for journal in journals.drain(..) {
        tasks.spawn(journal.work(hosts.clone(), stop.clone()));
    }
    done().await;
    stop.store(true, Ordering::Relaxed);
    *journals = tasks.join_all().await;
}

/// Every journal against the log.
pub fn check_log(log: &[Value], journals: &[Journal]) {
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

/// Waits until the read model of the files plugin has everything up to a position.
pub async fn caught_up(client: &Client, last: u64) {
    cairn_tests::eventually(Duration::from_secs(240), || async {
        let listed = client.get("/v1/projections").await.ok();
        let position = listed["items"][0]["position"].as_u64().expect("a position");
        if position >= last { Ok(()) } else { Err(format!("the read model is at {position} of {last}")) }
    })
    .await;
}
