//! `cargo xtask demo`: a host with something in it.
//!
//! The process becomes the host, so that Ctrl-C and every other signal go where they should. What fills the host is
//! a second process that was started before and ends by itself.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, bail};

use crate::{build, plugins, serve, shell};

/// How long the host may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What to show.
#[derive(clap::Args)]
pub struct Args {
    /// The directory to import; the checkout itself where none is given.
    dir: Option<PathBuf>,
    /// The data folder. Run again with the same one, the import finds everything there and repeats nothing.
    #[arg(long, default_value = "data/demo")]
    data: PathBuf,
}

/// What `demo` tells its second process.
#[derive(clap::Args)]
pub struct ImportArgs {
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    dir: PathBuf,
}

/// Builds, starts the import beside, and becomes the host.
///
/// # Errors
/// When something does not build or the folder is not there.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.dir.clone().unwrap_or_else(shell::root);
    let dir = fs::canonicalize(&dir).with_context(|| format!("cannot find {}", dir.display()))?;
    plugins::build()?;
    build::host()?;
    shell::run(&mut shell::cargo(["build", "--release", "--package", "files-import"]))?;
    let data = shell::root().join(&args.data);
    fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    // The address file of a host that was killed would send the import to nobody.
    let _ = fs::remove_file(data.join("listen"));
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).context("no free port")?;
    let mut import = Command::new(env::current_exe()?);
    import.arg("demo-import").arg("--data").arg(&data).arg("--dir").arg(&dir);
    import.spawn().context("cannot start the import")?;
    let mut host = serve::host(&shell::target().join("plugins/files.wasm"));
    shell::exec(
        host.arg("--listen").arg(port.to_string()).arg("--data").arg(&data).env("CAIRN_LOG_FILTER", "warn"),
    )
}

/// Waits for the host, imports, and says what to try.
///
/// # Errors
/// When the host does not start or the import cannot run.
pub fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let url = format!("http://{}", wait_for_host(&args.data)?);
    let key_file = args.data.join("admin.key");
    let mut import = Command::new(shell::built("release", "files-import"));
    import.arg(&args.dir).args(["--url", &url]).arg("--key-file").arg(&key_file);
    let status = import.status().context("cannot start files-import")?;
    if !status.success() {
        eprintln!("The import did not take in everything; what it took in is there.");
    }
    print!("{}", what_to_try(&url, &key_file));
    Ok(())
}

fn wait_for_host(data: &Path) -> anyhow::Result<String> {
    let started = Instant::now();
    let host = std::os::unix::process::parent_id();
    while started.elapsed() < START_LIMIT {
        if let Ok(address) = fs::read_to_string(data.join("listen")) {
            return Ok(address.trim().to_owned());
        }
        if std::os::unix::process::parent_id() != host {
            bail!("the host ended before it listened");
        }
        sleep(Duration::from_millis(50));
    }
    bail!("the host did not listen within {} s", START_LIMIT.as_secs())
}

fn what_to_try(url: &str, key_file: &Path) -> String {
    let key = format!("-H \"Authorization: Bearer $(cat {})\"", key_file.display());
    format!(
        r#"
Cairn runs at {url} until Ctrl-C. In another terminal:

  # What is at the root, and everything below it
  curl -s {key} "{url}/v1/queries/folder_children"
  curl -s {key} "{url}/v1/queries/folder_tree?depth=2"

  # Search
  curl -s {key} "{url}/v1/queries/search?q=readme"

  # A new file, twice with one key: the second answer is the first one again
  curl -si {key} -H "Content-Type: application/json" -H "Idempotency-Key: demo-1" \
    -d '{{"name": "hello.txt", "size": 5}}' "{url}/v1/aggregates/file/create"

  # The log, and whether its hash chain holds
  curl -s {key} "{url}/v1/events?after=0&limit=3"
  curl -s {key} "{url}/v1/audit/verify"
"#
    )
}
