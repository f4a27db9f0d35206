//! What can go wrong between the store and whoever uses it, appends excepted: those have outcomes of their own.

use std::path::PathBuf;

use cairn_model::{Name, Position};
use thiserror::Error;

use crate::read_model::ManifestError;

/// The store could not do what it was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// Another process has the data folder open.
    #[error("the data folder {} is in use by another process", .path.display())]
    DataFolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder could not be made, opened or removed.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system starts no thread for the sequencer.
    #[error("the sequencer has no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The database refused or failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A stored row cannot be what the store wrote.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// The batch that it was to be written with was not written.
    #[error("not written: {0}")]
    NotWritten(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The queue to the sequencer is full, or all connections for reading were in use for 5 seconds.
    #[error("the store has too much to do")]
    Overloaded,
    /// Somebody else has moved the position on.
    #[error("the position is {actual}, not the expected {expected}")]
    Fenced {
        /// The position that the caller started from.
        expected: Position,
        /// The stored one.
        actual: Position,
    },
    /// The lease under which it was to be written is somebody else's by now.
    #[error("the lease `{lease}` is no longer held under epoch {epoch}")]
    Superseded {
        /// The lease's name.
        lease: Name,
        /// The epoch that it was held under.
        epoch: u64,
    },
    /// The PostgreSQL server cannot be trusted with the log, or lacks something.
    #[error("the PostgreSQL server cannot be used: {0}")]
    Server(String),
    /// Queries have no login of their own on PostgreSQL, or one that could reach more than read models.
    #[error("the login of queries: {0}")]
    QueryLogin(String),
    /// A projection's tables or statements are not as they have to be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// What the database said.
#[derive(Debug, Error)]
#[error("database: {0}")]
pub struct DatabaseError(#[source] pub(crate) sqlx::Error);

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Overloaded,
            sqlx::Error::PoolClosed => Self::Closed,
            other => Self::Database(DatabaseError(other)),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        sqlx::Error::from(error).into()
    }
}
