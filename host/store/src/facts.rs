//! The facts of streams: what of an aggregate's folded state the host keeps in tables of its own.

use cairn_model::access::CHAIN_LINKS;
use cairn_model::{Access, StreamKey, Version};

/// How many links of a chain of access are followed, as the databases count.
pub(crate) const CHAIN_LIMIT: i64 = CHAIN_LINKS as i64;

/// What an aggregate's folded state says about access and claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Whose facts they are.
    pub stream: StreamKey,
    /// Its access, and the version at which that last changed; `None` if it never had one.
    pub access: Option<(Version, Access)>,
    /// The claims that it holds.
    pub claims: Vec<String>,
}
