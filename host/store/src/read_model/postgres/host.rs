//! What all read models of a database share: the connections of the host and those of queries, the host's own schema, and the
//! seal that says to PostgreSQL whom a query is for.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use cairn_model::Principal;
use cairn_model::chain::Hash;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::login::{self, Login};
use crate::error::Error;

/// PostgreSQL's code for a caller that the host has not sealed; `host.sql` raises it.
pub(super) const UNSEALED: &str = "ZC001";

/// How long a query's statement may take, unless its session says otherwise.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a batch of changes is waited for: longer than the server lets a statement run.
pub(super) const APPLY_LIMIT: Duration = Duration::from_secs(330);

/// How much longer than a query's time its answer is waited for.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Connections that write read models.
const KEEPER_CONNECTIONS: u32 = 8;

/// Connections that run queries.
const QUERY_CONNECTIONS: u32 = 8;

/// How long somebody waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many statements stay prepared on each.
const STATEMENTS: usize = 256;

/// The lock under which the host's schema, its login and read models are made; any number that nobody else uses.
const BUILD_LOCK: i64 = 0x6361_6972_6e5f_726d;

/// The host's schema.
const HOST_SQL: &str = include_str!("host.sql");

/// Counted up with each change of `host.sql`.
const HOST_FORM: &str = "cairn host schema 2";

/// Whatever else the session or the role sets: names mean one thing, texts of backslashes too. A commit need not be on the
/// disk: position and rows are lost together. Statements change few rows of tables that may be huge, and that grow faster
/// than PostgreSQL counts them.
const KEEPER_SETTINGS: &str = "SET search_path = pg_catalog, pg_temp; SET standard_conforming_strings = on;
    SET jit = off; SET plan_cache_mode = force_custom_plan; SET synchronous_commit = off; SET enable_seqscan = off;
    SET statement_timeout = '300s'; SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s'";

const QUERY_SETTINGS: &str = "SET search_path = pg_catalog, pg_temp; SET standard_conforming_strings = on;
    SET jit = off; SET default_transaction_read_only = on; SET statement_timeout = '5s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '60s'";

/// Whether everything of the host's schema is there and may be used by the login.
const IS_WHOLE: &str = "SELECT coalesce(obj_description(to_regnamespace('cairn'), 'pg_namespace') = $1
        AND to_regclass('cairn.query_login') IS NOT NULL
        AND (SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('cairn')) = 6
        AND to_regclass('cairn.readable') IS NOT NULL AND to_regclass('cairn.log_end') IS NOT NULL, false)";

/// The read models' side of a database.
#[derive(Debug)]
pub(crate) struct Host {
    /// Connections as the host.
    pub(super) keeper: PgPool,
    main: PgConnectOptions,
    given: Option<PgConnectOptions>,
    state: RwLock<State>,
}

/// What is replaced when somebody has taken it away.
#[derive(Debug)]
struct State {
    login: Login,
    queries: PgPool,
}

/// What a query's transaction is told about its caller.
#[derive(Serialize)]
struct Caller<'a> {
    principal: String,
    tenant: &'a str,
    groups: Vec<&'a str>,
    unbounded: bool,
}

impl Host {
    /// Makes the host's schema and the login of queries, and checks that this can reach nothing else. `given` is a login that
    /// somebody has made; without it the host makes one.
    ///
    /// # Errors
    /// [`Error::QueryLogin`] if there is no login, or one that could reach more; [`Error::Database`].
    pub async fn open(main: PgConnectOptions, given: Option<PgConnectOptions>) -> Result<Self, Error> {
        let keeper = pool(KEEPER_CONNECTIONS, KEEPER_SETTINGS, main.clone());
        let login = make(&keeper, given.as_ref()).await?;
        let queries = query_pool(&main, given.as_ref(), &login);
        let host = Self { keeper, main, given, state: RwLock::new(State { login, queries }) };
        let role = host.role();
        login::check(&host.keeper, &role).await?;
        // Whether it can log in at all.
        let connection = host.queries().acquire().await;
        connection.map_err(|error| Error::QueryLogin(format!("`{role}` cannot log in: {error}")))?;
        Ok(host)
    }

    /// Makes anew what is missing of the host's schema or its login.
    pub(super) async fn ensure(&self) -> Result<(), Error> {
        let login = make(&self.keeper, self.given.as_ref()).await?;
        if self.state.read().unwrap_or_else(PoisonError::into_inner).login == login {
            return Ok(());
        }
        let queries = query_pool(&self.main, self.given.as_ref(), &login);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State { login, queries };
        Ok(())
    }

    /// Connections as the login of queries.
    pub(super) fn queries(&self) -> PgPool {
        // Login and pool are put there together, so a panic elsewhere cannot have left half of it.
        self.state.read().unwrap_or_else(PoisonError::into_inner).queries.clone()
    }

    /// The login's name.
    pub(super) fn role(&self) -> String {
        self.state.read().unwrap_or_else(PoisonError::into_inner).login.role.clone()
    }

    /// The caller in words, and the seal on them.
    pub(super) fn sealed(&self, principal: &Principal) -> (String, String) {
        let caller = Caller {
            principal: principal.id.to_string(),
            tenant: &principal.tenant,
            // PostgreSQL has no such texts, so no grant can mean them.
            groups: principal
                .groups
                .iter()
                .map(String::as_str)
                .filter(|group| !group.contains('\0'))
                .collect(),
            unbounded: principal.is_unbounded(),
        };
        // Strings and a truth: they cannot fail to serialize.
        let words = serde_json::to_string(&caller).unwrap_or_default();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let seal = state.login.seal(&words);
        (words, seal)
    }

    /// Ends the connections, after what runs on them.
    pub async fn close(&self) {
        self.queries().close().await;
        self.keeper.close().await;
    }
}

impl Login {
    /// Two rounds, so that nothing can be put behind the words.
    fn seal(&self, words: &str) -> String {
        let inner = Sha256::new().chain_update(&self.secret).chain_update(words.as_bytes()).finalize();
        Hash(Sha256::new().chain_update(&self.secret).chain_update(inner).finalize().into()).to_string()
    }
}

/// Waits for a server's answer, but not for ever: what the server itself limits it may not be there to limit.
pub(super) async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
        Err(sqlx::Error::Io(late).into())
    })
}

/// Takes the lock under which things are made, until the transaction ends.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(BUILD_LOCK).execute(connection).await?;
    Ok(())
}

/// Makes what is missing of the host's schema and of the login.
async fn make(keeper: &PgPool, given: Option<&PgConnectOptions>) -> Result<Login, Error> {
    let mut transaction = keeper.begin().await?;
    lock(&mut transaction).await?;
    let is_whole: bool = sqlx::query_scalar(IS_WHOLE).bind(HOST_FORM).fetch_one(&mut *transaction).await?;
    if !is_whole {
        sqlx::raw_sql(HOST_SQL).execute(&mut *transaction).await?;
        // A constant of this file.
        let comment = format!("COMMENT ON SCHEMA cairn IS '{HOST_FORM}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(comment)).execute(&mut *transaction).await?;
    }
    let login = login::make(&mut transaction, given).await?;
    transaction.commit().await?;
    Ok(login)
}

fn query_pool(main: &PgConnectOptions, given: Option<&PgConnectOptions>, login: &Login) -> PgPool {
    let options = match given {
        Some(given) => given.clone(),
        None => main.clone().username(&login.role).password(login.password.as_deref().unwrap_or_default()),
    };
    pool(QUERY_CONNECTIONS, QUERY_SETTINGS, options)
}

fn pool(connections: u32, settings: &'static str, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .min_connections(0)
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(settings).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.statement_cache_capacity(STATEMENTS))
}
