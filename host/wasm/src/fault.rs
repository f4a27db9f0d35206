//! How a guest fails. Never the caller's doing, and never more than the loss of an instance.

use std::fmt;

use wasmtime::{Trap, WasmBacktrace};

/// A failure of a guest.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// What happened, for the log; it may contain data.
    pub message: String,
    /// Where in the guest, if it is known.
    pub backtrace: Option<String>,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest stopped itself: a panic, a division by zero, an exhausted stack.
    Trap,
    /// It took too long.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It says that it cannot go on.
    Guest,
    /// It answered something that the contract does not allow.
    BadOutput,
    /// It decided differently when it was asked again.
    Nondeterministic,
    /// What it decided leads to another state when its events come back from the log.
    StateMismatch,
}

impl FaultKind {
    /// A stable name in kebab-case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Guest => "guest",
            Self::BadOutput => "bad-output",
            Self::Nondeterministic => "nondeterministic",
            Self::StateMismatch => "state-mismatch",
        }
    }
}

impl Fault {
    /// What may be told to a caller: the kind, none of the data.
    pub const fn public_message(&self) -> &'static str {
        match self.kind {
            FaultKind::Trap => "it stopped in the middle of its work",
            FaultKind::Deadline => "it took too long",
            FaultKind::Memory => "it needed too much memory",
            FaultKind::Guest => "it could not go on",
            FaultKind::BadOutput => "its answer breaks the contract",
            FaultKind::Nondeterministic => "it decided differently when it was asked again",
            FaultKind::StateMismatch => "its events do not lead to the state that it keeps",
        }
    }

    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), backtrace: None }
    }

    pub(crate) fn bad_output(message: impl Into<String>) -> Self {
        Self::new(FaultKind::BadOutput, message)
    }

    /// What the engine reports, with the last line that the guest logged as an error (a panic's message).
    pub(crate) fn from_engine(error: &wasmtime::Error, last_words: Option<String>) -> Self {
        let kind = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => FaultKind::Deadline,
            Some(_) => FaultKind::Trap,
            None if error.downcast_ref::<MemoryExceeded>().is_some() => FaultKind::Memory,
            None => FaultKind::BadOutput,
        };
        let root = error.root_cause().to_string();
        let message = match last_words {
            Some(words) => format!("{root}: {words}"),
            None => root,
        };
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
        Self { kind, message, backtrace }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)?;
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// Growth beyond the limit. It traps, because a guest that could see it might decide differently on another host.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("it wanted {wanted} {what}, the limit is {limit}")]
pub(crate) struct MemoryExceeded {
    pub what: &'static str,
    pub wanted: usize,
    pub limit: usize,
}
