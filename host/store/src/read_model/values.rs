//! Values of a read model on their way into SQLite and out of it. Types are checked here, by the declarations, so that a
//! guest's mistake is an error with a name and not a strange row.

use cairn_model::manifest::{Column, ColumnType};
use cairn_model::stream::parse_id;
use cairn_model::{Timestamp, Value};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};

use crate::sqlite::multi::{Bound, Parameters};

/// A value as SQLite keeps it.
#[derive(Clone, Debug)]
pub(super) enum SqlValue {
    Null,
    Text(String),
    Integer(i64),
    /// Finite, and never the negative zero.
    Real(f64),
}

impl PartialEq for SqlValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
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
        }
    }
}

/// As an element of the array that the relation `input` is made of.
impl Serialize for SqlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
        }
    }
}

impl SqlValue {
    /// Binds it as the next parameter of a script.
    pub fn add(&self, row: &mut Parameters) {
        match self {
            Self::Null => row.bind(None::<i64>),
            Self::Text(text) => row.bind(text),
            Self::Integer(number) => row.bind(*number),
            Self::Real(number) => row.bind(*number),
        };
    }

    /// Binds it to the next parameter.
    pub fn bind<'q>(&self, query: Bound<'q>) -> Bound<'q> {
        match self {
            Self::Null => query.bind(None::<i64>),
            Self::Text(text) => query.bind(text.as_str()),
            Self::Integer(number) => query.bind(*number),
            Self::Real(number) => query.bind(*number),
        }
    }
}

/// The declared type in SQLite's words.
pub(super) const fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text | ColumnType::Timestamp | ColumnType::Uuid | ColumnType::Json => "TEXT",
        ColumnType::Integer | ColumnType::Boolean => "INTEGER",
        ColumnType::Real => "REAL",
    }
}

/// A guest's value for a column or parameter, or what is wrong with it.
pub(super) fn encode(value: Value, column: &Column) -> Result<SqlValue, String> {
    let encoded = match (column.column_type, value) {
        (_, Value::Null) if column.nullable => SqlValue::Null,
        (_, Value::Null) => return Err(format!("`{}` must not be null", column.name)),
        (ColumnType::Text, Value::Text(text)) => SqlValue::Text(text),
        (ColumnType::Uuid, Value::Text(text)) if parse_id(&text).is_some() => SqlValue::Text(text),
        (ColumnType::Json, Value::Text(text)) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
            SqlValue::Text(text)
        }
        (ColumnType::Integer, Value::Integer(number)) => SqlValue::Integer(number),
        (ColumnType::Real, Value::Real(number)) if number.is_finite() => SqlValue::Real(number + 0.0),
        (ColumnType::Boolean, Value::Boolean(truth)) => SqlValue::Integer(i64::from(truth)),
        (ColumnType::Timestamp, Value::Timestamp(time)) => SqlValue::Text(sortable(time, column)?),
        (declared, other) => return Err(format!("`{}` is {declared:?}, not {other:?}", column.name)),
    };
    Ok(encoded)
}

/// Times are compared as texts, so they must have four digits of a year.
fn sortable(time: Timestamp, column: &Column) -> Result<String, String> {
    let text = time.to_string();
    if text.len() == 27 && text.as_bytes()[0].is_ascii_digit() {
        Ok(text)
    } else {
        Err(format!("`{}` is outside of the years 0 to 9999", column.name))
    }
}

/// All of a guest's values for these columns, or what is wrong with them.
pub(super) fn encode_all(values: Vec<Value>, columns: &[Column]) -> Result<Vec<SqlValue>, String> {
    if values.len() != columns.len() {
        return Err(format!("{} values for {} columns", values.len(), columns.len()));
    }
    values.into_iter().zip(columns).map(|(value, column)| encode(value, column)).collect()
}

/// The value in a row, read as the declared type, or what is wrong with it.
pub(super) fn decode(row: &SqliteRow, index: usize, column: &Column) -> Result<Value, String> {
    let failed = |error: sqlx::Error| error.to_string();
    let raw = row.try_get_raw(index).map_err(failed)?;
    if raw.is_null() {
        return if column.nullable { Ok(Value::Null) } else { Err("it is null".to_owned()) };
    }
    let kind = raw.type_info().name().to_owned();
    let text = || row.try_get_unchecked::<String, _>(index).map_err(failed);
    let integer = || row.try_get_unchecked::<i64, _>(index).map_err(failed);
    match (column.column_type, kind.as_str()) {
        (ColumnType::Text, "TEXT") => text().map(Value::Text),
        (ColumnType::Uuid, "TEXT") => {
            let text = text()?;
            if parse_id(&text).is_some() {
                Ok(Value::Text(text))
            } else {
                Err(format!("`{text}` is no UUID"))
            }
        }
        (ColumnType::Json, "TEXT") => text().map(Value::Text),
        (ColumnType::Timestamp, "TEXT") => {
            let text = text()?;
            Timestamp::parse(&text).map(Value::Timestamp).ok_or_else(|| format!("`{text}` is no time"))
        }
        (ColumnType::Integer, "INTEGER") => integer().map(Value::Integer),
        (ColumnType::Boolean, "INTEGER") => match integer()? {
            0 => Ok(Value::Boolean(false)),
            1 => Ok(Value::Boolean(true)),
            other => Err(format!("{other} is neither true nor false")),
        },
        (ColumnType::Real, "REAL" | "INTEGER") => {
            row.try_get_unchecked::<f64, _>(index).map(Value::Real).map_err(failed)
        }
        (declared, other) => Err(format!("it is {other}, not {declared:?}")),
    }
}
