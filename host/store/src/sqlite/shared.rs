//! What the sequencer and the other writers share. The lock around the writer is fair, so a policy or a new key waits for
//! one batch at most.

use std::sync::atomic::{AtomicBool, Ordering};

use cairn_model::Position;
use tokio::sync::{Mutex, MutexGuard, watch};
use uuid::Uuid;

use super::snapshots::NewSnapshot;
use super::writer::{Writer, Written};
use crate::append::Append;
use crate::error::Error;
use crate::folder::Folder;

/// The writing side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub folder: Folder,
    pub log_id: Uuid,
    pub committed: watch::Sender<Position>,
    pub facts_intact: watch::Sender<bool>,
    /// Whether the last batch could not be written.
    failing: AtomicBool,
    writer: Mutex<Writer>,
}

impl Shared {
    pub fn new(folder: Folder, log_id: Uuid, writer: Writer) -> Self {
        Self {
            folder,
            log_id,
            committed: watch::Sender::new(writer.tail.position),
            facts_intact: watch::Sender::new(writer.facts_intact),
            failing: AtomicBool::new(false),
            writer: Mutex::new(writer),
        }
    }

    /// Writes a batch and tells those who wait for positions.
    pub async fn write(&self, appends: &[Append], snapshots: &[NewSnapshot]) -> Written {
        let mut writer = self.writer.lock().await;
        let written = writer.write(appends, snapshots).await;
        self.failing.store(written.failure.is_some(), Ordering::Relaxed);
        self.tell(&writer);
        written
    }

    /// Whether the log can be written: after a failed batch one small commit finds out.
    pub async fn check(&self) -> Result<(), Error> {
        if self.failing.load(Ordering::Relaxed) {
            self.turn().await.probe().await?;
            self.failing.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The right to write.
    pub(super) async fn turn(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().await
    }

    /// Ends the writing side; nothing can be written after it.
    pub async fn shut_down(&self) {
        self.turn().await.close().await;
    }

    /// Empties the facts.
    pub async fn begin_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let done = writer.begin_rebuild_facts().await;
        self.tell(&writer);
        done
    }

    /// Says that they are whole.
    pub async fn finish_rebuild_facts(&self) -> Result<(), Error> {
        let mut writer = self.turn().await;
        let done = writer.finish_rebuild_facts().await;
        self.tell(&writer);
        done
    }

    fn tell(&self, writer: &Writer) {
        self.committed.send_if_modified(|position| {
            let moved = *position < writer.tail.position;
            *position = writer.tail.position.max(*position);
            moved
        });
        self.facts_intact
            .send_if_modified(|intact| std::mem::replace(intact, writer.facts_intact) != *intact);
    }
}
