//! Hot data that is expensive to make and cannot go stale.
//!
//! Nothing here is ever invalidated. A value is kept under its key *and* the [`Validity`] that it was made for, a number that
//! the caller takes from the truth; when the truth moves on, the number is another one, and the old value is not asked for any
//! more. So a lost message, a slow host or a Redis that came back from yesterday cannot serve what is no longer so.
//!
//! | what | key | validity |
//! | --- | --- | --- |
//! | an aggregate's snapshot | stream, form of the state, component digest | none: it names the event that it reaches to by its hash, and is compared with the log |
//! | a query's answer | query, parameters, the whole caller, component digest, the hash of the log's last event | [`Validity::At`] the projection's position |
//! | what a projection's rows of some kind say | which rows | [`Validity::Tagged`], the tag's number in the read model |
//!
//! Whatever else the value depends on belongs into the key: the tenant, the caller, the code's digest. The log's id is part of
//! every key; where a log may be restored from a backup under its old id, put the hash of the last event into the key too.
//!
//! Values are kept in this process, bounded by bytes, and in Redis, bounded by time. Redis is asked with a short time limit, and
//! not at all after it has failed, until it answers again in the background: without Redis there are misses, not delays.

mod seal;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Client, RedisResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::connection::{self, Link, Task};
use crate::error::Error;
use crate::keys::Keys;
use crate::options::{CacheOptions, RedisOptions};
use seal::{Digest, digest, open, seal};

/// What an entry in this process costs besides its value.
const ENTRY_BYTES: usize = 128;
/// How many values may wait to be written to Redis.
const QUEUE_VALUES: usize = 1_024;

/// What a value was made for. A value is only found for the same validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity<'a> {
    /// As of a version of a stream or a position of a projection or of the log: what was so then will always have been so. Take
    /// the number from the read transaction that the value was made in; a newer number on an older value would be a lie.
    At(u64),
    /// As of the `number`-th state of what the tag names. The number must be kept with the data and must be increased by the
    /// transaction that changes the data (a projection's commit); it must never be kept in Redis, which may lose it.
    Tagged {
        /// What changes.
        tag: &'a str,
        /// How often it has.
        number: u64,
    },
}

/// A cache of bytes.
#[derive(Clone, Debug)]
pub struct Cache {
    log_id: Uuid,
    value_limit_bytes: usize,
    memory: moka::sync::Cache<Digest, Bytes>,
    redis: Option<Arc<Remote>>,
}

/// The part that is in Redis.
#[derive(Debug)]
struct Remote {
    prefix: String,
    reading: Link,
    gets: Semaphore,
    get_timeout: Duration,
    queue: mpsc::Sender<Write>,
    queue_bytes: Arc<Semaphore>,
    _writer: Task,
}

#[derive(Debug)]
struct Write {
    key: String,
    sealed: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Cache {
    /// A cache in this process alone.
    pub fn in_process(options: &CacheOptions, log_id: Uuid) -> Self {
        let memory = moka::sync::Cache::builder()
            .weigher(|_: &Digest, value: &Bytes| u32::try_from(value.len() + ENTRY_BYTES).unwrap_or(u32::MAX))
            .max_capacity(options.memory_bytes)
            .time_to_live(Duration::from_secs(options.ttl_s))
            .build();
        Self { log_id, value_limit_bytes: options.value_bytes, memory, redis: None }
    }

    /// A cache that the hosts of the log share. Redis need not be there, now or later.
    ///
    /// # Errors
    /// When the options cannot work.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn redis(options: &RedisOptions, log_id: Uuid) -> Result<Self, Error> {
        let client = connection::client(options)?;
        let remote = Remote::new(client, options, log_id);
        Ok(Self { redis: Some(Arc::new(remote)), ..Self::in_process(&options.cache, log_id) })
    }

    /// The value that was put for this key and this validity. `None` is always possible.
    pub async fn get(&self, key: &[u8], validity: Validity<'_>) -> Option<Bytes> {
        let digest = digest(self.log_id, key, validity);
        if let Some(value) = self.memory.get(&digest) {
            return Some(value);
        }
        let value = self.redis.as_ref()?.get(&digest, self.value_limit_bytes).await?;
        self.memory.insert(digest, value.clone());
        Some(value)
    }

    /// Keeps a value, if there is room. Never waits: Redis is written to in the background.
    pub fn put(&self, key: &[u8], validity: Validity<'_>, value: Bytes) {
        if value.len() > self.value_limit_bytes {
            return;
        }
        let digest = digest(self.log_id, key, validity);
        if let Some(redis) = &self.redis {
            redis.put(&digest, &value);
        }
        // A copy of its own: a slice would keep the whole buffer that it is of.
        self.memory.insert(digest, Bytes::copy_from_slice(&value));
    }

    /// Forgets what this process holds; Redis keeps its part.
    pub fn clear_memory(&self) {
        self.memory.invalidate_all();
    }
}

impl Remote {
    fn new(client: Client, options: &RedisOptions, log_id: Uuid) -> Self {
        let limits = &options.cache;
        let get_timeout = Duration::from_millis(limits.get_timeout_ms);
        let reading = Link::keep(client.clone(), options, get_timeout, limits.failures);
        let writing = Link::keep(client, options, options.command_timeout(), 1);
        let (queue, writes) = mpsc::channel(QUEUE_VALUES);
        Self {
            prefix: Keys::new(&options.namespace, log_id).cache,
            reading,
            gets: Semaphore::new(limits.concurrent_gets),
            get_timeout,
            queue,
            queue_bytes: Arc::new(Semaphore::new(limits.queue_bytes.min(Semaphore::MAX_PERMITS))),
            _writer: Task::spawn(write(writing, writes, limits.ttl_s)),
        }
    }

    async fn get(&self, digest: &Digest, value_limit_bytes: usize) -> Option<Bytes> {
        let mut connection = self.reading.get()?;
        let _turn = self.gets.try_acquire().ok()?;
        let command = redis::cmd("GETRANGE")
            .arg(self.key(digest))
            .arg(0)
            // The last byte that is wanted, so that no value is ever longer than it may be.
            .arg(seal::sealed_len(value_limit_bytes) - 1)
            .to_owned();
        let asking = command.query_async::<Vec<u8>>(&mut connection);
        let answer: RedisResult<Vec<u8>> = match tokio::time::timeout(self.get_timeout, asking).await {
            Ok(answer) => answer,
            Err(late) => Err(std::io::Error::from(late).into()),
        };
        match answer {
            Ok(sealed) => {
                self.reading.worked();
                open(digest, sealed)
            }
            Err(error) => {
                self.reading.failed(&error);
                None
            }
        }
    }

    fn put(&self, digest: &Digest, value: &Bytes) {
        if self.reading.get().is_none() {
            return;
        }
        let Ok(bytes) = u32::try_from(seal::sealed_len(value.len())) else { return };
        let Ok(room) = self.queue_bytes.clone().try_acquire_many_owned(bytes) else { return };
        let Ok(place) = self.queue.try_reserve() else { return };
        place.send(Write { key: self.key(digest), sealed: seal(digest, value), _room: room });
    }

    fn key(&self, digest: &Digest) -> String {
        format!("{}{}", self.prefix, seal::hexadecimal(digest))
    }
}

/// Writes what waits, one after the other. What cannot be written is dropped: it is only a cache.
async fn write(link: Link, mut writes: mpsc::Receiver<Write>, ttl_s: u64) {
    while let Some(write) = writes.recv().await {
        let Some(mut connection) = link.get() else { continue };
        let mut command = redis::cmd("SET");
        command.arg(&write.key).arg(&write.sealed).arg("EX").arg(ttl_s);
        match command.query_async::<()>(&mut connection).await {
            Ok(()) => link.worked(),
            // A Redis that answers and refuses (no memory, read only) is not to be connected to again.
            Err(error) if !error.is_unrecoverable_error() && !error.is_timeout() => {
                tracing::debug!(%error, "a value was not cached");
            }
            Err(error) => link.failed(&error),
        }
    }
}
