//! What names mean at a place of a statement.

use cairn_model::manifest::Column as Declared;

use super::types::Type;

/// A column that can be named.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// `None` where an expression has no name.
    pub name: Option<String>,
    pub ty: Type,
    pub nullable: bool,
}

impl Column {
    pub fn of(declared: &Declared) -> Self {
        Self {
            name: Some(declared.name.to_string()),
            ty: declared.column_type.into(),
            nullable: declared.nullable,
        }
    }
}

/// A relation of a FROM.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// The name that it has in the text for PostgreSQL.
    pub alias: String,
    /// Whether its columns need its name in front of them.
    pub only_qualified: bool,
    pub columns: Vec<Column>,
}

/// The names at a place, and those around it.
#[derive(Debug)]
pub(super) struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    pub common_tables: Vec<(String, Vec<Column>)>,
    pub relations: Vec<Relation>,
}

/// What a column's name means.
pub(super) enum Found {
    Column { alias: String, column: Column },
    Nothing,
    Several,
}

impl<'p> Scope<'p> {
    /// No names.
    pub const fn root() -> Self {
        Self { parent: None, common_tables: Vec::new(), relations: Vec::new() }
    }

    /// A place inside of this one.
    pub fn inner(&'p self) -> Self {
        Self { parent: Some(self), common_tables: Vec::new(), relations: Vec::new() }
    }

    /// A place inside of this one that reads these relations.
    pub fn reading(&'p self, relations: Vec<Relation>) -> Self {
        Self { parent: Some(self), common_tables: Vec::new(), relations }
    }

    /// The columns of a common table.
    pub fn common_table(&self, name: &str) -> Option<&[Column]> {
        let own = self.common_tables.iter().rev().find(|(own, _)| own == name);
        match own {
            Some((_, columns)) => Some(columns),
            None => self.parent.and_then(|parent| parent.common_table(name)),
        }
    }

    /// The column of this name, here or further out.
    pub fn column(&self, relation: Option<&str>, name: &str) -> Found {
        let mut found = Found::Nothing;
        for candidate in &self.relations {
            let is_meant = match relation {
                Some(alias) => candidate.alias == alias,
                None => !candidate.only_qualified,
            };
            for column in candidate.columns.iter().filter(|_| is_meant) {
                if column.name.as_deref() == Some(name) {
                    if matches!(found, Found::Column { .. }) {
                        return Found::Several;
                    }
                    found = Found::Column { alias: candidate.alias.clone(), column: column.clone() };
                }
            }
        }
        let is_here = relation.is_some_and(|alias| self.relations.iter().any(|own| own.alias == alias));
        match (found, self.parent) {
            (Found::Nothing, Some(parent)) if !is_here => parent.column(relation, name),
            (found, _) => found,
        }
    }
}
