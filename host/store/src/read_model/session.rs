//! Reading: one read transaction for one caller, on a connection that can do nothing else.

use std::time::Duration;

use cairn_model::chain::Hash;
use cairn_model::manifest::{AccessMode, Column};
use cairn_model::row::Rows;
use cairn_model::{Call, Position, Principal, Value};

use super::compile::CompiledStatement;
use super::error::ReadError;
use super::values::encode_all;
use super::{ReadModel, Tables, postgres, sqlite};
use crate::error::Error;

/// How many rows a call answers unless it says otherwise.
const ROW_LIMIT: usize = 10_000;

/// How long a statement may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub rows: usize,
    pub timeout: Duration,
}

impl Limits {
    /// Whether there may be one row more than these.
    pub fn check(self, statement: &CompiledStatement, rows: usize) -> Result<(), ReadError> {
        if rows < self.rows {
            return Ok(());
        }
        Err(ReadError::TooManyRows { statement: statement.declared.name.clone(), limit: self.rows })
    }

    /// The error of a statement that took too long.
    pub fn passed(self, statement: &CompiledStatement) -> ReadError {
        ReadError::Timeout {
            statement: statement.declared.name.clone(),
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A row of the declared columns.
pub(super) fn decoded(
    statement: &CompiledStatement,
    mut value: impl FnMut(usize, &Column) -> Result<Value, String>,
) -> Result<Vec<Value>, ReadError> {
    let columns = statement.declared.columns.iter().enumerate();
    let wrong = |column: &Column, detail| ReadError::Column {
        statement: statement.declared.name.clone(),
        column: column.name.clone(),
        detail,
    };
    columns.map(|(index, column)| value(index, column).map_err(|detail| wrong(column, detail))).collect()
}

/// Position and hash of the log's last event.
pub type LogEnd = (Position, Hash);

/// One read transaction: everything read in it is of the same position.
#[derive(Debug)]
pub struct Session {
    model: ReadModel,
    reading: Reading,
    position: Position,
    timeout: Duration,
}

#[derive(Debug)]
enum Reading {
    Sqlite(sqlite::Reading),
    Postgres(Box<postgres::Reading>),
}

impl Session {
    pub(super) async fn begin(model: ReadModel, principal: &Principal) -> Result<Self, Error> {
        let (reading, position) = match &model.tables {
            Tables::Sqlite(tables) => {
                let (reading, position) = sqlite::Reading::begin(tables.clone(), principal).await?;
                (Reading::Sqlite(reading), position)
            }
            Tables::Postgres(tables) => {
                let (reading, position) = postgres::Reading::begin(tables.clone(), principal).await?;
                (Reading::Postgres(Box::new(reading)), position)
            }
        };
        Ok(Self { model, reading, position, timeout: TIMEOUT })
    }

    /// The position that the session sees.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The log's last event in what the session sees. If it is the one at the session's position, then everything that is read
    /// here, `readable` included, is a function of the log up to that event, and of the caller. `None` while access is not
    /// whole.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn log_end(&mut self) -> Result<Option<LogEnd>, Error> {
        match &mut self.reading {
            Reading::Sqlite(reading) => reading.log_end().await,
            Reading::Postgres(reading) => Ok(reading.log_end()),
        }
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
        let compiled = &self.model.compiled;
        let index = compiled
            .statement(&call.statement, AccessMode::Read)
            .ok_or_else(|| ReadError::UnknownStatement(call.statement.clone()))?;
        let declared = &compiled.statements[index].declared;
        let params = encode_all(call.params.clone(), &declared.params)
            .map_err(|detail| ReadError::Parameters { statement: declared.name.clone(), detail })?;
        let limits = Limits { rows: row_limit, timeout: self.timeout };
        match &mut self.reading {
            Reading::Sqlite(reading) => reading.rows(index, &params, limits).await,
            Reading::Postgres(reading) => reading.rows(index, &params, limits).await,
        }
    }
}
