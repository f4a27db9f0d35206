//! The types of expressions, and expressions with their type.

use cairn_model::Timestamp;
use cairn_model::manifest::ColumnType;
use cairn_model::stream::parse_id;

use super::{collated, string};

/// What an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::read_model) enum Type {
    /// Text, and JSON as text.
    Text,
    Integer,
    Real,
    Boolean,
    Timestamp,
    Uuid,
    /// The literal NULL, which fits everywhere.
    Null,
}

impl From<ColumnType> for Type {
    fn from(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Text | ColumnType::Json => Self::Text,
            ColumnType::Integer => Self::Integer,
            ColumnType::Real => Self::Real,
            ColumnType::Boolean => Self::Boolean,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::Uuid => Self::Uuid,
        }
    }
}

impl Type {
    /// In PostgreSQL's words.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Text | Self::Null => "text",
            Self::Integer => "int8",
            Self::Real => "float8",
            Self::Boolean => "bool",
            Self::Timestamp => "timestamptz",
            Self::Uuid => "uuid",
        }
    }

    /// In the manifest's words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
            Self::Null => "null",
        }
    }
}

/// A literal, which can still become of another type.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Text(String),
    /// A whole number, with its sign.
    Integer(i64),
    Null,
}

/// An expression in PostgreSQL's words.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub sql: String,
    pub ty: Type,
    /// Whether it may be null, as far as is known.
    pub nullable: bool,
    pub literal: Option<Literal>,
}

impl Typed {
    /// Something that may be null.
    pub fn new(sql: String, ty: Type) -> Self {
        Self { sql, ty, nullable: true, literal: None }
    }

    /// Something that is never null.
    pub fn sure(sql: String, ty: Type) -> Self {
        Self { sql, ty, nullable: false, literal: None }
    }

    /// A text of the statement.
    pub fn text(text: String) -> Self {
        let sql = collated(&format!("{}::text", string(&text)));
        Self { sql, ty: Type::Text, nullable: false, literal: Some(Literal::Text(text)) }
    }

    /// A whole number of the statement.
    pub fn integer(number: i64) -> Self {
        // In quotes, so that the sign belongs to the number.
        let sql = format!("'{number}'::int8");
        Self { sql, ty: Type::Integer, nullable: false, literal: Some(Literal::Integer(number)) }
    }

    /// NULL.
    pub fn null() -> Self {
        Self { sql: "NULL".to_owned(), ty: Type::Null, nullable: true, literal: Some(Literal::Null) }
    }

    /// The same value as this type, or why not. Only literals change their type by themselves.
    pub fn coerce(self, to: Type) -> Result<Self, String> {
        if self.ty == to {
            return Ok(self);
        }
        let typed = |sql: String| Self { sql, ty: to, ..self.clone() };
        match (&self.literal, to) {
            (Some(Literal::Null), _) if to == Type::Text => Ok(typed(collated("NULL::text"))),
            (Some(Literal::Null), _) => Ok(typed(format!("NULL::{}", to.sql()))),
            (Some(Literal::Integer(number)), Type::Real) => Ok(typed(format!("'{number}'::float8"))),
            (Some(Literal::Text(text)), Type::Uuid) if parse_id(text).is_some() => {
                Ok(typed(format!("{}::uuid", string(text))))
            }
            (Some(Literal::Text(text)), Type::Timestamp) if is_canonical(text) => {
                Ok(typed(format!("{}::timestamptz", string(text))))
            }
            (Some(Literal::Text(text)), Type::Uuid | Type::Timestamp) => {
                Err(format!("'{text}' is no {} in the form in which they are kept", to.word()))
            }
            _ => Err(format!("{} where {} is wanted", self.ty.word(), to.word())),
        }
    }

    /// A NULL that nothing has given a type is a text.
    pub fn settled(self) -> Self {
        if self.ty == Type::Null { self.coerce(Type::Text).unwrap_or_else(|_| Self::null()) } else { self }
    }
}

/// Whether the text is a time as the host writes it, so that SQLite compares it rightly.
fn is_canonical(text: &str) -> bool {
    Timestamp::parse(text).is_some_and(|time| time.to_string() == text)
}

/// The type that all of these can have.
pub(super) fn common<'t>(all: impl IntoIterator<Item = &'t Typed>) -> Result<Type, String> {
    let mut found: Option<&Typed> = None;
    for next in all {
        found = Some(match found {
            None => next,
            Some(before) if next.clone().coerce(before.ty).is_ok() && before.ty != Type::Null => before,
            Some(before) if before.clone().coerce(next.ty).is_ok() => next,
            Some(before) => {
                return Err(format!("{} and {} do not go together", before.ty.word(), next.ty.word()));
            }
        });
    }
    Ok(found.map_or(Type::Null, |typed| typed.ty))
}
