//! Values on PostgreSQL's wire, all binary.

use cairn_model::manifest::{Column, ColumnType};
use cairn_model::{Timestamp, Value};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef, Postgres,
};
use sqlx::query::Query;
use sqlx::{Decode, Encode, Row, Type, ValueRef};
use uuid::Uuid;

use crate::read_model::values::SqlValue;

/// A statement being bound.
pub(super) type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// Microseconds from 1970, where Unix begins, to 2000, where PostgreSQL does.
const EPOCH: i64 = 946_684_800_000_000;

/// The numbers of the types in every PostgreSQL.
const UUID: Oid = Oid(2950);
const UUID_ARRAY: Oid = Oid(2951);
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// A `uuid`.
struct Id(Uuid);

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID)
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UUID_ARRAY)
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Id {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(Uuid::from_slice(binary(&value)?)?))
    }
}

/// A `timestamptz`.
struct Time(Timestamp);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // Only years that both can say come here.
        buffer.extend_from_slice(&self.0.micros().saturating_sub(EPOCH).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(binary(&value)?.try_into()?);
        let since = micros.checked_add(EPOCH).ok_or("a time beyond all years")?;
        Ok(Self(Timestamp::from_micros(since)))
    }
}

fn binary<'r>(value: &PgValueRef<'r>) -> Result<&'r [u8], BoxDynError> {
    match value.format() {
        PgValueFormat::Binary => value.as_bytes(),
        PgValueFormat::Text => Err("a value came as text".into()),
    }
}

fn id(value: &SqlValue) -> Option<Id> {
    match value {
        // It was checked to be one.
        SqlValue::Text(text) => Uuid::try_parse(text).ok().map(Id),
        _ => None,
    }
}

fn time(value: &SqlValue) -> Option<Time> {
    match value {
        SqlValue::Timestamp(time) => Some(Time(*time)),
        _ => None,
    }
}

fn text(value: &SqlValue) -> Option<&str> {
    match value {
        SqlValue::Text(text) => Some(text),
        _ => None,
    }
}

const fn integer(value: &SqlValue) -> Option<i64> {
    match value {
        SqlValue::Integer(number) => Some(*number),
        _ => None,
    }
}

const fn real(value: &SqlValue) -> Option<f64> {
    match value {
        SqlValue::Real(number) => Some(*number),
        _ => None,
    }
}

const fn boolean(value: &SqlValue) -> Option<bool> {
    match value {
        SqlValue::Boolean(truth) => Some(*truth),
        _ => None,
    }
}

/// Binds a value of this type to the next parameter.
pub(super) fn bind<'q>(query: Bound<'q>, column_type: ColumnType, value: &'q SqlValue) -> Bound<'q> {
    match column_type {
        ColumnType::Text | ColumnType::Json => query.bind(text(value)),
        ColumnType::Integer => query.bind(integer(value)),
        ColumnType::Real => query.bind(real(value)),
        ColumnType::Boolean => query.bind(boolean(value)),
        ColumnType::Timestamp => query.bind(time(value)),
        ColumnType::Uuid => query.bind(id(value)),
    }
}

/// Binds these rows as an array for each column.
pub(super) fn bind_columns<'q>(
    mut query: Bound<'q>,
    columns: &[Column],
    rows: &[&'q Vec<SqlValue>],
) -> Bound<'q> {
    for (index, column) in columns.iter().enumerate() {
        let values = rows.iter().filter_map(|row| row.get(index));
        query = match column.column_type {
            ColumnType::Text | ColumnType::Json => query.bind(values.map(text).collect::<Vec<_>>()),
            ColumnType::Integer => query.bind(values.map(integer).collect::<Vec<_>>()),
            ColumnType::Real => query.bind(values.map(real).collect::<Vec<_>>()),
            ColumnType::Boolean => query.bind(values.map(boolean).collect::<Vec<_>>()),
            ColumnType::Timestamp => query.bind(values.map(time).collect::<Vec<_>>()),
            ColumnType::Uuid => query.bind(values.map(id).collect::<Vec<_>>()),
        };
    }
    query
}

/// The value in a row, read as the declared type, or what is wrong with it. That the row's types are the declared ones was
/// seen when the statement was prepared.
pub(super) fn decode(row: &PgRow, index: usize, column: &Column) -> Result<Value, String> {
    let failed = |error: sqlx::Error| error.to_string();
    if row.try_get_raw(index).map_err(failed)?.is_null() {
        return if column.nullable { Ok(Value::Null) } else { Err("it is null".to_owned()) };
    }
    match column.column_type {
        ColumnType::Text | ColumnType::Json => row.try_get_unchecked(index).map(Value::Text),
        ColumnType::Integer => row.try_get_unchecked(index).map(Value::Integer),
        ColumnType::Real => row.try_get_unchecked(index).map(Value::Real),
        ColumnType::Boolean => row.try_get_unchecked(index).map(Value::Boolean),
        ColumnType::Timestamp => row.try_get_unchecked(index).map(|Time(time)| Value::Timestamp(time)),
        ColumnType::Uuid => row.try_get_unchecked(index).map(|Id(id)| Value::Text(id.to_string())),
    }
    .map_err(failed)
}
