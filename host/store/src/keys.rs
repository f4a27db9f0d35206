//! Keys of the API, as they are kept.

use cairn_model::{Principal, Timestamp};
use uuid::Uuid;

/// A key as it is kept: without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub principal: Principal,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}
