//! `cairn import`: a file of lines of JSON becomes the log, or continues it.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn::transfer::{bring_in, check, put_aside};
use cairn_store::{Imported, Store};
use tokio::runtime::Handle;

use super::{EVENTS, IfMissing, Place, bar};

/// How many bytes of how many, or just how many.
const BYTES: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}";
const SO_FAR: &str = "{spinner} {msg} {binary_bytes} {binary_bytes_per_sec}";

#[derive(Debug, clap::Args)]
pub struct Import {
    #[command(flatten)]
    place: Place,
    /// The file to read; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Checks the whole file, then imports it.
pub async fn import(import: Import) -> anyhow::Result<()> {
    let Import { place, file } = import;
    // First, so that a wrong name makes no log.
    let input = if file == Path::new("-") {
        None
    } else {
        Some(File::open(&file).with_context(|| format!("{} cannot be read", file.display()))?)
    };
    let opened = place.open(IfMissing::Make).await?;
    let (store, folder, runtime) = (opened.store.clone(), opened.folder.clone(), Handle::current());
    let imported = tokio::task::spawn_blocking(move || read(&store, &runtime, input, &folder)).await?;
    opened.store.close().await;
    let Imported { imported, skipped, head } = imported?;
    println!("{imported} events imported, {skipped} were there already; the log is at position {head}");
    Ok(())
}

fn read(store: &Store, runtime: &Handle, input: Option<File>, folder: &Path) -> anyhow::Result<Imported> {
    let (file, count) = match input {
        Some(file) if file.metadata()?.is_file() => check_file(store, runtime, file)?,
        // What can be read only once is put aside.
        Some(pipe) => put_pipe_aside(store, runtime, pipe, folder)?,
        None => put_pipe_aside(store, runtime, io::stdin().lock(), folder)?,
    };
    let bar = bar(Some(count), EVENTS).with_message("importing");
    let done = bring_in(store, runtime, BufReader::new(file), |done| {
        bar.set_position(done.imported + done.skipped);
    });
    bar.finish_and_clear();
    Ok(done?)
}

fn check_file(store: &Store, runtime: &Handle, mut file: File) -> anyhow::Result<(File, u64)> {
    let bar = bar(Some(file.metadata()?.len()), BYTES).with_message("checking");
    let count = check(store, runtime, BufReader::new(bar.wrap_read(&file)), |_| Ok(()));
    bar.finish_and_clear();
    file.rewind()?;
    Ok((file, count?))
}

fn put_pipe_aside(
    store: &Store,
    runtime: &Handle,
    pipe: impl io::Read,
    folder: &Path,
) -> anyhow::Result<(File, u64)> {
    let bar = bar(None, SO_FAR).with_message("checking");
    let aside = put_aside(store, runtime, BufReader::new(bar.wrap_read(pipe)), folder);
    bar.finish_and_clear();
    Ok(aside?)
}
