//! Values as SQLite keeps them: times and UUIDs as text, truth as 0 and 1.

use cairn_model::manifest::{Column, ColumnType};
use cairn_model::stream::parse_id;
use cairn_model::{Timestamp, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};

use crate::read_model::values::SqlValue;
use crate::sqlite::multi::{Bound, Parameters};

/// Binds a value to the next parameter.
pub(super) fn bind<'q>(query: Bound<'q>, value: &SqlValue) -> Bound<'q> {
    match value {
        SqlValue::Null => query.bind(None::<i64>),
        SqlValue::Text(text) => query.bind(text.as_str()),
        SqlValue::Integer(number) => query.bind(*number),
        SqlValue::Real(number) => query.bind(*number),
        SqlValue::Boolean(truth) => query.bind(i64::from(*truth)),
        SqlValue::Timestamp(time) => query.bind(time.to_string()),
    }
}

/// Binds a value as the next parameter of a script.
pub(super) fn add(row: &mut Parameters, value: &SqlValue) {
    match value {
        SqlValue::Null => row.bind(None::<i64>),
        SqlValue::Text(text) => row.bind(text),
        SqlValue::Integer(number) => row.bind(*number),
        SqlValue::Real(number) => row.bind(*number),
        SqlValue::Boolean(truth) => row.bind(i64::from(*truth)),
        SqlValue::Timestamp(time) => row.bind(time.to_string()),
    };
}

/// The declared type in SQLite's words.
pub(super) const fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text | ColumnType::Timestamp | ColumnType::Uuid | ColumnType::Json => "TEXT",
        ColumnType::Integer | ColumnType::Boolean => "INTEGER",
        ColumnType::Real => "REAL",
    }
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
