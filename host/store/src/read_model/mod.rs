//! Read models: the declared tables of a projection with the position that they are at and the events that they could not
//! take, so that all of it commits together. A projection may have several *instances*: one that is read, one that is built
//! beside it, one that was read before.
//!
//! What a projection declares is checked once and for both databases (`compile`, `check`, `dialect`); what a guest
//! wants written is checked and put in order (`change`, `group`); the rest is the database's: `sqlite` has a file for
//! each projection, `postgres` a schema.

mod error;
mod letters;
mod session;

mod change;
mod check;
mod compile;
mod dialect;
mod group;
mod names;
mod postgres;
mod sqlite;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::chain::Hash;
use cairn_model::manifest::{Column, Projection};
use cairn_model::{Clock, Name, Position, Principal, StreamKey, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::compile::Compiled;
pub use self::error::{ApplyError, ManifestError, ReadError};
use self::letters::LetterChanges;
pub use self::letters::{Batch, DeadLetter, LetterFilter, LetterGroup, Standing};
pub(crate) use self::postgres::Host;
pub use self::session::{LogEnd, Session};
pub(crate) use self::sqlite::{remove as remove_file, standing as file_standing};
use crate::error::Error;
use crate::folder::Folder;

/// Checks a projection's tables and statements without any store: for the time of loading. What is found good is written in
/// what SQLite and PostgreSQL share.
///
/// # Errors
/// [`Error::Manifest`]: what is wrong first, with its place.
pub async fn check_projection(projection: &Projection) -> Result<(), Error> {
    sqlite::rehearse(&Compiled::new(projection, 0)?).await
}

/// The log that a read model is made from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub log_id: Uuid,
    /// The log's last position as far as is known.
    pub head: Position,
    pub clock: Clock,
}

/// What the tables of a projection are made of, as text: instances with the same form can go on from each other's code.
pub(crate) fn sqlite_form(projection: &Projection) -> String {
    sqlite::form(compile::form(projection))
}

/// [`sqlite_form`] on PostgreSQL.
pub(crate) fn postgres_form(projection: &Projection) -> String {
    postgres::form(compile::form(projection))
}

/// Where read models are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In files of the data folder.
    Sqlite(&'a Folder),
    /// In schemas of the log's database.
    Postgres(&'a Arc<Host>),
}

impl<'a> From<&'a Folder> for Place<'a> {
    fn from(folder: &'a Folder) -> Self {
        Self::Sqlite(folder)
    }
}

impl<'a> From<&'a Arc<Host>> for Place<'a> {
    fn from(host: &'a Arc<Host>) -> Self {
        Self::Postgres(host)
    }
}

/// A projection's tables. Clones are the same read model.
#[derive(Clone, Debug)]
pub struct ReadModel {
    compiled: Arc<Compiled>,
    tables: Tables,
}

#[derive(Clone, Debug)]
enum Tables {
    Sqlite(Arc<sqlite::Tables>),
    Postgres(Arc<postgres::Tables>),
}

/// A move of a read model from one position to another.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: Position,
    to: Position,
    /// The epoch of the lease under which it is made.
    epoch: Option<u64>,
}

impl Step {
    /// Checks where the read model stands. Answers the epoch that is stored with the step.
    fn checked(self, position: Position, epoch: u64) -> Result<u64, ApplyError> {
        match self.epoch {
            Some(own) if own < epoch => Err(ApplyError::Superseded { epoch: own, actual: epoch }),
            _ if position != self.from => Err(ApplyError::Fenced { expected: self.from, actual: position }),
            Some(own) => Ok(own),
            None => Ok(epoch),
        }
    }
}

impl ReadModel {
    /// Opens an instance of a projection's tables.
    pub(crate) async fn open<'a>(
        place: impl Into<Place<'a>>,
        origin: Origin,
        projection: &Projection,
        instance: u64,
    ) -> Result<Self, Error> {
        let compiled = Arc::new(Compiled::new(projection, instance)?);
        let tables = match place.into() {
            Place::Sqlite(folder) => {
                let tables = sqlite::Tables::open(folder, origin, compiled.clone()).await?;
                Tables::Sqlite(Arc::new(tables))
            }
            Place::Postgres(host) => {
                // The same is refused everywhere, whichever database runs it.
                sqlite::rehearse(&compiled).await?;
                let tables = postgres::Tables::open(host.clone(), origin, compiled.clone()).await?;
                Tables::Postgres(Arc::new(tables))
            }
        };
        Ok(Self { compiled, tables })
    }

    /// Which of the projection's instances it is.
    pub fn instance(&self) -> u64 {
        self.compiled.instance
    }

    /// The projection as it was declared.
    pub fn projection(&self) -> &Projection {
        &self.compiled.projection
    }

    /// The position of the last event whose changes are in the tables.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn position(&self) -> Result<Position, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.position().await,
            Tables::Postgres(tables) => tables.position().await,
        }
    }

    /// Applies what the events after `from` up to `to` make, and moves the position, in one transaction.
    ///
    /// If the tables were removed meanwhile, there are new ones, and the answer is [`ApplyError::Fenced`] with position 0:
    /// go on from there.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing is changed then.
    pub async fn apply(
        &self,
        batch: impl Into<Batch>,
        from: Position,
        to: Position,
    ) -> Result<(), ApplyError> {
        self.apply_step(batch.into(), Step { from, to, epoch: None }).await
    }

    /// [`ReadModel::apply`] for the holder of a lease of this epoch. The epoch is kept with the position, and whoever comes
    /// with an older one is refused.
    ///
    /// # Errors
    /// [`ApplyError::Superseded`] if a later epoch has been here; otherwise like [`ReadModel::apply`].
    pub async fn apply_under(
        &self,
        epoch: u64,
        batch: impl Into<Batch>,
        from: Position,
        to: Position,
    ) -> Result<(), ApplyError> {
        self.apply_step(batch.into(), Step { from, to, epoch: Some(epoch) }).await
    }

    async fn apply_step(&self, batch: Batch, step: Step) -> Result<(), ApplyError> {
        let letters = LetterChanges::new(&batch.parked, &batch.settled, batch.out_of_order);
        let ops = change::check(&self.compiled, batch.changes)?;
        match &self.tables {
            Tables::Sqlite(tables) => tables.apply(ops, letters, step).await,
            Tables::Postgres(tables) => tables.apply(ops, letters, step).await,
        }
    }

    /// Notes what keeps the read model from going on. The next step that is applied takes the note away. Whoever comes with an
    /// older epoch than the last one that was here notes nothing.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Closed`].
    pub async fn note_failure(&self, epoch: u64, failure: &str) -> Result<(), Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.note_failure(epoch, failure).await,
            Tables::Postgres(tables) => tables.note_failure(epoch, failure).await,
        }
    }

    /// How it stands.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn standing(&self) -> Result<Standing, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.standing().await,
            Tables::Postgres(tables) => tables.standing().await,
        }
    }

    /// Dead letters in the order of their positions.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Vec<DeadLetter>, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.dead_letters(filter).await,
            Tables::Postgres(tables) => tables.dead_letters(filter).await,
        }
    }

    /// The kinds of failures among the dead letters, those with the most events first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn letter_groups(&self) -> Result<Vec<LetterGroup>, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.letter_groups().await,
            Tables::Postgres(tables) => tables.letter_groups().await,
        }
    }

    /// The streams of which events are set aside.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn parked_streams(&self) -> Result<Vec<StreamKey>, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.parked_streams().await,
            Tables::Postgres(tables) => tables.parked_streams().await,
        }
    }

    /// A moment of the read model for one caller.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn session(&self, principal: &Principal) -> Result<Session, Error> {
        Session::begin(self.clone(), principal).await
    }

    /// A digest of each table's rows, in the order of their keys: equal for equal content, whichever the database.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn checksum(&self) -> Result<BTreeMap<Name, Hash>, Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.checksum().await,
            Tables::Postgres(tables) => tables.checksum().await,
        }
    }

    /// Empties the tables, the dead letters too, and goes back to position 0, in one transaction: sessions see all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Closed`].
    pub async fn reset(&self) -> Result<(), Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.reset().await,
            Tables::Postgres(tables) => tables.reset().await,
        }
    }

    /// Closes it; on SQLite it waits for its sessions. Afterwards it can be opened again.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn close(&self) -> Result<(), Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.close().await,
            Tables::Postgres(tables) => {
                tables.close();
                Ok(())
            }
        }
    }

    /// Closes it and removes its tables.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::File`].
    pub async fn remove(&self) -> Result<(), Error> {
        match &self.tables {
            Tables::Sqlite(tables) => tables.remove().await,
            Tables::Postgres(tables) => tables.remove().await,
        }
    }
}

/// The digest of a table's rows.
#[derive(Default)]
struct RowDigest(Sha256);

impl RowDigest {
    fn add(&mut self, column: &Column, value: Result<Value, String>) -> Result<(), Error> {
        let value = value.map_err(|detail| Error::Damaged(format!("`{}`: {detail}", column.name)))?;
        // Typed values: they cannot fail to serialize.
        let bytes = serde_json::to_vec(&value).unwrap_or_default();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(&bytes);
        Ok(())
    }

    fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}
