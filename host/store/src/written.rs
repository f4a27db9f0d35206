//! What becomes of a batch, and why it may not have been written.

use crate::append::{Append, Outcome};
use crate::error::Error;

/// What became of a batch.
pub(crate) struct Written {
    /// One for each append.
    pub outcomes: Vec<Outcome>,
    /// Why the batch was not written; snapshots share it.
    pub failure: Option<String>,
}

/// Why a batch was not written, or may not have been.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is known not to be in the log.
    NotWritten(Error),
    /// It cannot be known now.
    Unknown(Error),
    /// Nothing can be checked until access and claims have come back.
    FactsLost,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::NotWritten(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::NotWritten(error.into())
    }
}

/// The answers to a batch that was not written.
pub(crate) fn refuse(appends: &[Append], failure: &Failure) -> Written {
    let (outcome, cause) = match failure {
        Failure::NotWritten(error) => (Outcome::Unavailable(error.to_string()), error.to_string()),
        Failure::Unknown(error) => (Outcome::Unknown(error.to_string()), error.to_string()),
        Failure::FactsLost => {
            let cause = "access and claims are gone; they are being rebuilt from the log".to_owned();
            (Outcome::Unavailable(cause.clone()), cause)
        }
    };
    tracing::error!(cause, appends = appends.len(), "a batch was not written");
    for append in appends.iter().filter(|append| !append.events.is_empty()) {
        append.lineage.break_off();
    }
    Written { outcomes: vec![outcome; appends.len()], failure: Some(cause) }
}
