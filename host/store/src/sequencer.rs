//! The one thread that appends. It takes one append and whatever else waits by then, and commits them together; while
//! it commits, the next batch gathers. There is no timer: without load a batch is one append, under load it grows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::append::{Append, Outcome};
use crate::backend::Backend;
use crate::error::Error;
use crate::options::Options;
use crate::snapshots::NewSnapshot;

/// After so long without work the back end gives back what it holds for the next batch.
const REST_AFTER: Duration = Duration::from_millis(500);

/// What is done with an outcome.
pub(crate) type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// What the sequencer is asked to do.
pub(crate) enum Work {
    /// Append, and say what became of it.
    Append(Box<Append>, Reply),
    /// Write a snapshot along with the next batch.
    Snapshot(NewSnapshot, oneshot::Sender<Result<(), Error>>),
    /// Do what is queued, then stop.
    Close(oneshot::Sender<()>),
}

/// The way to the sequencer.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<(Work, usize)>,
    bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

impl Queue {
    /// Queues an append without waiting. Where there is no room, or nobody to take it, it is refused at once.
    pub fn append(&self, append: Append, reply: Reply) {
        let size = size_of_append(&append);
        if let Err(refused) = self.offer(Work::Append(Box::new(append), reply), size)
            && let (Work::Append(append, reply), error) = *refused
        {
            if !append.events.is_empty() {
                append.lineage.break_off();
            }
            reply(match error {
                Error::Overloaded => Outcome::Overloaded,
                other => Outcome::Unavailable(other.to_string()),
            });
        }
    }

    /// Queues a snapshot and waits until it is written.
    pub async fn snapshot(&self, snapshot: NewSnapshot) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        let size = snapshot.state.len();
        self.offer(Work::Snapshot(snapshot, sender), size).map_err(|refused| refused.1)?;
        receiver.await.unwrap_or(Err(Error::Closed))
    }

    /// Waits until everything queued is done and the sequencer has stopped.
    pub async fn close(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.sender.send((Work::Close(sender), 0)).await.is_ok() {
            // An error means that another `close` was first and the sequencer is gone.
            let _ = receiver.await;
        }
    }

    fn offer(&self, work: Work, size: usize) -> Result<(), Box<(Work, Error)>> {
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > self.limit_bytes {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(Box::new((work, Error::Overloaded)));
        }
        self.sender.try_send((work, size)).map_err(|refused| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            Box::new(match refused {
                mpsc::error::TrySendError::Full((work, _)) => (work, Error::Overloaded),
                mpsc::error::TrySendError::Closed((work, _)) => (work, Error::Closed),
            })
        })
    }
}

/// Bytes that an append holds, at about.
fn size_of_append(append: &Append) -> usize {
    let data: usize = append.events.iter().map(|event| event.data.len() + append.metadata.len()).sum();
    size_of::<Append>() + data + append.metadata.len() + append.answer.result.get().len()
}

/// Starts the sequencer on a thread of its own. A batch goes to and fro between it and the connection's thread several times;
/// from a task each of these turns would wake another of the runtime's threads too.
pub(crate) fn start(backend: Arc<Backend>, options: &Options) -> Result<Queue, Error> {
    let (sender, receiver) = mpsc::channel(options.queue_limit.max(1));
    let bytes = Arc::new(AtomicUsize::new(0));
    let sequencer = Sequencer {
        backend,
        receiver,
        bytes: bytes.clone(),
        batch_limit: options.batch_limit.max(1),
        batch_limit_bytes: options.batch_limit_bytes,
    };
    let runtime = Handle::current();
    thread::Builder::new()
        .name("cairn-sequencer".to_owned())
        .spawn(move || runtime.block_on(sequencer.run()))
        .map_err(Error::Thread)?;
    Ok(Queue { sender, bytes, limit_bytes: options.queue_limit_bytes })
}

#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    replies: Vec<Reply>,
    snapshots: Vec<NewSnapshot>,
    snapshot_replies: Vec<oneshot::Sender<Result<(), Error>>>,
    closing: Vec<oneshot::Sender<()>>,
    bytes: usize,
}

impl Batch {
    fn len(&self) -> usize {
        self.appends.len() + self.snapshots.len()
    }

    fn push(&mut self, work: Work, size: usize) {
        self.bytes += size;
        match work {
            Work::Append(append, reply) => {
                self.appends.push(*append);
                self.replies.push(reply);
            }
            Work::Snapshot(snapshot, reply) => {
                self.snapshots.push(snapshot);
                self.snapshot_replies.push(reply);
            }
            Work::Close(reply) => self.closing.push(reply),
        }
    }
}

struct Sequencer {
    backend: Arc<Backend>,
    receiver: mpsc::Receiver<(Work, usize)>,
    bytes: Arc<AtomicUsize>,
    batch_limit: usize,
    batch_limit_bytes: usize,
}

impl Sequencer {
    async fn run(mut self) {
        let mut closing = Vec::new();
        while let Some((work, size)) = self.next().await {
            let mut batch = Batch::default();
            batch.push(work, size);
            self.gather(&mut batch);
            self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
            closing.extend(commit(&self.backend, batch).await);
            if !closing.is_empty() {
                // Whoever is queued is served, nobody new is let in.
                self.receiver.close();
            }
        }
        for reply in closing {
            // Nobody has to wait for it.
            let _ = reply.send(());
        }
    }

    /// What is queued; if that is nothing for a while, the back end may rest.
    async fn next(&mut self) -> Option<(Work, usize)> {
        match tokio::time::timeout(REST_AFTER, self.receiver.recv()).await {
            Ok(work) => work,
            Err(_) => {
                self.backend.rest().await;
                self.receiver.recv().await
            }
        }
    }

    fn gather(&mut self, batch: &mut Batch) {
        while batch.len() < self.batch_limit && batch.bytes < self.batch_limit_bytes {
            let Ok((work, size)) = self.receiver.try_recv() else { break };
            batch.push(work, size);
        }
    }
}

/// Writes the batch and answers everybody; gives back those who wait for the end.
async fn commit(backend: &Backend, batch: Batch) -> Vec<oneshot::Sender<()>> {
    if batch.len() > 0 {
        let written = backend.write(&batch.appends, &batch.snapshots).await;
        for (outcome, reply) in written.outcomes.into_iter().zip(batch.replies) {
            // A panic in somebody's reply must not end the writing of everybody.
            if catch_unwind(AssertUnwindSafe(|| reply(outcome))).is_err() {
                tracing::error!("the receiver of an outcome panicked");
            }
        }
        for reply in batch.snapshot_replies {
            let result = match &written.failure {
                None => Ok(()),
                Some(failure) => Err(Error::NotWritten(failure.clone())),
            };
            // Whoever asked may have gone; the snapshot is written all the same.
            let _ = reply.send(result);
        }
    }
    batch.closing
}
