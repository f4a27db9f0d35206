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
mod readable;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

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
    compiled: Compiled,
    /// `None` after it was closed.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
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
        let writer = files::open(&path, &compiled, log_id, head).await?;
        let readers = files::readers(&path, folder.log(), &compiled);
        let writer = Mutex::new(Some(writer));
        Ok(Self { inner: Arc::new(Inner { path, compiled, writer, readers }) })
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
            .fetch_one(&self.inner.readers)
            .await?;
        Ok(unsigned(position))
    }

    /// Applies the changes that the events after `from` up to `to` make, and moves the position, in one transaction.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing is changed then.
    pub async fn apply(&self, changes: Vec<Change>, from: Position, to: Position) -> Result<(), ApplyError> {
        let compiled = &self.inner.compiled;
        let ops = apply::check(compiled, changes)?;
        let mut writer = self.inner.writer.lock().await;
        let connection = writer.as_mut().ok_or(Error::Closed)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        apply::apply(&mut transaction, compiled, ops, from, to).await?;
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
        let mut transaction = self.inner.readers.begin().await?;
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
        let connection = writer.as_mut().ok_or(Error::Closed)?;
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
        self.inner.readers.close().await;
        if let Some(connection) = self.inner.writer.lock().await.take() {
            connection.close().await?;
        }
        Ok(())
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
