//! Snapshots: hints that make loading faster. They can be lost at any time.

use bytes::Bytes;
use cairn_model::chain::Hash;
use cairn_model::{StreamKey, Version};

/// How many snapshots of a stream and a form are kept.
pub(crate) const KEEP: i64 = 2;

/// A snapshot to be kept.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// Whose state it is.
    pub stream: StreamKey,
    /// The version of the stream that it contains.
    pub version: Version,
    /// The version of the state's form.
    pub state_version: u32,
    /// SHA-256 of the component that made it.
    pub digest: Hash,
    /// The state, in the component's own form.
    pub state: Bytes,
}
