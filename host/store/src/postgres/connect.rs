//! Connections: what each of them is told first, how long they are waited for, and which servers are refused.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::error::Error;
use crate::options::PostgresOptions;

/// The oldest server that has everything that is used here.
const OLDEST_VERSION: i32 = 140_000;

/// How long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new connection may take at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many statements stay prepared on each.
const STATEMENTS: usize = 256;

/// A connection that nobody has used for so long is asked whether it still is one.
const TRUST: Duration = Duration::from_secs(1);

/// How connections are made.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub options: PgConnectOptions,
    settings: String,
    /// The settings of the connection that appends.
    appending: String,
    /// How long anything is waited for: longer than the server lets a statement run.
    pub limit: Duration,
}

impl Connect {
    pub fn new(settings: &PostgresOptions) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(&settings.url)?
            .application_name("cairn")
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        // Statements find few rows of huge tables, and some plans are made while these are still small.
        let shared = format!(
            "SET search_path = public, pg_temp; SET standard_conforming_strings = on; SET jit = off;
             SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
             SET statement_timeout = {statement}; SET lock_timeout = {lock};
             SET idle_in_transaction_session_timeout = {pause}; SET client_connection_check_interval = 2000;
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
             SET tcp_user_timeout = 30000;
             SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;
             SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') IN ('local', 'remote_write')",
            statement = settings.statement_timeout.as_millis(),
            lock = settings.lock_timeout.as_millis(),
            pause = settings.pause_limit.as_millis(),
        );
        let appending = format!("{shared}; SET plan_cache_mode = force_generic_plan");
        Ok(Self { options, settings: shared, appending, limit: settings.statement_timeout * 3 / 2 })
    }

    /// Pools of connections for everything but appending.
    pub fn pool(&self, connections: u32) -> PgPool {
        let settings = self.settings.clone();
        PgPoolOptions::new()
            .min_connections(0)
            .max_connections(connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for > TRUST {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// The connection that appends.
    pub async fn appending(&self) -> Result<PgConnection, Error> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            sqlx::raw_sql(AssertSqlSafe(self.appending.clone())).execute(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        within(CONNECT_TIMEOUT.min(self.limit), connecting).await
    }

    /// A connection with the server's own settings, for looking at them.
    pub async fn plain(&self) -> Result<PgConnection, Error> {
        within(CONNECT_TIMEOUT.min(self.limit), self.options.connect()).await
    }

    /// Waits for a database's answer, but not for ever.
    pub async fn bounded<T>(&self, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
        within(self.limit, answer).await
    }
}

/// The future's output, or an error where that is not there in time.
pub(super) async fn within<T, E>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Error>
where
    Error: From<E>,
{
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
            Err(sqlx::Error::Io(late).into())
        }
    }
}

/// Refuses a server that the log cannot be trusted to.
pub(super) async fn check_server(
    connection: &mut PgConnection,
    settings: &PostgresOptions,
) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int4, current_setting('server_encoding'),
                current_setting('fsync'), current_setting('full_page_writes'),
                current_setting('synchronous_commit'), pg_is_in_recovery()",
    )
    .fetch_one(connection)
    .await?;
    let version: i32 = row.try_get(0)?;
    if version < OLDEST_VERSION {
        return Err(Error::Server(format!(
            "its version is {version}, PostgreSQL 14 is the oldest that will do"
        )));
    }
    let encoding: &str = row.try_get(1)?;
    if encoding != "UTF8" {
        return Err(Error::Server(format!("the database's encoding is {encoding}, not UTF8")));
    }
    if row.try_get(5)? {
        return Err(Error::Server("it is a standby, which cannot be written to".to_owned()));
    }
    if settings.lock_timeout <= settings.pause_limit {
        return Err(Error::Server("the lock's timeout has to be longer than the limit of pauses".to_owned()));
    }
    for (index, setting) in [(2, "fsync"), (3, "full_page_writes"), (4, "synchronous_commit")] {
        let value: &str = row.try_get(index)?;
        if value != "off" {
            continue;
        }
        if !settings.allow_unsafe_durability {
            return Err(Error::Server(format!(
                "`{setting}` is off: it would confirm what it may lose; turn it on"
            )));
        }
        tracing::warn!(setting, "the PostgreSQL server may lose what it has confirmed, and that is allowed");
    }
    Ok(())
}
