//! A statement of a manifest in PostgreSQL's words: the same text, the same rows.
//!
//! Statements are written in what SQLite and PostgreSQL share, and SQLite runs them as they stand. PostgreSQL differs in
//! small things that would change rows silently: where nulls sort, what `/` does by zero, how `LIKE` looks at case and at
//! backslashes, how wide an integer literal is, which collation a text has. So every expression gets a type here, and is
//! written anew with all of that said. What has no type, or would mean two things, is refused for both, with its place.

mod compare;
mod expression;
mod from;
mod function;
mod query;
mod scope;
mod select;
mod sort;
mod types;
mod write;

use cairn_model::manifest::{Column as Declared, Statement as DeclaredStatement, Table};
use sqlparser::ast::{Ident, SetExpr, Spanned, Statement};

use self::scope::{Column, Scope};
pub(super) use self::types::Type;
use super::check::Complaint;

/// The schema of the host's own relations and functions in PostgreSQL.
pub(super) const HOST_SCHEMA: &str = "cairn";

/// The longest name; PostgreSQL would cut it silently a little further.
const NAME_LIMIT: usize = 60;

/// A statement for PostgreSQL.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Its text. A `read` takes one parameter more than it declares: how many rows it may give. A batched one takes an
    /// array for each of its parameters.
    pub sql: String,
    /// Whether it replaces rows that are in its way, so that calls in one batch can meet the same row.
    pub upserts: bool,
}

/// Writes a checked statement for tables in this schema.
pub(super) fn render(
    declared: &DeclaredStatement,
    statement: &Statement,
    tables: &[Table],
    schema: &str,
) -> Result<Rendered, Complaint> {
    let mut renderer = Renderer { declared, tables, schema, upserts: false, unnamed: 0 };
    let sql = renderer.statement(statement)?;
    Ok(Rendered { sql, upserts: renderer.upserts })
}

type Result<T, E = Complaint> = std::result::Result<T, E>;

struct Renderer<'a> {
    declared: &'a DeclaredStatement,
    tables: &'a [Table],
    schema: &'a str,
    upserts: bool,
    /// How many subqueries without a name there were.
    unnamed: usize,
}

impl Renderer<'_> {
    fn statement(&mut self, statement: &Statement) -> Result<String> {
        let root = Scope::root();
        match statement {
            Statement::Query(query) => match &*query.body {
                SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner) => {
                    self.only_with(query)?;
                    let (with, scope) = self.with(query.with.as_ref(), &root, self.input())?;
                    Ok(format!("{with}{}", self.write(inner, &scope)?))
                }
                _ => self.read(query, &root),
            },
            write => {
                let (with, scope) = self.with(None, &root, self.input())?;
                Ok(format!("{with}{}", self.write(write, &scope)?))
            }
        }
    }

    /// The relation `input` as a common table with its columns, if the statement is batched.
    fn input(&self) -> Option<(String, Vec<Column>)> {
        if !self.declared.batched {
            return None;
        }
        let params = &self.declared.params;
        let columns: Vec<Column> = params.iter().map(Column::of).collect();
        let names: Vec<String> = params.iter().map(|param| quoted(&param.name)).collect();
        let arrays: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("${}::{}[]", index + 1, column.ty.sql()))
            .collect();
        let values: Vec<String> = columns
            .iter()
            .zip(&names)
            .map(|(column, name)| if column.ty == Type::Text { collated(name) } else { name.clone() })
            .collect();
        let (names, arrays, values) = (names.join(", "), arrays.join(", "), values.join(", "));
        let sql = format!(
            "\"input\" ({names}) AS MATERIALIZED (SELECT {values} FROM unnest({arrays}) AS \"rows\" ({names}))"
        );
        Some((sql, columns))
    }

    /// A table of the projection, by the name that a statement uses.
    fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| &*table.name == name)
    }

    fn in_schema(&self, table: &str) -> String {
        format!("{}.{}", quoted(self.schema), quoted(table))
    }

    fn parameter(&self, number: usize) -> Option<&Declared> {
        self.declared.params.get(number.checked_sub(1)?)
    }
}

/// A name in quotes, as it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text that is compared byte by byte, as SQLite does.
fn collated(sql: &str) -> String {
    format!("({sql} COLLATE \"C\")")
}

/// A text as a literal. Backslashes mean nothing in it: every connection has `standard_conforming_strings`.
fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Names fold to lowercase in both databases; here they are written with quotes, so that none is a word of PostgreSQL's.
fn name(ident: &Ident) -> Result<String> {
    if ident.value.len() > NAME_LIMIT {
        return refuse_name(ident, format!("`{}` is longer than {NAME_LIMIT} letters", ident.value));
    }
    Ok(ident.value.to_ascii_lowercase())
}

fn refuse<T>(at: &impl Spanned, detail: impl Into<String>) -> Result<T> {
    Err(complaint(at, detail))
}

fn refuse_name<T>(at: &Ident, detail: impl Into<String>) -> Result<T> {
    Err(Complaint::new(at.span.start, detail))
}

fn complaint(at: &impl Spanned, detail: impl Into<String>) -> Complaint {
    Complaint::new(at.span().start, detail)
}

/// For what has no place of its own in the syntax tree.
fn unsupported<T>(what: &str) -> Result<T> {
    Err(Complaint::whole(format!("{what} is not in what SQLite and PostgreSQL share")))
}
