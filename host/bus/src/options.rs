//! The settings of everything that talks to Redis, each with its unit and its default.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How Redis is used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`. One server or the primary of a replicated one; not a cluster. It is
    /// never written out, as it may hold a password.
    #[serde(skip_serializing)]
    pub url: String,
    /// What all names in Redis begin with, in braces. Default `cairn`. Two logs in one Redis need two.
    pub namespace: String,
    /// The streams hold the events of the log's last so many positions. Default 1,000,000, at about 1 KB each, twice.
    pub retain_entries: u64,
    /// When Redis has no memory for that many, the streams may be cut down to the last so many. Default 10,000.
    pub retain_min_entries: u64,
    /// Events that are published together at most. Default 500.
    pub batch_events: u32,
    /// Bytes of JSON that are published together, at about. Default 1 MiB.
    pub batch_bytes: usize,
    /// How long connecting may take. Default 2 s.
    pub connect_timeout_ms: u64,
    /// How long Redis may take to answer the relay or a wake-up. Default 5 s.
    pub command_timeout_ms: u64,
    /// The longest pause after failures; the first one is 50 ms. Default 5 s.
    pub retry_max_ms: u64,
    /// How often the relay looks whether the streams are still what it made of them. Default 10 s.
    pub audit_ms: u64,
    /// How often listeners look at the log though nobody told them to, since wake-ups of other hosts can get lost. Default 1 s.
    pub look_every_ms: u64,
    /// What the relay does at its start when the streams are another log's. Default `replace`.
    pub foreign_log: ForeignLog,
    /// The cache.
    pub cache: CacheOptions,
}

/// What the relay does at its start when it finds another log's streams, or those of another history of the same log (a restored
/// backup). A relay that runs already never replaces: two logs that were pointed at one place do not destroy each other in turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForeignLog {
    /// It deletes them, consumer groups included, says so in the log, and fills new ones.
    #[default]
    Replace,
    /// It leaves them alone, reports it in its status, and publishes nothing until they are gone.
    Refuse,
}

/// The cache's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheOptions {
    /// Bytes of keys and values in this process. Default 64 MiB.
    pub memory_bytes: u64,
    /// The largest value; larger ones are not kept. Default 1 MiB.
    pub value_bytes: usize,
    /// How long a value is kept in Redis and in this process. Default 1 h.
    pub ttl_s: u64,
    /// How long a lookup waits for Redis. Default 20 ms.
    pub get_timeout_ms: u64,
    /// Bytes that wait to be written to Redis; what exceeds them is only kept in this process. Default 16 MiB.
    pub queue_bytes: usize,
    /// Lookups at Redis at the same time; further ones are misses at once. Default 256.
    pub concurrent_gets: usize,
    /// Lookups that fail in a row before Redis is left alone until it answers again. Default 3.
    pub failures: u32,
}

impl RedisOptions {
    /// The defaults, for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Error::Option`] with the first such setting.
    pub fn check(&self) -> Result<(), Error> {
        let require =
            |holds: bool, key, problem| if holds { Ok(()) } else { Err(Error::Option { key, problem }) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        require(
            !self.namespace.is_empty() && self.namespace.len() <= 64 && self.namespace.chars().all(plain),
            "namespace",
            "must be 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`",
        )?;
        require(self.retain_entries > 0, "retain_entries", "must be at least 1")?;
        require(self.retain_min_entries > 0, "retain_min_entries", "must be at least 1")?;
        require((1..=10_000).contains(&self.batch_events), "batch_events", "must be 1 to 10,000")?;
        require(self.batch_bytes > 0, "batch_bytes", "must be at least 1")?;
        require(self.connect_timeout_ms > 0, "connect_timeout_ms", "must be at least 1")?;
        require(self.command_timeout_ms > 0, "command_timeout_ms", "must be at least 1")?;
        require(self.retry_max_ms > 0, "retry_max_ms", "must be at least 1")?;
        require(self.audit_ms > 0, "audit_ms", "must be at least 1")?;
        require(self.look_every_ms > 0, "look_every_ms", "must be at least 1")?;
        require(self.cache.ttl_s > 0, "cache.ttl_s", "must be at least 1")?;
        require(self.cache.get_timeout_ms > 0, "cache.get_timeout_ms", "must be at least 1")?;
        require(self.cache.concurrent_gets > 0, "cache.concurrent_gets", "must be at least 1")?;
        require(self.cache.failures > 0, "cache.failures", "must be at least 1")
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    pub(crate) fn retry_max(&self) -> Duration {
        Duration::from_millis(self.retry_max_ms)
    }

    pub(crate) fn audit_every(&self) -> Duration {
        Duration::from_millis(self.audit_ms)
    }

    pub(crate) fn look_every(&self) -> Duration {
        Duration::from_millis(self.look_every_ms)
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            namespace: "cairn".to_owned(),
            retain_entries: 1_000_000,
            retain_min_entries: 10_000,
            batch_events: 500,
            batch_bytes: 1 << 20,
            connect_timeout_ms: 2_000,
            command_timeout_ms: 5_000,
            retry_max_ms: 5_000,
            audit_ms: 10_000,
            look_every_ms: 1_000,
            foreign_log: ForeignLog::default(),
            cache: CacheOptions::default(),
        }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            value_bytes: 1 << 20,
            ttl_s: 3_600,
            get_timeout_ms: 20,
            queue_bytes: 16 << 20,
            concurrent_gets: 256,
            failures: 3,
        }
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("namespace", &self.namespace)
            .field("retain_entries", &self.retain_entries)
            .field("foreign_log", &self.foreign_log)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_work_and_nothing_can_be_misspelt() {
        RedisOptions::new("redis://127.0.0.1").check().expect("the defaults hold");
        let read = serde_json::from_str::<RedisOptions>;
        assert_eq!(read(r#"{"retain_entries":7}"#).expect("read").retain_entries, 7);
        assert!(read(r#"{"retain":7}"#).is_err());
        let bad = RedisOptions { namespace: "a}b".to_owned(), ..RedisOptions::default() };
        assert!(matches!(bad.check(), Err(Error::Option { key: "namespace", .. })));
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = RedisOptions::new("redis://:secret@127.0.0.1");
        assert!(!format!("{options:?}").contains("secret"));
        assert!(!serde_json::to_string(&options).expect("written").contains("secret"));
    }
}
