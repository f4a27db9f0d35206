//! Commands that work on a log while no host runs on its data folder.

mod export;
mod import;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use cairn::config::{Config, Flags};
use cairn_store::{LOG_FILE, Options, Store};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

pub use export::{Export, export};
pub use import::{Import, import};

/// Which log.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The data folder; no host may run on it [default: data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The database [default: SQLite in the data folder]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The configuration's file [default: cairn.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// An open log.
struct Opened {
    store: Store,
    /// Where things can be put aside.
    folder: PathBuf,
    /// Removed with this.
    _own: Option<TempDir>,
}

impl Place {
    /// Opens the log; one that is not there is made, or refused.
    async fn open(self, if_missing: IfMissing) -> anyhow::Result<Opened> {
        let Self { data, database, config } = self;
        let config = Config::read(Flags { data, database, config, ..Flags::default() }, |name| {
            std::env::var(name).ok()
        })?;
        let postgres = config.database.postgres();
        let (folder, own) = if postgres.is_some() {
            // A host may run on the data folder, and for a log in PostgreSQL there is nothing of it that is needed.
            let own = tempfile::tempdir().context("no temporary folder")?;
            (own.path().to_owned(), Some(own))
        } else {
            (config.data, None)
        };
        if if_missing == IfMissing::Refuse && postgres.is_none() && !folder.join(LOG_FILE).exists() {
            bail!("there is no log in {}", folder.display());
        }
        let options =
            Options { postgres, read_connections: config.database.read_connections, ..Options::new(&folder) };
        let opened = Store::open(options).await;
        if let Err(cairn_store::Error::DataFolderInUse { path }) = &opened {
            bail!(
                "{} is in use: stop the host that runs on it, or ask it: GET /v1/export, POST /v1/import",
                path.display()
            );
        }
        Ok(Opened { store: opened?, folder, _own: own })
    }
}

/// What becomes of a log that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    Make,
    Refuse,
}

/// A bar on the terminal; nothing where there is none.
fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    // It goes to standard error, and hides itself where that is no terminal.
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// How many events of how many.
const EVENTS: &str = "{msg} {wide_bar} {human_pos}/{human_len} events {per_sec} eta {eta}";
