//! Leases: which host does what only one may do at a time.
//!
//! Whoever holds a lease does its work under an epoch, which is counted up whenever the holder changes. What it writes is
//! checked against that in the same transaction: a host that slept through the end of its lease cannot write any more.

use cairn_model::Name;

/// The right under which something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease's name.
    pub lease: Name,
    /// The epoch under which it is held.
    pub epoch: u64,
}
