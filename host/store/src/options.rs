//! The settings of a store, each with its unit and its default.

use std::path::PathBuf;

use cairn_model::Clock;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; it is made if it is missing.
    pub data: PathBuf,
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
