//! Commands and decisions, projections and queries, policies, repositories.

mod command;
mod policy;
mod projection;
mod query;
mod repository;
mod tables;

pub use command::{Command, CommandHandler, Decision, Handled, Validate};
pub use policy::{Policy, PolicyCommand, Reaction};
pub use projection::{Change, Changes, NoProjection, OnFailure, Projection};
pub use query::{Db, Query, QueryHandler};
pub use repository::Repository;
pub use tables::{AccessMode, Column, ColumnType, Index, Statement, Table};

/// Derives [`Command`] (and [`Validate`]) for a struct, the command's payload.
///
/// `#[command(…)]` takes `name` (in paths), `full_name` (default: the struct's name in snake_case), `permission` (what
/// the caller needs on the aggregate), `creates`, `internal`, `response` (the type of the answer, default `()`).
/// Fields marked with `#[validate]` are validated, their errors get the field's pointer. The struct has to refuse
/// unknown fields, so that a misspelt one is never silently ignored.
///
/// ```
/// use cairn_sdk::prelude::*;
///
/// /// Lights a lamp.
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "light", full_name = "light_lamp", permission = "write")]
/// #[serde(deny_unknown_fields)]
/// struct LightLamp {
///     watts: u32,
/// }
/// assert_eq!(LightLamp { watts: 40 }.command_name(), "light_lamp");
/// assert_eq!(LightLamp::DESCRIPTION, "Lights a lamp.");
/// ```
pub use cairn_sdk_macros::Command;
/// Derives [`Query`] for a struct, the query's parameters: `#[query(name = "…", response = Answer)]`.
pub use cairn_sdk_macros::Query;
