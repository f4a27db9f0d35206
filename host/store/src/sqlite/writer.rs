//! The connection that writes, and what is known about the log because nobody else writes it.
//!
//! Everything remembered here (the log's end, heads, whether the facts are whole) is dropped when a write failed, and
//! when SQLite says that the file was changed on another connection.

use std::path::PathBuf;
use std::time::Duration;

use cairn_model::chain::Hash;
use cairn_model::{Clock, Timestamp};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row, Sqlite, Transaction};

use super::log::{signed, unsigned};
use super::multi::Script;
use super::{DERIVED, fetch, rows, snapshots, steer_planner, writing};
use crate::append::{Append, Outcome};
use crate::error::{DatabaseError, Error};
use crate::heads::HeadCache;
use crate::options::Options;
use crate::plan::{Facts, Plan, Tail, plan};
use crate::snapshots::NewSnapshot;
use crate::written::{Failure, Written, refuse};

/// How long a connection that failed may take to go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A commit without a meaning.
const BARRIER: &str = "UPDATE log_meta SET barrier = barrier + 1";

/// How often a batch begins again because somebody else wrote to the log.
const FOREIGN_WRITES_LIMIT: usize = 3;

/// The writing side of the log. Whoever has it is the only one who writes.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    clock: Clock,
    pub(super) connection: Option<SqliteConnection>,
    /// SQLite's number of the file's state; it changes with every commit of another connection.
    data_version: Option<i64>,
    /// The end of the log.
    pub tail: Tail,
    heads: HeadCache,
    /// Whether access and claims are what was written to them.
    pub facts_intact: bool,
    /// Whether they are being filled, and whoever fills them has not missed anything.
    filling: bool,
    closed: bool,
}

impl Writer {
    pub async fn open(path: PathBuf, connection: SqliteConnection, options: &Options) -> Result<Self, Error> {
        let mut writer = Self {
            path,
            clock: options.clock.clone(),
            connection: Some(connection),
            data_version: None,
            tail: Tail::EMPTY,
            heads: HeadCache::new(options.head_cache_limit),
            facts_intact: false,
            filling: false,
            closed: false,
        };
        writer.refresh().await?;
        if writer.tail.position == 0 && !writer.facts_intact {
            writer.begin_rebuild_facts().await?;
            writer.finish_rebuild_facts().await?;
        }
        Ok(writer)
    }

    /// Writes a batch: whatever of it cannot be written is refused alone.
    pub async fn write(&mut self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        match self.attempt(appends, snapshots).await {
            Ok(outcomes) => Written { outcomes, failure: None },
            Err(Failure::FactsLost) => refuse(appends, &Failure::FactsLost),
            Err(failure) => {
                self.disconnect().await;
                match failure {
                    Failure::NotWritten(error)
                        if is_about_content(&error) && appends.len() + snapshots.len() > 1 =>
                    {
                        self.write_one_by_one(appends, &error).await
                    }
                    failure => refuse(appends, &failure),
                }
            }
        }
    }

    /// Something in the batch is not to SQLite's taste; the neighbours must not suffer for it.
    async fn write_one_by_one(&mut self, appends: &[Append], error: &Error) -> Written {
        tracing::warn!(%error, appends = appends.len(), "a batch was refused; its appends are tried one by one");
        let mut outcomes = Vec::with_capacity(appends.len());
        for append in appends {
            let alone = std::slice::from_ref(append);
            match self.attempt(alone, &[]).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(failure) => {
                    self.disconnect().await;
                    outcomes.extend(refuse(alone, &failure).outcomes);
                }
            }
        }
        Written { outcomes, failure: Some(error.to_string()) }
    }

    async fn attempt(
        &mut self,
        appends: &[Append],
        snapshots: &[NewSnapshot],
    ) -> Result<Vec<Outcome>, Failure> {
        let facts = self.facts(appends).await?;
        let plan = plan(appends, facts, self.tail, self.clock.now());
        if plan.writes.is_empty() && snapshots.is_empty() {
            return Ok(plan.outcomes);
        }
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        // A failure gives the connection up, and with it the transaction.
        let mut script = Script::default();
        script.push("BEGIN IMMEDIATE;");
        rows::write(&mut script, &plan.writes, plan.recorded_at);
        script.execute(connection).await?;
        snapshots::write(connection, snapshots, plan.recorded_at).await?;
        if let Err(error) = sqlx::query("COMMIT").execute(connection).await {
            self.settle(&plan, error).await?;
        }
        self.tail = plan.tail;
        for (stream, head) in plan.heads {
            self.heads.insert(stream, head);
        }
        Ok(plan.outcomes)
    }

    /// The facts of a batch. If somebody else has changed the file, what is remembered is dropped first.
    pub(super) async fn facts(&mut self, appends: &[Append]) -> Result<Facts, Failure> {
        for _ in 0..FOREIGN_WRITES_LIMIT {
            if self.data_version.is_none() {
                self.refresh().await?;
            }
            if !self.facts_intact {
                // They may have come back in another way than through this connection.
                self.refresh().await?;
                if !self.facts_intact {
                    return Err(Failure::FactsLost);
                }
            }
            let connection = self.connection.as_mut().ok_or(Error::Closed)?;
            let state = self.data_version.unwrap_or_default();
            match fetch::facts(connection, &mut self.heads, state, appends).await? {
                Some(facts) => return Ok(facts),
                None => self.data_version = None,
            }
        }
        Err(Failure::NotWritten(Error::NotWritten("somebody else writes to the log all the time".to_owned())))
    }

    /// A commit failed: finds out whether it happened. `Ok` says that it did.
    ///
    /// Where it did not, its frames may still lie at the end of the write-ahead log, and a crash could bring them
    /// back; so something else is committed over them before anybody is told.
    pub(super) async fn settle(&mut self, plan: &Plan<'_>, error: sqlx::Error) -> Result<(), Failure> {
        tracing::error!(%error, "a commit failed");
        self.disconnect().await;
        let before = self.tail;
        let unknown = |cause: Error| Failure::Unknown(cause);
        self.refresh().await.map_err(unknown)?;
        let connection = self.connection.as_mut().ok_or(Error::Closed).map_err(unknown)?;
        let happened = if plan.writes.events.is_empty() {
            kept_is_there(connection, plan).await.map_err(unknown)?
        } else {
            self.tail == plan.tail
        };
        if happened {
            return Ok(());
        }
        if self.tail != before {
            return Err(Failure::Unknown(error.into()));
        }
        if is_disk_full(&error) {
            return Err(Failure::NotWritten(error.into()));
        }
        let barrier = sqlx::query(BARRIER).execute(&mut *connection).await;
        match barrier {
            Ok(_) => Err(Failure::NotWritten(error.into())),
            Err(second) => Err(Failure::Unknown(second.into())),
        }
    }

    /// Sees to it that there is a connection and that what is remembered is still so.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.connect().await?;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let version = fetch::data_version(connection).await?;
        if self.data_version == Some(version) {
            return Ok(());
        }
        self.heads.clear();
        self.data_version = None;
        sqlx::raw_sql(DERIVED).execute(&mut *connection).await?;
        steer_planner(connection, "main").await?;
        self.tail = tail(connection).await?;
        self.facts_intact = has_sentinels(connection).await?;
        self.data_version = Some(version);
        Ok(())
    }

    /// Commits something that means nothing, to see whether commits are possible.
    pub async fn probe(&mut self) -> Result<(), Error> {
        self.refresh().await?;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        match sqlx::query(BARRIER).execute(&mut *connection).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.disconnect().await;
                Err(error.into())
            }
        }
    }

    /// Begins a transaction of something that is not an append.
    pub async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, Error> {
        self.connect().await?;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.connection.is_none() {
            self.connection = Some(SqliteConnection::connect_with(&writing(&self.path)).await?);
            self.data_version = None;
        }
        Ok(())
    }

    /// Gives the connection up and with it an open transaction. The next use opens another one.
    pub(super) async fn disconnect(&mut self) {
        self.data_version = None;
        self.heads.clear();
        if let Some(connection) = self.connection.take() {
            // Whatever closing says: there will be a new connection.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await;
        }
    }

    /// Moves the write-ahead log into the database and ends.
    pub async fn close(&mut self) {
        self.closed = true;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the log");
        }
    }

    pub async fn begin_rebuild_facts(&mut self) -> Result<(), Error> {
        self.refresh().await?;
        self.facts_intact = false;
        self.heads.clear();
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM access").execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM claims").execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.filling = true;
        Ok(())
    }

    /// Whether nothing has come into the log, since access and claims were emptied, that would have to be in them.
    pub fn check_filling(&self) -> Result<(), Error> {
        if self.filling {
            return Ok(());
        }
        Err(Error::NotWritten("events were imported since access and claims were emptied".to_owned()))
    }

    /// Events that were decided elsewhere are in the log now: nothing that is remembered of streams holds.
    pub(super) fn imported(&mut self, tail: Tail) {
        self.tail = tail;
        self.heads.clear();
        self.facts_intact = false;
        self.filling = false;
    }

    pub async fn finish_rebuild_facts(&mut self) -> Result<(), Error> {
        self.check_filling()?;
        let mut transaction = self.begin().await?;
        // Rows that no stream can have: while they are there, nobody has emptied the tables.
        sqlx::query("INSERT OR REPLACE INTO claims (tenant, claim, aggregate, id) VALUES ('', '', '', '')")
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT OR REPLACE INTO access (tenant, aggregate, id, version, inherits, entries)
             VALUES ('', '', '', 0, 0, '[]')",
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.heads.clear();
        self.facts_intact = true;
        self.filling = false;
        Ok(())
    }
}

/// Whether the error speaks of what was to be written and not of the disk: SQLite's codes for a statement that fails,
/// something too big, a constraint, a wrong type.
fn is_about_content(error: &Error) -> bool {
    let Error::Database(DatabaseError(sqlx::Error::Database(error))) = error else { return false };
    let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
    matches!(code & 0xff, 1 | 18 | 19 | 20)
}

/// Whether the disk, or a quota, was full. Then the last frame of the transaction, which is the one that says that it is
/// whole, is not in the write-ahead log (`walWriteOneFrame` of SQLite's wal.c, which ends with the first write that finds no
/// room), so no crash can bring the transaction back.
fn is_disk_full(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.code().is_some_and(|code| code == "13")
}

/// The end of the log.
pub(super) async fn tail(connection: &mut SqliteConnection) -> Result<Tail, Error> {
    let row =
        sqlx::query("SELECT position, hash, recorded_at FROM event_store ORDER BY position DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(Tail::EMPTY) };
    let damaged = || Error::Damaged("the last event of the log".to_owned());
    let hash: &[u8] = row.try_get(1)?;
    Ok(Tail {
        position: unsigned(row.try_get(0)?),
        hash: Hash(hash.try_into().map_err(|_| damaged())?),
        recorded_at: Timestamp::parse(row.try_get(2)?).ok_or_else(damaged)?,
    })
}

async fn has_sentinels(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let found: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM claims WHERE tenant = '' AND claim = '')
              + (SELECT count(*) FROM access WHERE id = '' AND aggregate = '' AND tenant = '')",
    )
    .fetch_one(connection)
    .await?;
    Ok(found == 2)
}

async fn kept_is_there(connection: &mut SqliteConnection, plan: &Plan<'_>) -> Result<bool, Error> {
    let Some((key, kept)) = plan.writes.kept.first() else { return Ok(false) };
    let found = sqlx::query(
        "SELECT 1 FROM idempotency WHERE tenant = ? AND principal = ? AND key = ? AND position = ?",
    )
    .bind(key.tenant.clone())
    .bind(key.principal.to_string())
    .bind(key.key.clone())
    .bind(signed(kept.position))
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}
