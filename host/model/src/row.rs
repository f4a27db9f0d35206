//! What passes between a guest and a read model: typed values, statement calls, row changes.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::stream::Name;

/// A value of a row or a parameter. Columns of type `uuid` and `json` take [`Value::Text`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// No value.
    Null,
    /// UTF-8 text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Real(f64),
    /// True or false.
    Boolean(bool),
    /// A time.
    Timestamp(Timestamp),
}

/// A statement of the manifest, called by its name with parameters in its declared order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The statement's name.
    pub statement: Name,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// Rows, each in the order of the statement's declared columns.
pub type Rows = Vec<Vec<Value>>;

/// What a projection wants done to its tables.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Insert the row, or replace the one with the same key.
    Put {
        /// The table.
        table: Name,
        /// A value for each column, in the table's order.
        row: Vec<Value>,
    },
    /// Delete the row with this key, if there is one.
    Remove {
        /// The table.
        table: Name,
        /// A value for each key column, in the key's order.
        key: Vec<Value>,
    },
    /// Run a `write` statement.
    Run(Call),
}
