//! Small things that every part of a domain uses: ids, times, errors, the context of a call, values of rows.

mod context;
mod cursor;
mod errors;
mod id;
pub mod log;
mod nullable;
mod random;
mod time;
mod value;

pub use context::{Context, ContextParts, Loaded, LoadedState, Need, NeedAnswer, Principal};
pub use cursor::{decode_cursor, encode_cursor};
pub use errors::{Error, Fault, FieldError, Rejection, RejectionKind, Result};
pub use id::StreamRef;
pub use nullable::{nullable, nullable_schema};
pub use random::Random;
pub use time::{ParseTimestampError, Timestamp};
pub use uuid::Uuid;
pub use value::{Call, FromValue, Row, Rows, Value};
