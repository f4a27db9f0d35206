//! What can be wrong with a projection, with what a guest wants written, and with what it asks.

use cairn_model::{Name, Position};
use thiserror::Error;

use crate::error::Error as StoreError;

/// A projection declares something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("projection `{projection}`, {subject}{}: {detail}", place(*.line, *.column))]
pub struct ManifestError {
    /// The projection.
    pub projection: Name,
    /// What of it: ``statement `children` ``.
    pub subject: String,
    /// The line in the statement, from 1; 0 if it is not about a place.
    pub line: u64,
    /// The column in the line, from 1; 0 if it is not about a place.
    pub column: u64,
    /// What is wrong.
    pub detail: String,
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(", line {line}, column {column}") }
}

/// A batch of changes was not applied; nothing of it was.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Somebody else has moved the read model on.
    #[error("the read model is at position {actual}, not at the expected {expected}")]
    Fenced {
        /// The position that the batch starts from.
        expected: Position,
        /// The read model's.
        actual: Position,
    },
    /// The lease under which it came has passed to somebody else.
    #[error("the lease has passed on: its epoch is {actual}, not {epoch}")]
    Superseded {
        /// The epoch of whoever came.
        epoch: u64,
        /// The latest one that has been here.
        actual: u64,
    },
    /// Another host has built tables of other declarations, or of another log, in this place.
    #[error("the read model was replaced by one of other declarations")]
    Replaced,
    /// A change is not what the projection's declarations allow, or the tables' constraints do not.
    #[error("{detail}")]
    Rejected {
        /// Which change, counted from 0, where it can be known.
        change: Option<usize>,
        /// What is wrong.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

/// A statement gave no rows.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The projection has no `read` statement of this name.
    #[error("there is no read statement `{0}`")]
    UnknownStatement(Name),
    /// A parameter is missing, too much, or of another type than declared.
    #[error("statement `{statement}`: {detail}")]
    Parameters {
        /// The statement.
        statement: Name,
        /// What is wrong.
        detail: String,
    },
    /// A value is not of the type that the statement declares for its column.
    #[error("statement `{statement}`, column `{column}`: {detail}")]
    Column {
        /// The statement.
        statement: Name,
        /// The column.
        column: Name,
        /// What is wrong.
        detail: String,
    },
    /// There are more rows than a call may answer.
    #[error("statement `{statement}` gives more than {limit} rows")]
    TooManyRows {
        /// The statement.
        statement: Name,
        /// How many it may give.
        limit: usize,
    },
    /// The statement took too long.
    #[error("statement `{statement}` took longer than {timeout_ms} ms")]
    Timeout {
        /// The statement.
        statement: Name,
        /// How long it may take.
        timeout_ms: u64,
    },
    /// The database refused the statement while it ran.
    #[error("statement `{statement}`: {detail}")]
    Failed {
        /// The statement.
        statement: Name,
        /// What it said.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
