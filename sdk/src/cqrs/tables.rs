//! Tables and statements of a projection, declared as constants.
//!
//! Statements are static SQL in what SQLite and PostgreSQL share. The host checks and prepares them when a component
//! is activated; no SQL is ever built at run time.

/// The type of a column or a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A signed 64-bit number.
    Integer,
    /// A 64-bit float.
    Real,
    /// True or false.
    Boolean,
    /// A time in microseconds.
    Timestamp,
    /// A UUID.
    Uuid,
    /// A JSON document.
    Json,
}

/// A column of a table or of an answer, or a parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
}

macro_rules! column {
    ($($function:ident $column_type:ident $doc:literal;)*) => {$(
        #[doc = concat!("A ", $doc, " that may not be null.")]
        pub const fn $function(name: &'static str) -> Self {
            Self { name, column_type: ColumnType::$column_type, nullable: false }
        }
    )*};
}

impl Column {
    column! {
        text Text "text";
        integer Integer "number";
        real Real "float";
        boolean Boolean "truth value";
        timestamp Timestamp "time";
        uuid Uuid "UUID";
        json Json "JSON document";
    }

    /// The same column, which may be null.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }
}

/// An index, besides the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// The columns, in order.
    pub columns: &'static [&'static str],
    /// Whether no two rows may agree in them.
    pub unique: bool,
}

impl Index {
    /// An index on these columns.
    pub const fn on(columns: &'static [&'static str]) -> Self {
        Self { columns, unique: false }
    }
}

/// A table that a projection owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// The primary key.
    pub key: &'static [&'static str],
    /// Its indexes.
    pub indexes: &'static [Index],
}

/// Whether a statement reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// One SELECT, for queries and policies.
    Read,
    /// One INSERT, UPDATE or DELETE, for the projection itself.
    Write,
}

/// A static SQL statement with `$1`, `$2`, … as parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Its name.
    pub name: &'static str,
    /// Whether it reads or writes.
    pub access: AccessMode,
    /// Its text.
    pub sql: &'static str,
    /// Its parameters, in order.
    pub params: &'static [Column],
    /// The columns that a `read` answers, in order.
    pub columns: &'static [Column],
    /// Whether its parameters are the rows of the host's relation `input`.
    pub batched: bool,
}

impl Statement {
    /// A SELECT. It may join the host's relation `readable(aggregate, id)`: what the caller may read.
    pub const fn read(
        name: &'static str,
        sql: &'static str,
        params: &'static [Column],
        columns: &'static [Column],
    ) -> Self {
        Self { name, access: AccessMode::Read, sql, params, columns, batched: false }
    }

    /// An INSERT, UPDATE or DELETE with parameters.
    pub const fn write(name: &'static str, sql: &'static str, params: &'static [Column]) -> Self {
        Self { name, access: AccessMode::Write, sql, params, columns: &[], batched: false }
    }

    /// An INSERT, UPDATE or DELETE that reads its parameters from the relation `input`, and is run once for any number
    /// of calls that follow each other.
    pub const fn batched(name: &'static str, sql: &'static str, params: &'static [Column]) -> Self {
        Self { name, access: AccessMode::Write, sql, params, columns: &[], batched: true }
    }
}
