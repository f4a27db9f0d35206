//! The log on SQLite: a file in the data folder, one connection that writes and a pool of connections that cannot.

mod access;
mod components;
mod fetch;
mod idempotency;
mod import;
mod instances;
mod keys;
mod leases;
pub(crate) mod log;
pub(crate) mod multi;
mod policies;
mod rows;
mod snapshots;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use cairn_model::{Position, StreamKey, ids};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use self::writer::Writer;
use crate::append::Append;
use crate::error::Error;
use crate::folder::Folder;
use crate::options::Options;
use crate::published::Published;
use crate::snapshots::NewSnapshot;
use crate::written::Written;

/// How long a statement waits for a lock that only a foreign process can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a read waits for a connection.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is moved into the database whenever it has so many pages of 4 KiB.
const CHECKPOINT_PAGES: &str = "8192";

/// How many statements stay prepared: each of few kinds with each of few numbers of rows.
const STATEMENTS: usize = 256;

/// Tables that are functions of the log; see the file.
pub(crate) const DERIVED: &str = include_str!("../../../../migrations/sqlite/derived.sql");

/// Tells SQLite's planner that `access` is huge and that an id finds one row of it. The relation `readable` is joined to lists
/// of all sizes, and beginning with it would walk the way up for everything that there is.
pub(crate) async fn steer_planner(
    connection: &mut SqliteConnection,
    schema: &str,
) -> Result<(), sqlx::Error> {
    // `schema` is a word of this crate; the table of statistics cannot be made in another way.
    let statements = format!(
        "ANALYZE {schema}.sqlite_schema;
         INSERT INTO {schema}.sqlite_stat1 (tbl, idx, stat) SELECT 'access', 'access', '1000000000 1 1 1'
         WHERE NOT EXISTS (SELECT 1 FROM {schema}.sqlite_stat1 WHERE tbl = 'access' AND idx = 'access');
         ANALYZE {schema}.sqlite_schema"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}

/// The connection on which everything is written. `FULL` means that a commit is on the disk before it is answered.
pub(crate) fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-65536")
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

/// A connection that cannot write.
pub(crate) fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("query_only", "on")
        .pragma("cache_size", "-16384")
        .disable_statement_logging()
}

/// The log. Everybody reads on a pool of connections that cannot write; whoever writes takes the writer. The lock around it
/// is fair, so a policy or a new key waits for one batch at most.
#[derive(Debug)]
pub(crate) struct Log {
    pub folder: Folder,
    pub log_id: Uuid,
    pub published: Published,
    readers: SqlitePool,
    writer: Mutex<Writer>,
}

impl Log {
    /// Opens or makes the log.
    pub async fn open(folder: Folder, options: &Options) -> Result<Self, Error> {
        let path = folder.log();
        let mut connection = SqliteConnection::connect_with(&writing(&path)).await?;
        sqlx::migrate!("../../migrations/sqlite").run(&mut connection).await?;
        let log_id = log_id(&mut connection, options).await?;
        let writer = Writer::open(path.clone(), connection, options).await?;
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(options.read_connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(reading(&path));
        let published = Published::new(writer.tail.position, writer.facts_intact);
        Ok(Self { folder, log_id, published, readers, writer: Mutex::new(writer) })
    }

    /// Writes a batch and tells those who wait for positions.
    pub async fn write(&self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        let mut writer = self.turn().await;
        let written = writer.write(appends, snapshots).await;
        self.published.writing_fails(written.failure.is_some());
        self.tell(&writer);
        written
    }

    /// Nothing is held between two batches.
    pub async fn rest(&self) {}

    /// Nobody else writes, so there is nothing to see that is not known.
    pub async fn look(&self) -> Result<Position, Error> {
        Ok(self.published.head())
    }

    /// Whether the log can be read and written: after a failed batch one small commit finds out.
    pub async fn check(&self) -> Result<(), Error> {
        self.head_of(&StreamKey::new("", "", Uuid::nil())).await?;
        if self.published.is_failing() {
            self.turn().await.probe().await?;
            self.published.writing_fails(false);
        }
        Ok(())
    }

    /// The right to write.
    async fn turn(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().await
    }

    /// Waits until nobody reads any more and ends; nothing can be written after it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.turn().await.close().await;
    }

    /// Empties the facts.
    pub async fn begin_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let done = writer.begin_rebuild_facts().await;
        self.tell(&writer);
        done
    }

    /// Says that they are whole.
    pub async fn finish_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let done = writer.finish_rebuild_facts().await;
        self.tell(&writer);
        done
    }

    fn tell(&self, writer: &Writer) {
        self.published.reached(writer.tail.position);
        self.published.facts_are(writer.facts_intact);
    }
}

async fn log_id(connection: &mut SqliteConnection, options: &Options) -> Result<Uuid, Error> {
    let now = options.clock.now();
    sqlx::query(
        "INSERT INTO log_meta (one, log_id, created_at) VALUES (1, ?, ?) ON CONFLICT (one) DO NOTHING",
    )
    .bind(ids::new_id(now).to_string())
    .bind(now.to_string())
    .execute(&mut *connection)
    .await?;
    let text: String = sqlx::query_scalar("SELECT log_id FROM log_meta").fetch_one(connection).await?;
    Uuid::try_parse(&text).map_err(|_| Error::Damaged(format!("`{text}` is not a log id")))
}
