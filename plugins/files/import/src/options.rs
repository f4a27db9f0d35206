//! What the command line says.

use std::path::PathBuf;

use anyhow::{Context, bail};
use uuid::Uuid;

/// Imports a directory tree into Cairn: DIR itself becomes a folder named after it, with everything below it.
///
/// Symbolic links and special files are skipped, names that are no UTF-8 are reported and skipped; all of them are
/// counted. The import may be interrupted and run again: what is there already is not made twice.
#[derive(Debug, clap::Parser)]
#[command(name = "files-import", version)]
pub struct Options {
    /// The directory to import.
    pub dir: PathBuf,
    /// Where the host is. Plain HTTP: put a proxy in front of a host that is not on this machine.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The file with the key.
    #[arg(long, value_name = "FILE", default_value = "data/admin.key", conflicts_with = "key")]
    pub key_file: PathBuf,
    /// The key itself, instead of a file.
    #[arg(long, env = "CAIRN_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The folder to import into; the root where none is given.
    #[arg(long, value_name = "FOLDER-ID")]
    pub into: Option<Uuid>,
    /// The top folder's name, instead of DIR's own.
    #[arg(long)]
    pub name: Option<String>,
    /// What ids are derived from together with each path; DIR's absolute path where none is given. An import with
    /// another label makes another tree.
    #[arg(long)]
    pub label: Option<String>,
    /// How many requests may be under way at once.
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub concurrency: usize,
    /// For how many seconds a request is tried again while the host cannot be reached or is overloaded.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience_s: u64,
    /// Write the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=4096) => Ok(number),
        _ => Err("a number from 1 to 4096".to_owned()),
    }
}

impl Options {
    /// The key to send.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn read_key(&self) -> anyhow::Result<String> {
        let text = match &self.key {
            Some(key) => key.clone(),
            None => std::fs::read_to_string(&self.key_file).with_context(|| {
                format!("cannot read the key in {} (--key-file, --key)", self.key_file.display())
            })?,
        };
        let key = text.trim();
        if key.is_empty() {
            bail!("the key is empty");
        }
        Ok(key.to_owned())
    }
}
