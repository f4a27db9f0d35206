//! A projection's tables in PostgreSQL's words. Its statements are written by `dialect`.

use std::fmt::Write;
use std::sync::Arc;

use cairn_model::manifest::{Column, ColumnType, Table};
use sqlx::AssertSqlSafe;

use crate::read_model::compile::Compiled;
use crate::read_model::dialect::{Type, quoted};
use crate::read_model::sqlite::on_conflict;

/// The texts of a projection, by the numbers of its tables and statements.
#[derive(Debug)]
pub(super) struct Texts {
    pub tables: Vec<TableTexts>,
    pub statements: Vec<Arc<str>>,
    /// The table of the position, and its row's place.
    pub positions: String,
    /// The table of the dead letters.
    pub letters: String,
    /// Reads the position.
    pub position: Arc<str>,
    /// Reads position, epoch and form, and keeps them from others.
    pub lock: Arc<str>,
    /// Moves the position to `$1`, the epoch to `$2`; `$3` says whether rows came out of order.
    pub advance: Arc<str>,
    /// Lets PostgreSQL count the rows of all tables.
    pub count: Arc<str>,
    /// Goes back to the beginning.
    pub rewind: Arc<str>,
}

/// The texts of a table.
#[derive(Debug)]
pub(super) struct TableTexts {
    pub create: String,
    /// Takes an array for each column.
    pub put: Arc<str>,
    /// Takes an array for each column of the key.
    pub remove: Arc<str>,
    /// All rows by their keys.
    pub dump: Arc<str>,
    pub empty: Arc<str>,
}

impl Texts {
    pub fn new(compiled: &Compiled) -> Self {
        let schema = &compiled.schema;
        let host = |table: &str| format!("{}.{}", quoted(schema), quoted(table));
        let (positions, letters) = (host("projection_positions"), host("dead_letters"));
        let statements = compiled.statements.iter();
        Self {
            tables: compiled.tables.iter().map(|table| table_texts(schema, &table.declared)).collect(),
            statements: statements.map(|statement| statement.postgres.sql.as_str().into()).collect(),
            position: format!("SELECT position FROM {positions}").into(),
            lock: format!("SELECT position, epoch, form, log_id FROM {positions} FOR UPDATE").into(),
            advance: format!(
                "UPDATE {positions} SET position = $1::int8, epoch = $2::int8, failure = NULL,
                     out_of_order = out_of_order OR $3"
            )
            .into(),
            count: count(compiled).into(),
            rewind: format!(
                "DELETE FROM {letters}; UPDATE {positions} SET position = 0, failure = NULL, out_of_order = false"
            )
            .into(),
            positions,
            letters,
        }
    }

    /// A text of `letters` for this schema.
    pub fn on_schema(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(in_schema(text, &self.positions, &self.letters))
    }
}

/// A text of `letters` for these tables.
pub(super) fn in_schema(text: &str, positions: &str, letters: &str) -> String {
    text.replace("TABLE", letters)
        .replace("EACH", "json_array_elements($1::json)")
        .replace("POSITION_LIST", "json_array_elements_text($1::json)")
        .replace("POSITIONS", positions)
}

fn count(compiled: &Compiled) -> String {
    let tables = compiled.tables.iter().map(|table| table.declared.name.as_ref());
    let tables = tables.chain(["projection_positions"]);
    let names: Vec<String> =
        tables.map(|name| format!("{}.{}", quoted(&compiled.schema), quoted(name))).collect();
    format!("ANALYZE {}", names.join(", "))
}

fn table_texts(schema: &str, table: &Table) -> TableTexts {
    let own = format!("{}.{}", quoted(schema), quoted(&table.name));
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let keys: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let key_columns =
        table.key.iter().filter_map(|name| table.columns.iter().find(|column| column.name == *name));
    let same: Vec<String> = keys.iter().map(|key| format!("t.{key} = k.{key}")).collect();
    let (columns, keys) = (columns.join(", "), keys.join(", "));
    TableTexts {
        create: create(schema, table, &keys),
        put: format!(
            "INSERT INTO {own} ({columns}) SELECT * FROM unnest({}) ON CONFLICT ({keys}) DO {}",
            arrays(table.columns.iter()),
            on_conflict(table),
        )
        .into(),
        remove: format!(
            "DELETE FROM {own} AS t USING unnest({}) AS k ({keys}) WHERE {}",
            arrays(key_columns),
            same.join(" AND "),
        )
        .into(),
        dump: format!("SELECT {columns} FROM {own} ORDER BY {keys}").into(),
        empty: format!("DELETE FROM {own}").into(),
    }
}

fn arrays<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let arrays: Vec<String> = columns
        .enumerate()
        .map(|(index, column)| format!("${}::{}[]", index + 1, Type::from(column.column_type).sql()))
        .collect();
    arrays.join(", ")
}

/// The declared type. Texts are compared byte by byte, as SQLite does.
const fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text | ColumnType::Json => "text COLLATE \"C\"",
        ColumnType::Integer => "int8",
        ColumnType::Real => "float8",
        ColumnType::Boolean => "bool",
        ColumnType::Timestamp => "timestamptz",
        ColumnType::Uuid => "uuid",
    }
}

/// Names were checked before. Nulls are in front in an index, where `dialect` sorts them.
fn create(schema: &str, table: &Table, keys: &str) -> String {
    let own = format!("{}.{}", quoted(schema), quoted(&table.name));
    let mut sql = format!("CREATE TABLE {own} (");
    for column in &table.columns {
        let not_null = if column.nullable { "" } else { " NOT NULL" };
        // Writing to a string cannot fail.
        let _ = write!(sql, "{} {}{not_null}, ", quoted(&column.name), sql_type(column.column_type));
    }
    let _ = write!(sql, "PRIMARY KEY ({keys}));");
    for index in &table.indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        let columns: Vec<String> = index.columns.iter().map(|name| index_column(table, name)).collect();
        let _ = write!(sql, "\nCREATE {unique}INDEX ON {own} ({});", columns.join(", "));
    }
    sql
}

fn index_column(table: &Table, name: &str) -> String {
    let nullable = table.columns.iter().any(|column| *column.name == *name && column.nullable);
    format!("{}{}", quoted(name), if nullable { " NULLS FIRST" } else { "" })
}
