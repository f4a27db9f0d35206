//! Reading from the file: one read transaction on a connection that can do nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_model::chain::Hash;
use cairn_model::row::Rows;
use cairn_model::{Position, Principal};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::values::{bind, decode};
use super::{Tables, readable};
use crate::error::Error;
use crate::read_model::compile::CompiledStatement;
use crate::read_model::error::ReadError;
use crate::read_model::session::{Limits, LogEnd, decoded};
use crate::read_model::values::SqlValue;
use crate::sqlite::log::unsigned;

/// After so many of its instructions SQLite looks at the clock.
const INSTRUCTIONS: i32 = 4000;

/// The row of `access` that no stream can have is there as long as nobody has emptied the table.
const LOG_END: &str = "SELECT e.position, e.hash FROM log.event_store AS e
    WHERE EXISTS (SELECT 1 FROM log.access AS a WHERE a.id = '' AND a.aggregate = '' AND a.tenant = '')
    ORDER BY e.position DESC LIMIT 1";

/// When the running statement has to end, read by SQLite's own thread.
#[derive(Debug)]
struct Deadline {
    start: Instant,
    /// Microseconds after `start`; the largest number is never.
    at: AtomicU64,
}

impl Deadline {
    fn new() -> Self {
        Self { start: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    fn set(&self, after: Duration) {
        let at = u64::try_from((self.start.elapsed() + after).as_micros()).unwrap_or(u64::MAX);
        self.at.store(at, Ordering::Relaxed);
    }

    fn lift(&self) {
        self.at.store(u64::MAX, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.start.elapsed().as_micros() > u128::from(self.at.load(Ordering::Relaxed))
    }
}

/// One read transaction.
#[derive(Debug)]
pub(in crate::read_model) struct Reading {
    tables: Arc<Tables>,
    transaction: Transaction<'static, Sqlite>,
    deadline: Arc<Deadline>,
    principal: Principal,
}

impl Reading {
    /// Begins, and says at which position.
    pub async fn begin(tables: Arc<Tables>, principal: &Principal) -> Result<(Self, Position), Error> {
        let mut transaction = tables.readers().begin().await?;
        let deadline = Arc::new(Deadline::new());
        let watched = deadline.clone();
        transaction.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || !watched.is_over());
        // The first read fixes what the transaction sees.
        let position: i64 = sqlx::query_scalar("SELECT position FROM projection_positions")
            .fetch_one(&mut *transaction)
            .await?;
        Ok((Self { tables, transaction, deadline, principal: principal.clone() }, unsigned(position)))
    }

    /// The log's last event in what the transaction sees; `None` if access is not whole.
    pub async fn log_end(&mut self) -> Result<Option<LogEnd>, Error> {
        let end: Option<(i64, Vec<u8>)> =
            sqlx::query_as(LOG_END).fetch_optional(&mut *self.transaction).await?;
        Ok(end.and_then(|(position, hash)| Some((unsigned(position), Hash(hash.try_into().ok()?)))))
    }

    /// The rows of a statement, by its number.
    pub async fn rows(
        &mut self,
        index: usize,
        params: &[SqlValue],
        limits: Limits,
    ) -> Result<Rows, ReadError> {
        self.deadline.set(limits.timeout);
        let rows = self.all_rows(index, params, limits).await;
        self.deadline.lift();
        rows
    }

    async fn all_rows(
        &mut self,
        index: usize,
        params: &[SqlValue],
        limits: Limits,
    ) -> Result<Rows, ReadError> {
        let statement = &self.tables.compiled.statements[index];
        let mut query = sqlx::query(AssertSqlSafe(self.tables.texts.statements[index].clone()));
        for param in params {
            query = bind(query, param);
        }
        if statement.checked.readable {
            query = readable::bind(query, &self.principal);
        }
        let mut stream = query.fetch(&mut *self.transaction);
        let mut rows = Rows::new();
        while let Some(row) = stream.try_next().await.map_err(|error| failed(statement, limits, error))? {
            limits.check(statement, rows.len())?;
            rows.push(decoded(statement, |index, column| decode(&row, index, column))?);
        }
        Ok(rows)
    }
}

/// SQLite's code 9 is an interrupted statement, 1 one that failed by itself.
fn failed(statement: &CompiledStatement, limits: Limits, error: sqlx::Error) -> ReadError {
    let code = match &error {
        sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(9) => limits.passed(statement),
        Some(1 | 18 | 20) => {
            ReadError::Failed { statement: statement.declared.name.clone(), detail: error.to_string() }
        }
        _ => ReadError::Store(error.into()),
    }
}
