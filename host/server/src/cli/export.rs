//! `cairn export`: the log into a file of lines of JSON.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cairn::transfer::Outgoing;
use cairn_store::Store;
use tempfile::NamedTempFile;
use tokio::signal::unix::{SignalKind, signal};

use super::{EVENTS, IfMissing, Opened, Place, bar};

#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    place: Place,
    /// The file to write; it is there once it is whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the whole log.
pub async fn export(export: Export) -> anyhow::Result<()> {
    let Opened { store, .. } = &export.place.open(IfMissing::Refuse).await?;
    let written = match &export.output {
        Some(path) => tokio::select! {
            written = to_file(store, path) => written,
            // The unfinished file goes.
            stopped = stopped() => Err(stopped.map_or_else(Into::into, |()| anyhow::anyhow!("interrupted"))),
        },
        None => {
            let mut output = BufWriter::new(io::stdout().lock());
            write_log(store, &mut output).await.and_then(|events| Ok(output.flush().map(|()| events)?))
        }
    };
    store.close().await;
    let events = written?;
    if io::stderr().is_terminal() {
        eprintln!("{events} events exported");
    }
    Ok(())
}

/// Waits until somebody wants it to end.
async fn stopped() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Aside first; only the owner may read it, as everything is in it.
async fn to_file(store: &Store, path: &Path) -> anyhow::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = || format!("{} cannot be written", path.display());
    let mut output = BufWriter::new(NamedTempFile::new_in(folder).with_context(failed)?);
    let events = write_log(store, &mut output).await?;
    let file = output.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    Ok(events)
}

async fn write_log(store: &Store, to: &mut impl Write) -> anyhow::Result<u64> {
    let head = store.head();
    let bar = bar(Some(head), EVENTS).with_message("exporting");
    let mut outgoing = Outgoing::new(store.clone(), 0, head);
    while let Some(page) = outgoing.next().await? {
        to.write_all(&page.lines).context("the lines cannot be written")?;
        bar.inc(page.events);
    }
    bar.finish_and_clear();
    Ok(head)
}
