//! The host's configuration: defaults, then `cairn.toml`, then `CAIRN_…` variables, then flags; later ones win.
//!
//! A variable's name is the key's path in capitals, joined by `_`: `limits.body_bytes` is `CAIRN_LIMITS_BODY_BYTES`. A key
//! that does not exist stops the start, wherever it stands.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_bus::RedisOptions;
use cairn_store::PostgresOptions;
use config::{File, FileFormat};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Variables of keys that are not written out with the defaults.
const SECRETS: [(&str, &str); 5] = [
    ("database", "database.url"),
    ("database.url", "database.url"),
    ("database.query_url", "database.query_url"),
    ("redis", "redis.url"),
    ("redis.url", "redis.url"),
];

/// The configuration's file, taken from the working folder when it is there and no other is named.
const DEFAULT_FILE: &str = "cairn.toml";

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address to listen on. Default `127.0.0.1:8080`; port 0 takes a free one.
    pub listen: String,
    /// The data folder. Default `data`.
    pub data: PathBuf,
    /// Where the log is; a URL alone says it too.
    #[serde(deserialize_with = "table_or_url")]
    pub database: Database,
    /// The Redis for the bus; a URL alone says it too. Without a URL the bus is inside of the process.
    #[serde(deserialize_with = "table_or_url")]
    pub redis: RedisOptions,
    /// Components to activate at the start.
    pub plugin: Vec<PathBuf>,
    /// What is logged.
    pub log: Log,
    /// Limits.
    pub limits: Limits,
}

/// Where the log is and how it is reached. All but the URL is for PostgreSQL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host:port/database`; empty: SQLite in the data folder.
    #[serde(skip_serializing)]
    pub url: String,
    /// The login that queries run under; empty: the host makes one, which its user must be allowed to.
    #[serde(skip_serializing)]
    pub query_url: String,
    /// Connections that read the log at the same time. Default 4.
    pub read_connections: u32,
    /// Connections for what is written besides the log. Default 4.
    pub write_connections: u32,
    /// How long a statement may take. Default 30 s.
    pub statement_timeout_ms: u64,
    /// How long is waited for a lock; longer than `pause_limit_ms`. Default 15 s.
    pub lock_timeout_ms: u64,
    /// How long a host may hold the log's lock without doing anything. Default 10 s.
    pub pause_limit_ms: u64,
    /// How long to try to find out whether a batch was written. Default 5 s.
    pub settle_limit_ms: u64,
    /// How often to look whether other hosts have appended. Default 100 ms.
    pub look_every_ms: u64,
    /// Whether a server may be used that confirms what is not on its disk. Default false.
    pub allow_unsafe_durability: bool,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: String::new(),
            query_url: String::new(),
            read_connections: 4,
            write_connections: 4,
            statement_timeout_ms: 30_000,
            lock_timeout_ms: 15_000,
            pause_limit_ms: 10_000,
            settle_limit_ms: 5_000,
            look_every_ms: 100,
            allow_unsafe_durability: false,
        }
    }
}

/// Without the URLs, which may hold passwords.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.url.is_empty() { "SQLite" } else { "PostgreSQL" };
        f.debug_struct("Database").field("kind", &kind).finish_non_exhaustive()
    }
}

impl Database {
    /// What the store needs to know about PostgreSQL; `None` for SQLite.
    pub fn postgres(&self) -> Option<PostgresOptions> {
        let time = Duration::from_millis;
        (!self.url.is_empty()).then(|| PostgresOptions {
            query_url: Some(self.query_url.clone()).filter(|url| !url.is_empty()),
            write_connections: self.write_connections,
            statement_timeout: time(self.statement_timeout_ms),
            lock_timeout: time(self.lock_timeout_ms),
            pause_limit: time(self.pause_limit_ms),
            settle_limit: time(self.settle_limit_ms),
            look_every: time(self.look_every_ms),
            allow_unsafe_durability: self.allow_unsafe_durability,
            ..PostgresOptions::new(&self.url)
        })
    }
}

/// What can be given as a table or as its URL alone.
trait ByUrl {
    fn by_url(url: &str) -> Self;
}

impl ByUrl for Database {
    fn by_url(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }
}

impl ByUrl for RedisOptions {
    fn by_url(url: &str) -> Self {
        Self::new(url)
    }
}

fn table_or_url<'de, T: ByUrl + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Either<T>(PhantomData<T>);
    impl<'de, T: ByUrl + Deserialize<'de>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a URL, or a table")
        }

        fn visit_str<E: de::Error>(self, url: &str) -> Result<T, E> {
            Ok(T::by_url(url))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_any(Either(PhantomData))
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A filter as of tracing's `EnvFilter`. Default `info`.
    pub filter: String,
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The limits of everything that could grow, in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request body. Default 1 MiB.
    pub body_bytes: usize,
    /// How long a body may take to arrive. Default 10 s.
    pub body_timeout_ms: u64,
    /// How long a request's head may take. Default 10 s.
    pub header_timeout_ms: u64,
    /// The longest head of a request. Default 64 KiB; at least 8 KiB.
    pub header_bytes: usize,
    /// How many connections may be open. Default 16,000.
    pub connections: usize,
    /// How many commands and reads of state may be under way. Default 8,192.
    pub in_flight: usize,
    /// The most items of a page. Default 1,000.
    pub page_items: u32,
    /// The longest that a query waits for its projection. Default 60 s.
    pub query_wait_ms: u64,
    /// How long open requests may go on after a stop was asked for. Default 10 s.
    pub shutdown_ms: u64,
    /// How many policies may stand between a caller and a command. Default 1,024: what goes through nested things level by
    /// level takes one for each, and the host follows chains of 1,000.
    pub causation_depth: u32,
    /// Threads that decide. Default 4.
    pub workers: usize,
    /// How long answers are kept under their idempotency keys. Default 48 h.
    pub idempotency_hours: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            data: "data".into(),
            database: Database::default(),
            redis: RedisOptions::default(),
            plugin: Vec::new(),
            log: Log::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            body_timeout_ms: 10_000,
            header_timeout_ms: 10_000,
            header_bytes: 64 << 10,
            connections: 16_000,
            in_flight: 8_192,
            page_items: 1_000,
            query_wait_ms: 60_000,
            shutdown_ms: 10_000,
            causation_depth: 1_024,
            workers: 4,
            idempotency_hours: 48,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source cannot be read, has an unknown key or a value of the wrong type.
    #[error("configuration: {0}")]
    Read(#[from] config::ConfigError),
    /// A value that cannot work.
    #[error("configuration: {key} {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

/// What the command line sets; `None` leaves the key to the other sources.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--redis`
    pub redis: Option<String>,
    /// `--plugin`, each
    pub plugin: Vec<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--set key=value`, each
    pub set: Vec<(String, String)>,
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// Says which source, which key, and what is wrong.
    pub fn read(flags: Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        let mut builder = config::Config::builder();
        builder = match &flags.config {
            Some(path) => builder.add_source(file(path, true)),
            None => builder.add_source(file(Path::new(DEFAULT_FILE), false)),
        };
        let secrets = SECRETS.iter().map(|(name, _)| (*name).to_owned());
        for key in keys("", &defaults).into_iter().chain(secrets) {
            let name = format!("CAIRN_{}", key.replace('.', "_").to_uppercase());
            let Some(text) = variable(&name) else { continue };
            let key = SECRETS.iter().find(|(other, _)| *other == key).map_or(key.as_str(), |(_, key)| key);
            builder = if key == "plugin" {
                builder.set_override(key, text.split(':').map(str::to_owned).collect::<Vec<_>>())?
            } else {
                builder.set_override(key, text)?
            };
        }
        for (key, value) in flags.set {
            builder = builder.set_override(key, value)?;
        }
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        builder = builder
            .set_override_option("listen", flags.listen)?
            .set_override_option("data", flags.data.map(path))?
            .set_override_option("database.url", flags.database)?
            .set_override_option("redis.url", flags.redis)?;
        if !flags.plugin.is_empty() {
            builder =
                builder.set_override("plugin", flags.plugin.into_iter().map(path).collect::<Vec<_>>())?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |key, problem: &str| Err(Error::Value { key, problem: problem.to_owned() });
        let url = &self.database.url;
        if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return wrong("database.url", "must begin with postgres://, or be left out for SQLite");
        }
        if self.database.lock_timeout_ms <= self.database.pause_limit_ms {
            return wrong("database.lock_timeout_ms", "must be longer than database.pause_limit_ms");
        }
        if let Err(error) = self.redis.check() {
            return wrong("redis", &error.to_string());
        }
        let limits = &self.limits;
        for (key, value) in [
            ("limits.body_bytes", limits.body_bytes),
            ("limits.connections", limits.connections),
            ("limits.in_flight", limits.in_flight),
            ("limits.page_items", limits.page_items as usize),
            ("limits.workers", limits.workers),
            ("limits.idempotency_hours", limits.idempotency_hours as usize),
            ("database.read_connections", self.database.read_connections as usize),
            ("database.write_connections", self.database.write_connections as usize),
        ] {
            if value == 0 {
                return wrong(key, "must be at least 1");
            }
        }
        if limits.header_bytes < 8 << 10 {
            return wrong("limits.header_bytes", "must be at least 8192");
        }
        Ok(())
    }
}

fn file(path: &Path, required: bool) -> File<config::FileSourceFile, FileFormat> {
    File::new(&path.to_string_lossy(), FileFormat::Toml).required(required)
}

/// The paths of all keys.
fn keys(prefix: &str, value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else { return vec![prefix.to_owned()] };
    let path = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    fields.iter().flat_map(|(name, value)| keys(&path(name), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: Flags, variables: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(flags, |name| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_win_over_variables_and_those_over_defaults() {
        let flags = Flags { listen: Some("127.0.0.1:1".into()), ..Flags::default() };
        let variables =
            [("CAIRN_LISTEN", "127.0.0.1:2"), ("CAIRN_LIMITS_BODY_BYTES", "7"), ("CAIRN_PLUGIN", "a:b")];
        let config = read(flags, &variables).expect("a configuration");
        assert_eq!(config.listen, "127.0.0.1:1");
        assert_eq!(config.limits.body_bytes, 7);
        assert_eq!(config.plugin, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(config.data, PathBuf::from("data"));
    }

    #[test]
    fn an_unknown_key_stops_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cairn.toml");
        std::fs::write(&path, "[limits]\nbody_bites = 1\n").expect("written");
        let flags = Flags { config: Some(path), ..Flags::default() };
        let error = read(flags, &[]).expect_err("unknown").to_string();
        assert!(error.contains("body_bites"), "{error}");
    }

    #[test]
    fn a_url_alone_and_a_table_say_the_same() {
        let url = "postgres://127.0.0.1/cairn";
        let flags = Flags { database: Some(url.into()), ..Flags::default() };
        assert_eq!(read(flags, &[]).expect("by a flag").database.url, url);
        assert_eq!(
            read(Flags::default(), &[("CAIRN_DATABASE", url)]).expect("by a variable").database.url,
            url
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cairn.toml");
        for text in [format!("database = \"{url}\"\n"), format!("[database]\nurl = \"{url}\"\n")] {
            std::fs::write(&path, text).expect("written");
            let flags = Flags { config: Some(path.clone()), ..Flags::default() };
            assert_eq!(read(flags, &[]).expect("by a file").database.url, url);
        }
    }

    #[test]
    fn what_no_host_can_use_is_said() {
        let flags = Flags { database: Some("mysql://127.0.0.1/cairn".into()), ..Flags::default() };
        assert!(read(flags, &[]).expect_err("no PostgreSQL").to_string().contains("postgres://"));
    }
}
