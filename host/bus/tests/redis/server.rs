//! A private Redis: its own folder, a free port, gone with the test.

use std::fmt::Debug;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cairn_bus::RedisOptions;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long anything may take. Generous: other work may go on on the machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until the condition gives a value.
pub async fn eventually<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut condition: F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A Redis without persistence.
#[derive(Debug)]
pub struct Server {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Starts one.
    pub async fn start() -> Self {
        let mut server = Self { process: None, folder: tempfile::tempdir().expect("a folder"), port: 0 };
        for _ in 0..10 {
            server.port = free_port();
            if server.run().await {
                return server;
            }
        }
        panic!("redis-server does not start; is it installed?");
    }

    /// Starts it again on its port, empty.
    pub async fn restart(&mut self) {
        self.kill();
        eventually("Redis runs on its port again", async || self.run().await.then_some(())).await;
    }

    async fn run(&mut self) -> bool {
        self.kill();
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let id = process.id();
        self.process = Some(process);
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if let Ok(mut connection) = self.try_connect().await {
                let info: String =
                    redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap_or_default();
                if info.contains(&format!("process_id:{id}\r")) {
                    return true;
                }
            }
            if self.process.as_mut().is_some_and(|process| !matches!(process.try_wait(), Ok(None))) {
                return false;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it in the middle of what it does, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Impatient ones.
    pub fn options(&self) -> RedisOptions {
        RedisOptions {
            retry_max_ms: 100,
            audit_ms: 100,
            look_every_ms: 60_000,
            ..RedisOptions::new(self.url())
        }
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Runs a command, written with blanks.
    pub async fn command<T: FromRedisValue + Debug>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().expect("a command"));
        cmd.arg(words.collect::<Vec<_>>());
        let mut connection = self.try_connect().await.expect("Redis is there");
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Runs a command whose answer does not matter.
    pub async fn order(&self, command: &str) {
        self.command::<Value>(command).await;
    }

    /// The entries of a stream: ids and events.
    pub async fn entries(&self, stream: &str) -> Vec<(String, Json)> {
        let entries: Vec<(String, Vec<String>)> = self.command(&format!("XRANGE {stream} - +")).await;
        entries.into_iter().map(read_entry).collect()
    }

    /// The positions in a stream, by the entries' ids; what is no position is a large number.
    pub async fn positions(&self, stream: &str) -> Vec<u64> {
        let entries: Vec<(String, Vec<String>)> = self.command(&format!("XRANGE {stream} - +")).await;
        let position = |id: &str| id.strip_suffix("-0").and_then(|id| id.parse().ok());
        entries.iter().map(|(id, _)| position(id).unwrap_or(u64::MAX)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An entry with the one field `event`.
pub fn read_entry((id, fields): (String, Vec<String>)) -> (String, Json) {
    let [field, event] = fields.as_slice() else { panic!("one field, not {fields:?}") };
    assert_eq!(field, "event");
    (id, serde_json::from_str(event).expect("JSON"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
