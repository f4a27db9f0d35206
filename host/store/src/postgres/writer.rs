//! The connection that appends, and what is remembered about the log between two batches.
//!
//! A batch is three questions to the server: lock and facts, writes, commit. The commit begins the next transaction at once
//! (`AND CHAIN`), which spares the question for it; if no batch comes for a while, that transaction is given up.
//!
//! Others append too. What is remembered holds as long as the log still has our last event (its position and its hash) and
//! nothing behind it; what is behind it brings the memory up to date, or clears it. It does not matter on which connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_model::{Clock, StreamKey, Timestamp, ids};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::connect::{Connect, within};
use super::facts::{self, Found};
use super::look::code;
use super::{lock, make_derived, rows, snapshots, turns};
use crate::append::{Append, Outcome, Stale};
use crate::error::{DatabaseError, Error};
use crate::heads::HeadCache;
use crate::options::{Options, PostgresOptions};
use crate::plan::{Facts, Tail, plan};
use crate::snapshots::NewSnapshot;
use crate::turns::Turns;
use crate::written::{Failure, Written, refuse};

const IS_DERIVED_THERE: &str = "SELECT to_regclass('public.access') IS NOT NULL
    AND to_regclass('public.claims') IS NOT NULL AND to_regclass('public.snapshots') IS NOT NULL
    AND to_regclass('public.turns') IS NOT NULL AND to_regproc('public.cairn_facts_2') IS NOT NULL";

/// How often a batch begins anew on another connection.
pub(super) const ATTEMPTS: usize = 2;

/// The writing side of the log: of this host only whoever has it appends.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connect: Arc<Connect>,
    pub(super) settle_limit: Duration,
    clock: Clock,
    pub(super) connection: Option<PgConnection>,
    /// Whether the connection is in a transaction that has done nothing yet.
    pub(super) begun: bool,
    /// The last event that is known.
    pub tail: Tail,
    heads: HeadCache,
    rebuild: Option<Uuid>,
    turns: OwnTurns,
    /// Whether access and claims were whole when somebody last looked.
    pub facts_intact: bool,
    closed: bool,
}

/// What this host knows of turns without asking.
#[derive(Debug)]
struct OwnTurns {
    host: Uuid,
    /// Until when it is of no use to ask.
    waiting: HashMap<StreamKey, Instant>,
    /// How often turns were noted.
    notes: u64,
}

impl OwnTurns {
    fn new(host: Uuid) -> Self {
        Self { host, waiting: HashMap::new(), notes: 0 }
    }

    fn wait_for(&mut self, waits: &HashMap<StreamKey, Duration>) {
        let now = Instant::now();
        self.waiting.extend(waits.iter().map(|(stream, wait)| (stream.clone(), now + *wait)));
    }

    /// The outcomes, if the batch is of nothing but appends that have to wait. It is not worth the log's lock.
    fn all_wait(&mut self, appends: &[Append]) -> Option<Vec<Outcome>> {
        let now = Instant::now();
        self.waiting.retain(|_, until| *until > now);
        if self.waiting.is_empty() {
            return None;
        }
        let wait = |append: &Append| {
            // Under a key there may be an answer of an earlier time, which needs no turn.
            let may_wait = !append.events.is_empty() && append.idempotency.is_none();
            let until = self.waiting.get(&append.stream).filter(|_| may_wait)?;
            Some(Outcome::Stale(Stale::Turn { wait: *until - now }))
        };
        let outcomes = appends.iter().map(wait).collect::<Option<Vec<_>>>()?;
        appends.iter().for_each(|append| append.lineage.break_off());
        Some(outcomes)
    }
}

impl Writer {
    pub async fn open(
        connect: Arc<Connect>,
        options: &Options,
        settings: &PostgresOptions,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            connect,
            settle_limit: settings.settle_limit,
            clock: options.clock.clone(),
            connection: None,
            begun: false,
            tail: Tail::EMPTY,
            heads: HeadCache::new(options.head_cache_limit),
            rebuild: None,
            turns: OwnTurns::new(ids::new_id(options.clock.now())),
            facts_intact: false,
            closed: false,
        };
        let found = match writer.facts(&[]).await {
            Ok(_) | Err(Failure::FactsLost) => Ok(()),
            Err(Failure::NotWritten(error) | Failure::Unknown(error)) => Err(error),
        };
        found?;
        writer.commit().await?;
        Ok(writer)
    }

    /// Writes a batch: whatever of it cannot be written is refused alone.
    pub async fn write(&mut self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        if snapshots.is_empty()
            && let Some(outcomes) = self.turns.all_wait(appends)
        {
            return Written { outcomes, failure: None };
        }
        match self.attempt(appends, snapshots).await {
            Ok(outcomes) => Written { outcomes, failure: None },
            Err(Failure::NotWritten(error))
                if is_about_content(&error) && appends.len() + snapshots.len() > 1 =>
            {
                // Perhaps it is what is remembered that is wrong.
                self.heads.clear();
                self.write_one_by_one(appends, &error).await
            }
            Err(failure) => refuse(appends, &failure),
        }
    }

    /// Something in the batch is not to PostgreSQL's taste; the neighbours must not suffer for it.
    async fn write_one_by_one(&mut self, appends: &[Append], error: &Error) -> Written {
        tracing::warn!(%error, appends = appends.len(), "a batch was refused; its appends are tried one by one");
        let mut outcomes = Vec::with_capacity(appends.len());
        for append in appends {
            let alone = std::slice::from_ref(append);
            match self.attempt(alone, &[]).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(failure) => outcomes.extend(refuse(alone, &failure).outcomes),
            }
        }
        Written { outcomes, failure: Some(error.to_string()) }
    }

    /// As long as nothing can have been written, a connection that turns out to be none is replaced by another one.
    async fn attempt(
        &mut self,
        appends: &[Append],
        snapshots: &[NewSnapshot],
    ) -> Result<Vec<Outcome>, Failure> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.attempt_once(appends, snapshots).await {
                Err(Failure::NotWritten(error)) => {
                    self.disconnect();
                    if attempts == 0 || !is_about_connection(&error) {
                        return Err(Failure::NotWritten(error));
                    }
                    tracing::warn!(%error, "the connection to PostgreSQL is gone; there will be another one");
                }
                Err(Failure::Unknown(error)) => {
                    self.disconnect();
                    return Err(Failure::Unknown(error));
                }
                done => return done,
            }
        }
    }

    async fn attempt_once(
        &mut self,
        appends: &[Append],
        snapshots: &[NewSnapshot],
    ) -> Result<Vec<Outcome>, Failure> {
        let (facts, mut turns) = match self.facts(appends).await {
            Err(Failure::FactsLost) => {
                self.commit().await?;
                return Err(Failure::FactsLost);
            }
            facts => facts?,
        };
        self.turns.wait_for(&facts.waits);
        let plan = plan(appends, facts, self.tail, self.now());
        turns.follow(appends, &plan.outcomes);
        if plan.writes.is_empty() && snapshots.is_empty() {
            let end = async {
                self.note(&turns).await?;
                self.commit().await
            };
            if let Err(error) = end.await {
                tracing::warn!(%error, "giving the log's lock back");
                self.disconnect();
            }
            return Ok(plan.outcomes);
        }
        let limit = self.connect.limit;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        if !plan.writes.is_empty() {
            within(limit, rows::write(connection, &plan.writes, plan.recorded_at)).await?;
        }
        if !snapshots.is_empty() {
            within(limit, snapshots::write(connection, snapshots, plan.recorded_at)).await?;
        }
        self.note(&turns).await?;
        if let Err(error) = self.commit().await {
            self.settle(&plan, error).await?;
        }
        self.tail = plan.tail;
        for (stream, head) in plan.heads {
            self.heads.insert(stream, head);
        }
        Ok(plan.outcomes)
    }

    /// The facts of a batch, under the log's lock.
    pub(super) async fn facts(&mut self, appends: &[Append]) -> Result<(Facts, Turns), Failure> {
        self.begin().await?;
        let mut found = self.find(appends).await?;
        if !self.remember(&mut found) {
            // Under the lock nothing moves, and nothing is remembered any more that could be old.
            found = self.find(appends).await?;
            self.remember(&mut found);
        }
        if !found.intact {
            return Err(Failure::FactsLost);
        }
        let turns = Turns::new(self.turns.host, found.turns);
        found.facts.waits = turns.waits();
        Ok((found.facts, turns))
    }

    /// Notes what changed of turns.
    async fn note(&mut self, turns: &Turns) -> Result<(), Error> {
        let changes = turns.changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.turns.notes += 1;
        let (limit, number) = (self.connect.limit, self.turns.notes);
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        within(limit, turns::note(connection, &changes, number)).await
    }

    async fn find(&mut self, appends: &[Append]) -> Result<Found, Error> {
        let (limit, now) = (self.connect.limit, self.now());
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        within(limit, facts::find(connection, &mut self.heads, self.tail.position, appends, now)).await
    }

    /// Brings what is remembered up to date with what was found. Answers whether the facts found are good: they are not
    /// where something in them came from a memory that was too old.
    fn remember(&mut self, found: &mut Found) -> bool {
        let is_ours = self.tail.position == 0 || found.seen_hash == Some(self.tail.hash);
        let is_same = is_ours && found.rebuild == self.rebuild;
        self.facts_intact = found.intact;
        self.rebuild = found.rebuild;
        let (Some(changes), true) = (found.changes.take(), is_same) else {
            self.heads.clear();
            self.tail = found.tail;
            return false;
        };
        self.tail = found.tail;
        for (stream, head) in changes {
            if let Some(known) = found.facts.heads.get_mut(&stream) {
                *known = head;
            }
            self.heads.insert(stream, head);
        }
        true
    }

    /// Events that were decided elsewhere are in the log now: nothing that is remembered of streams holds.
    pub(super) fn imported(&mut self, tail: Tail, rebuild: Uuid) {
        self.tail = tail;
        self.heads.clear();
        self.facts_intact = false;
        self.rebuild = Some(rebuild);
    }

    /// Sees to it that there is a connection in a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.connection.is_none() {
            self.begun = false;
            let mut connection = self.connect.appending().await?;
            let limit = self.connect.limit;
            let whole: bool =
                within(limit, sqlx::query_scalar(IS_DERIVED_THERE).fetch_one(&mut connection)).await?;
            if !whole {
                within(limit, make_derived(&mut connection)).await?;
            }
            within(limit, seed(&mut connection)).await?;
            self.connection = Some(connection);
        }
        if !self.begun {
            self.execute("BEGIN").await?;
            self.begun = true;
        }
        Ok(())
    }

    /// Commits, and begins the next transaction.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        self.execute("COMMIT AND CHAIN").await
    }

    /// One statement without parameters: one question.
    async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        let limit = self.connect.limit;
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        within(limit, sqlx::raw_sql(sql).execute(connection)).await?;
        Ok(())
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Gives up the transaction that was begun for the next batch.
    pub async fn rest(&mut self) {
        if self.begun && self.connection.is_some() && self.execute("ROLLBACK").await.is_err() {
            // Nothing was in it; the next batch makes another connection.
            self.disconnect();
        }
        self.begun = false;
    }

    /// Gives the connection up, and with it an open transaction. The next use makes another one.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
        self.begun = false;
    }

    pub async fn close(&mut self) {
        self.rest().await;
        self.closed = true;
        if let Some(connection) = self.connection.take()
            && let Err(error) = within(self.connect.limit, connection.close()).await
        {
            tracing::warn!(%error, "closing the log");
        }
    }
}

/// Says of a log without events that its access and claims are whole: rows that no stream can have. While they are there,
/// nobody has emptied the tables.
async fn seed(connection: &mut PgConnection) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    let empty = "SELECT NOT EXISTS (SELECT 1 FROM event_store)";
    if sqlx::query_scalar(empty).fetch_one(&mut *transaction).await? {
        super::access::put_sentinels(&mut transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// Whether the error speaks of what was to be written and not of the server: too long, of a wrong form, against a
/// constraint, refused by somebody's trigger.
fn is_about_content(error: &Error) -> bool {
    code(error).is_some_and(|code| matches!(code.get(..2), Some("21" | "22" | "23" | "54" | "P0")))
}

/// Whether the error says that the connection is none, while the server may be well.
pub(super) fn is_about_connection(error: &Error) -> bool {
    match error {
        Error::Database(DatabaseError(sqlx::Error::Database(_))) => {
            // Cut off by an administrator, a server that went down or a limit of idleness.
            code(error).is_some_and(|code| matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03"))
        }
        Error::Database(DatabaseError(error)) => {
            matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
        }
        _ => false,
    }
}
