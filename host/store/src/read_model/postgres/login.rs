//! The login of queries: it can read the tables of read models the relation `readable` and where the log ends, and nothing else.

use std::fmt::Write;

use cairn_model::chain::Hash;
use cairn_model::ids;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::code;
use crate::error::Error;
use crate::read_model::dialect::quoted;

/// The code of "you may not do that".
const FORBIDDEN: &str = "42501";

/// The login, and what the host keeps with it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub role: String,
    /// `None` for a login that somebody else has made.
    pub password: Option<String>,
    /// What callers are sealed with.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Reads the login, or makes it, and lets it use the host's schema. Inside a transaction that holds the lock.
pub(super) async fn make(
    connection: &mut PgConnection,
    given: Option<&PgConnectOptions>,
) -> Result<Login, Error> {
    let database: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut *connection).await?;
    let stored = sqlx::query("SELECT role, password, secret FROM cairn.query_login")
        .fetch_optional(&mut *connection)
        .await?;
    let mut login = match &stored {
        Some(row) => Login { role: row.try_get(0)?, password: row.try_get(1)?, secret: row.try_get(2)? },
        None => Login { role: String::new(), password: None, secret: random() },
    };
    match given {
        Some(given) => {
            login.role = given.get_username().to_owned();
            login.password = None;
        }
        None => own(connection, &database, &mut login).await?,
    }
    sqlx::query(
        "INSERT INTO cairn.query_login (role, password, secret) VALUES ($1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET role = excluded.role, password = excluded.password
         WHERE (query_login.role, query_login.password) IS DISTINCT FROM (excluded.role, excluded.password)",
    )
    .bind(&login.role)
    .bind(&login.password)
    .bind(&login.secret)
    .execute(&mut *connection)
    .await?;
    grant(connection, &database, &login.role).await?;
    Ok(login)
}

/// The login that the host makes for itself: one for each database, as logins belong to the whole server.
async fn own(connection: &mut PgConnection, database: &str, login: &mut Login) -> Result<(), Error> {
    let role = format!("cairn_query_{}", &Hash::of(database.as_bytes()).to_string()[..8]);
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(&role)
        .fetch_one(&mut *connection)
        .await?;
    if exists && login.role == role && login.password.is_some() {
        return Ok(());
    }
    let password = login.password.take().unwrap_or_else(|| hex(&random()));
    let verb = if exists { "ALTER" } else { "CREATE" };
    // Hexadecimal digits and the host's own words.
    let sql = format!(
        "{verb} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD '{password}'",
        quoted(&role)
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map_err(|error| {
        if code(&error).as_deref() == Some(FORBIDDEN) {
            Error::QueryLogin(format!(
                "the host may not make `{role}` ({error}); let it (CREATEROLE), or make a login and name it"
            ))
        } else {
            error.into()
        }
    })?;
    login.role = role;
    login.password = Some(password);
    Ok(())
}

async fn grant(connection: &mut PgConnection, database: &str, role: &str) -> Result<(), Error> {
    let row =
        sqlx::query("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1), current_user::text = $1")
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
    if !row.try_get::<bool, _>(0)? || row.try_get::<bool, _>(1)? {
        return Err(Error::QueryLogin(format!("`{role}` is not a login of its own")));
    }
    let row = sqlx::query(
        "SELECT has_database_privilege($1, current_database(), 'CONNECT'),
            has_schema_privilege($1, 'cairn', 'USAGE') AND has_table_privilege($1, 'cairn.readable', 'SELECT')
            AND has_table_privilege($1, 'cairn.log_end', 'SELECT')
            AND (SELECT bool_and(has_function_privilege($1, oid, 'EXECUTE')) FROM pg_proc
                WHERE pronamespace = to_regnamespace('cairn'))",
    )
    .bind(role)
    .fetch_one(&mut *connection)
    .await?;
    let (name, mut sql) = (quoted(role), String::new());
    // Writing to a string cannot fail.
    if !row.try_get::<bool, _>(0)? {
        let _ = write!(sql, "GRANT CONNECT ON DATABASE {} TO {name};", quoted(database));
    }
    if !row.try_get::<bool, _>(1)? {
        let _ = write!(
            sql,
            "GRANT USAGE ON SCHEMA cairn TO {name}; GRANT SELECT ON cairn.readable, cairn.log_end TO {name};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cairn TO {name};"
        );
    }
    if !sql.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    }
    Ok(())
}

/// Refuses a login that could do more than read what read models show.
pub(super) async fn check(keeper: &PgPool, role: &str) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
            EXISTS (SELECT 1 FROM pg_auth_members AS m WHERE m.member = r.oid),
            (SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class AS c
                WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relowner = current_user::regrole
                AND (c.relnamespace = 'public'::regnamespace OR c.oid = to_regclass('cairn.query_login'))
                AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                    OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')))
         FROM pg_roles AS r WHERE r.rolname = $1",
    )
    .bind(role)
    .fetch_one(keeper)
    .await?;
    let refused = |detail: String| Err(Error::QueryLogin(format!("`{role}` {detail}")));
    if row.try_get::<bool, _>(0)? {
        return refused("may administer the server".to_owned());
    }
    if row.try_get::<bool, _>(1)? {
        return refused("is a member of other roles".to_owned());
    }
    match row.try_get::<Option<String>, _>(2)? {
        Some(reachable) => refused(format!("can reach {reachable}")),
        None => Ok(()),
    }
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    ids::fill_random(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
