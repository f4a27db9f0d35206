//! What a component declares: the host's own form of the contract's `manifest` interface.

use serde::Serialize;
use serde_json::Value as Json;

use crate::access::Permission;
use crate::stream::Name;

/// What a component is and does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// The plugin's name: `files`.
    pub name: Name,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// The write side.
    pub aggregates: Vec<Aggregate>,
    /// The read side.
    pub projections: Vec<Projection>,
    /// What can be asked.
    pub queries: Vec<Query>,
    /// What happens by itself.
    pub policies: Vec<Policy>,
}

impl Manifest {
    /// The aggregate type with this name.
    pub fn aggregate(&self, name: &str) -> Option<&Aggregate> {
        self.aggregates.iter().find(|aggregate| &*aggregate.name == name)
    }

    /// The projection with this name.
    pub fn projection(&self, name: &str) -> Option<&Projection> {
        self.projections.iter().find(|projection| &*projection.name == name)
    }

    /// The event type with this name, of whichever aggregate.
    pub fn event(&self, name: &str) -> Option<&EventType> {
        self.aggregates.iter().flat_map(|aggregate| &aggregate.events).find(|event| &*event.name == name)
    }
}

/// An aggregate type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Aggregate {
    /// The name in paths and in the log.
    pub name: Name,
    /// What it is.
    pub description: String,
    /// The version of its snapshots' form.
    pub state_version: u32,
    /// A snapshot is taken every so many events; 0 takes none.
    pub snapshot_every: u32,
    /// JSON Schema of the folded state.
    pub state_schema: Json,
    /// What can be asked of it.
    pub commands: Vec<Command>,
    /// What can happen to it.
    pub events: Vec<EventType>,
}

impl Aggregate {
    /// The command with this name in paths.
    pub fn command(&self, name: &str) -> Option<&Command> {
        self.commands.iter().find(|command| &*command.name == name)
    }

    /// The event type with this name.
    pub fn event(&self, name: &str) -> Option<&EventType> {
        self.events.iter().find(|event| &*event.name == name)
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Command {
    /// The name in paths: `create`.
    pub name: Name,
    /// The name everywhere else: `create_file`.
    pub full_name: Name,
    /// What it does.
    pub description: String,
    /// JSON Schema of the payload.
    pub schema: Json,
    /// JSON Schema of the result.
    pub result_schema: Json,
    /// What the caller needs on the aggregate itself.
    pub permission: Option<Permission>,
    /// Whether it makes the aggregate.
    pub creates: bool,
    /// Whether only policies may send it.
    pub internal: bool,
}

/// An event type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventType {
    /// Its name: `FileCreated`.
    pub name: Name,
    /// What happened.
    pub description: String,
    /// The version of the schema that the component writes.
    pub schema_version: u32,
    /// JSON Schema of the data.
    pub schema: Json,
}

/// The type of a column or a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A signed 64-bit number.
    Integer,
    /// A 64-bit float.
    Real,
    /// True or false.
    Boolean,
    /// A time in microseconds; RFC 3339 text on SQLite.
    Timestamp,
    /// A UUID; lowercase text on SQLite.
    Uuid,
    /// A JSON document, as text.
    Json,
}

/// A column, or a parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    /// The columns, in order.
    pub columns: Vec<Name>,
    /// Whether no two rows may agree in them.
    pub unique: bool,
}

/// A table that a projection owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: Name,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The names of the key columns.
    pub key: Vec<Name>,
    /// Its indexes, besides the key's.
    pub indexes: Vec<Index>,
}

/// Whether a statement reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// One SELECT, for queries and policies.
    Read,
    /// One INSERT, UPDATE or DELETE, for the projection.
    Write,
}

/// A static SQL statement with `$1`, `$2`, … as parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Its name.
    pub name: Name,
    /// Whether it reads or writes.
    pub access: AccessMode,
    /// Its text.
    pub sql: String,
    /// Its parameters, in order.
    pub params: Vec<Column>,
    /// The columns that a `read` answers, in order.
    pub columns: Vec<Column>,
    /// Whether its parameters are the rows of the relation `input`, for any number of calls at once.
    pub batched: bool,
}

/// What to do with an event that a projection cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Put it and the later events of its stream aside and go on.
    Park,
    /// Wait for an operator.
    Stop,
}

/// A projection and the tables it owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Projection {
    /// Its name.
    pub name: Name,
    /// The version of its tables and of what is written to them.
    pub version: u32,
    /// The event types it wants; empty: all.
    pub events: Vec<Name>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its statements, and those of the queries and policies that read it.
    pub statements: Vec<Statement>,
    /// Whether rows made from one stream depend on rows made from another.
    pub crosses_streams: bool,
    /// What to do with an event it cannot take.
    pub on_failure: OnFailure,
}

impl Projection {
    /// Whether the projection wants events of this type.
    pub fn wants(&self, event_type: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|name| &**name == event_type)
    }

    /// The statement with this name.
    pub fn statement(&self, name: &str) -> Option<&Statement> {
        self.statements.iter().find(|statement| &*statement.name == name)
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| &*table.name == name)
    }
}

/// A query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Query {
    /// Its name.
    pub name: Name,
    /// What it answers.
    pub description: String,
    /// The projection it reads.
    pub projection: Name,
    /// JSON Schema of the parameters, an object.
    pub params_schema: Json,
    /// JSON Schema of the answer.
    pub result_schema: Json,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Its name.
    pub name: Name,
    /// What it does.
    pub description: String,
    /// The event types it reacts to.
    pub events: Vec<Name>,
    /// The projection it reads, if any.
    pub projection: Option<Name>,
}
