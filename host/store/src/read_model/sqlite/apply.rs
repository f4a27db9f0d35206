//! Writing a batch of changes and the position that it leads to, in one transaction.

use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::files::on_file;
use super::texts::{TableTexts, Texts};
use super::values::{add, bind};
use crate::error::{DatabaseError, Error};
use crate::read_model::Step;
use crate::read_model::compile::{Compiled, CompiledTable};
use crate::read_model::error::ApplyError;
use crate::read_model::group::{Group, Op, Values, group};
use crate::read_model::letters::{LetterChanges, PARK, SETTLE};
use crate::sqlite::log::{signed, unsigned};
use crate::sqlite::multi::Script;

/// How many calls a batched statement takes at once.
const CALLS_AT_ONCE: usize = 5000;

/// Writes the changes and moves the position, inside the transaction that the connection is in.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    compiled: &Compiled,
    texts: &Texts,
    ops: Vec<Op>,
    letters: LetterChanges,
    step: Step,
) -> Result<(), ApplyError> {
    let row =
        sqlx::query("SELECT position, epoch FROM projection_positions").fetch_one(&mut *connection).await?;
    let epoch = step.checked(unsigned(row.try_get(0)?), unsigned(row.try_get(1)?))?;
    for group in group(ops, |statement| &compiled.statements[statement].touches) {
        match group {
            Group::Table { table, rows } => {
                let (table, texts) = (&compiled.tables[table], &texts.tables[table]);
                let failed = |error| rejected_by_sqlite(&format!("table `{}`", table.declared.name), error);
                write_rows(connection, table, texts, &rows).await.map_err(failed)?;
            }
            Group::Run { statement, calls } => {
                let (sql, statement) =
                    (&texts.statements[statement], &compiled.statements[statement].declared);
                let failed = |error| rejected_by_sqlite(&format!("statement `{}`", statement.name), error);
                run(connection, sql, statement.batched, &calls).await.map_err(failed)?;
            }
        }
    }
    for (sql, rows) in [(SETTLE, letters.settled), (PARK, letters.parked)] {
        if let Some(rows) = rows {
            sqlx::query(AssertSqlSafe(on_file(sql))).bind(rows).execute(&mut *connection).await?;
        }
    }
    sqlx::query(
        "UPDATE projection_positions SET position = ?, epoch = ?, failure = NULL, out_of_order = out_of_order OR ?",
    )
        .bind(signed(step.to))
        .bind(signed(epoch))
        .bind(letters.out_of_order)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removed keys go first, so that a row can take a unique value from one that goes. Where there are unique indexes, rows
/// that are replaced go first too: two rows that swap such values would be in each other's way.
async fn write_rows(
    connection: &mut SqliteConnection,
    table: &CompiledTable,
    texts: &TableTexts,
    rows: &[(Values, Option<Values>)],
) -> Result<(), sqlx::Error> {
    let goes = |row: &&(Values, Option<Values>)| row.1.is_none() || table.has_unique_index;
    let removed: Vec<&Values> = rows.iter().filter(goes).map(|(key, _)| key).collect();
    let put: Vec<&Values> = rows.iter().filter_map(|(_, row)| row.as_ref()).collect();
    let mut script = Script::default();
    for (statement, values) in [(&texts.remove, removed), (&texts.put, put)] {
        script.rows(statement, values, |row, _, values| values.iter().for_each(|value| add(row, value)));
    }
    script.execute(connection).await
}

async fn run(
    connection: &mut SqliteConnection,
    sql: &Arc<str>,
    batched: bool,
    calls: &[Values],
) -> Result<(), sqlx::Error> {
    if batched {
        for calls in calls.chunks(CALLS_AT_ONCE) {
            // Strings and finite numbers: they cannot fail to serialize.
            let rows = serde_json::to_string(calls).unwrap_or_default();
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(rows);
            query.execute(&mut *connection).await?;
        }
        return Ok(());
    }
    for params in calls {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for param in params {
            query = bind(query, param);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A constraint or a wrong type is the projection's fault, everything else the store's. SQLite's codes: 1 an error that
/// only running shows, 18 too big, 19 a constraint, 20 a wrong type, 25 a parameter out of range.
fn rejected_by_sqlite(subject: &str, error: sqlx::Error) -> ApplyError {
    let code = match &error {
        sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<u32>().ok()),
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(1 | 18 | 19 | 20 | 25) => {
            ApplyError::Rejected { change: None, detail: format!("{subject}: {}", DatabaseError(error)) }
        }
        _ => ApplyError::Store(Error::from(error)),
    }
}
