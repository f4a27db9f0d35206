//! Read models: one SQLite file for each projection, with the declared tables and the position that they are at, so
//! that both commit together.

mod error;
mod session;

mod apply;
mod check;
mod compile;
mod fence;
mod files;
mod group;
mod names;
mod place;
mod readable;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use cairn_model::chain::Hash;
use cairn_model::manifest::Projection;
use cairn_model::{Change, Name, Position, Principal};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::compile::Compiled;
pub use self::error::{ApplyError, ManifestError, ReadError};
pub use self::session::Session;
use crate::error::Error;
use crate::folder::Folder;
use crate::sqlite::log::unsigned;

/// Checks a projection's tables and statements without any file: for the time of loading.
///
/// # Errors
/// [`Error::Manifest`]: what is wrong first, with its place.
pub async fn check_projection(projection: &Projection) -> Result<(), Error> {
    files::rehearse(&Compiled::new(projection)?).await
}

/// A projection's tables. Clones are the same read model.
#[derive(Clone, Debug)]
pub struct ReadModel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    log_path: PathBuf,
    log_id: Uuid,
    compiled: Compiled,
    writer: Mutex<Writer>,
    /// Replaced together with the file.
    readers: RwLock<SqlitePool>,
}

#[derive(Debug, Default)]
struct Writer {
    /// `None` after it failed; the next use opens another one.
    connection: Option<SqliteConnection>,
    closed: bool,
}

impl Inner {
    fn readers(&self) -> SqlitePool {
        // A pool is put there whole, so a panic elsewhere cannot have left half of one.
        self.readers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection for writing. If somebody has removed the file, there is a new one now, at position 0.
    async fn connection<'w>(&self, writer: &'w mut Writer) -> Result<&'w mut SqliteConnection, Error> {
        if writer.closed {
            return Err(Error::Closed);
        }
        let is_gone = !self.path.exists();
        if is_gone && let Some(connection) = writer.connection.take() {
            tracing::warn!(path = %self.path.display(), "a read model's file is gone; it is built anew");
            // It was the connection to a file that nobody can see.
            let _ = connection.close().await;
        }
        match &mut writer.connection {
            Some(connection) => Ok(connection),
            none => {
                // Where the log is by now does not matter: it only grows while this process lives.
                let connection = files::open(&self.path, &self.compiled, self.log_id, Position::MAX).await?;
                if is_gone {
                    let readers = files::readers(&self.path, &self.log_path, &self.compiled);
                    *self.readers.write().unwrap_or_else(PoisonError::into_inner) = readers;
                }
                Ok(none.insert(connection))
            }
        }
    }
}

impl ReadModel {
    pub(crate) async fn open(
        folder: &Folder,
        log_id: Uuid,
        head: Position,
        projection: &Projection,
    ) -> Result<Self, Error> {
        let compiled = Compiled::new(projection)?;
        files::rehearse(&compiled).await?;
        let path = folder.read_model(&projection.name);
        let log_path = folder.log();
        let connection = files::open(&path, &compiled, log_id, head).await?;
        let readers = RwLock::new(files::readers(&path, &log_path, &compiled));
        let writer = Mutex::new(Writer { connection: Some(connection), closed: false });
        Ok(Self { inner: Arc::new(Inner { path, log_path, log_id, compiled, writer, readers }) })
    }

    /// The projection as it was declared.
    pub fn projection(&self) -> &Projection {
        &self.inner.compiled.projection
    }

    /// The position of the last event whose changes are in the tables.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn position(&self) -> Result<Position, Error> {
        let position: i64 = sqlx::query_scalar("SELECT position FROM projection_positions")
            .fetch_one(&self.inner.readers())
            .await?;
        Ok(unsigned(position))
    }

    /// Applies the changes that the events after `from` up to `to` make, and moves the position, in one transaction.
    ///
    /// If the file was removed meanwhile, there is a new one, and the answer is [`ApplyError::Fenced`] with position 0:
    /// go on from there.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing is changed then.
    pub async fn apply(&self, changes: Vec<Change>, from: Position, to: Position) -> Result<(), ApplyError> {
        let ops = apply::check(&self.inner.compiled, changes)?;
        let mut writer = self.inner.writer.lock().await;
        let applied = self.apply_ops(&mut writer, ops, from, to).await;
        if matches!(applied, Err(ApplyError::Store(_)))
            && let Some(connection) = writer.connection.take()
        {
            // Whatever is wrong with the connection: the next batch gets another one.
            let _ = connection.close().await;
        }
        applied
    }

    async fn apply_ops(
        &self,
        writer: &mut Writer,
        ops: Vec<group::Op>,
        from: Position,
        to: Position,
    ) -> Result<(), ApplyError> {
        let connection = self.inner.connection(writer).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        apply::apply(&mut transaction, &self.inner.compiled, ops, from, to).await?;
        Ok(transaction.commit().await?)
    }

    /// A moment of the read model for one caller.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn session(&self, principal: &Principal) -> Result<Session, Error> {
        Session::begin(self.inner.clone(), principal).await
    }

    /// A digest of each table's rows, in the order of their keys: equal for equal content.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn checksum(&self) -> Result<BTreeMap<Name, Hash>, Error> {
        let mut sums = BTreeMap::new();
        let mut transaction = self.inner.readers().begin().await?;
        for table in &self.inner.compiled.tables {
            let mut digest = Sha256::new();
            let mut rows = sqlx::query(AssertSqlSafe(table.dump.clone())).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                for (index, column) in table.declared.columns.iter().enumerate() {
                    let value = values::decode(&row, index, column)
                        .map_err(|detail| Error::Damaged(format!("`{}`: {detail}", column.name)))?;
                    // Typed values: they cannot fail to serialize.
                    let bytes = serde_json::to_vec(&value).unwrap_or_default();
                    digest.update((bytes.len() as u64).to_be_bytes());
                    digest.update(&bytes);
                }
            }
            sums.insert(table.declared.name.clone(), Hash(digest.finalize().into()));
        }
        Ok(sums)
    }

    /// Empties the tables and goes back to position 0, in one transaction: sessions see all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Closed`].
    pub async fn reset(&self) -> Result<(), Error> {
        let mut writer = self.inner.writer.lock().await;
        let connection = self.inner.connection(&mut writer).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for table in &self.inner.compiled.tables {
            let sql = format!("DELETE FROM \"{}\"", table.declared.name);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        }
        sqlx::query("UPDATE projection_positions SET position = 0").execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Waits for its sessions and closes it. Afterwards it can be opened again.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.readers().close().await;
        let mut writer = self.inner.writer.lock().await;
        writer.closed = true;
        match writer.connection.take() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    /// Closes it and removes its file.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::File`].
    pub async fn remove(&self) -> Result<(), Error> {
        self.close().await?;
        files::remove(&self.inner.path)
    }
}
