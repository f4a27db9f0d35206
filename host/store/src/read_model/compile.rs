//! A projection, checked and turned into SQLite's statements once, so that nothing is parsed or put together while it runs.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use cairn_model::Name;
use cairn_model::chain::Hash;
use cairn_model::manifest::{AccessMode, Column, Projection, Statement, Table};

use super::check::{Checked, Complaint, check};
use super::error::ManifestError;
use super::values::sql_type;
use super::{names, readable};
use crate::sqlite::multi::MultiRow;

/// Counted up when the host itself makes another form of the same declarations: read models are then built anew.
const FORM: u32 = 1;

/// A projection, ready to run.
#[derive(Debug)]
pub(super) struct Compiled {
    pub projection: Projection,
    pub tables: Vec<CompiledTable>,
    pub table_index: HashMap<Name, usize>,
    pub statements: Vec<CompiledStatement>,
    pub statement_index: HashMap<Name, usize>,
    /// A digest of the tables' declarations.
    pub form: Hash,
}

/// A table.
#[derive(Debug)]
pub(super) struct CompiledTable {
    pub declared: Table,
    /// The columns of the key, by their numbers.
    pub key: Vec<usize>,
    pub key_columns: Vec<Column>,
    pub create: String,
    pub put: MultiRow,
    pub remove: MultiRow,
    /// All rows by their keys.
    pub dump: Arc<str>,
    /// Whether rows with different keys can be in each other's way.
    pub has_unique_index: bool,
}

/// A statement.
#[derive(Debug)]
pub(super) struct CompiledStatement {
    pub declared: Statement,
    pub sql: Arc<str>,
    /// The tables that it reads or writes, by their numbers.
    pub touches: Vec<usize>,
    /// Its own common tables.
    pub common_tables: BTreeSet<String>,
    /// Whether it reads `readable`, and so takes the caller behind its own parameters.
    pub readable: bool,
}

impl CompiledStatement {
    /// Whether it changes rows.
    pub fn writes(&self) -> bool {
        self.declared.access == AccessMode::Write
    }
}

impl Compiled {
    /// Checks a projection and compiles it.
    pub fn new(projection: &Projection) -> Result<Self, ManifestError> {
        let wrong = |subject: String, complaint: Complaint| ManifestError {
            projection: projection.name.clone(),
            subject,
            line: complaint.line,
            column: complaint.column,
            detail: complaint.detail,
        };
        if let Some(complaint) = names::complaint(&projection.name) {
            return Err(wrong("its name".to_owned(), Complaint::whole(complaint)));
        }
        let mut tables = Vec::new();
        let mut table_index = HashMap::new();
        for table in &projection.tables {
            let compiled = compile_table(table)
                .map_err(|complaint| wrong(format!("table `{}`", table.name), complaint))?;
            if table_index.insert(table.name.clone(), tables.len()).is_some() {
                return Err(wrong(
                    format!("table `{}`", table.name),
                    Complaint::whole("it is declared twice"),
                ));
            }
            tables.push(compiled);
        }
        let own: BTreeSet<String> = table_index.keys().map(|name| name.to_string()).collect();
        let mut statements = Vec::new();
        let mut statement_index = HashMap::new();
        for statement in &projection.statements {
            let subject = || format!("statement `{}`", statement.name);
            let checked =
                check_statement(statement, &own).map_err(|complaint| wrong(subject(), complaint))?;
            if statement_index.insert(statement.name.clone(), statements.len()).is_some() {
                return Err(wrong(subject(), Complaint::whole("it is declared twice")));
            }
            let touches =
                checked.tables.iter().filter_map(|name| table_index.get(name.as_str()).copied()).collect();
            statements.push(CompiledStatement {
                declared: statement.clone(),
                sql: with_host_relation(statement, &checked).into(),
                touches,
                common_tables: checked.common_tables,
                readable: checked.readable,
            });
        }
        let form = form(projection);
        Ok(Self { projection: projection.clone(), tables, table_index, statements, statement_index, form })
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<usize> {
        self.table_index.get(name).copied()
    }

    /// The statement with this name and access.
    pub fn statement(&self, name: &str, access: AccessMode) -> Option<usize> {
        let index = self.statement_index.get(name).copied()?;
        (self.statements[index].declared.access == access).then_some(index)
    }
}

fn form(projection: &Projection) -> Hash {
    // Names, numbers and strings: nothing in it can fail to serialize.
    let text = serde_json::to_vec(&(FORM, projection.version, &projection.tables)).unwrap_or_default();
    Hash::of(&text)
}

fn check_statement(statement: &Statement, tables: &BTreeSet<String>) -> Result<Checked, Complaint> {
    if let Some(complaint) = names::complaint(&statement.name) {
        return Err(Complaint::whole(complaint));
    }
    if statement.batched && statement.access == AccessMode::Read {
        return Err(Complaint::whole("only a `write` statement can be batched"));
    }
    if statement.access == AccessMode::Write && !statement.columns.is_empty() {
        return Err(Complaint::whole("a `write` statement answers no columns"));
    }
    unique_names(&statement.params, "parameter")?;
    unique_names(&statement.columns, "column")?;
    check(statement, tables)
}

fn unique_names(columns: &[Column], what: &str) -> Result<(), Complaint> {
    let mut seen = BTreeSet::new();
    for column in columns {
        if let Some(complaint) = names::complaint(&column.name) {
            return Err(Complaint::whole(format!("{what} {complaint}")));
        }
        if !seen.insert(&column.name) {
            return Err(Complaint::whole(format!("the {what} `{}` is there twice", column.name)));
        }
    }
    Ok(())
}

fn compile_table(table: &Table) -> Result<CompiledTable, Complaint> {
    if let Some(complaint) = names::complaint(&table.name) {
        return Err(Complaint::whole(complaint));
    }
    unique_names(&table.columns, "column")?;
    let number = |name: &Name| {
        table
            .columns
            .iter()
            .position(|column| column.name == *name)
            .ok_or_else(|| Complaint::whole(format!("there is no column `{name}`")))
    };
    let key = table.key.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    if key.is_empty() || key.iter().collect::<BTreeSet<_>>().len() != key.len() {
        return Err(Complaint::whole("a key is one or more different columns"));
    }
    if let Some(nullable) = key.iter().find(|index| table.columns[**index].nullable) {
        let name = &table.columns[*nullable].name;
        return Err(Complaint::whole(format!("the key column `{name}` must not be nullable")));
    }
    for index in &table.indexes {
        index.columns.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        if index.columns.is_empty() {
            return Err(Complaint::whole("an index has one or more columns"));
        }
    }
    let quoted = |names: &mut dyn Iterator<Item = &Name>| -> String {
        names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let name = &table.name;
    let columns = quoted(&mut table.columns.iter().map(|column| &column.name));
    let keys = quoted(&mut table.key.iter());
    Ok(CompiledTable {
        key_columns: key.iter().map(|index| table.columns[*index].clone()).collect(),
        create: create(table, &keys),
        put: MultiRow::insert(
            &format!("INSERT INTO \"{name}\" ({columns})"),
            table.columns.len(),
            key[0],
            &format!(" ON CONFLICT ({keys}) DO {}", on_conflict(table)),
        ),
        remove: MultiRow::new(&format!("DELETE FROM \"{name}\" WHERE ({keys}) IN (VALUES "), key.len(), ")"),
        dump: format!("SELECT {columns} FROM \"{name}\" ORDER BY {keys}").into(),
        has_unique_index: table.indexes.iter().any(|index| index.unique),
        declared: table.clone(),
        key,
    })
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

fn on_conflict(table: &Table) -> String {
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
