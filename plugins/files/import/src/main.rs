//! `files-import`: a directory tree into Cairn, over its HTTP API like any other client.
//!
//! Ids and idempotency keys are derived from the path of each entry, so the import can be interrupted at any
//! moment and run again: what is there already is answered from the host's records and nothing happens twice.
//!
//! One thread walks the tree, parents before children, and stops when too many entries wait; each entry is sent as
//! soon as its parent was acknowledged. So the memory depends on the depth of the tree and on `--concurrency`, not
//! on the number of files.

mod mime;
mod options;
mod plan;
mod progress;
mod send;
mod summary;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tokio::sync::{Semaphore, mpsc};

use options::Options;
use plan::Planned;
use progress::Progress;
use send::Sender;
use summary::Tally;

/// How many entries the walk may be ahead of the requests.
const AHEAD: usize = 1_024;

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was taken in.
fn start() -> anyhow::Result<bool> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(import(options))
}

async fn import(options: Options) -> anyhow::Result<bool> {
    let root = plan::Root::open(&options)?;
    let sender = Arc::new(Sender::new(&options)?);
    let tally = Arc::new(Tally::default());
    let progress = Arc::new(Progress::start(root.dir.clone(), !options.quiet));

    let (queue, mut entries) = mpsc::channel(AHEAD);
    let walk = {
        let (tally, progress, sender) = (tally.clone(), progress.clone(), sender.clone());
        tokio::task::spawn_blocking(move || plan::walk(&root, &tally, &progress, &sender, &queue))
    };
    let permits = Arc::new(Semaphore::new(options.concurrency));
    while let Some(entry) = entries.recv().await {
        // A parent got its permit before its children, so waiting for it while holding one cannot block for ever.
        let permit = permits.clone().acquire_owned().await.context("the import was closed")?;
        let (sender, tally, progress) = (sender.clone(), tally.clone(), progress.clone());
        tokio::spawn(async move {
            handle(entry, &sender, &tally, &progress).await;
            drop(permit);
        });
    }
    walk.await.context("the walk through the directory failed")?;
    // All permits together are free only when the last request was answered.
    let all = u32::try_from(options.concurrency).unwrap_or(u32::MAX);
    let _all = permits.acquire_many(all).await.context("the import was closed")?;
    progress.finish();
    if let Some(reason) = sender.gave_up() {
        eprintln!("gave up: {reason}");
    }
    println!("{}", tally.text(options.json)?);
    Ok(tally.is_clean() && sender.gave_up().is_none())
}

/// Sends one entry when its parent is there, and counts what came of it.
async fn handle(entry: Planned, sender: &Sender, tally: &Tally, progress: &Progress) {
    let parent_is_there = match &entry.parent {
        Some(parent) => parent.wait().await,
        None => true,
    };
    // What failed only because something else did is counted, but that other thing is what is reported.
    let result = match parent_is_there {
        true if sender.gave_up().is_none() => sender.create(&entry).await.map_err(Some),
        _ => Err(None),
    };
    if let Some(folder) = &entry.folder {
        folder.settle(result.is_ok());
    }
    match result {
        Ok(()) if entry.folder.is_some() => tally.folder(),
        Ok(()) => tally.file(),
        Err(reason) => {
            tally.failed();
            if let Some(reason) = reason {
                progress.report(&format!("failed: {}: {reason}", entry.shown));
            }
        }
    }
    progress.advance();
}
