//! The settings of a store, each with its unit and its default.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cairn_model::Clock;

/// How many kept answers are deleted in one transaction.
pub(crate) const PRUNE_PIECE: u64 = 1000;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; it is made if it is missing. One process has it, wherever the log is.
    pub data: PathBuf,
    /// Where the log is, if not in the data folder.
    pub postgres: Option<PostgresOptions>,
    /// Where `recorded_at` comes from.
    pub clock: Clock,
    /// How many appends may wait for the sequencer; more are answered with `Overloaded`. Default 8192.
    pub queue_limit: usize,
    /// How many bytes of events, metadata and answers may wait for the sequencer. Default 256 MiB.
    pub queue_limit_bytes: usize,
    /// How many appends are committed together at most. Default 1024.
    pub batch_limit: usize,
    /// How many bytes of events, metadata and answers are committed together, at about. Default 16 MiB.
    pub batch_limit_bytes: usize,
    /// Connections that read the log at the same time. Default 4.
    pub read_connections: u32,
    /// How many streams' heads are kept in memory. Default 200 000 (about 30 MB).
    pub head_cache_limit: usize,
}

impl Options {
    /// The defaults, for this data folder and the machine's clock.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            postgres: None,
            clock: Clock::System,
            queue_limit: 8192,
            queue_limit_bytes: 256 * 1024 * 1024,
            batch_limit: 1024,
            batch_limit_bytes: 16 * 1024 * 1024,
            read_connections: 4,
            head_cache_limit: 200_000,
        }
    }
}

/// How the log's PostgreSQL database is used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`. The user owns the tables that the host makes.
    pub url: String,
    /// The login under which queries run; without it the host makes one, which its user must be allowed to.
    pub query_url: Option<String>,
    /// Connections for what is written besides the log: policies, leases, keys. Default 4.
    pub write_connections: u32,
    /// How long a statement may take. Default 30 seconds.
    pub statement_timeout: Duration,
    /// How long is waited for a lock, that of the log above all. It has to be longer than
    /// [`PostgresOptions::pause_limit`]. Default 15 seconds.
    pub lock_timeout: Duration,
    /// How long a host may hold the log's lock without doing anything before the server cuts it off. Default 10 seconds.
    pub pause_limit: Duration,
    /// How long to try to find out whether a batch was written, before it is answered that nobody knows. Default 5 seconds.
    pub settle_limit: Duration,
    /// How often to look whether other hosts have appended. Default 100 ms.
    pub look_every: Duration,
    /// Whether a server may be used that confirms what is not on its disk (`fsync`, `full_page_writes` or
    /// `synchronous_commit` are off). Default false.
    pub allow_unsafe_durability: bool,
}

impl PostgresOptions {
    /// The defaults, for the database at this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            query_url: None,
            write_connections: 4,
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(15),
            pause_limit: Duration::from_secs(10),
            settle_limit: Duration::from_secs(5),
            look_every: Duration::from_millis(100),
            allow_unsafe_durability: false,
        }
    }
}

/// Without the URLs, which have passwords in them.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("write_connections", &self.write_connections)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("pause_limit", &self.pause_limit)
            .field("settle_limit", &self.settle_limit)
            .field("look_every", &self.look_every)
            .field("allow_unsafe_durability", &self.allow_unsafe_durability)
            .finish_non_exhaustive()
    }
}
