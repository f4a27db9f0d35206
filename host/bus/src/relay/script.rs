//! What the relay asks of Redis: three scripts, each of which does its work at once or not at all, and the reading of names.
//!
//! Every script that writes checks first whose streams these are and whether a newer relay has taken over.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use cairn_model::Position;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};
use uuid::Uuid;

use super::streams::Stream;
use crate::keys::Keys;

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("publish.lua")));
static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("look.lua")));
static REMOVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("remove.lua")));

/// How many keys a step of a search looks at, about.
const SCAN_COUNT: usize = 1_000;

/// An event on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub position: Position,
    /// Whether the stream of all events lacks it.
    pub to_all: bool,
    /// Which of the batch's streams lacks it, besides.
    pub to: Option<usize>,
    pub json: String,
}

/// What is published together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// The touched streams and where each is expected to end. With entries, the first is that of all events.
    pub streams: &'a [(Stream, Position)],
    pub entries: &'a [Entry],
    /// The last position that the touched streams need not hold.
    pub floor: Position,
    /// How many streams there are then.
    pub count: usize,
}

/// What a script said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// The streams do not end where they were expected to; nothing was done.
    Moved,
    /// The streams are this log's; nothing was done.
    Foreign(String),
    /// A relay of this epoch has taken over; nothing was done.
    Superseded(String),
}

/// What stands at a stream's end.
#[derive(Debug)]
pub(crate) struct Look {
    /// The id that the next entry's must exceed; `None` if the key is no stream.
    pub end: Option<String>,
    /// The last entry: its id and its field `event`.
    pub entry: Option<(String, Vec<u8>)>,
}

/// What the relay's hash says.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub log_id: Option<String>,
    /// Where the streams are said to end.
    pub ends: HashMap<Stream, Position>,
    /// Whether all of the streams are named.
    pub whole: bool,
}

/// A connection that speaks for one relay.
pub(crate) struct Redis {
    pub connection: MultiplexedConnection,
    pub keys: Keys,
    pub log_id: Uuid,
    pub epoch: u64,
}

impl Redis {
    pub async fn publish(&mut self, batch: &Batch<'_>) -> RedisResult<Reply> {
        let (log, epoch) = (self.log_id.to_string(), self.epoch);
        let keys = batch.streams.iter().map(|(stream, _)| self.key(stream));
        let mut command = call(&PUBLISH, std::iter::once(self.keys.relay.clone()).chain(keys));
        command.arg(log).arg(epoch).arg(batch.floor.saturating_add(1)).arg(batch.count);
        for (_, end) in batch.streams {
            command.arg(*end);
        }
        for entry in batch.entries {
            // The relay's hash is the first of the keys, and Lua counts from 1.
            let other = entry.to.map_or(0, |index| index + 2);
            command.arg(entry.position).arg(u8::from(entry.to_all)).arg(other).arg(&entry.json);
        }
        let answer: Vec<String> = self.run(&PUBLISH, &command).await?;
        read_reply(&answer)
    }

    pub async fn look(&mut self, streams: &[Stream]) -> RedisResult<Vec<Look>> {
        let command = call(&LOOK, streams.iter().map(|stream| self.key(stream)));
        let answer: Vec<Vec<u8>> = self.run(&LOOK, &command).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let looks: Vec<Look> = answer
            .chunks_exact(3)
            .map(|part| Look {
                end: (part[0] != b"broken").then(|| text(&part[0])),
                entry: (!part[1].is_empty()).then(|| (text(&part[1]), part[2].clone())),
            })
            .collect();
        if looks.len() == streams.len() { Ok(looks) } else { Err(unexpected("as many answers as streams")) }
    }

    /// Takes streams away, if the hash still names the log that it was seen to name.
    pub async fn remove(&mut self, seen: Option<&str>, streams: &[Stream]) -> RedisResult<Reply> {
        let keys = streams.iter().map(|stream| self.key(stream));
        let mut command = call(&REMOVE, std::iter::once(self.keys.relay.clone()).chain(keys));
        command.arg(seen.unwrap_or_default()).arg(self.log_id.to_string()).arg(self.epoch);
        let answer: Vec<String> = self.run(&REMOVE, &command).await?;
        read_reply(&answer)
    }

    /// Trims streams to what lies behind a position, which needs no memory.
    pub async fn trim(&mut self, streams: &[Stream], floor: Position) -> RedisResult<()> {
        let mut pipeline = redis::pipe();
        for stream in streams {
            pipeline.cmd("XTRIM").arg(self.key(stream)).arg("MINID").arg(floor.saturating_add(1)).ignore();
        }
        pipeline.query_async(&mut self.connection).await
    }

    /// Reads the relay's hash. A key of that name that is no hash is in the way, and is deleted.
    pub async fn held(&mut self) -> RedisResult<Held> {
        let kind: String = redis::cmd("TYPE").arg(&self.keys.relay).query_async(&mut self.connection).await?;
        if kind != "hash" {
            if kind != "none" {
                tracing::warn!(
                    key = self.keys.relay,
                    kind,
                    "a key of the relay is of the wrong kind and is deleted"
                );
                redis::cmd("UNLINK").arg(&self.keys.relay).query_async::<()>(&mut self.connection).await?;
            }
            return Ok(Held::default());
        }
        let fields: HashMap<Vec<u8>, Vec<u8>> =
            redis::cmd("HGETALL").arg(&self.keys.relay).query_async(&mut self.connection).await?;
        Ok(self.read_held(&fields))
    }

    fn read_held(&self, fields: &HashMap<Vec<u8>, Vec<u8>>) -> Held {
        let text = |name: &str| fields.get(name.as_bytes()).map(|v| String::from_utf8_lossy(v).into_owned());
        let mut held = Held { log_id: text("log_id"), ..Held::default() };
        for (name, value) in fields {
            let stream = std::str::from_utf8(name).ok().and_then(|name| self.stream(name));
            let end = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            if let (Some(stream), Some(end)) = (stream, end) {
                held.ends.insert(stream, end);
            }
        }
        let count = text("streams").and_then(|count| count.parse().ok());
        held.whole = held.ends.contains_key(&Stream::All) && count == Some(held.ends.len());
        held
    }

    /// Every stream that exists, named anywhere or not. Looks at all keys, so it is for when there is no other way.
    pub async fn search(&mut self) -> RedisResult<BTreeSet<Stream>> {
        let mut found = BTreeSet::new();
        let mut cursor: u64 = 0;
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.keys.events))
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let (next, names): (u64, Vec<Vec<u8>>) = command.query_async(&mut self.connection).await?;
            found.extend(names.iter().filter_map(|name| self.stream(std::str::from_utf8(name).ok()?)));
            if next == 0 {
                return Ok(found);
            }
            cursor = next;
        }
    }

    fn key(&self, stream: &Stream) -> String {
        match stream {
            Stream::All => self.keys.events.clone(),
            Stream::Of(aggregate) => self.keys.aggregate(aggregate),
        }
    }

    fn stream(&self, key: &str) -> Option<Stream> {
        match key.strip_prefix(&self.keys.events)? {
            "" => Some(Stream::All),
            rest => rest.strip_prefix(':').map(|aggregate| Stream::Of(aggregate.into())),
        }
    }

    /// Runs a script that Redis should know; if it does not (it was restarted), it is told once.
    async fn run<T: redis::FromRedisValue>(&mut self, script: &Script, command: &Cmd) -> RedisResult<T> {
        match command.query_async(&mut self.connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                script.load_async(&mut self.connection).await?;
                command.query_async(&mut self.connection).await
            }
            answer => answer,
        }
    }
}

/// The call of a script with these keys; its arguments follow.
fn call(script: &Script, keys: impl Iterator<Item = String>) -> Cmd {
    let keys: Vec<String> = keys.collect();
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys.len()).arg(keys);
    command
}

fn read_reply(answer: &[String]) -> RedisResult<Reply> {
    let second = || answer.get(1).cloned().unwrap_or_default();
    match answer.first().map(String::as_str) {
        Some("done") => Ok(Reply::Done),
        Some("moved") => Ok(Reply::Moved),
        Some("foreign") => Ok(Reply::Foreign(second())),
        Some("superseded") => Ok(Reply::Superseded(second())),
        _ => Err(unexpected("done, moved, foreign or superseded")),
    }
}

fn unexpected(what: &str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the script did not answer as it should", format!("expected {what}"))
        .into()
}

/// Whether Redis refused for lack of memory.
pub(crate) fn is_out_of_memory(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.to_string().contains("OOM command not allowed")
}
