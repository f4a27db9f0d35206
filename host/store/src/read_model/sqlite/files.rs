//! Files of read models: when one can be gone on with, and how a new one is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_model::Position;
use cairn_model::chain::Hash;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqlSafeStr, Statement};
use uuid::Uuid;

use super::fence::{self, Fence};
use super::texts::Texts;
use crate::error::Error;
use crate::read_model::Origin;
use crate::read_model::compile::{Compiled, CompiledStatement};
use crate::read_model::letters::{self, Standing};
use crate::sqlite::log::unsigned;
use crate::sqlite::{ACQUIRE_TIMEOUT, DERIVED, reading, writing};

/// Connections that read one read model at the same time.
const READ_CONNECTIONS: u32 = 4;

/// Counted up when the host itself makes another form of the same declarations: read models are then built anew.
const FORM: u32 = 3;

const POSITIONS: &str = "CREATE TABLE projection_positions (
    name         TEXT PRIMARY KEY,
    version      INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    log_id       TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    form         TEXT NOT NULL,
    failure      TEXT,
    out_of_order INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL
) STRICT";

/// See `letters`.
const DEAD_LETTERS: &str = "CREATE TABLE dead_letters (
    position        INTEGER PRIMARY KEY,
    tenant          TEXT NOT NULL,
    aggregate       TEXT NOT NULL,
    id              TEXT NOT NULL,
    version         INTEGER NOT NULL,
    type            TEXT NOT NULL,
    cause           TEXT NOT NULL,
    detail          TEXT,
    attempts        INTEGER NOT NULL,
    first_failed_at INTEGER NOT NULL,
    last_failed_at  INTEGER NOT NULL,
    digest          TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    waits_for       INTEGER,
    edited          TEXT
) STRICT";

/// Streams are looked for one by one.
const DEAD_LETTERS_STREAM: &str = "CREATE INDEX dead_letters_stream ON dead_letters (id, aggregate, tenant)";

/// The writing connection to a read model that belongs to this log and these declarations: the one that is there, or
/// a new and empty one. A read model is a function of the log, so whatever does not fit is thrown away.
pub(super) async fn open(
    path: &Path,
    compiled: &Compiled,
    texts: &Texts,
    origin: &Origin,
    head: Position,
) -> Result<SqliteConnection, Error> {
    if !path.exists() {
        // What may be left of its write-ahead log belongs to a file that is gone.
        remove(path)?;
    }
    // A lost tail costs nothing but its work: position and rows are lost together.
    let options = writing(path).synchronous(SqliteSynchronous::Normal);
    let found = match SqliteConnection::connect_with(&options).await {
        Ok(mut connection) => match fits(&mut connection, compiled, origin.log_id, head).await {
            Ok(true) => Some(connection),
            Ok(false) => {
                connection.close().await?;
                None
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a read model cannot be read; it is built anew");
                // It goes away in a moment.
                let _ = connection.close().await;
                None
            }
        },
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "a read model cannot be opened; it is built anew");
            None
        }
    };
    let mut connection = match found {
        Some(connection) => connection,
        None => {
            remove(path)?;
            let mut connection = SqliteConnection::connect_with(&options).await?;
            create(&mut connection, compiled, texts, origin).await?;
            connection
        }
    };
    fence::raise(&mut connection, fence(compiled, true)).await?;
    Ok(connection)
}

async fn fits(
    connection: &mut SqliteConnection,
    compiled: &Compiled,
    log_id: Uuid,
    head: Position,
) -> Result<bool, sqlx::Error> {
    let made: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'projection_positions'")
            .fetch_one(&mut *connection)
            .await?;
    if made == 0 {
        return Ok(false);
    }
    let row = sqlx::query("SELECT name, version, log_id, form, position FROM projection_positions")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(false) };
    Ok(row.try_get::<&str, _>(0)? == &*compiled.projection.name
        && row.try_get::<i64, _>(1)? == i64::from(compiled.projection.version)
        && row.try_get::<&str, _>(2)? == log_id.to_string()
        && row.try_get::<&str, _>(3)? == form(compiled.form)
        && unsigned(row.try_get(4)?) <= head)
}

async fn create(
    connection: &mut SqliteConnection,
    compiled: &Compiled,
    texts: &Texts,
    origin: &Origin,
) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    create_tables(&mut transaction, texts).await?;
    sqlx::query(
        "INSERT INTO projection_positions (name, version, position, log_id, epoch, form, created_at)
         VALUES (?, ?, 0, ?, 0, ?, ?)",
    )
    .bind(compiled.projection.name.clone())
    .bind(i64::from(compiled.projection.version))
    .bind(origin.log_id.to_string())
    .bind(form(compiled.form))
    .bind(origin.clock.now().micros())
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

async fn create_tables(connection: &mut SqliteConnection, texts: &Texts) -> Result<(), sqlx::Error> {
    for host in [POSITIONS, DEAD_LETTERS, DEAD_LETTERS_STREAM] {
        sqlx::query(host).execute(&mut *connection).await?;
    }
    for table in &texts.tables {
        // Made of checked names and fixed words.
        sqlx::raw_sql(AssertSqlSafe(table.create.clone())).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What the tables are made of.
pub(in crate::read_model) fn form(declared: Hash) -> String {
    format!("{FORM} {declared}")
}

/// What statements may touch.
fn fence(compiled: &Compiled, writes: bool) -> Arc<Fence> {
    let tables = compiled.tables.iter().map(|table| table.declared.name.to_string()).collect();
    let common_tables =
        compiled.statements.iter().flat_map(|statement| statement.checked.common_tables.clone()).collect();
    Arc::new(Fence { tables, common_tables, writes })
}

/// Connections for queries: read-only, with the log at their side for `readable`, inside the fence.
pub(super) fn readers(path: &Path, log: &Path, compiled: &Compiled) -> SqlitePool {
    let fence = fence(compiled, false);
    let log: Arc<str> = log.to_string_lossy().into();
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(READ_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let (fence, log) = (fence.clone(), log.clone());
            Box::pin(async move {
                sqlx::query("ATTACH DATABASE ? AS log").bind(log).execute(&mut *connection).await?;
                fence::raise(connection, fence).await
            })
        })
        .connect_lazy_with(reading(path))
}

/// A text of `letters` for a file of its own.
pub(super) fn on_file(text: &str) -> String {
    text.replace("TABLE", "dead_letters")
        .replace("EACH", "json_each($1)")
        .replace("POSITION_LIST", "json_each($1)")
        .replace("POSITIONS", "projection_positions")
}

/// How a read model's file stands.
pub(crate) async fn standing(path: &Path) -> Result<Standing, Error> {
    let mut connection = SqliteConnection::connect_with(&reading(path)).await?;
    let row = sqlx::query(AssertSqlSafe(on_file(letters::STANDING))).fetch_one(&mut connection).await?;
    Ok(letters::standing(&row)?)
}

/// Removes a read model's files.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match std::fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::File { path: file, source }),
        }
    }
    Ok(())
}

/// Lets SQLite itself prepare every statement, in memory and inside the fence.
pub(super) async fn rehearse(compiled: &Compiled, texts: &Texts) -> Result<(), Error> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    create_tables(&mut connection, texts)
        .await
        .map_err(|error| compiled.wrong("its tables".to_owned(), error.to_string()))?;
    sqlx::query("ATTACH DATABASE ':memory:' AS log").execute(&mut connection).await?;
    let log = DERIVED.replace("CREATE TABLE IF NOT EXISTS ", "CREATE TABLE log.");
    sqlx::raw_sql(AssertSqlSafe(log)).execute(&mut connection).await?;
    for writes in [true, false] {
        fence::raise(&mut connection, fence(compiled, writes)).await?;
        for (statement, sql) in compiled.statements.iter().zip(&texts.statements) {
            if statement.writes() == writes {
                prepare(&mut connection, statement, sql)
                    .await
                    .map_err(|detail| compiled.wrong(statement.subject(), detail))?;
            }
        }
    }
    Ok(connection.close().await?)
}

async fn prepare(
    connection: &mut SqliteConnection,
    statement: &CompiledStatement,
    sql: &Arc<str>,
) -> Result<(), String> {
    let prepared = connection
        .prepare(AssertSqlSafe(sql.clone()).into_sql_str())
        .await
        .map_err(|error| error.to_string())?;
    let (columns, declared) = (prepared.columns().len(), statement.declared.columns.len());
    if !statement.writes() && columns != declared {
        return Err(format!("it gives {columns} columns, and {declared} are declared"));
    }
    Ok(())
}
