//! The log in a PostgreSQL database that other hosts may use too.
//!
//! One connection appends, under a lock that only one host has at a time; pools of connections read, and write what has
//! nothing to do with the log's order. Times are `timestamptz`, ids `uuid`, data and metadata `text`, never `jsonb`.

mod access;
mod components;
mod connect;
mod facts;
mod idempotency;
mod import;
mod instances;
mod keys;
mod leases;
mod log;
mod look;
mod policies;
mod rows;
mod settle;
mod snapshots;
mod turns;
mod types;
mod verify;
mod writer;

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use cairn_model::{StreamKey, ids};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use uuid::Uuid;

use self::connect::{Connect, check_server};
use self::types::Moment;
use self::writer::Writer;
use crate::append::Append;
use crate::error::Error;
use crate::folder::Folder;
use crate::options::{Options, PostgresOptions};
use crate::published::Published;
use crate::read_model;
use crate::snapshots::NewSnapshot;
use crate::written::Written;

/// The lock of everybody who appends; `derived.sql` has the same number.
const LOCK: i64 = 7_161_120_822_695_587_687;

/// Tables and functions that come back by themselves; see the file.
const DERIVED: &str = include_str!("../../../../migrations/postgres/derived.sql");

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    pub log_id: Uuid,
    pub published: Published,
    pub read_models: Arc<read_model::Host>,
    connect: Arc<Connect>,
    readers: PgPool,
    /// For what is written besides the log, so that long reads hold up no lease.
    writers: PgPool,
    writer: tokio::sync::Mutex<Writer>,
    /// Under which number this process fills access and claims, if it does.
    rebuild: Mutex<Option<Uuid>>,
    _folder: Folder,
}

impl Log {
    /// Opens or makes the log, and begins to look whether others append to it.
    pub async fn open(
        folder: Folder,
        options: &Options,
        settings: &PostgresOptions,
    ) -> Result<Arc<Self>, Error> {
        let connect = Arc::new(Connect::new(settings)?);
        let mut connection = connect.plain().await?;
        check_server(&mut connection, settings).await?;
        connection.close().await?;
        let mut connection = connect.appending().await?;
        sqlx::migrate!("../../migrations/postgres/log").run(&mut connection).await?;
        make_derived(&mut connection).await?;
        let log_id = log_id(&mut connection, options).await?;
        connection.close().await?;
        let given = settings.query_url.as_deref().map(PgConnectOptions::from_str).transpose()?;
        let read_models = Arc::new(read_model::Host::open(connect.options.clone(), given).await?);
        let writer = Writer::open(connect.clone(), options, settings).await?;
        let log = Arc::new(Self {
            log_id,
            published: Published::new(writer.tail.position, writer.facts_intact),
            read_models,
            readers: connect.pool(options.read_connections),
            writers: connect.pool(settings.write_connections),
            connect,
            writer: tokio::sync::Mutex::new(writer),
            rebuild: Mutex::new(None),
            _folder: folder,
        });
        look::keep_looking(&log, settings.look_every);
        Ok(log)
    }

    /// Writes a batch and tells those who wait for positions.
    pub async fn write(&self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        let mut writer = self.writer.lock().await;
        let written = writer.write(appends, snapshots).await;
        self.published.writing_fails(written.failure.is_some());
        self.published.reached(writer.tail.position);
        self.published.facts_are(writer.facts_intact);
        written
    }

    /// Ends the transaction that was begun for the next batch.
    pub async fn rest(&self) {
        self.writer.lock().await.rest().await;
    }

    /// Whether the log can be read and written: after a failed batch a commit that needs room on the disk finds out.
    pub async fn check(&self) -> Result<(), Error> {
        self.head_of(&StreamKey::new("", "", Uuid::nil())).await?;
        if self.published.is_failing() {
            self.connect.bounded(sqlx::raw_sql(PROBE).execute(&self.writers)).await?;
            self.published.writing_fails(false);
        }
        Ok(())
    }

    /// Waits for what is running and ends.
    pub async fn close(&self) {
        self.writer.lock().await.close().await;
        self.read_models.close().await;
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// A commit that takes room on the disk, as an append does, and gives it back. TRUNCATE begins a new file each time, so no
/// room that was taken earlier is used.
const PROBE: &str = "TRUNCATE probe;
    INSERT INTO probe SELECT repeat('-', 8000) FROM generate_series(1, 32);
    TRUNCATE probe;
    UPDATE log_meta SET barrier = barrier + 1";

/// Makes what is missing of the derived tables, one host after the other.
async fn make_derived(connection: &mut PgConnection) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction).await?;
    sqlx::raw_sql(DERIVED).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Takes the lock of everybody who appends, until the transaction ends.
async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(connection).await?;
    Ok(())
}

async fn log_id(connection: &mut PgConnection, options: &Options) -> Result<Uuid, Error> {
    let now = options.clock.now();
    sqlx::query("INSERT INTO log_meta (log_id, created_at) VALUES ($1, $2) ON CONFLICT (one) DO NOTHING")
        .bind(ids::new_id(now))
        .bind(Moment(now))
        .execute(&mut *connection)
        .await?;
    Ok(sqlx::query_scalar("SELECT log_id FROM log_meta").fetch_one(connection).await?)
}
