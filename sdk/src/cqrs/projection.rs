//! The read side's writing half: events in, row changes out.

use super::tables::{Statement, Table};
use crate::events::RecordedEvent;
use crate::shared::{Call, Fault, Value};

/// What to do with an event that a projection cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Put the event and the later ones of its stream aside and go on.
    Park,
    /// Wait for an operator.
    Stop,
}

/// A read model: tables, and how events change them.
pub trait Projection: 'static {
    /// Its name.
    const NAME: &'static str;
    /// Changes whenever the tables or what is written to them change: the host then builds it anew.
    const VERSION: u32;
    /// Its tables.
    const TABLES: &'static [Table];
    /// Its statements, and those of the queries and policies that read it.
    const STATEMENTS: &'static [Statement];
    /// Whether rows made from one stream depend on rows made from another.
    const CROSSES_STREAMS: bool;
    /// What to do with an event it cannot take.
    const ON_FAILURE: OnFailure = OnFailure::Park;

    /// The event types that it wants; none: all.
    fn events() -> Vec<&'static str>;

    /// Adds what this event changes.
    ///
    /// # Errors
    /// When the event cannot be read.
    fn project(event: &RecordedEvent, changes: &mut Changes) -> Result<(), Fault>;
}

/// A policy without a read model names this one.
#[derive(Debug, Clone, Copy)]
pub struct NoProjection;

impl Projection for NoProjection {
    const NAME: &'static str = "";
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[];
    const STATEMENTS: &'static [Statement] = &[];
    const CROSSES_STREAMS: bool = false;

    fn events() -> Vec<&'static str> {
        Vec::new()
    }

    fn project(_: &RecordedEvent, _: &mut Changes) -> Result<(), Fault> {
        Ok(())
    }
}

/// A change of a read model.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Insert the row, or replace the one with its key.
    Put {
        /// The table.
        table: &'static str,
        /// A value for each column, in the table's order.
        row: Vec<Value>,
    },
    /// Delete the row with this key, if there is one.
    Remove {
        /// The table.
        table: &'static str,
        /// A value for each key column, in the key's order.
        key: Vec<Value>,
    },
    /// Run a `write` statement.
    Run(Call),
}

/// The changes that one event makes, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes(pub Vec<Change>);

impl Changes {
    /// Inserts the row, or replaces the one with its key.
    pub fn put<const N: usize>(&mut self, table: &Table, row: [Value; N]) {
        self.0.push(Change::Put { table: table.name, row: row.into() });
    }

    /// Deletes the row with this key, if there is one.
    pub fn remove<const N: usize>(&mut self, table: &Table, key: [Value; N]) {
        self.0.push(Change::Remove { table: table.name, key: key.into() });
    }

    /// Runs a statement.
    pub fn run<const N: usize>(&mut self, statement: &Statement, params: [Value; N]) {
        self.run_with(statement, params.into());
    }

    /// Runs a statement with a list of parameters.
    pub fn run_with(&mut self, statement: &Statement, params: Vec<Value>) {
        self.0.push(Change::Run(Call { statement: statement.name, params }));
    }
}
