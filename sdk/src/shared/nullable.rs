//! Fields that may be null and must be there all the same.
//!
//! serde and schemars both take a missing `Option` for null. Where the difference matters (`move` with a null parent
//! goes to the root, `move` without a parent is a mistake) a field says so with both attributes:
//!
//! ```
//! use cairn_sdk::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Move {
//!     #[serde(deserialize_with = "nullable")]
//!     #[schemars(schema_with = "nullable_schema::<Uuid>")]
//!     parent_id: Option<Uuid>,
//! }
//! assert!(serde_json::from_str::<Move>("{}").is_err());
//! assert!(serde_json::from_str::<Move>(r#"{"parent_id": null}"#).is_ok());
//! ```

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// Reads a field that may be null and may not be missing.
///
/// # Errors
/// When the value is neither null nor a `T`.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// The schema of such a field.
pub fn nullable_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Option<T>>()
}
