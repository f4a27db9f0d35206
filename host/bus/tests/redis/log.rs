//! A log in memory, and relays that publish it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_bus::{Bus, Page, RedisOptions, Relay, Status, Superseded};
use cairn_model::chain::{Hash, Link};
use cairn_model::{Position, RecordedEvent, StreamKey, Timestamp};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::server::{Server, eventually};

pub const ALL: &str = "{cairn}:events";
pub const FILES: &str = "{cairn}:events:file";
pub const FOLDERS: &str = "{cairn}:events:folder";

/// A log with an id. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Log {
    pub id: Uuid,
    pub bus: Bus,
    events: Arc<Mutex<Vec<RecordedEvent>>>,
}

impl Log {
    pub fn new(id: u128) -> Self {
        Self { id: Uuid::from_u128(id), bus: Bus::in_process(), events: Arc::default() }
    }

    /// Of seven events in a row four are of files, two of folders, and one is of something else.
    pub fn append(&self, count: usize) -> &Self {
        for _ in 0..count {
            let aggregate = match self.head() % 7 {
                1 | 4 => "folder",
                6 => "other",
                _ => "file",
            };
            self.append_one(aggregate, &"x".repeat(200));
        }
        self
    }

    /// One event of an aggregate of this type.
    pub fn append_one(&self, aggregate: &str, name: &str) -> &Self {
        let mut events = self.events.lock().expect("no panic");
        let position = events.len() as u64 + 1;
        let previous = events.last().map_or(Hash::ZERO, |event| event.hash);
        let metadata = json!({
            "actor": Uuid::from_u128(2), "tenant": "default", "command_id": Uuid::from_u128(3), "correlation_id": "c",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "digest": "", "generation": 1, "log_id": self.id,
            "occurred_at": "2024-01-01T00:00:00.000000Z",
        });
        let mut event = RecordedEvent {
            position,
            stream: StreamKey::new("default", aggregate, Uuid::from_u128(7)),
            version: position,
            event_type: "Happened".into(),
            schema_version: 1,
            data: json!({ "name": name }).to_string(),
            metadata: metadata.to_string(),
            recorded_at: Timestamp::from_micros(0),
            hash: Hash::ZERO,
        };
        event.hash = link(&event).hash(previous);
        events.push(event);
        drop(events);
        self.bus.announce(position);
        self
    }

    /// The log as a backup has it: its first events, under the same id.
    pub fn backup(&self, count: usize) -> Self {
        let events = self.events.lock().expect("no panic")[..count].to_vec();
        let backup = Self { events: Arc::new(Mutex::new(events)), bus: Bus::in_process(), id: self.id };
        backup.bus.announce(backup.head());
        backup
    }

    pub fn head(&self) -> Position {
        self.events.lock().expect("no panic").len() as u64
    }

    fn read(&self, after: Position, limit: u32) -> Page {
        let events = self.events.lock().expect("no panic");
        let from = usize::try_from(after).expect("small").min(events.len());
        let to = (from + limit as usize).min(events.len());
        Page { events: events[from..to].to_vec(), head: events.len() as u64 }
    }

    /// The positions after `floor` of events of this type; of all types if there is none.
    pub fn positions(&self, aggregate: Option<&str>, floor: Position) -> Vec<Position> {
        let events = self.events.lock().expect("no panic");
        let wanted = |event: &&RecordedEvent| {
            event.position > floor && aggregate.is_none_or(|name| &*event.stream.aggregate == name)
        };
        events.iter().filter(wanted).map(|event| event.position).collect()
    }

    /// Publishes it from now on.
    pub fn relay(&self, options: &RedisOptions, epoch: u64) -> Running {
        let log = self.clone();
        let read = move |after, limit| {
            let page = log.read(after, limit);
            async move { Ok::<_, Infallible>(page) }
        };
        let relay =
            Relay::new(options, self.id, epoch, self.bus.subscribe(), read).expect("the options hold");
        Running { status: relay.status(), task: tokio::spawn(relay.run()) }
    }

    /// Waits until all streams hold what they should, and nothing else.
    pub async fn is_published(&self, server: &Server, floor: Position) {
        for (stream, aggregate) in [(ALL, None), (FILES, Some("file")), (FOLDERS, Some("folder"))] {
            let expected = self.positions(aggregate, floor);
            eventually(&format!("{stream} is complete behind {floor}"), async || {
                (server.positions(stream).await == expected).then_some(())
            })
            .await;
        }
    }
}

fn link(event: &RecordedEvent) -> Link<'_> {
    Link {
        position: event.position,
        stream: &event.stream,
        version: event.version,
        event_type: &event.event_type,
        schema_version: event.schema_version,
        metadata: &event.metadata,
        recorded_at: event.recorded_at,
        data_hash: Hash::of(event.data.as_bytes()),
    }
}

/// A relay at work; it ends with the test.
#[derive(Debug)]
pub struct Running {
    pub status: watch::Receiver<Status>,
    task: JoinHandle<Superseded>,
}

impl Running {
    /// Waits for a state.
    pub async fn until(&mut self, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
        let limit = Duration::from_secs(30);
        let found =
            timeout(limit, self.status.wait_for(condition)).await.map(|found| found.map(|s| s.clone()));
        match found {
            Ok(found) => found.expect("the relay runs"),
            Err(_) => panic!("waited in vain: {what}; {:?}", self.status.borrow()),
        }
    }

    /// Waits until everything in the log is published.
    pub async fn catches_up(&mut self, log: &Log) -> Status {
        let head = log.head();
        self.until("it catches up", |status| status.published >= head && status.error.is_none()).await
    }

    /// Waits for the other relay to take over.
    pub async fn is_superseded(&mut self) -> Superseded {
        (&mut self.task).await.expect("no panic")
    }

    /// Ends it at whatever it is doing.
    pub async fn abort(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
