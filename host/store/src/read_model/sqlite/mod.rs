//! A read model on SQLite: one file for each projection.

mod apply;
mod fence;
mod files;
pub(super) mod place;
mod readable;
mod session;
mod texts;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use cairn_model::chain::Hash;
use cairn_model::{Name, Position, StreamKey};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::Mutex;

pub(in crate::read_model) use self::files::form;
pub(crate) use self::files::{remove, standing};
pub(super) use self::session::Reading;
use self::texts::Texts;
pub(super) use self::texts::on_conflict;
use super::compile::Compiled;
use super::error::ApplyError;
use super::group::Op;
use super::letters::{self, DeadLetter, LetterChanges, LetterFilter, LetterGroup, Standing};
use super::{Origin, RowDigest, Step};
use crate::error::Error;
use crate::folder::Folder;
use crate::sqlite::log::{signed, unsigned};
use crate::sqlite::reading;

/// Lets SQLite prepare all statements of a projection, without any file.
pub(super) async fn rehearse(compiled: &Compiled) -> Result<(), Error> {
    files::rehearse(compiled, &Texts::new(compiled)).await
}

/// A projection's tables in their file.
#[derive(Debug)]
pub(super) struct Tables {
    path: PathBuf,
    log_path: PathBuf,
    origin: Origin,
    compiled: Arc<Compiled>,
    texts: Texts,
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

impl Tables {
    pub async fn open(folder: &Folder, origin: Origin, compiled: Arc<Compiled>) -> Result<Self, Error> {
        let texts = Texts::new(&compiled);
        files::rehearse(&compiled, &texts).await?;
        let path = folder.read_model(&compiled.projection.name, compiled.instance);
        let log_path = folder.log();
        let connection = files::open(&path, &compiled, &texts, &origin, origin.head).await?;
        let readers = RwLock::new(files::readers(&path, &log_path, &compiled));
        let writer = Mutex::new(Writer { connection: Some(connection), closed: false });
        Ok(Self { path, log_path, origin, compiled, texts, writer, readers })
    }

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
                let connection =
                    files::open(&self.path, &self.compiled, &self.texts, &self.origin, Position::MAX).await?;
                if is_gone {
                    let readers = files::readers(&self.path, &self.log_path, &self.compiled);
                    *self.readers.write().unwrap_or_else(PoisonError::into_inner) = readers;
                }
                Ok(none.insert(connection))
            }
        }
    }

    pub async fn position(&self) -> Result<Position, Error> {
        let position: i64 = sqlx::query_scalar("SELECT position FROM projection_positions")
            .fetch_one(&self.readers())
            .await?;
        Ok(unsigned(position))
    }

    pub async fn apply(&self, ops: Vec<Op>, letters: LetterChanges, step: Step) -> Result<(), ApplyError> {
        let mut writer = self.writer.lock().await;
        let applied = self.apply_ops(&mut writer, ops, letters, step).await;
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
        ops: Vec<Op>,
        letters: LetterChanges,
        step: Step,
    ) -> Result<(), ApplyError> {
        let connection = self.connection(writer).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        apply::apply(&mut transaction, &self.compiled, &self.texts, ops, letters, step).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn note_failure(&self, epoch: u64, failure: &str) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let connection = self.connection(&mut writer).await?;
        sqlx::query("UPDATE projection_positions SET failure = ? WHERE epoch <= ?")
            .bind(failure)
            .bind(signed(epoch))
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Makes the file anew if somebody has removed it.
    async fn be_there(&self) -> Result<(), Error> {
        if !self.path.exists() {
            self.connection(&mut *self.writer.lock().await).await?;
        }
        Ok(())
    }

    /// A connection for the host itself, which has no fence.
    async fn host(&self) -> Result<SqliteConnection, Error> {
        self.be_there().await?;
        Ok(SqliteConnection::connect_with(&reading(&self.path)).await?)
    }

    pub async fn standing(&self) -> Result<Standing, Error> {
        self.be_there().await?;
        standing(&self.path).await
    }

    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, Error> {
        let [fingerprint, tenant, aggregate, id] = filter.texts();
        let rows = sqlx::query(AssertSqlSafe(files::on_file(letters::LIST)))
            .bind(signed(filter.after))
            .bind(fingerprint)
            .bind(tenant)
            .bind(aggregate)
            .bind(id)
            .bind(letters::limit(filter))
            .fetch_all(&mut self.host().await?)
            .await?;
        rows.iter().map(letters::letter).collect()
    }

    pub async fn letter_groups(&self) -> Result<Vec<LetterGroup>, Error> {
        let sql = AssertSqlSafe(files::on_file(letters::GROUPS));
        let rows = sqlx::query(sql).fetch_all(&mut self.host().await?).await?;
        rows.iter().map(letters::letter_group).collect()
    }

    pub async fn parked_streams(&self) -> Result<Vec<StreamKey>, Error> {
        let sql = AssertSqlSafe(files::on_file(letters::STREAMS));
        let rows = sqlx::query(sql).fetch_all(&mut self.host().await?).await?;
        rows.iter().map(letters::stream).collect()
    }

    pub async fn checksum(&self) -> Result<BTreeMap<Name, Hash>, Error> {
        let mut sums = BTreeMap::new();
        let mut transaction = self.readers().begin().await?;
        for (table, texts) in self.compiled.tables.iter().zip(&self.texts.tables) {
            let mut digest = RowDigest::default();
            let mut rows = sqlx::query(AssertSqlSafe(texts.dump.clone())).fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                for (index, column) in table.declared.columns.iter().enumerate() {
                    digest.add(column, values::decode(&row, index, column))?;
                }
            }
            sums.insert(table.declared.name.clone(), digest.finish());
        }
        Ok(sums)
    }

    pub async fn reset(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let connection = self.connection(&mut writer).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for table in &self.compiled.tables {
            let sql = format!("DELETE FROM \"{}\"", table.declared.name);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        }
        sqlx::query("DELETE FROM dead_letters").execute(&mut *transaction).await?;
        sqlx::query("UPDATE projection_positions SET position = 0, failure = NULL, out_of_order = 0")
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    pub async fn close(&self) -> Result<(), Error> {
        self.readers().close().await;
        let mut writer = self.writer.lock().await;
        writer.closed = true;
        match writer.connection.take() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    pub async fn remove(&self) -> Result<(), Error> {
        self.close().await?;
        remove(&self.path)
    }
}
