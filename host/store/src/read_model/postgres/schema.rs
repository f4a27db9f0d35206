//! Schemas of read models: when one can be gone on with, how a new one is made, and how its statements are prepared.

use std::sync::Arc;

use cairn_model::chain::Hash;
use cairn_model::manifest::Table;
use sqlx::{AssertSqlSafe, Column, Executor, PgConnection, Row, SqlSafeStr, Statement, TypeInfo};
use uuid::Uuid;

use super::texts::Texts;
use super::{Host, code, host};
use crate::error::Error;
use crate::log::{signed, unsigned};
use crate::read_model::Origin;
use crate::read_model::compile::{Compiled, CompiledStatement};
use crate::read_model::dialect::{Type, quoted};
use crate::read_model::names::{self, is_host_table};

/// Counted up when the host itself makes another form of the same declarations: read models are then built anew.
const FORM: u32 = 2;

/// What is written on a schema, so that no stranger's schema is ever dropped.
const COMMENT: &str = "a read model of Cairn; it is made anew from the log when it is missing";

/// Whether a read model was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// It was there and fits.
    Before,
    /// It is new and empty.
    Anew,
}

/// What the tables are made of.
pub(in crate::read_model) fn form(declared: Hash) -> String {
    format!("{FORM} {declared}")
}

/// Sees to it that there is a read model of this log and these declarations: the one that is there, or with `anew`, or if it
/// does not fit, a new and empty one. A read model is a function of the log, so whatever does not fit is thrown away.
pub(super) async fn build(
    host: &Host,
    compiled: &Compiled,
    texts: &Texts,
    origin: &Origin,
    anew: bool,
) -> Result<Built, Error> {
    let mut transaction = host.keeper.begin().await?;
    host::lock(&mut transaction).await?;
    if !anew && fits(&mut transaction, compiled, texts, origin.log_id).await? {
        grant(&mut transaction, compiled, &host.role()).await?;
        transaction.commit().await?;
        return Ok(Built::Before);
    }
    drop_schema(&mut transaction, &compiled.schema).await?;
    create(&mut transaction, compiled, texts, origin).await?;
    if is_active(&mut transaction, compiled).await? {
        show(&mut transaction, compiled).await?;
    }
    grant(&mut transaction, compiled, &host.role()).await?;
    transaction.commit().await?;
    Ok(Built::Anew)
}

/// Drops a read model.
pub(super) async fn remove(host: &Host, schema: &str) -> Result<(), Error> {
    let mut transaction = host.keeper.begin().await?;
    host::lock(&mut transaction).await?;
    drop_schema(&mut transaction, schema).await?;
    Ok(transaction.commit().await?)
}

/// Removes an instance, unless it is the active one or the one before.
pub(super) async fn remove_unused(host: &Host, projection: &str, instance: u64) -> Result<(), Error> {
    let mut transaction = host.keeper.begin().await?;
    host::lock(&mut transaction).await?;
    // Another host may have moved queries to it since this one looked.
    let in_use =
        sqlx::query("SELECT 1 FROM public.read_models WHERE projection = $1 AND $2 IN (active, previous)")
            .bind(projection)
            .bind(signed(instance))
            .fetch_optional(&mut *transaction)
            .await?;
    if in_use.is_none() {
        drop_schema(&mut transaction, &names::schema(projection, instance)).await?;
    }
    Ok(transaction.commit().await?)
}

async fn fits(
    connection: &mut PgConnection,
    compiled: &Compiled,
    texts: &Texts,
    log_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let made: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&texts.positions)
        .fetch_one(&mut *connection)
        .await?;
    if !made {
        return Ok(false);
    }
    let found: Option<String> = sqlx::query_scalar(
        "SELECT string_agg(concat_ws(' ', c.relname, a.attname, t.typname, a.attnotnull), ', '
            ORDER BY c.relname, a.attnum)
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_type AS t ON t.oid = a.atttypid
         WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
         AND c.relname NOT IN ('projection_positions', 'dead_letters')",
    )
    .bind(quoted(&compiled.schema))
    .fetch_one(&mut *connection)
    .await?;
    if found.unwrap_or_default() != outline(compiled) {
        return Ok(false);
    }
    // Another host may have projected what this one has not seen yet: what counts is the log itself.
    let sql = format!(
        "SELECT log_id, form, position, coalesce((SELECT max(position) FROM public.event_store), 0) FROM {}",
        texts.positions
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(false) };
    Ok(row.try_get::<&str, _>(0)? == log_id.to_string()
        && row.try_get::<&str, _>(1)? == form(compiled.form)
        && row.try_get::<i64, _>(2)? <= row.try_get::<i64, _>(3)?)
}

/// The columns of all tables, as `fits` finds them.
fn outline(compiled: &Compiled) -> String {
    let mut tables: Vec<&Table> = compiled.tables.iter().map(|table| &table.declared).collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let columns = tables.iter().flat_map(|table| {
        table.columns.iter().map(|column| {
            let (sql_type, not_null) =
                (Type::from(column.column_type).sql(), if column.nullable { "f" } else { "t" });
            format!("{} {} {sql_type} {not_null}", table.name, column.name)
        })
    });
    columns.collect::<Vec<_>>().join(", ")
}

pub(super) async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<(), Error> {
    let comment: Option<Option<String>> = sqlx::query_scalar(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1",
    )
    .bind(schema)
    .fetch_optional(&mut *connection)
    .await?;
    match comment {
        None => Ok(()),
        Some(Some(comment)) if comment == COMMENT => {
            let sql = format!("DROP SCHEMA {} CASCADE", quoted(schema));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
            Ok(())
        }
        Some(_) => {
            Err(Error::Damaged(format!("the schema `{schema}` is somebody else's; drop or rename it")))
        }
    }
}

async fn create(
    connection: &mut PgConnection,
    compiled: &Compiled,
    texts: &Texts,
    origin: &Origin,
) -> Result<(), Error> {
    // Names were checked before, and are quoted besides.
    let sql = format!(
        "CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS '{COMMENT}';
         CREATE TABLE {positions} (
             one          bool PRIMARY KEY DEFAULT true CHECK (one),
             name         text NOT NULL,
             version      int8 NOT NULL,
             position     int8 NOT NULL,
             log_id       text NOT NULL,
             epoch        int8 NOT NULL,
             form         text NOT NULL,
             failure      text,
             out_of_order bool NOT NULL DEFAULT false,
             created_at   int8 NOT NULL
         );
         CREATE TABLE {letters} (
             position        int8 PRIMARY KEY,
             tenant          text COLLATE \"C\" NOT NULL,
             aggregate       text COLLATE \"C\" NOT NULL,
             id              text COLLATE \"C\" NOT NULL,
             version         int8 NOT NULL,
             type            text NOT NULL,
             cause           text NOT NULL,
             detail          text,
             attempts        int8 NOT NULL,
             first_failed_at int8 NOT NULL,
             last_failed_at  int8 NOT NULL,
             digest          text NOT NULL,
             fingerprint     text COLLATE \"C\" NOT NULL,
             waits_for       int8,
             edited          text
         );
         CREATE INDEX ON {letters} (id, aggregate, tenant)",
        schema = quoted(&compiled.schema),
        positions = texts.positions,
        letters = texts.letters,
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    for table in &texts.tables {
        sqlx::raw_sql(AssertSqlSafe(table.create.clone())).execute(&mut *connection).await?;
    }
    let sql = format!(
        "INSERT INTO {} (name, version, position, log_id, epoch, form, created_at) VALUES ($1, $2, 0, $3, 0, $4, $5)",
        texts.positions
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(&*compiled.projection.name)
        .bind(i64::from(compiled.projection.version))
        .bind(origin.log_id.to_string())
        .bind(form(compiled.form))
        .bind(origin.clock.now().micros())
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether queries read this instance.
async fn is_active(connection: &mut PgConnection, compiled: &Compiled) -> Result<bool, sqlx::Error> {
    let active: Option<i64> =
        sqlx::query_scalar("SELECT active FROM public.read_models WHERE projection = $1")
            .bind(&*compiled.projection.name)
            .fetch_optional(connection)
            .await?;
    Ok(active.map_or(0, unsigned) == compiled.instance)
}

/// Takes away the views of an instance that is read no longer.
pub(super) async fn hide(connection: &mut PgConnection, schema: &str) -> Result<(), Error> {
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT v.relname::text FROM pg_class AS v
         JOIN pg_rewrite AS r ON r.ev_class = v.oid
         JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
             AND d.refclassid = 'pg_class'::regclass
         JOIN pg_class AS t ON t.oid = d.refobjid
         WHERE v.relkind = 'v' AND v.relnamespace = 'public'::regnamespace AND v.relowner = current_user::regrole
         AND v.relname = t.relname AND t.relkind = 'r' AND t.relnamespace = to_regnamespace($1)",
    )
    .bind(quoted(schema))
    .fetch_all(&mut *connection)
    .await?;
    for view in views {
        let sql = format!("DROP VIEW public.{}", quoted(&view));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Views in `public`, for people to look at. A name that is taken is left alone.
pub(super) async fn show(connection: &mut PgConnection, compiled: &Compiled) -> Result<(), Error> {
    for table in &compiled.tables {
        let name = &*table.declared.name;
        let is_taken: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = $1)
             OR EXISTS (SELECT 1 FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname = $1)",
        )
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
        if is_taken || is_host_table(name) {
            tracing::warn!(table = name, schema = %compiled.schema, "a table has no view in `public`: the name is taken");
            continue;
        }
        let (name, schema) = (quoted(name), quoted(&compiled.schema));
        let sql = format!("CREATE VIEW public.{name} AS SELECT * FROM {schema}.{name}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lets the login of queries read the tables, if it may not yet.
async fn grant(connection: &mut PgConnection, compiled: &Compiled, role: &str) -> Result<(), sqlx::Error> {
    let may: Option<bool> = sqlx::query_scalar(
        "SELECT has_schema_privilege($1, $2, 'USAGE') AND bool_and(has_table_privilege($1, oid, 'SELECT'))
         FROM pg_class WHERE relnamespace = $3::regnamespace AND relkind = 'r' AND relname <> 'dead_letters'",
    )
    .bind(role)
    .bind(&compiled.schema)
    .bind(quoted(&compiled.schema))
    .fetch_one(&mut *connection)
    .await?;
    if may == Some(true) {
        return Ok(());
    }
    let (schema, role) = (quoted(&compiled.schema), quoted(role));
    let own = compiled.tables.iter().map(|table| table.declared.name.as_ref());
    let tables: Vec<String> =
        own.chain(["projection_positions"]).map(|name| format!("{schema}.{}", quoted(name))).collect();
    let sql =
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {} TO {role}", tables.join(", "));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Lets PostgreSQL prepare every statement on the login that will run it.
pub(super) async fn prepare(host: &Host, compiled: &Compiled, texts: &Texts) -> Result<(), Error> {
    let (mut keeper, mut queries) = (host.keeper.acquire().await?, host.queries().acquire().await?);
    for table in &texts.tables {
        for sql in [&table.put, &table.remove, &table.dump] {
            keeper
                .prepare(AssertSqlSafe(sql.clone()).into_sql_str())
                .await
                .map_err(|error| refused(compiled, "its tables".to_owned(), error))?;
        }
    }
    for (statement, sql) in compiled.statements.iter().zip(&texts.statements) {
        let connection = if statement.writes() { &mut *keeper } else { &mut *queries };
        prepare_one(connection, compiled, statement, sql).await?;
    }
    Ok(())
}

async fn prepare_one(
    connection: &mut PgConnection,
    compiled: &Compiled,
    statement: &CompiledStatement,
    sql: &Arc<str>,
) -> Result<(), Error> {
    let prepared = connection
        .prepare(AssertSqlSafe(sql.clone()).into_sql_str())
        .await
        .map_err(|error| refused(compiled, statement.subject(), error))?;
    let found: Vec<String> =
        prepared.columns().iter().map(|column| column.type_info().name().to_ascii_lowercase()).collect();
    let wanted: Vec<&str> =
        statement.declared.columns.iter().map(|column| Type::from(column.column_type).sql()).collect();
    if statement.writes() || found == wanted {
        return Ok(());
    }
    let detail = format!("it gives {}, and {} are declared", found.join(", "), wanted.join(", "));
    Err(compiled.wrong(statement.subject(), detail).into())
}

/// What PostgreSQL says against a statement is the manifest's fault, everything else is not.
fn refused(compiled: &Compiled, subject: String, error: sqlx::Error) -> Error {
    match code(&error) {
        Some(code) if code.starts_with("42") || code.starts_with("22") || code.starts_with("3F") => {
            compiled.wrong(subject, error.to_string()).into()
        }
        _ => error.into(),
    }
}
