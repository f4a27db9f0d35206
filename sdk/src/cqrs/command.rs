//! The write side: commands, and the decisions that aggregates make on them.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{AggregateRoot, Permission, Subject};
use crate::shared::{Context, FieldError, Rejection, Result};

/// Checks of form that a type cannot express: a value is valid or says where it is not.
pub trait Validate {
    /// Adds what is wrong with this value to `errors`.
    fn validate(&self, errors: &mut Vec<FieldError>) {
        let _ = errors;
    }
}

impl<T: Validate> Validate for Option<T> {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        if let Some(value) = self {
            value.validate(errors);
        }
    }
}

/// Something that a caller wants to be done. Derive it.
pub trait Command: Validate + Serialize + DeserializeOwned + JsonSchema {
    /// The domain's part of the answer.
    type Response: Serialize + JsonSchema;

    /// The name in paths: `rename`.
    const NAME: &'static str;
    /// The name everywhere else: `rename_file`.
    const FULL_NAME: &'static str;
    /// What it does, in one sentence.
    const DESCRIPTION: &'static str;
    /// What the caller needs on the aggregate.
    const PERMISSION: Option<Permission>;
    /// Whether it makes the aggregate.
    const CREATES: bool;
    /// Whether only policies may send it.
    const INTERNAL: bool;

    /// The name that logs and callers know it by.
    fn command_name(&self) -> &'static str {
        Self::FULL_NAME
    }

    /// Goes on only with a valid payload.
    ///
    /// # Errors
    /// Rejected as invalid, with a pointer for each wrong field.
    fn check(&self) -> Result<()> {
        let mut errors = Vec::new();
        self.validate(&mut errors);
        if errors.is_empty() { Ok(()) } else { Err(Rejection::invalid(errors).into()) }
    }
}

/// What an aggregate decides on a command: events, and an answer to the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E, R = ()> {
    /// What happens, in order; nothing where the command changes nothing.
    pub events: Vec<E>,
    /// The domain's part of the answer.
    pub result: R,
}

impl<E> Decision<E> {
    /// The command is fine and changes nothing.
    pub const fn nothing() -> Self {
        Self { events: Vec::new(), result: () }
    }

    /// One thing happens.
    pub fn event(event: E) -> Self {
        Self { events: vec![event], result: () }
    }

    /// Several things happen, in order.
    pub fn events(events: impl IntoIterator<Item = E>) -> Self {
        Self { events: events.into_iter().collect(), result: () }
    }

    /// One thing happens, or nothing.
    pub fn maybe(event: Option<E>) -> Self {
        Self::events(event)
    }

    /// What was recorded on a working copy of the aggregate.
    pub fn recorded<A: AggregateRoot<Event = E>>(copy: &A) -> Self
    where
        E: Clone,
    {
        Self::events(copy.uncommitted_events().iter().cloned())
    }
}

impl<E, R> Decision<E, R> {
    /// The same decision with another answer.
    pub fn with_result<S>(self, result: S) -> Decision<E, S> {
        Decision { events: self.events, result }
    }
}

/// What a handler answers.
pub type Handled<A, C> = Result<Decision<<A as AggregateRoot>::Event, <C as Command>::Response>>;

/// An aggregate that decides on commands of type `C`.
pub trait CommandHandler<C: Command>: AggregateRoot {
    /// Decides, from the state, the command and the context alone. The state is not changed: the host applies the
    /// events when it wants to. A handler that likes to see its events applied records them on a clone and answers
    /// [`Decision::recorded`].
    ///
    /// # Errors
    /// A rejection; or the wish for other aggregates, handed on by `?`.
    fn handle(&self, command: &C, ctx: &Context) -> Handled<Self, C>;
}

/// A group has a name of at most 255 bytes.
impl Validate for Subject {
    fn validate(&self, errors: &mut Vec<FieldError>) {
        if let Self::Group(name) = self
            && !(1..=255).contains(&name.len())
        {
            errors.push(FieldError::new("/group", "a group's name has 1 to 255 bytes"));
        }
    }
}
