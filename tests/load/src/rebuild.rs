//! `rebuild`: the read model is deleted and comes back from the log; how many events per second is that, and how many
//! does a loop without a component make of the same log?

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cairn_model::Position;
use cairn_tests::{Client, TestHost, new_id};
use uuid::Uuid;

use crate::commands::Target;
use crate::drive::Limit;
use crate::native::{Log, per_second};
use crate::plugin;
use crate::request::Plan;
use crate::table::{Row, markdown, middle};

/// How many folders the files are in.
const FOLDERS: usize = 100;
/// How many connections fill the log.
const CONNECTIONS: usize = 128;
/// How long a rebuild may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// How many events the log has: half of them create files, half rename them.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// How many runs; the table has the one in the middle.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many events the loop without a component takes at once; a host takes 2,000.
    #[arg(long, default_value_t = 2_000)]
    page: u32,
}

/// Events per second, one of each for each run.
#[derive(Default)]
struct Rates {
    cairn: Vec<f64>,
    with_start: Vec<f64>,
    native: Vec<f64>,
    read: Vec<f64>,
}

/// Measures and prints the table.
///
/// # Errors
/// When the host fails, or when its rows are not those of the loop without a component.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (_engine, component) = plugin::files()?;
    let (mut host, head) = fill(args.events).await?;
    let mut rates = Rates::default();
    for _ in 0..args.runs.max(1) {
        let (rate, with_start) = rebuild(&mut host, head).await?;
        host.stop().await;
        let log = Log::open(&host.data(), component.manifest(), args.page).await?;
        let sums = log.take_read_model(head).await?;
        let (native, native_sums) = log.project().await?;
        ensure!(sums == native_sums, "not the same rows: {sums:?} of the host, {native_sums:?} without it");
        let read = log.read().await?;
        log.close().await;
        eprintln!("{head} events: Cairn {rate:.0}/s, native {native:.0}/s, read {read:.0}/s; rows are equal");
        rates.cairn.push(rate);
        rates.with_start.push(with_start);
        rates.native.push(native);
        rates.read.push(read);
    }
    println!(
        "\nRead model `files` from the {head} events of a log, medians of {} runs. All rows were equal.\n\n{}",
        rates.cairn.len(),
        markdown(&rates.rows())
    );
    Ok(())
}

impl Rates {
    fn rows(self) -> [Row; 4] {
        let (native, read) = (middle(self.native), middle(self.read));
        let row = |what: &str, per_second, beside| Row {
            what: what.to_owned(),
            per_second,
            latency_us: None,
            beside,
        };
        let both = || vec![("native", native), ("reading", read)];
        [
            row("rebuild by Cairn", middle(self.cairn), both()),
            row("the same, start of the process included", middle(self.with_start), both()),
            row("limit: rebuild by a native loop", native, vec![("reading", read)]),
            row("limit: reading the log", read, Vec::new()),
        ]
    }
}

/// A log with so many events, and its host, which has ended.
async fn fill(events: usize) -> anyhow::Result<(TestHost, Position)> {
    let target = Target::start().await?;
    let parents = target.folders(FOLDERS).await;
    let ids: Rc<[Uuid]> = (0..events / 2).map(|_| new_id()).collect();
    let count = events.saturating_sub(ids.len());
    let created =
        target.drive(Plan::CreateThese { ids: ids.clone(), parents }, CONNECTIONS, Limit::All).await?;
    eprintln!("filled with files: {created}");
    let renamed = target.drive(Plan::Rename { ids }, CONNECTIONS, Limit::Count(count)).await?;
    eprintln!("filled with renames: {renamed}");
    let head = target.host.client().head().await;
    let mut host = target.host;
    host.stop().await;
    Ok((host, head))
}

/// Deletes the read models, starts the host and follows the projection. Events per second from the first page that is
/// seen to come to the last one, and from the start of the process.
async fn rebuild(host: &mut TestHost, head: Position) -> anyhow::Result<(f64, f64)> {
    let read = host.data().join("read");
    if read.exists() {
        fs::remove_dir_all(&read).with_context(|| format!("cannot delete {}", read.display()))?;
    }
    let started = Instant::now();
    host.restart().await;
    let client = host.client();
    let seen = position(&client).await?;
    ensure!(
        seen < head / 2,
        "{seen} of {head} events were projected before the host could be asked: measure with more --events"
    );
    let (begun, from) = reach(&client, seen + 1, started).await?;
    reach(&client, head, started).await?;
    Ok((per_second(head - from, begun), per_second(head, started)))
}

/// Waits until the projection is at this position or beyond: when, and where it is then.
async fn reach(client: &Client, wanted: Position, started: Instant) -> anyhow::Result<(Instant, Position)> {
    loop {
        let position = position(client).await?;
        if position >= wanted {
            return Ok((Instant::now(), position));
        }
        if started.elapsed() > LIMIT {
            bail!("the read model is at {position} after {} s, not at {wanted}", LIMIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn position(client: &Client) -> anyhow::Result<Position> {
    let listed = client.get("/v1/projections").await.ok();
    listed["items"][0]["position"].as_u64().context("a projection's position")
}
