//! What only one host may do at a time: run a projection, a policy, the relay. Whoever holds the lease does it; when its holder
//! dies or sleeps, another one takes it over within seconds.
//!
//! A lease is only a promise of peace. What keeps a host that slept from writing is the fence: each write under a lease
//! names the epoch, and the store compares it inside the transaction.

use std::time::{Duration, Instant};

use cairn_store::{Fence, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a lease lasts if it is not renewed.
const TTL: Duration = Duration::from_secs(3);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(800);
/// How often whoever does not have it asks for it.
const ASK: Duration = Duration::from_millis(500);

/// This host's leases.
#[derive(Clone, Debug)]
pub struct Leases {
    store: Store,
    holder: Uuid,
}

impl Leases {
    /// Leases of the host with this id, which is new for every start.
    pub fn new(store: Store, holder: Uuid) -> Self {
        Self { store, holder }
    }

    /// Does `work` whenever this host has the lease, and `meanwhile` while it has not, until `stop`. The work is told when
    /// the lease is lost, and must then come to an end; if it ends by itself, it begins anew.
    pub async fn hold<W, M>(
        &self,
        name: &str,
        stop: &CancellationToken,
        meanwhile: impl Fn() -> M,
        work: impl Fn(Fence, CancellationToken) -> W,
    ) where
        W: Future<Output = ()>,
        M: Future<Output = ()>,
    {
        while !stop.is_cancelled() {
            let asked = Instant::now();
            match self.store.lease(name, self.holder, TTL).await {
                Ok(Some(epoch)) => {
                    tracing::debug!(lease = name, epoch, "has the lease");
                    let lost = stop.child_token();
                    let fence = Fence { lease: name.into(), epoch };
                    let work = work(fence, lost.clone());
                    tokio::join!(work_then_cancel(work, &lost), self.renew(name, epoch, asked, &lost));
                }
                Ok(None) => self.wait(stop, meanwhile()).await,
                Err(error) => {
                    tracing::warn!(lease = name, %error, "a lease cannot be had now");
                    self.wait(stop, meanwhile()).await;
                }
            }
        }
        if let Err(error) = self.store.release(name, self.holder).await {
            tracing::debug!(lease = name, %error, "a lease was not given back; it will run out");
        }
    }

    async fn wait(&self, stop: &CancellationToken, meanwhile: impl Future<Output = ()>) {
        tokio::select! {
            () = tokio::time::sleep(ASK) => {}
            () = meanwhile => tokio::time::sleep(ASK).await,
            () = stop.cancelled() => {}
        }
    }

    /// Renews until the lease is lost, which is also so when it could not be renewed in time.
    async fn renew(&self, name: &str, epoch: u64, mut renewed: Instant, lost: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                () = lost.cancelled() => return,
            }
            let asked = Instant::now();
            let again = tokio::select! {
                again = self.store.lease(name, self.holder, TTL) => again,
                () = lost.cancelled() => return,
            };
            match again {
                Ok(Some(same)) if same == epoch => renewed = asked,
                Ok(_) => break,
                Err(error) => tracing::warn!(lease = name, %error, "a lease could not be renewed"),
            }
            if renewed.elapsed() >= TTL {
                break;
            }
        }
        tracing::warn!(lease = name, epoch, "lost the lease");
        lost.cancel();
    }
}

async fn work_then_cancel(work: impl Future<Output = ()>, lost: &CancellationToken) {
    work.await;
    lost.cancel();
}
