//! What is thrown away with time: answers under idempotency keys.

use std::time::Duration;

use cairn_model::{Clock, Timestamp};
use cairn_store::Store;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what has become old.
const EVERY: Duration = Duration::from_secs(60);
/// How many answers are thrown away at once.
const PIECE: u64 = 1_000;

/// Throws answers away that are older than `keep`, until `stop`. It does no harm if several hosts do it.
pub async fn run(store: Store, clock: Clock, keep: Duration, stop: CancellationToken) {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    loop {
        let before = Timestamp::from_micros(clock.now().micros().saturating_sub(keep));
        match store.prune_idempotency(before, PIECE).await {
            // There may be more.
            Ok(PIECE) => {
                tokio::task::yield_now().await;
                if !stop.is_cancelled() {
                    continue;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old answers could not be thrown away"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
