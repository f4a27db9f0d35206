//! Reading: one read transaction for one caller, on a connection that can do nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_model::manifest::AccessMode;
use cairn_model::row::Rows;
use cairn_model::{Call, Position, Principal};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::Inner;
use super::compile::CompiledStatement;
use super::error::ReadError;
use super::readable;
use super::values::{decode, encode_all};
use crate::error::Error;
use crate::sqlite::log::unsigned;

/// How many rows a call answers unless it says otherwise.
const ROW_LIMIT: usize = 10_000;

/// How long a statement may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After so many of its instructions SQLite looks at the clock.
const INSTRUCTIONS: i32 = 4000;

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

/// One read transaction: everything read in it is of the same position.
#[derive(Debug)]
pub struct Session {
    model: Arc<Inner>,
    transaction: Transaction<'static, Sqlite>,
    deadline: Arc<Deadline>,
    principal: Principal,
    position: Position,
    timeout: Duration,
}

impl Session {
    pub(super) async fn begin(model: Arc<Inner>, principal: &Principal) -> Result<Self, Error> {
        let mut transaction = model.readers().begin().await?;
        let deadline = Arc::new(Deadline::new());
        let watched = deadline.clone();
        transaction.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || !watched.is_over());
        // The first read fixes what the transaction sees.
        let position: i64 = sqlx::query_scalar("SELECT position FROM projection_positions")
            .fetch_one(&mut *transaction)
            .await?;
        Ok(Self {
            model,
            transaction,
            deadline,
            principal: principal.clone(),
            position: unsigned(position),
            timeout: TIMEOUT,
        })
    }

    /// The position that the session sees.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Gives its statements another time than the 5 seconds that they have.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Runs a `read` statement of the manifest; at most 10 000 rows.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&mut self, call: &Call) -> Result<Rows, ReadError> {
        self.read_up_to(call, ROW_LIMIT).await
    }

    /// Runs a `read` statement of the manifest that may give so many rows.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_up_to(&mut self, call: &Call, row_limit: usize) -> Result<Rows, ReadError> {
        let model = self.model.clone();
        let compiled = &model.compiled;
        let statement = compiled
            .statement(&call.statement, AccessMode::Read)
            .map(|index| &compiled.statements[index])
            .ok_or_else(|| ReadError::UnknownStatement(call.statement.clone()))?;
        self.deadline.set(self.timeout);
        let rows = self.rows(statement, call, row_limit).await;
        self.deadline.lift();
        rows
    }

    async fn rows(
        &mut self,
        statement: &CompiledStatement,
        call: &Call,
        row_limit: usize,
    ) -> Result<Rows, ReadError> {
        let name = &statement.declared.name;
        let params = encode_all(call.params.clone(), &statement.declared.params)
            .map_err(|detail| ReadError::Parameters { statement: name.clone(), detail })?;
        let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
        for param in &params {
            query = param.bind(query);
        }
        if statement.readable {
            query = readable::bind(query, &self.principal);
        }
        let timeout = self.timeout;
        let mut stream = query.fetch(&mut *self.transaction);
        let mut rows = Rows::new();
        while let Some(row) = stream.try_next().await.map_err(|error| failed(statement, timeout, error))? {
            if rows.len() == row_limit {
                return Err(ReadError::TooManyRows { statement: name.clone(), limit: row_limit });
            }
            let columns = statement.declared.columns.iter().enumerate();
            let values = columns.map(|(index, column)| {
                decode(&row, index, column).map_err(|detail| ReadError::Column {
                    statement: name.clone(),
                    column: column.name.clone(),
                    detail,
                })
            });
            rows.push(values.collect::<Result<_, _>>()?);
        }
        Ok(rows)
    }
}

/// SQLite's code 9 is an interrupted statement, 1 one that failed by itself.
fn failed(statement: &CompiledStatement, timeout: Duration, error: sqlx::Error) -> ReadError {
    let name = statement.declared.name.clone();
    let code = match &error {
        sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(9) => ReadError::Timeout {
            statement: name,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        },
        Some(1 | 18 | 20) => ReadError::Failed { statement: name, detail: error.to_string() },
        _ => ReadError::Store(error.into()),
    }
}
