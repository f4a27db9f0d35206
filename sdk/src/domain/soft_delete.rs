//! Things that are deleted and can come back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::Timestamp;

/// Whether and since when something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SoftDeleteFields {
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Since when.
    pub deleted_at: Option<Timestamp>,
}

/// Something that can be deleted and restored.
pub trait SoftDeletable {
    /// The fields.
    fn soft_delete(&self) -> &SoftDeleteFields;

    /// The fields, to be changed.
    fn soft_delete_mut(&mut self) -> &mut SoftDeleteFields;

    /// Whether it is deleted.
    fn is_deleted(&self) -> bool {
        self.soft_delete().is_deleted
    }

    /// Notes that it is deleted since then.
    fn mark_as_deleted(&mut self, at: Timestamp) {
        *self.soft_delete_mut() = SoftDeleteFields { is_deleted: true, deleted_at: Some(at) };
    }

    /// Notes that it is no longer deleted.
    fn restore(&mut self) {
        *self.soft_delete_mut() = SoftDeleteFields::default();
    }
}
