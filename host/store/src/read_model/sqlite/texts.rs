//! A projection in SQLite's words.

use std::fmt::Write;
use std::sync::Arc;

use cairn_model::manifest::{Column, Statement, Table};

use super::readable;
use super::values::sql_type;
use crate::read_model::check::Checked;
use crate::read_model::compile::Compiled;
use crate::sqlite::multi::MultiRow;

/// The texts of a projection, by the numbers of its tables and statements.
#[derive(Debug)]
pub(super) struct Texts {
    pub tables: Vec<TableTexts>,
    pub statements: Vec<Arc<str>>,
}

/// The texts of a table.
#[derive(Debug)]
pub(super) struct TableTexts {
    pub create: String,
    pub put: MultiRow,
    pub remove: MultiRow,
    /// All rows by their keys.
    pub dump: Arc<str>,
}

impl Texts {
    pub fn new(compiled: &Compiled) -> Self {
        let statements = compiled.statements.iter();
        Self {
            tables: compiled.tables.iter().map(|table| table_texts(&table.declared)).collect(),
            statements: statements
                .map(|statement| with_host_relation(&statement.declared, &statement.checked).into())
                .collect(),
        }
    }
}

fn table_texts(table: &Table) -> TableTexts {
    let name = &table.name;
    let columns: Vec<String> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let keys: Vec<String> = table.key.iter().map(|name| format!("\"{name}\"")).collect();
    let (columns, keys) = (columns.join(", "), keys.join(", "));
    // A column of the key is never NULL.
    let required = table.columns.iter().position(|column| table.key.contains(&column.name)).unwrap_or(0);
    TableTexts {
        create: create(table, &keys),
        put: MultiRow::insert(
            &format!("INSERT INTO \"{name}\" ({columns})"),
            table.columns.len(),
            required,
            &format!(" ON CONFLICT ({keys}) DO {}", on_conflict(table)),
        ),
        remove: MultiRow::new(
            &format!("DELETE FROM \"{name}\" WHERE ({keys}) IN (VALUES "),
            table.key.len(),
            ")",
        ),
        dump: format!("SELECT {columns} FROM \"{name}\" ORDER BY {keys}").into(),
    }
}

/// Names were checked before: quoting them is enough.
fn create(table: &Table, keys: &str) -> String {
    let mut sql = format!("CREATE TABLE \"{}\" (", table.name);
    for column in &table.columns {
        let not_null = if column.nullable { "" } else { " NOT NULL" };
        // Writing to a string cannot fail.
        let _ = write!(sql, "\"{}\" {}{not_null}, ", column.name, sql_type(column.column_type));
    }
    let _ = write!(sql, "PRIMARY KEY ({keys})) STRICT, WITHOUT ROWID;");
    for (number, index) in table.indexes.iter().enumerate() {
        let unique = if index.unique { "UNIQUE " } else { "" };
        let columns: Vec<String> = index.columns.iter().map(|name| format!("\"{name}\"")).collect();
        let _ = write!(
            sql,
            "\nCREATE {unique}INDEX \"{table}.{number}\" ON \"{table}\" ({});",
            columns.join(", "),
            table = table.name,
        );
    }
    sql
}

/// What becomes of a row that is in the way of one with the same key.
pub(in crate::read_model) fn on_conflict(table: &Table) -> String {
    let set: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !table.key.contains(&column.name))
        .map(|column| format!("\"{0}\" = excluded.\"{0}\"", column.name))
        .collect();
    if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) }
}

fn with_host_relation(statement: &Statement, checked: &Checked) -> String {
    let relation = if statement.batched {
        input(&statement.params)
    } else if checked.readable {
        readable::relation(statement.params.len())
    } else {
        return checked.text.clone();
    };
    let (before, behind) = checked.text.split_at(checked.insert_at);
    if checked.has_with {
        // `readable` is recursive inside, and the statement may be; neither minds the word.
        format!("{before} {relation}, {behind}")
    } else {
        format!("{before}WITH {relation} {behind}")
    }
}

/// The calls' parameters as rows, from one JSON array of arrays.
fn input(params: &[Column]) -> String {
    let names: Vec<&str> = params.iter().map(|param| &*param.name).collect();
    let values: Vec<String> = (0..params.len()).map(|index| format!("value ->> {index}")).collect();
    format!("input ({}) AS MATERIALIZED (SELECT {} FROM json_each($1))", names.join(", "), values.join(", "))
}
