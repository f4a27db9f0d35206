//! A projection, checked once, so that nothing is parsed while it runs. What is made of it for a database is in `texts` of
//! that database.

use std::collections::{BTreeSet, HashMap};

use cairn_model::Name;
use cairn_model::chain::Hash;
use cairn_model::manifest::{AccessMode, Column, Projection, Statement, Table};

use super::check::{Checked, Complaint, check};
use super::dialect::{self, Rendered};
use super::error::ManifestError;
use super::names;

/// A projection, ready to run.
#[derive(Debug)]
pub(super) struct Compiled {
    pub projection: Projection,
    pub tables: Vec<CompiledTable>,
    pub table_index: HashMap<Name, usize>,
    pub statements: Vec<CompiledStatement>,
    pub statement_index: HashMap<Name, usize>,
    /// Which of the projection's instances it is.
    pub instance: u64,
    /// The schema that it has in PostgreSQL.
    pub schema: String,
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
    /// Whether rows with different keys can be in each other's way.
    pub has_unique_index: bool,
}

/// A statement.
#[derive(Debug)]
pub(super) struct CompiledStatement {
    pub declared: Statement,
    /// As it was written, and what was found in it.
    pub checked: Checked,
    /// In PostgreSQL's words.
    pub postgres: Rendered,
    /// The tables that it reads or writes, by their numbers.
    pub touches: Vec<usize>,
}

impl CompiledStatement {
    /// What it is called in an error.
    pub fn subject(&self) -> String {
        format!("statement `{}`", self.declared.name)
    }

    /// Whether it changes rows.
    pub fn writes(&self) -> bool {
        self.declared.access == AccessMode::Write
    }
}

impl Compiled {
    /// Checks a projection and compiles it, for this instance of it.
    pub fn new(projection: &Projection, instance: u64) -> Result<Self, ManifestError> {
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
        let schema = names::schema(&projection.name, instance);
        let own: BTreeSet<String> = table_index.keys().map(|name| name.to_string()).collect();
        let mut statements = Vec::new();
        let mut statement_index = HashMap::new();
        for statement in &projection.statements {
            let subject = || format!("statement `{}`", statement.name);
            let refused = |complaint| wrong(subject(), complaint);
            let checked = check_statement(statement, &own).map_err(refused)?;
            let postgres = dialect::render(statement, &checked.statement, &projection.tables, &schema)
                .map_err(refused)?;
            if statement_index.insert(statement.name.clone(), statements.len()).is_some() {
                return Err(wrong(subject(), Complaint::whole("it is declared twice")));
            }
            let touches =
                checked.tables.iter().filter_map(|name| table_index.get(name.as_str()).copied()).collect();
            statements.push(CompiledStatement { declared: statement.clone(), checked, postgres, touches });
        }
        let form = form(projection);
        let projection = projection.clone();
        Ok(Self { projection, tables, table_index, statements, statement_index, instance, schema, form })
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<usize> {
        self.table_index.get(name).copied()
    }

    /// An error about one of its parts.
    pub fn wrong(&self, subject: String, detail: String) -> ManifestError {
        ManifestError { projection: self.projection.name.clone(), subject, line: 0, column: 0, detail }
    }

    /// The statement with this name and access.
    pub fn statement(&self, name: &str, access: AccessMode) -> Option<usize> {
        let index = self.statement_index.get(name).copied()?;
        (self.statements[index].declared.access == access).then_some(index)
    }
}

/// A digest of the tables' declarations.
pub(super) fn form(projection: &Projection) -> Hash {
    // Names, numbers and strings: nothing in it can fail to serialize.
    let text = serde_json::to_vec(&(projection.version, &projection.tables)).unwrap_or_default();
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
    Ok(CompiledTable {
        key_columns: key.iter().map(|index| table.columns[*index].clone()).collect(),
        has_unique_index: table.indexes.iter().any(|index| index.unique),
        declared: table.clone(),
        key,
    })
}
