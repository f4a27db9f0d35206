//! The store as the rest of the host sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_model::access::AccessRow;
use cairn_model::chain::Hash;
use cairn_model::manifest::Projection;
use cairn_model::{Clock, Name, Position, Principal, RecordedEvent, StreamKey, Timestamp, Version};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::append::{Append, Outcome};
use crate::backend::{Backend, on_log};
use crate::error::Error;
use crate::facts::Facts;
use crate::instances::{Instances, Switch};
use crate::keys::StoredKey;
use crate::lease::Fence;
use crate::log::LogFilter;
use crate::options::Options;
use crate::policies::{OutboxEntry, OutboxKey, Reaction};
use crate::read_model::{self, Origin, ReadModel, Standing};
use crate::sequencer::{self, Queue};
use crate::snapshots::NewSnapshot;
use crate::verify::Verification;

/// The event log, in a data folder or a PostgreSQL database. Clones are the same store; with the last one the sequencer ends, after it has
/// done what is queued.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<Backend>,
    queue: Queue,
    clock: Clock,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("log_id", &self.log_id()).field("head", &self.head()).finish()
    }
}

impl Store {
    /// Opens the log, or makes it, and starts its sequencer, a thread that uses the current runtime.
    ///
    /// # Errors
    /// [`Error::DataFolderInUse`] if another process has the folder; [`Error::Server`] if the
    /// PostgreSQL server confirms what it may lose; otherwise what the files or the database refuse.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let backend = Arc::new(Backend::open(&options).await?);
        let queue = sequencer::start(backend.clone(), &options)?;
        Ok(Self { inner: Arc::new(Inner { backend, queue, clock: options.clock }) })
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// The log's id, made with the log.
    pub fn log_id(&self) -> Uuid {
        on_log!(&*self.inner.backend, log => log.log_id)
    }

    /// The position of the last committed event.
    pub fn head(&self) -> Position {
        on_log!(&*self.inner.backend, log => log.published.head())
    }

    /// [`Store::head`], and a wake-up whenever it moves.
    pub fn committed(&self) -> watch::Receiver<Position> {
        on_log!(&*self.inner.backend, log => log.published.committed())
    }

    /// Asks the database how far the log is, which other hosts may have moved on, and moves [`Store::committed`]. The store
    /// does so by itself every now and then; whoever hears of new events asks at once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn look(&self) -> Result<Position, Error> {
        on_log!(&*self.inner.backend, log => log.look().await)
    }

    /// Queues an append. It never waits and keeps the order of calls. `reply` is called exactly once, on the sequencer's
    /// task, so it must not block; where the queue is full or the store closed, it is called before this returns. Whoever waits behind `reply` may go away: that changes nothing.
    pub fn append(&self, append: Append, reply: impl FnOnce(Outcome) + Send + 'static) {
        self.inner.queue.append(append, Box::new(reply));
    }

    /// Appends and waits for the outcome. If the future is dropped, the append goes on.
    pub async fn append_and_wait(&self, append: Append) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        self.append(append, move |outcome| {
            // An error means that the caller has gone; the append stands.
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or_else(|_| Outcome::Unknown("the store's task ended".to_owned()))
    }

    /// Committed events after a position, in the order of their positions.
    ///
    /// It may answer fewer than `limit` although there are more (it stops at some 32 MiB); only an empty answer
    /// says that there is nothing more.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn read_log(&self, filter: LogFilter) -> Result<Vec<RecordedEvent>, Error> {
        on_log!(&*self.inner.backend, log => log.read_log(&filter).await)
    }

    /// Committed events of the host's own streams (tenant `cairn`) of an aggregate type after a position; stops early like
    /// [`Store::read_log`], but is not slower for the length of the log.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn read_host_log(
        &self,
        aggregate: &str,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Error> {
        on_log!(&*self.inner.backend, log => log.read_host_log(aggregate, after, limit).await)
    }

    /// Committed events of a stream after a version, in order; stops early like [`Store::read_log`].
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn read_stream(
        &self,
        stream: &StreamKey,
        after: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Error> {
        on_log!(&*self.inner.backend, log => log.read_stream(stream, after, limit).await)
    }

    /// The stream's last version that was recorded at this time or before; 0 if there was none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn version_at(&self, stream: &StreamKey, at: Timestamp) -> Result<Version, Error> {
        on_log!(&*self.inner.backend, log => log.version_at(stream, at).await)
    }

    /// The stream's version and the position of its last event; zeros if it does not exist.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn head_of(&self, stream: &StreamKey) -> Result<(Version, Position), Error> {
        on_log!(&*self.inner.backend, log => log.head_of(stream).await)
    }

    /// Streams in an order that does not change, those after `after`; at most `limit`.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn streams(&self, after: Option<&StreamKey>, limit: u32) -> Result<Vec<StreamKey>, Error> {
        on_log!(&*self.inner.backend, log => log.streams(after, limit).await)
    }

    /// The newest snapshot of this form, made by this component, at `up_to` or below.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn snapshot(
        &self,
        stream: &StreamKey,
        state_version: u32,
        digest: Hash,
        up_to: Version,
    ) -> Result<Option<(Version, Bytes)>, Error> {
        on_log!(&*self.inner.backend, log => log.snapshot(stream, state_version, digest, up_to).await)
    }

    /// Writes a snapshot along with the next batch of appends. The newest two of a stream and form are kept.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Closed`], or what kept the batch from being written.
    pub async fn save_snapshot(&self, snapshot: NewSnapshot) -> Result<(), Error> {
        self.inner.queue.snapshot(snapshot).await
    }

    /// The access of a stream, of its parent, and so on to the root, whether it is inherited or not. The last row
    /// has no access if the chain ends at a stream that has none. It is cut at 1000 links, and where it would come
    /// back to a stream that is already in it.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn access_chain(&self, stream: &StreamKey) -> Result<Vec<AccessRow>, Error> {
        on_log!(&*self.inner.backend, log => log.access_chain(stream).await)
    }

    /// Checks the hash chain from a position (0 and 1 are the beginning) to the present end.
    ///
    /// # Errors
    /// [`Error::Database`] where the log cannot be read at all; a damaged event is an answer, not an error.
    pub async fn verify(&self, from: Position) -> Result<Verification, Error> {
        // What another host has just appended belongs to it, and so does what was there and is no more.
        let head = self.look().await?.max(self.head());
        on_log!(&*self.inner.backend, log => log.verify(from, head).await)
    }

    /// Whether the tables of access and claims are what was written to them. If not, nothing can be appended until
    /// they have been rebuilt: [`Store::begin_rebuild_facts`], [`Store::put_facts`] for every stream,
    /// [`Store::finish_rebuild_facts`]. Every batch of appends looks for itself, so the value can turn false at any
    /// time.
    pub fn facts_intact(&self) -> watch::Receiver<bool> {
        on_log!(&*self.inner.backend, log => log.published.facts_intact())
    }

    /// Empties access and claims, and refuses appends until [`Store::finish_rebuild_facts`].
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn begin_rebuild_facts(&self) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.begin_rebuild_facts().await)
    }

    /// Writes the facts of these streams. Answers the claims that another stream already holds; they stay with it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn put_facts(&self, facts: &[Facts]) -> Result<Vec<(StreamKey, String)>, Error> {
        on_log!(&*self.inner.backend, log => log.put_facts(facts).await)
    }

    /// Says that all facts are there again.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn finish_rebuild_facts(&self) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.finish_rebuild_facts().await)
    }

    /// Keeps the hash of a key with its principal. The same hash twice is one key, whose principal is replaced.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn save_key(&self, hash: Hash, principal: &Principal) -> Result<Uuid, Error> {
        on_log!(&*self.inner.backend, log => log.save_key(hash, principal, self.inner.clock.now()).await)
    }

    /// Whose key has this hash, if it is kept and not revoked.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn find_key(&self, hash: Hash) -> Result<Option<Principal>, Error> {
        on_log!(&*self.inner.backend, log => log.find_key(hash).await)
    }

    /// All keys, the revoked ones too, by their making.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn keys(&self) -> Result<Vec<StoredKey>, Error> {
        on_log!(&*self.inner.backend, log => log.keys().await)
    }

    /// Revokes a key. Answers whether there was one that was not revoked.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn revoke_key(&self, id: Uuid) -> Result<bool, Error> {
        on_log!(&*self.inner.backend, log => log.revoke_key(id, self.inner.clock.now()).await)
    }

    /// The bytes of a component that was kept under their SHA-256.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn component(&self, digest: Hash) -> Result<Option<Vec<u8>>, Error> {
        on_log!(&*self.inner.backend, log => log.component(digest).await)
    }

    /// Keeps a component under the SHA-256 of its bytes.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn save_component(&self, bytes: &[u8]) -> Result<(), Error> {
        let (digest, now) = (Hash::of(bytes), self.inner.clock.now());
        on_log!(&*self.inner.backend, log => log.save_component(digest, bytes, now).await)
    }

    /// The position up to which a policy has reacted; 0 if it never has.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn policy_position(&self, policy: &str) -> Result<Position, Error> {
        on_log!(&*self.inner.backend, log => log.policy_position(policy).await)
    }

    /// Stores what a policy answered to the events after `from` up to `to`: its states, its commands and its position
    /// in one transaction.
    ///
    /// # Errors
    /// [`Error::Fenced`] if the stored position is not `from`, [`Error::Superseded`] if the lease was lost; nothing is
    /// written then. [`Error::Database`].
    pub async fn record_reactions(
        &self,
        policy: &Name,
        from: Position,
        to: Position,
        reactions: Vec<Reaction>,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.record_reactions(policy, from, to, reactions, fence).await)
    }

    /// Commands of a policy that can be sent now, in order: those whose time has come and before which no command
    /// of an earlier stage of the same event is left.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn outbox(&self, policy: &str, limit: u32) -> Result<Vec<OutboxEntry>, Error> {
        on_log!(&*self.inner.backend, log => log.outbox(policy, self.inner.clock.now(), limit).await)
    }

    /// The earliest time at which a command of the policy's outbox is due that is not due yet.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub async fn outbox_due_at(&self, policy: &str) -> Result<Option<Timestamp>, Error> {
        on_log!(&*self.inner.backend, log => log.outbox_due_at(policy, self.inner.clock.now()).await)
    }

    /// Takes commands that are done off the outbox.
    ///
    /// # Errors
    /// [`Error::Superseded`] if the lease was lost, [`Error::Database`].
    pub async fn complete(&self, entries: &[OutboxKey], fence: Option<&Fence>) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.complete(entries, fence).await)
    }

    /// Counts a failed attempt of a command and puts it off until `at`.
    ///
    /// # Errors
    /// [`Error::Superseded`] if the lease was lost, [`Error::Database`].
    pub async fn postpone(
        &self,
        entry: &OutboxKey,
        at: Timestamp,
        fence: Option<&Fence>,
    ) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.postpone(entry, at, fence).await)
    }

    /// A policy's state for a stream, JSON.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn policy_state(&self, policy: &str, stream: &StreamKey) -> Result<Option<String>, Error> {
        on_log!(&*self.inner.backend, log => log.policy_state(policy, stream).await)
    }

    /// Takes a lease for this time, or lengthens it. Answers the epoch, which is counted up whenever the holder changes, or
    /// `None` while somebody else has it. Times are those of the database's clock. Where there is only one process (SQLite),
    /// whoever asks gets it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn lease(&self, name: &str, holder: Uuid, ttl: Duration) -> Result<Option<u64>, Error> {
        on_log!(&*self.inner.backend, log => log.lease(name, holder, ttl).await)
    }

    /// Gives a lease back, if this holder has it: somebody else may take it at once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn release(&self, name: &str, holder: Uuid) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.release(name, holder).await)
    }

    /// Deletes answers that have been kept under idempotency keys since before this time, at most `limit`, in small
    /// transactions. Answers how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn prune_idempotency(&self, older_than: Timestamp, limit: u64) -> Result<u64, Error> {
        on_log!(&*self.inner.backend, log => log.prune_idempotency(older_than, limit).await)
    }

    /// Opens the instance of a projection's read model that queries read. It begins empty, at position 0, if there is none,
    /// or one of another log, version or form.
    ///
    /// # Errors
    /// [`Error::Manifest`] if the projection's declarations are wrong; what the files or the database refuse.
    pub async fn open_read_model(&self, projection: &Projection) -> Result<ReadModel, Error> {
        let active = self.instances(&projection.name).await?.map_or(0, |instances| instances.active);
        self.open_instance(projection, active).await
    }

    /// Opens this instance of a projection's read model, like [`Store::open_read_model`].
    ///
    /// # Errors
    /// [`Error::Manifest`] if the projection's declarations are wrong; what the files or the database refuse.
    pub async fn open_instance(&self, projection: &Projection, instance: u64) -> Result<ReadModel, Error> {
        let origin = Origin { log_id: self.log_id(), head: self.head(), clock: self.inner.clock.clone() };
        match &*self.inner.backend {
            Backend::Sqlite(log) => ReadModel::open(&log.folder, origin, projection, instance).await,
            Backend::Postgres(log) => ReadModel::open(&log.read_models, origin, projection, instance).await,
        }
    }

    /// What the tables of a projection are made of: an instance with the same form fits its declarations.
    pub fn read_model_form(&self, projection: &Projection) -> String {
        match &*self.inner.backend {
            Backend::Sqlite(_) => read_model::sqlite_form(projection),
            Backend::Postgres(_) => read_model::postgres_form(projection),
        }
    }

    /// What is known about a read model's instances; `None` of one that nobody has noted yet.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn instances(&self, projection: &str) -> Result<Option<Instances>, Error> {
        on_log!(&*self.inner.backend, log => log.instances(projection).await)
    }

    /// Notes the component whose declarations the active instance has, if it has these. Where nothing is noted, the instance
    /// `first` is active from now on.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn note_component(
        &self,
        projection: &str,
        form: &str,
        digest: &str,
        first: u64,
    ) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.note_component(projection, form, digest, first).await)
    }

    /// Lets queries read another instance, in one transaction. Answers whether the active one was the expected one.
    ///
    /// # Errors
    /// [`Error::Superseded`] if the lease was lost; [`Error::Database`].
    pub async fn switch_read_model(&self, switch: &Switch<'_>, fence: &Fence) -> Result<bool, Error> {
        on_log!(&*self.inner.backend, log => log.switch(switch, fence).await)
    }

    /// Removes all instances of a read model but the active one, the one before it, and `building`. With `building` the one
    /// before goes too, unless it is the same.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::File`].
    pub async fn sweep_instances(&self, projection: &str, building: Option<u64>) -> Result<(), Error> {
        if let Some(building) = building {
            on_log!(&*self.inner.backend, log => log.forget_previous(projection, building).await)?;
        }
        let Some(known) = self.instances(projection).await? else { return Ok(()) };
        for found in on_log!(&*self.inner.backend, log => log.found_instances(projection).await)? {
            if found != known.active && Some(found) != known.previous && Some(found) != building {
                on_log!(&*self.inner.backend, log => log.remove_instance(projection, found).await)?;
            }
        }
        Ok(())
    }

    /// How an instance stands, whoever keeps it; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn instance_standing(
        &self,
        projection: &str,
        instance: u64,
    ) -> Result<Option<Standing>, Error> {
        on_log!(&*self.inner.backend, log => log.standing_of(projection, instance).await)
    }

    /// Whether the log can be read and, as far as is known, written.
    ///
    /// # Errors
    /// What keeps it from that.
    pub async fn check(&self) -> Result<(), Error> {
        on_log!(&*self.inner.backend, log => log.check().await)
    }

    /// Does what is queued, stops the sequencer and tidies the files up. Appends after it are refused.
    pub async fn close(&self) {
        self.inner.queue.close().await;
        on_log!(&*self.inner.backend, log => log.close().await);
    }
}
