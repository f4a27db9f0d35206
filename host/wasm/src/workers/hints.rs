//! What the workers remember of streams that others depend on, or that others write to. Any of it may be wrong or missing
//! at any time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_model::access::AccessRow;
use cairn_model::chain::Hash;
use cairn_model::{Access, Lineage, StreamKey, Version};
use moka::sync::Cache;

use crate::limits::Limits;
use crate::work::Base;

/// What an entry takes besides its state.
const ENTRY_BYTES: u64 = 256;

/// A stream's state at some version.
#[derive(Debug)]
pub(super) struct StateHint {
    pub version: Version,
    /// JSON; `None` where the stream has no events.
    pub state: Option<Bytes>,
    pub access: Option<Access>,
    /// What it rests on, as some of it may not be committed yet.
    pub lineage: Lineage,
}

/// Who may do what with an aggregate.
#[derive(Debug)]
pub(super) struct AccessHint {
    pub row: AccessRow,
    /// What it rests on; `None` if it came from the log.
    pub lineage: Option<Lineage>,
}

#[derive(Debug)]
pub(super) struct Hints {
    states: Cache<StreamKey, Arc<StateHint>>,
    access: Cache<StreamKey, Arc<AccessHint>>,
    /// With the digests of the components whose states they are.
    bases: Cache<StreamKey, (Hash, Base)>,
}

fn weight(state_bytes: usize) -> u32 {
    u32::try_from(state_bytes as u64 + ENTRY_BYTES).unwrap_or(u32::MAX)
}

impl Hints {
    pub fn new(limits: &Limits) -> Self {
        let of_hint =
            |_: &StreamKey, hint: &Arc<StateHint>| weight(hint.state.as_ref().map_or(0, Bytes::len));
        let of_base = |_: &StreamKey, (_, base): &(Hash, Base)| weight(base.state.len());
        Self {
            states: Cache::builder().max_capacity(limits.hint_bytes).weigher(of_hint).build(),
            access: Cache::new(limits.hints),
            bases: Cache::builder()
                .max_capacity(limits.base_bytes)
                .weigher(of_base)
                .time_to_idle(Duration::from_secs(limits.base_idle_s))
                .build(),
        }
    }

    pub fn state(&self, stream: &StreamKey) -> Option<Arc<StateHint>> {
        self.states.get(stream)
    }

    pub fn set_state(&self, stream: StreamKey, hint: Arc<StateHint>) {
        self.states.insert(stream, hint);
    }

    pub fn drop_state(&self, stream: &StreamKey) {
        self.states.invalidate(stream);
    }

    pub fn access(&self, stream: &StreamKey) -> Option<Arc<AccessHint>> {
        self.access.get(stream)
    }

    /// Remembers what was just decided.
    pub fn set_access(&self, stream: StreamKey, row: Arc<AccessHint>) {
        self.access.insert(stream, row);
    }

    /// Remembers what the log has, unless something newer is known that is on its way to the log.
    pub fn set_committed_access(&self, stream: StreamKey, row: &Arc<AccessHint>) {
        if self.access.get(&stream).is_none_or(|known| known.row.version < row.row.version) {
            self.access.insert(stream, row.clone());
        }
    }

    /// Where the reading of a stream's history may begin, for this component.
    pub fn base(&self, stream: &StreamKey, digest: Hash) -> Option<Base> {
        self.bases.get(stream).filter(|(of, _)| *of == digest).map(|(_, base)| base)
    }

    pub fn set_base(&self, stream: StreamKey, digest: Hash, base: Base) {
        self.bases.insert(stream, (digest, base));
    }

    pub fn forget(&self, stream: &StreamKey) {
        self.bases.invalidate(stream);
        self.states.invalidate(stream);
        self.access.invalidate(stream);
    }
}
