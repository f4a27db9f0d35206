//! What an aggregate is loaded from: its newest snapshot and the events after it.
//!
//! A snapshot is looked for in the cache first. There it carries the hash of the event that it reaches to, and it is only
//! used if the log has that very event: whatever the cache holds, an aggregate is never loaded from another history.

use bytes::{BufMut, Bytes, BytesMut};
use cairn_bus::{Cache, Validity};
use cairn_model::chain::Hash;
use cairn_model::{RecordedEvent, StreamKey, Version};
use cairn_store::{Error, NewSnapshot, Store};
use cairn_wasm::{Fetch, Fetched};
use tokio::sync::mpsc;

/// How many events are read at once while an aggregate is loaded.
const PAGE: u32 = 1_000;
/// A snapshot in the cache is preceded by its version and the hash of the event that it reaches to.
const HEAD_BYTES: usize = 8 + 32;
/// What a cached snapshot says about itself is compared with the log, so it needs no other validity.
const BY_ITSELF: Validity<'_> = Validity::At(0);

/// Reads what a worker asked for.
pub async fn read(store: &Store, cache: &Cache, fetch: Fetch) -> Result<Fetched, Error> {
    match fetch {
        Fetch::History { stream, state_version, digest, whole, base } => {
            if let Some(base) = base
                && let Some((last, events)) = after_snapshot(store, &stream, base.version).await?
                && last.hash == base.hash
            {
                return Ok(fetched((base.version, base.state), &last, events));
            }
            if !whole {
                let key = key(&stream, state_version, digest);
                if let Some(history) = from_cache(store, cache, &stream, &key).await? {
                    return Ok(history);
                }
                if let Some((version, state)) =
                    store.snapshot(&stream, state_version, digest, u64::MAX).await?
                    && let Some((last, events)) = after_snapshot(store, &stream, version).await?
                {
                    cache.put(&key, BY_ITSELF, entry(version, last.hash, &state));
                    return Ok(fetched((version, state), &last, events));
                }
            }
            let events = history(store, &stream, 0).await?;
            Ok(Fetched::History { snapshot: None, snapshot_at: None, events })
        }
        Fetch::AccessChain(stream) => Ok(Fetched::AccessChain(store.access_chain(&stream).await?)),
    }
}

/// Writes snapshots, to the store and to the cache.
pub async fn save_snapshots(store: Store, cache: Cache, mut waiting: mpsc::Receiver<NewSnapshot>) {
    while let Some(snapshot) = waiting.recv().await {
        let NewSnapshot { stream, version, state_version, digest, state } = &snapshot;
        let (stream, version, state) = (stream.clone(), *version, state.clone());
        let key = key(&stream, *state_version, *digest);
        if let Err(error) = store.save_snapshot(snapshot).await {
            tracing::warn!(%error, %stream, "a snapshot could not be written; the log has all of it");
            continue;
        }
        match store.read_stream(&stream, version.saturating_sub(1), 1).await.as_deref() {
            Ok([last]) if last.version == version => {
                cache.put(&key, BY_ITSELF, entry(version, last.hash, &state));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, %stream, "a snapshot was not cached"),
        }
    }
}

/// The history by a cached snapshot; `None` where there is none, where it is not of this log, and where so much has happened
/// since that the store may have a better one.
async fn from_cache(
    store: &Store,
    cache: &Cache,
    stream: &StreamKey,
    key: &[u8],
) -> Result<Option<Fetched>, Error> {
    let Some(entry) = cache.get(key, BY_ITSELF).await else { return Ok(None) };
    let Some((version, hash, state)) = parts(entry) else { return Ok(None) };
    let mut events = store.read_stream(stream, version.saturating_sub(1), PAGE).await?;
    let is_whole = events.len() < PAGE as usize;
    if !is_whole || events.first().is_none_or(|first| first.version != version || first.hash != hash) {
        return Ok(None);
    }
    // The page may have been cut short because it is large.
    let reached = events.last().map_or(version, |last| last.version);
    events.extend(history(store, stream, reached).await?);
    let last = events.remove(0);
    Ok(Some(fetched((version, state), &last, events)))
}

fn fetched(snapshot: (Version, Bytes), last: &RecordedEvent, events: Vec<RecordedEvent>) -> Fetched {
    let snapshot_at = last.read_metadata().ok().map(|metadata| metadata.occurred_at);
    Fetched::History { snapshot: Some(snapshot), snapshot_at, events }
}

fn key(stream: &StreamKey, state_version: u32, digest: Hash) -> Vec<u8> {
    format!("snapshot {} {} {} {state_version} {digest}", stream.tenant, stream.aggregate, stream.id)
        .into_bytes()
}

fn entry(version: Version, hash: Hash, state: &[u8]) -> Bytes {
    let mut entry = BytesMut::with_capacity(HEAD_BYTES + state.len());
    entry.put_u64(version);
    entry.put_slice(&hash.0);
    entry.put_slice(state);
    entry.freeze()
}

fn parts(entry: Bytes) -> Option<(Version, Hash, Bytes)> {
    let (version, rest) = entry.split_first_chunk::<8>()?;
    let (hash, _) = rest.split_first_chunk::<32>()?;
    Some((u64::from_be_bytes(*version), Hash(*hash), entry.slice(HEAD_BYTES..)))
}

/// The last event that a snapshot of this version contains, and what came after it. A snapshot of a version that the log does
/// not have is of no use, wherever it came from.
async fn after_snapshot(
    store: &Store,
    stream: &StreamKey,
    version: Version,
) -> Result<Option<(RecordedEvent, Vec<RecordedEvent>)>, Error> {
    let mut events = history(store, stream, version.saturating_sub(1)).await?;
    if events.first().is_none_or(|event| event.version != version) {
        tracing::warn!(%stream, version, "a snapshot is newer than its stream; all events are read");
        return Ok(None);
    }
    let last = events.remove(0);
    Ok(Some((last, events)))
}

/// All events of a stream after a version.
async fn history(store: &Store, stream: &StreamKey, mut after: Version) -> Result<Vec<RecordedEvent>, Error> {
    let mut events = Vec::new();
    loop {
        // A page may end early, so only an empty one is the end.
        let page = store.read_stream(stream, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(events) };
        after = last.version;
        events.extend(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_snapshot_says_what_it_is_of() {
        let hash = Hash::of(b"an event");
        let state = Bytes::from_static(b"a state");
        assert_eq!(parts(entry(7, hash, &state)), Some((7, hash, state)));
        assert_eq!(parts(entry(7, hash, b"")), Some((7, hash, Bytes::new())));
        assert_eq!(parts(Bytes::from_static(b"cut off")), None);
    }
}
