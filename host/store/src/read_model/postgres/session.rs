//! Reading from the schema: one read transaction, on the login that can reach nothing else.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::chain::Hash;
use cairn_model::row::Rows;
use cairn_model::{Position, Principal};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Postgres, Row, Transaction};

use super::host::{GRACE, QUERY_TIMEOUT, within};
use super::values::{bind, decode};
use super::{Tables, code, is_gap};
use crate::error::Error;
use crate::read_model::compile::CompiledStatement;
use crate::read_model::error::ReadError;
use crate::read_model::session::{Limits, LogEnd, decoded};
use crate::read_model::values::SqlValue;

/// One read transaction. One that failed is begun again by the next statement, if it would still see the same position.
#[derive(Debug)]
pub(in crate::read_model) struct Reading {
    tables: Arc<Tables>,
    principal: Principal,
    position: Position,
    log_end: Option<LogEnd>,
    /// `None` after a statement failed.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    transaction: Transaction<'static, Postgres>,
    timeout: Duration,
}

impl Reading {
    /// Begins, and says at which position.
    pub async fn begin(tables: Arc<Tables>, principal: &Principal) -> Result<(Self, Position), Error> {
        tables.open_or_closed()?;
        let (open, position, log_end) = match Open::begin(&tables, principal).await {
            Err(error) if is_gap(&error) => {
                tables.repair(&error).await?;
                Open::begin(&tables, principal).await?
            }
            begun => begun?,
        };
        Ok((Self { tables, principal: principal.clone(), position, log_end, open: Some(open) }, position))
    }

    /// The log's last event in what the transaction sees; `None` if access is not whole, or it had to be begun again.
    pub fn log_end(&self) -> Option<LogEnd> {
        self.log_end
    }

    /// The rows of a statement, by its number.
    pub async fn rows(
        &mut self,
        index: usize,
        params: &[SqlValue],
        limits: Limits,
    ) -> Result<Rows, ReadError> {
        let tables = self.tables.clone();
        let statement = &tables.compiled.statements[index];
        let first = self.attempt(index, params, limits).await;
        let read = match first {
            Err(Failure::Database(error)) if is_gap(&error) => {
                tables.repair(&error).await.map_err(ReadError::Store)?;
                self.attempt(index, params, limits).await
            }
            read => read,
        };
        read.map_err(|failure| match failure {
            Failure::Read(error) => error,
            Failure::Database(error) => failed(statement, limits, error),
        })
    }

    async fn attempt(&mut self, index: usize, params: &[SqlValue], limits: Limits) -> Result<Rows, Failure> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin_again().await?,
        };
        let rows = within(limits.timeout + GRACE, open.rows(&self.tables, index, params, limits)).await;
        // A transaction in which a statement failed takes no other.
        if !matches!(rows, Err(Failure::Database(_))) {
            self.open = Some(open);
        }
        rows
    }

    async fn begin_again(&mut self) -> Result<Open, Failure> {
        self.log_end = None;
        let (open, position, _) = Open::begin(&self.tables, &self.principal).await?;
        if position == self.position {
            return Ok(open);
        }
        let moved = Error::Fenced { expected: self.position, actual: position };
        Err(Failure::Read(ReadError::Store(moved)))
    }
}

impl Open {
    async fn begin(
        tables: &Tables,
        principal: &Principal,
    ) -> Result<(Self, Position, Option<LogEnd>), sqlx::Error> {
        within(QUERY_TIMEOUT + GRACE, Self::begin_now(tables, principal)).await
    }

    async fn begin_now(
        tables: &Tables,
        principal: &Principal,
    ) -> Result<(Self, Position, Option<LogEnd>), sqlx::Error> {
        let mut transaction =
            tables.host.queries().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let (caller, seal) = tables.host.sealed(principal);
        // The first read fixes what the transaction sees.
        let sql = format!(
            "SELECT p.position, e.position, e.hash,
                    set_config('cairn.caller', $1, true), set_config('cairn.seal', $2, true)
             FROM {} AS p LEFT JOIN cairn.log_end AS e ON true",
            tables.texts.positions
        );
        let row =
            sqlx::query(AssertSqlSafe(sql)).bind(caller).bind(seal).fetch_one(&mut *transaction).await?;
        let position = |number: i64| u64::try_from(number).unwrap_or(0);
        let (end, hash): (Option<i64>, Option<&[u8]>) = (row.try_get(1)?, row.try_get(2)?);
        let log_end =
            end.zip(hash).and_then(|(end, hash)| Some((position(end), Hash(hash.try_into().ok()?))));
        Ok((Self { transaction, timeout: QUERY_TIMEOUT }, position(row.try_get(0)?), log_end))
    }

    async fn rows(
        &mut self,
        tables: &Tables,
        index: usize,
        params: &[SqlValue],
        limits: Limits,
    ) -> Result<Rows, Failure> {
        let statement = &tables.compiled.statements[index];
        if limits.timeout != self.timeout {
            // 0 would be no limit at all.
            let timeout_ms = limits.timeout.as_millis().clamp(1, 86_400_000);
            let sql = format!("SET LOCAL statement_timeout = {timeout_ms}");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.transaction).await?;
            self.timeout = limits.timeout;
        }
        let mut query = sqlx::query(AssertSqlSafe(tables.texts.statements[index].clone()));
        for (value, param) in params.iter().zip(&statement.declared.params) {
            query = bind(query, param.column_type, value);
        }
        // One more than may be, so that too many are seen.
        let most = i64::try_from(limits.rows.saturating_add(1)).unwrap_or(i64::MAX);
        let mut stream = query.bind(most).fetch(&mut *self.transaction);
        let (mut rows, mut wrong) = (Rows::new(), None);
        // The stream is read to its end even if a row is wrong: the connection goes on.
        while let Some(row) = stream.try_next().await? {
            if wrong.is_some() {
                continue;
            }
            let decoded = limits
                .check(statement, rows.len())
                .and_then(|()| decoded(statement, |index, column| decode(&row, index, column)));
            match decoded {
                Ok(row) => rows.push(row),
                Err(error) => wrong = Some(error),
            }
        }
        wrong.map_or(Ok(rows), |error| Err(Failure::Read(error)))
    }
}

/// Why there are no rows.
enum Failure {
    /// The answer is not what it should be; the transaction is whole.
    Read(ReadError),
    /// The transaction is lost.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// 57014 is a statement that was cancelled; the classes 21, 22, 42 and 54 are of ones that failed by themselves.
fn failed(statement: &CompiledStatement, limits: Limits, error: sqlx::Error) -> ReadError {
    let code = code(&error).unwrap_or_default();
    match code.get(..2) {
        _ if code == "57014" => limits.passed(statement),
        Some("21" | "22" | "42" | "54") => {
            ReadError::Failed { statement: statement.declared.name.clone(), detail: error.to_string() }
        }
        _ => ReadError::Store(error.into()),
    }
}
