//! Writing a batch of changes and the position that it leads to, in one transaction.

use cairn_model::manifest::Column;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

use super::values::{bind, bind_columns};
use super::{Tables, code, is_gap, schema};
use crate::error::DatabaseError;
use crate::read_model::Step;
use crate::read_model::compile::CompiledStatement;
use crate::read_model::error::ApplyError;
use crate::read_model::group::{Group, Op, Values, group};
use crate::read_model::letters::{LetterChanges, PARK, SETTLE};

/// How many rows or calls go into one statement.
const ROWS_AT_ONCE: usize = 5000;

/// A statement that would change one row twice.
const TWICE: &str = "21000";

/// Writes the changes and moves the position.
pub(super) async fn apply(
    tables: &Tables,
    ops: Vec<Op>,
    letters: LetterChanges,
    step: Step,
) -> Result<(), ApplyError> {
    let (compiled, texts) = (&tables.compiled, &tables.texts);
    let mut transaction = tables.host.keeper.begin().await?;
    // Whoever else is about to move it waits here.
    let row = sqlx::query(AssertSqlSafe(texts.lock.clone())).fetch_one(&mut *transaction).await?;
    let number = |index| row.try_get::<i64, _>(index).map(|number| u64::try_from(number).unwrap_or(0));
    let is_ours = row.try_get::<&str, _>(2)? == schema::form(compiled.form)
        && row.try_get::<&str, _>(3)? == tables.origin.log_id.to_string();
    if !is_ours {
        return Err(ApplyError::Replaced);
    }
    let epoch = step.checked(number(0)?, number(1)?)?;
    for group in group(ops, |statement| &compiled.statements[statement].touches) {
        match group {
            Group::Table { table, rows } => {
                let failed =
                    |error| rejected(&format!("table `{}`", compiled.tables[table].declared.name), error);
                write_rows(&mut transaction, tables, table, &rows).await.map_err(failed)?;
            }
            Group::Run { statement, calls } => {
                let failed = |error| rejected(&compiled.statements[statement].subject(), error);
                run(&mut transaction, tables, statement, &calls).await.map_err(failed)?;
            }
        }
    }
    for (sql, rows) in [(SETTLE, letters.settled), (PARK, letters.parked)] {
        if let Some(rows) = rows {
            sqlx::query(texts.on_schema(sql)).bind(rows).execute(&mut *transaction).await?;
        }
    }
    sqlx::query(AssertSqlSafe(texts.advance.clone()))
        .bind(i64::try_from(step.to).unwrap_or(i64::MAX))
        .bind(i64::try_from(epoch).unwrap_or(i64::MAX))
        .bind(letters.out_of_order)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Removed keys go first, so that a row can take a unique value from one that goes. Where there are unique indexes, rows
/// that are replaced go first too: two rows that swap such values would be in each other's way.
async fn write_rows(
    connection: &mut PgConnection,
    tables: &Tables,
    table: usize,
    rows: &[(Values, Option<Values>)],
) -> Result<(), sqlx::Error> {
    let (table, texts) = (&tables.compiled.tables[table], &tables.texts.tables[table]);
    let goes = |row: &&(Values, Option<Values>)| row.1.is_none() || table.has_unique_index;
    let removed: Vec<&Values> = rows.iter().filter(goes).map(|(key, _)| key).collect();
    let put: Vec<&Values> = rows.iter().filter_map(|(_, row)| row.as_ref()).collect();
    execute(connection, &texts.remove, &table.key_columns, &removed).await?;
    execute(connection, &texts.put, &table.declared.columns, &put).await
}

/// Runs a statement that takes an array for each column.
async fn execute(
    connection: &mut PgConnection,
    sql: &std::sync::Arc<str>,
    columns: &[Column],
    rows: &[&Values],
) -> Result<(), sqlx::Error> {
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let query = sqlx::query(AssertSqlSafe(sql.clone()));
        bind_columns(query, columns, rows).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    tables: &Tables,
    statement: usize,
    calls: &[Values],
) -> Result<(), sqlx::Error> {
    let (sql, compiled) = (&tables.texts.statements[statement], &tables.compiled.statements[statement]);
    let params = &compiled.declared.params;
    if compiled.declared.batched {
        let calls: Vec<&Values> = calls.iter().collect();
        return if compiled.postgres.upserts && calls.len() > 1 {
            upsert(connection, sql, compiled, &calls).await
        } else {
            execute(connection, sql, params, &calls).await
        };
    }
    for call in calls {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for (value, param) in call.iter().zip(params) {
            query = bind(query, param.column_type, value);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// PostgreSQL does not let one statement replace a row that it has just inserted; SQLite does. One after the other, the calls
/// have the same result.
async fn upsert(
    connection: &mut PgConnection,
    sql: &std::sync::Arc<str>,
    statement: &CompiledStatement,
    calls: &[&Values],
) -> Result<(), sqlx::Error> {
    let params = &statement.declared.params;
    let mut together = connection.begin().await?;
    match execute(&mut together, sql, params, calls).await {
        Ok(()) => return together.commit().await,
        Err(error) if code(&error).as_deref() == Some(TWICE) => together.rollback().await?,
        Err(error) => return Err(error),
    }
    for call in calls {
        execute(connection, sql, params, std::slice::from_ref(call)).await?;
    }
    Ok(())
}

/// Data that does not fit, a constraint, or a limit of PostgreSQL's is the projection's fault, everything else the
/// store's. The classes: 21 a row twice, 22 data, 23 a constraint, 42 a type that only running shows, 54 a limit.
fn rejected(subject: &str, error: sqlx::Error) -> ApplyError {
    let class = code(&error).and_then(|code| code.get(..2).map(str::to_owned));
    match class.as_deref() {
        Some("21" | "22" | "23" | "42" | "54") if !is_gap(&error) => {
            ApplyError::Rejected { change: None, detail: format!("{subject}: {}", DatabaseError(error)) }
        }
        _ => error.into(),
    }
}
