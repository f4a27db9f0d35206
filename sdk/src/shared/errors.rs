//! Every way in which domain code ends other than well.
//!
//! `?` carries four different things to the glue: a no to the caller ([`Rejection`]), a wish for other aggregates or
//! for rows (which the host fulfils and calls again), and a [`Fault`]. Domain code only ever makes the first.

use std::fmt;

use super::context::Need;
use super::value::Call;

/// What domain functions answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a decision, a query or a reaction did not come to its end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The domain says no to the caller.
    #[error("{0}")]
    Rejected(Rejection),
    /// Other aggregates are wanted; the call is repeated with them. Made by [`super::Context`] only.
    #[error("other aggregates are needed")]
    Needs(Vec<Need>),
    /// Rows are wanted; the call is repeated with them. Made by [`crate::cqrs::Db`] only.
    #[error("rows are needed")]
    Reads(Vec<Call>),
    /// Neither the caller nor the domain is to blame: data that cannot be read, a name that nobody knows.
    #[error("{0}")]
    Fault(Fault),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The plugin cannot go on. The host answers `plugin-fault`, and nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    /// A fault that says this.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("JSON: {error}"))
    }
}

/// The kinds of a no, each with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// The input breaks a rule of its form: 400.
    Invalid,
    /// The caller may know of the thing, but not do this with it: 403.
    Forbidden,
    /// There is no such thing, or none that the caller may know of: 404.
    NotFound,
    /// Another thing is in the way: 409.
    Conflict,
    /// A rule of the domain forbids it: 422.
    Rejected,
}

/// One part of the input that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// An RFC 6901 JSON pointer into the payload; empty for all of it.
    pub pointer: String,
    /// What is wrong there, for people.
    pub detail: String,
}

impl FieldError {
    /// Says what is wrong at this pointer.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// The same error, seen from the object that holds the field.
    #[must_use]
    pub fn below(mut self, field: &str) -> Self {
        self.pointer = format!("/{}{}", field.replace('~', "~0").replace('/', "~1"), self.pointer);
        self
    }
}

/// A well-behaved no: what it is, a stable code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which kind of no.
    pub kind: RejectionKind,
    /// A stable code of the domain, in kebab-case.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// The wrong parts of the input, for [`RejectionKind::Invalid`].
    pub errors: Vec<FieldError>,
}

impl Rejection {
    /// A no of any kind.
    pub fn new(kind: RejectionKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), errors: Vec::new() }
    }

    /// A rule of the domain forbids it (422).
    pub fn rejected(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(RejectionKind::Rejected, code, message)
    }

    /// There is no such thing for this caller (404).
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RejectionKind::NotFound, "not-found", message)
    }

    /// The caller may not do this (403).
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(RejectionKind::Forbidden, "forbidden", message)
    }

    /// Another thing is in the way (409).
    pub fn conflict(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(RejectionKind::Conflict, code, message)
    }

    /// The input is not well-formed (400); the errors say where.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let message = match errors.first() {
            Some(FieldError { pointer, detail }) if pointer.is_empty() => detail.clone(),
            Some(FieldError { pointer, detail }) => format!("{pointer}: {detail}"),
            None => "the input is not valid".to_owned(),
        };
        Self { kind: RejectionKind::Invalid, code: "invalid-input".to_owned(), message, errors }
    }

    /// The input is not well-formed at one place (400).
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, detail)])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
