//! Who made a thing and who last changed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::shared::Timestamp;

/// When and by whom something was made and last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct AuditFields {
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Uuid,
    /// Who last changed it.
    pub updated_by: Uuid,
}

impl AuditFields {
    /// The fields of what was made now.
    pub const fn created(by: Uuid, at: Timestamp) -> Self {
        Self { created_at: at, updated_at: at, created_by: by, updated_by: by }
    }

    /// Notes a change.
    pub const fn touch(&mut self, by: Uuid, at: Timestamp) {
        self.updated_by = by;
        self.updated_at = at;
    }
}

/// Something that knows who changed it.
pub trait Auditable {
    /// The fields.
    fn audit(&self) -> &AuditFields;

    /// The fields, to be changed.
    fn audit_mut(&mut self) -> &mut AuditFields;

    /// Who made it.
    fn created_by(&self) -> Uuid {
        self.audit().created_by
    }

    /// Who last changed it.
    fn updated_by(&self) -> Uuid {
        self.audit().updated_by
    }

    /// Notes a change.
    fn touch(&mut self, by: Uuid, at: Timestamp) {
        self.audit_mut().touch(by, at);
    }
}
