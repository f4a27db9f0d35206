//! Access and claims, brought back from the log when somebody has emptied or dropped their tables.
//!
//! Both are functions of the aggregates' folded states, so the host folds every stream and writes them anew. Meanwhile the
//! store refuses to append: a set rule must not be judged on half of its set.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::StreamKey;
use cairn_store::{Facts, Store};
use tokio_util::sync::CancellationToken;

use crate::plugins::{Generation, Registry};

/// How many streams are folded and written at once.
const STREAMS: u32 = 256;
/// How many events are read at once.
const EVENTS: u32 = 1_000;
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Rebuilds whenever the store says that the facts are not whole; the first time at once.
pub async fn keep(store: Store, registry: Arc<Registry>, stop: CancellationToken) {
    let mut intact = store.facts_intact();
    loop {
        let lost = !*intact.borrow_and_update();
        if lost {
            tracing::warn!("access and claims are not whole; they are rebuilt from the log");
            let generation = registry.current();
            let rebuilt = tokio::select! {
                rebuilt = rebuild(&store, &generation) => rebuilt,
                () = stop.cancelled() => return,
            };
            match rebuilt {
                Ok(streams) => tracing::info!(streams, "access and claims are whole again"),
                Err(error) => {
                    tracing::error!(%error, "access and claims could not be rebuilt");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => continue,
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
        tokio::select! {
            changed = intact.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn rebuild(store: &Store, generation: &Generation) -> Result<u64, anyhow::Error> {
    store.begin_rebuild_facts().await?;
    let mut last: Option<StreamKey> = None;
    let mut count = 0;
    loop {
        let streams = store.streams(last.as_ref(), STREAMS).await?;
        if streams.is_empty() {
            break;
        }
        count += streams.len() as u64;
        let mut facts = Vec::with_capacity(streams.len());
        for stream in &streams {
            facts.extend(fold(store, generation, stream).await?);
        }
        for (stream, claim) in store.put_facts(&facts).await? {
            tracing::error!(%stream, claim, "a claim has two holders according to the log; the first one keeps it");
        }
        last = streams.into_iter().last();
    }
    store.finish_rebuild_facts().await?;
    Ok(count)
}

/// The facts of one stream; `None` for the host's own streams, those whose plugin is not active, and one that the plugin
/// cannot fold: nobody can decide on that one either, and the others must not wait for it.
async fn fold(
    store: &Store,
    generation: &Generation,
    stream: &StreamKey,
) -> Result<Option<Facts>, anyhow::Error> {
    let Some((plugin, _)) = generation.aggregate(&stream.aggregate) else { return Ok(None) };
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(0, |event: &cairn_model::RecordedEvent| event.version);
        let page = store.read_stream(stream, after, EVENTS).await?;
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let (component, key) = (plugin.component.clone(), stream.clone());
    let folded = match tokio::task::spawn_blocking(move || component.facts(&key, &events)).await? {
        Ok(folded) => folded,
        Err(fault) => {
            tracing::error!(%stream, %fault, "an aggregate cannot be folded; its access and claims are left out");
            return Ok(None);
        }
    };
    Ok(Some(Facts { stream: stream.clone(), access: folded.access, claims: folded.claims }))
}
