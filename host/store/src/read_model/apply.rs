//! Writing a batch of changes and the position that it leads to, in one transaction.

use cairn_model::manifest::AccessMode;
use cairn_model::{Change, Position};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::compile::{Compiled, CompiledStatement, CompiledTable};
use super::error::ApplyError;
use super::group::{Group, Op, Values, group};
use super::values::encode_all;
use crate::error::{DatabaseError, Error};
use crate::sqlite::log::{signed, unsigned};
use crate::sqlite::multi::Script;

/// How many calls a batched statement takes at once.
const CALLS_AT_ONCE: usize = 5000;

/// Checks the changes against the declarations; says which one is wrong.
pub(super) fn check(compiled: &Compiled, changes: Vec<Change>) -> Result<Vec<Op>, ApplyError> {
    let rejected = |index: usize, detail: String| ApplyError::Rejected { change: Some(index), detail };
    changes
        .into_iter()
        .enumerate()
        .map(|(index, change)| op(compiled, change).map_err(|detail| rejected(index, detail)))
        .collect()
}

fn op(compiled: &Compiled, change: Change) -> Result<Op, String> {
    match change {
        Change::Put { table: name, row } => {
            let table = compiled.table(&name).ok_or_else(|| format!("there is no table `{name}`"))?;
            let declared = &compiled.tables[table];
            let row = encode_all(row, &declared.declared.columns)
                .map_err(|detail| format!("put into `{name}`: {detail}"))?;
            let key = declared.key.iter().map(|column| row[*column].clone()).collect();
            Ok(Op::Put { table, key, row })
        }
        Change::Remove { table: name, key } => {
            let table = compiled.table(&name).ok_or_else(|| format!("there is no table `{name}`"))?;
            let key = encode_all(key, &compiled.tables[table].key_columns)
                .map_err(|detail| format!("remove from `{name}`: {detail}"))?;
            Ok(Op::Remove { table, key })
        }
        Change::Run(call) => {
            let name = call.statement;
            let statement = compiled
                .statement(&name, AccessMode::Write)
                .ok_or_else(|| format!("there is no write statement `{name}`"))?;
            let params = encode_all(call.params, &compiled.statements[statement].declared.params)
                .map_err(|detail| format!("run `{name}`: {detail}"))?;
            Ok(Op::Run { statement, params })
        }
    }
}

/// Writes the changes and moves the position, inside the transaction that the connection is in.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    compiled: &Compiled,
    ops: Vec<Op>,
    from: Position,
    to: Position,
) -> Result<(), ApplyError> {
    let actual: i64 =
        sqlx::query_scalar("SELECT position FROM projection_positions").fetch_one(&mut *connection).await?;
    let actual = unsigned(actual);
    if actual != from {
        return Err(ApplyError::Fenced { expected: from, actual });
    }
    for group in group(ops, |statement| &compiled.statements[statement].touches) {
        match group {
            Group::Table { table, rows } => {
                let table = &compiled.tables[table];
                let failed = |error| rejected_by_sqlite(&format!("table `{}`", table.declared.name), error);
                write_rows(connection, table, &rows).await.map_err(failed)?;
            }
            Group::Run { statement, calls } => {
                let statement = &compiled.statements[statement];
                let failed =
                    |error| rejected_by_sqlite(&format!("statement `{}`", statement.declared.name), error);
                run(connection, statement, &calls).await.map_err(failed)?;
            }
        }
    }
    sqlx::query("UPDATE projection_positions SET position = ?").bind(signed(to)).execute(connection).await?;
    Ok(())
}

/// Removed keys go first, so that a row can take a unique value from one that goes. Where there are unique indexes, rows
/// that are replaced go first too: two rows that swap such values would be in each other's way.
async fn write_rows(
    connection: &mut SqliteConnection,
    table: &CompiledTable,
    rows: &[(Values, Option<Values>)],
) -> Result<(), sqlx::Error> {
    let goes = |row: &&(Values, Option<Values>)| row.1.is_none() || table.has_unique_index;
    let removed: Vec<&Values> = rows.iter().filter(goes).map(|(key, _)| key).collect();
    let put: Vec<&Values> = rows.iter().filter_map(|(_, row)| row.as_ref()).collect();
    let mut script = Script::default();
    for (statement, values) in [(&table.remove, removed), (&table.put, put)] {
        script.rows(statement, values, |row, _, values| values.iter().for_each(|value| value.add(row)));
    }
    script.execute(connection).await
}

async fn run(
    connection: &mut SqliteConnection,
    statement: &CompiledStatement,
    calls: &[Values],
) -> Result<(), sqlx::Error> {
    if statement.declared.batched {
        for calls in calls.chunks(CALLS_AT_ONCE) {
            // Strings and finite numbers: they cannot fail to serialize.
            let rows = serde_json::to_string(calls).unwrap_or_default();
            let query = sqlx::query(AssertSqlSafe(statement.sql.clone())).bind(rows);
            query.execute(&mut *connection).await?;
        }
        return Ok(());
    }
    for params in calls {
        let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
        for param in params {
            query = param.bind(query);
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
