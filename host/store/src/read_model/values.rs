//! Values of a read model on their way into a database. Types are checked here, by the declarations, so that a guest's
//! mistake is an error with a name and not a strange row.

use cairn_model::manifest::{Column, ColumnType};
use cairn_model::stream::parse_id;
use cairn_model::{Timestamp, Value};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};

/// The first microsecond of the year 1.
const YEAR_1: i64 = -62_135_596_800_000_000;

/// The first microsecond of the year 10000.
const YEAR_10000: i64 = 253_402_300_800_000_000;

/// A value that fits its column.
#[derive(Clone, Debug)]
pub(super) enum SqlValue {
    Null,
    Text(String),
    Integer(i64),
    /// Finite, and never the negative zero.
    Real(f64),
    Boolean(bool),
    /// Of the years 1 to 9999.
    Timestamp(Timestamp),
}

impl PartialEq for SqlValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for SqlValue {}

impl std::hash::Hash for SqlValue {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => 0.hash(state),
            Self::Text(text) => text.hash(state),
            Self::Integer(number) => number.hash(state),
            Self::Real(number) => number.to_bits().hash(state),
            Self::Boolean(truth) => truth.hash(state),
            Self::Timestamp(time) => time.hash(state),
        }
    }
}

/// As an element of the array that the relation `input` is made of on SQLite.
impl Serialize for SqlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
            Self::Boolean(truth) => serializer.serialize_i64(i64::from(*truth)),
            Self::Timestamp(time) => serializer.collect_str(time),
        }
    }
}

/// A guest's value for a column or parameter, or what is wrong with it.
pub(super) fn encode(value: Value, column: &Column) -> Result<SqlValue, String> {
    let encoded = match (column.column_type, value) {
        (_, Value::Null) if column.nullable => SqlValue::Null,
        (_, Value::Null) => return Err(format!("`{}` must not be null", column.name)),
        (_, Value::Text(text)) if text.contains('\0') => {
            return Err(format!("`{}` contains U+0000, which PostgreSQL cannot keep", column.name));
        }
        (ColumnType::Text, Value::Text(text)) => SqlValue::Text(text),
        (ColumnType::Uuid, Value::Text(text)) if parse_id(&text).is_some() => SqlValue::Text(text),
        (ColumnType::Json, Value::Text(text)) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
            SqlValue::Text(text)
        }
        (ColumnType::Integer, Value::Integer(number)) => SqlValue::Integer(number),
        (ColumnType::Real, Value::Real(number)) if number.is_finite() => SqlValue::Real(number + 0.0),
        (ColumnType::Boolean, Value::Boolean(truth)) => SqlValue::Boolean(truth),
        (ColumnType::Timestamp, Value::Timestamp(time)) => SqlValue::Timestamp(sortable(time, column)?),
        (declared, other) => return Err(format!("`{}` is {declared:?}, not {other:?}", column.name)),
    };
    Ok(encoded)
}

/// SQLite compares times as texts, so they must have four digits of a year; PostgreSQL knows no year 0.
fn sortable(time: Timestamp, column: &Column) -> Result<Timestamp, String> {
    if (YEAR_1..YEAR_10000).contains(&time.micros()) {
        Ok(time)
    } else {
        Err(format!("`{}` is outside of the years 1 to 9999", column.name))
    }
}

/// All of a guest's values for these columns, or what is wrong with them.
pub(super) fn encode_all(values: Vec<Value>, columns: &[Column]) -> Result<Vec<SqlValue>, String> {
    if values.len() != columns.len() {
        return Err(format!("{} values for {} columns", values.len(), columns.len()));
    }
    values.into_iter().zip(columns).map(|(value, column)| encode(value, column)).collect()
}
