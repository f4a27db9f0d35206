//! The binary `cairn`.

mod cli;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use cairn::config::{Config, Flags, LogFormat};
use cairn_model::Clock;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Commands are passed from thread to thread, so most memory is freed on another thread than the one that asked for it; the
/// system's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A host for event-sourced domain logic in WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "cairn", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host. Every flag is also a key of cairn.toml and a CAIRN_… variable; flags win.
    Serve(Serve),
    /// Write the whole log as lines of JSON, while no host runs on the data folder.
    Export(cli::Export),
    /// Take a log in that was exported, or the rest of one, while no host runs on the data folder.
    Import(cli::Import),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// The address to listen on [default: 127.0.0.1:8080; port 0 takes a free one]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The data folder; one process at a time [default: data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The database [default: SQLite in the data folder]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The Redis for the bus [default: the bus inside of the process]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// A component to activate; may be given several times. What was active stays so without this
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// The configuration's file [default: cairn.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any other key of the configuration, as `limits.body_bytes=65536`; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(serve) => start(serve),
        Command::Export(export) => offline(cli::export(export)),
        Command::Import(import) => offline(cli::import(import)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(serve: Serve) -> anyhow::Result<()> {
    let Serve { listen, data, database, redis, plugin, config, set } = serve;
    let flags = Flags { listen, data, database, redis, plugin, config, set };
    let config = Config::read(flags, |name| std::env::var(name).ok())?;
    let filter = EnvFilter::try_new(&config.log.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;
        Ok(cairn::host::run(config, Clock::System, stop).await?)
    })
}

/// Runs a command that is about no host: what it logs is only what goes wrong.
fn offline(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// SIGTERM and SIGINT ask the host to finish what is under way; a second one ends it at once.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if second {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}
