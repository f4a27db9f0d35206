//! The data folder and its lock: one process per folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;

/// The log's file in a data folder, where the log is on SQLite.
pub const LOG_FILE: &str = "cairn.db";

/// How long an opening store waits for the one before it, which may still be closing.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked; the operating system unlocks it with the last handle, however the process ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing and locks it.
    pub async fn take(path: &Path) -> Result<Self, Error> {
        let read = path.join("read");
        fs::create_dir_all(&read).map_err(|source| Error::File { path: read, source })?;
        let lock_path = path.join("lock");
        let failed = |source| Error::File { path: lock_path.clone(), source };
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::DataFolderInUse { path: path.to_owned() });
                }
            }
        }
    }

    /// The log.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_FILE)
    }

    /// An instance of a read model.
    pub fn read_model(&self, projection: &str, instance: u64) -> PathBuf {
        let name = match instance {
            0 => format!("{projection}.sqlite"),
            number => format!("{projection}.{number}.sqlite"),
        };
        self.path.join("read").join(name)
    }

    /// The instances of a read model that have a file.
    pub fn read_model_instances(&self, projection: &str) -> Result<Vec<u64>, Error> {
        let read = self.path.join("read");
        let entries = fs::read_dir(&read).map_err(|source| Error::File { path: read.clone(), source })?;
        let number = |name: &str| {
            let rest = name.strip_prefix(projection)?.strip_suffix(".sqlite")?;
            if rest.is_empty() { Some(0) } else { rest.strip_prefix('.')?.parse().ok() }
        };
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect())
    }
}
