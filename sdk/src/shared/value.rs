//! Values of rows and of statements' parameters, and how Rust types are read from them.

use uuid::Uuid;

use super::errors::Fault;
use super::time::Timestamp;

/// A value in a row or a parameter of a statement. Columns of the types `uuid` and `json` take text.
#[derive(Debug, Clone, PartialEq)]
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

/// A statement of the manifest, called with its parameters in their declared order.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The statement's name.
    pub statement: &'static str,
    /// Its parameters.
    pub params: Vec<Value>,
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        }
    )*};
}

value_from! {
    String => |value| Self::Text(value);
    &str => |value| Self::Text(value.to_owned());
    i64 => |value| Self::Integer(value);
    u32 => |value| Self::Integer(i64::from(value));
    f64 => |value| Self::Real(value);
    bool => |value| Self::Boolean(value);
    Timestamp => |value| Self::Timestamp(value);
    Uuid => |value| Self::Text(value.to_string());
}

/// Numbers beyond `i64::MAX` become `i64::MAX`: no column holds more.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that can be read from a column.
pub trait FromValue: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// When the value is of another type.
    fn from_value(value: Value) -> Result<Self, Fault>;
}

fn mismatch<T>(wanted: &str, value: &Value) -> Result<T, Fault> {
    Err(Fault(format!("a column holds {value:?}, wanted {wanted}")))
}

macro_rules! from_value {
    ($($type:ty, $wanted:literal: $pattern:pat => $made:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, Fault> {
                match value {
                    $pattern => Ok($made),
                    other => mismatch($wanted, &other),
                }
            }
        }
    )*};
}

from_value! {
    String, "text": Value::Text(text) => text;
    i64, "an integer": Value::Integer(number) => number;
    bool, "a boolean": Value::Boolean(flag) => flag;
    Timestamp, "a timestamp": Value::Timestamp(time) => time;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Fault> {
        Ok(value)
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Real(number) => Ok(number),
            other => mismatch("a number", &other),
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Integer(number) if number >= 0 => Ok(number.unsigned_abs()),
            other => mismatch("an unsigned integer", &other),
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Integer(number) => {
                Self::try_from(number).map_err(|_| Fault(format!("{number} is no unsigned 32-bit number")))
            }
            other => mismatch("an unsigned integer", &other),
        }
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Text(text) => {
                Self::try_parse(&text).map_err(|_| Fault(format!("a column holds `{text}`, wanted a UUID")))
            }
            other => mismatch("a UUID", &other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Fault> {
        if value == Value::Null { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

/// The rows that a statement answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows(pub Vec<Vec<Value>>);

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads every row with the function.
    ///
    /// # Errors
    /// The first one of `read`.
    pub fn read<T>(self, read: impl Fn(&mut Row) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        self.0.into_iter().map(|values| read(&mut Row { values: values.into_iter() })).collect()
    }
}

/// One row, read column by column from the left.
#[derive(Debug)]
pub struct Row {
    values: std::vec::IntoIter<Value>,
}

impl Row {
    /// The next column.
    ///
    /// # Errors
    /// When there is none, or it is of another type.
    pub fn take<T: FromValue>(&mut self) -> Result<T, Fault> {
        let value =
            self.values.next().ok_or_else(|| Fault::new("a row has fewer columns than were declared"))?;
        T::from_value(value)
    }
}
