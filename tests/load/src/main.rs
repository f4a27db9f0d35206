//! Measures Cairn: commands per second over HTTP, the return of a read model, the bare decision, each beside what the
//! machine itself allows, so that a number can be judged without knowing the machine.
//!
//! Load and host share the processors, as they do in every figure that this project gives; so the load must cost
//! little: one thread, connections that are kept, requests that are built before and patched in place, answers of
//! which only status and length are read.

mod commands;
mod decide;
mod drive;
mod echo;
mod home;
mod hosts;
mod limits;
mod native;
mod plugin;
mod rebuild;
mod request;
mod table;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use uuid::Uuid;

use drive::{Limit, Load};
use request::{Plan, Salt};

/// The host's allocator, as what is measured without a host is compared with one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Cairn.
#[derive(Parser)]
#[command(name = "cairn-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Commands per second, beside an echo server, raw appends and the bare decision: one Markdown table.
    Commands(commands::Args),
    /// One, two and three hosts on one PostgreSQL.
    Hosts(hosts::Args),
    /// How fast a read model comes back from the log, beside a native loop over the same log.
    Rebuild(rebuild::Args),
    /// What the bare decision costs, natively and in the component.
    Decide(decide::Args),
    /// Create files on a host that runs already, and say how fast that went.
    Create(CreateArgs),
    /// An HTTP server that does nothing else than answer, with answers as long as those of a host.
    #[command(hide = true)]
    Echo,
}

/// What to load.
#[derive(clap::Args)]
struct CreateArgs {
    /// The host.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// The key.
    #[arg(long, env = "CAIRN_KEY", hide_env_values = true)]
    key: String,
    /// The folder to create in; the root where none is given.
    #[arg(long)]
    parent: Option<Uuid>,
    /// How many connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Commands(args) => on_one_thread(commands::run(args)),
        Command::Hosts(args) => on_one_thread(hosts::run(args)),
        Command::Rebuild(args) => on_one_thread(rebuild::run(args)),
        Command::Decide(args) => decide::run(&args),
        Command::Create(args) => on_one_thread(create(args)),
        Command::Echo => echo::serve(),
    }
}

fn on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(work))
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let plan = Plan::Create { parents: args.parent.into_iter().collect() };
    let limit = Limit::Time(Duration::from_secs(args.seconds));
    let load = Load { connections: args.connections, limit, counts_refusals: false };
    let measured = load.run(&[args.address], &args.key, Salt::new(), plan).await?;
    println!("{measured}");
    Ok(())
}
