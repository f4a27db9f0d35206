//! The two databases that a log can be in. This is the only place that tells them apart: both have a `Log` whose methods
//! are named alike, and [`on_log`] calls the one that is there.

use std::sync::Arc;

use crate::append::Append;
use crate::error::Error;
use crate::folder::Folder;
use crate::options::Options;
use crate::snapshots::NewSnapshot;
use crate::written::Written;
use crate::{postgres, sqlite};

/// The log, wherever it is.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In a file of the data folder.
    Sqlite(Box<sqlite::Log>),
    /// In a database that other hosts may use too.
    Postgres(Arc<postgres::Log>),
}

/// Evaluates the expression for the log of either kind.
macro_rules! on_log {
    ($backend:expr, $log:ident => $call:expr) => {
        match $backend {
            $crate::backend::Backend::Sqlite($log) => $call,
            $crate::backend::Backend::Postgres($log) => $call,
        }
    };
}

pub(crate) use on_log;

impl Backend {
    /// Takes the data folder and opens or makes the log.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let folder = Folder::take(&options.data).await?;
        Ok(match &options.postgres {
            None => Self::Sqlite(Box::new(sqlite::Log::open(folder, options).await?)),
            Some(settings) => Self::Postgres(postgres::Log::open(folder, options, settings).await?),
        })
    }

    /// Writes a batch and tells those who wait for positions.
    pub async fn write(&self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        on_log!(self, log => log.write(appends, snapshots).await)
    }

    /// Gives back what is held for the next batch; there is none for a while.
    pub async fn rest(&self) {
        on_log!(self, log => log.rest().await);
    }
}
