//! A read model on PostgreSQL: a schema for each projection, in the log's database.
//!
//! Whoever deletes a schema, a table of it or the host's own schema loses nothing: whatever runs into the gap makes it
//! anew, empty and at position 0, and the projection fills it again from the log.

mod apply;
mod host;
mod instances;
mod login;
mod schema;
mod session;
mod texts;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cairn_model::chain::Hash;
use cairn_model::{Name, Position, StreamKey};
use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;

pub(crate) use self::host::Host;
use self::schema::Built;
pub(in crate::read_model) use self::schema::form;
pub(super) use self::session::Reading;
use self::texts::Texts;
use super::compile::Compiled;
use super::error::ApplyError;
use super::group::Op;
use super::letters::{self, DeadLetter, LetterChanges, LetterFilter, LetterGroup, Standing};
use super::{Origin, RowDigest, Step};
use crate::error::Error;
use crate::log::signed;

/// A projection's tables in their schema.
#[derive(Debug)]
pub(super) struct Tables {
    host: Arc<Host>,
    origin: Origin,
    compiled: Arc<Compiled>,
    texts: Texts,
    closed: AtomicBool,
    growth: Growth,
}

/// When PostgreSQL is told to count the rows anew: its own counting comes late for tables that are being filled, and its
/// plans are made for tables that are still small.
#[derive(Debug)]
struct Growth {
    /// Changes since it was told.
    changes: AtomicU64,
    /// With how many it is told again.
    next: AtomicU64,
}

/// After so many changes the rows are counted the first time; each time after twice as many.
const FIRST_COUNT: u64 = 1000;

impl Growth {
    const fn new() -> Self {
        Self { changes: AtomicU64::new(0), next: AtomicU64::new(FIRST_COUNT) }
    }

    /// Notes changes. Whether it is time.
    fn is_due(&self, changes: u64) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        if self.changes.fetch_add(changes, Ordering::Relaxed) + changes < next {
            return false;
        }
        self.changes.store(0, Ordering::Relaxed);
        self.next.store(next.saturating_mul(2), Ordering::Relaxed);
        true
    }
}

impl Tables {
    pub async fn open(host: Arc<Host>, origin: Origin, compiled: Arc<Compiled>) -> Result<Self, Error> {
        let texts = Texts::new(&compiled);
        let tables =
            Self { host, origin, compiled, texts, closed: AtomicBool::new(false), growth: Growth::new() };
        tables.host.ensure().await?;
        let built = tables.build(false).await?;
        match schema::prepare(&tables.host, &tables.compiled, &tables.texts).await {
            // Something is missing in tables that seemed to fit.
            Err(Error::Manifest(_)) if built == Built::Before => {
                tables.build(true).await?;
                schema::prepare(&tables.host, &tables.compiled, &tables.texts).await?;
            }
            prepared => prepared?,
        }
        Ok(tables)
    }

    async fn build(&self, anew: bool) -> Result<Built, Error> {
        schema::build(&self.host, &self.compiled, &self.texts, &self.origin, anew).await
    }

    /// Makes anew what is missing, as an error says that something is.
    async fn repair(&self, error: &sqlx::Error) -> Result<(), Error> {
        let schema = &self.compiled.schema;
        self.host.ensure().await?;
        // What does not read well any more is not worth looking at.
        let is_damaged = code(error).is_some_and(|code| code.starts_with("XX"));
        let built = self.build(is_damaged).await?;
        tracing::warn!(%schema, %error, ?built, "something of a read model is missing; it is made anew");
        Ok(())
    }

    fn open_or_closed(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    pub async fn position(&self) -> Result<Position, Error> {
        self.open_or_closed()?;
        match self.stored_position().await {
            Err(error) if is_gap(&error) => {
                self.repair(&error).await?;
                Ok(self.stored_position().await?)
            }
            position => Ok(position?),
        }
    }

    async fn stored_position(&self) -> Result<Position, sqlx::Error> {
        let sql = AssertSqlSafe(self.texts.position.clone());
        let position: i64 = sqlx::query_scalar(sql).fetch_one(&self.host.keeper).await?;
        Ok(u64::try_from(position).unwrap_or(0))
    }

    pub async fn apply(&self, ops: Vec<Op>, letters: LetterChanges, step: Step) -> Result<(), ApplyError> {
        self.open_or_closed()?;
        let changes = ops.len() as u64;
        let applied = host::within(host::APPLY_LIMIT, apply::apply(self, ops, letters, step)).await;
        match applied {
            Err(ApplyError::Store(Error::Database(error))) if is_gap(&error.0) => {
                self.repair(&error.0).await?;
                let actual = self.stored_position().await?;
                if actual == step.from {
                    // Nothing is known to be other than before.
                    return Err(ApplyError::Store(Error::Database(error)));
                }
                Err(ApplyError::Fenced { expected: step.from, actual })
            }
            Ok(()) => {
                if self.growth.is_due(changes) {
                    self.count().await;
                }
                Ok(())
            }
            refused => refused,
        }
    }

    /// Lets PostgreSQL count the rows. Without it everything works, only perhaps slowly.
    async fn count(&self) {
        let counted = sqlx::raw_sql(AssertSqlSafe(self.texts.count.clone())).execute(&self.host.keeper);
        if let Err(error) = host::within(host::APPLY_LIMIT, counted).await {
            tracing::warn!(schema = %self.compiled.schema, %error, "the rows of a read model were not counted");
        }
    }

    pub async fn note_failure(&self, epoch: u64, failure: &str) -> Result<(), Error> {
        self.open_or_closed()?;
        let sql = self.texts.on_schema("UPDATE POSITIONS SET failure = $1 WHERE epoch <= $2");
        let noted = sqlx::query(sql).bind(failure.replace('\0', "\u{fffd}")).bind(signed(epoch));
        noted.execute(&self.host.keeper).await?;
        Ok(())
    }

    pub async fn standing(&self) -> Result<Standing, Error> {
        // Makes the tables anew if they are gone.
        self.position().await?;
        let row = sqlx::query(self.texts.on_schema(letters::STANDING)).fetch_one(&self.host.keeper).await?;
        Ok(letters::standing(&row)?)
    }

    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, Error> {
        let [fingerprint, tenant, aggregate, id] = filter.texts();
        let rows = sqlx::query(self.texts.on_schema(letters::LIST))
            .bind(signed(filter.after))
            .bind(fingerprint)
            .bind(tenant)
            .bind(aggregate)
            .bind(id)
            .bind(letters::limit(filter))
            .fetch_all(&self.host.keeper)
            .await?;
        rows.iter().map(letters::letter).collect()
    }

    pub async fn letter_groups(&self) -> Result<Vec<LetterGroup>, Error> {
        let rows = sqlx::query(self.texts.on_schema(letters::GROUPS)).fetch_all(&self.host.keeper).await?;
        rows.iter().map(letters::letter_group).collect()
    }

    pub async fn parked_streams(&self) -> Result<Vec<StreamKey>, Error> {
        let rows = sqlx::query(self.texts.on_schema(letters::STREAMS)).fetch_all(&self.host.keeper).await?;
        rows.iter().map(letters::stream).collect()
    }

    pub async fn checksum(&self) -> Result<BTreeMap<Name, Hash>, Error> {
        let mut sums = BTreeMap::new();
        let mut transaction =
            self.host.keeper.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        for (table, texts) in self.compiled.tables.iter().zip(&self.texts.tables) {
            let mut digest = RowDigest::default();
            let mut rows = sqlx::query(AssertSqlSafe(texts.dump.clone())).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                for (index, column) in table.declared.columns.iter().enumerate() {
                    digest.add(column, values::decode(&row, index, column))?;
                }
            }
            sums.insert(table.declared.name.clone(), digest.finish());
        }
        Ok(sums)
    }

    pub async fn reset(&self) -> Result<(), Error> {
        self.open_or_closed()?;
        let mut transaction = self.host.keeper.begin().await?;
        for table in &self.texts.tables {
            sqlx::query(AssertSqlSafe(table.empty.clone())).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(AssertSqlSafe(self.texts.rewind.clone())).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub async fn remove(&self) -> Result<(), Error> {
        self.close();
        schema::remove(&self.host, &self.compiled.schema).await
    }
}

/// PostgreSQL's code of an error.
fn code(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(database) => database.code().map(|code| code.into_owned()),
        _ => None,
    }
}

/// Whether the error says that something is missing that the host had made: a table, schema, column, function, grant, the
/// row of the position or the caller's seal; or that PostgreSQL found its files damaged.
fn is_gap(error: &sqlx::Error) -> bool {
    const GAPS: [&str; 9] =
        ["42P01", "3F000", "42703", "42883", "42501", "0A000", "XX001", "XX002", host::UNSEALED];
    matches!(error, sqlx::Error::RowNotFound) || code(error).is_some_and(|code| GAPS.contains(&&*code))
}
