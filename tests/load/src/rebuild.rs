//! `rebuild`: the read model is deleted and comes back from the log; how many events per second is that?

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cairn_tests::{TestHost, new_id};
use uuid::Uuid;

use crate::commands::Target;
use crate::drive::Limit;
use crate::request::Plan;
use crate::table::{Row, markdown};

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
}

/// Measures and prints the table.
///
/// # Errors
/// When the host fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let target = Target::start().await?;
    let parents = target.folders(FOLDERS).await;
    let ids: Rc<[Uuid]> = (0..args.events / 2).map(|_| new_id()).collect();
    let count = args.events.saturating_sub(ids.len());
    let created =
        target.drive(Plan::CreateThese { ids: ids.clone(), parents }, CONNECTIONS, Limit::All).await?;
    eprintln!("filled with files: {created}");
    let renamed = target.drive(Plan::Rename { ids }, CONNECTIONS, Limit::Count(count)).await?;
    eprintln!("filled with renames: {renamed}");
    target.settle().await;
    let head = target.host.client().head().await;

    let mut host = target.host;
    let mut rates = Vec::new();
    for _ in 0..args.runs.max(1) {
        let rate = rebuild(&mut host, head).await?;
        eprintln!("rebuilt {head} events: {rate:.0}/s");
        rates.push(rate);
    }
    rates.sort_by(f64::total_cmp);
    let per_second = rates[rates.len() / 2];
    let rows =
        [Row { what: format!("rebuild of {head} events"), per_second, latency_us: None, beside: Vec::new() }];
    println!("\nMedian of {} runs.\n\n{}", rates.len(), markdown(&rows));
    Ok(())
}

/// Deletes the read models, starts the host and follows the projection: events per second from the start of the
/// process until all are there.
async fn rebuild(host: &mut TestHost, head: u64) -> anyhow::Result<f64> {
    host.stop().await;
    let read = host.data().join("read");
    fs::remove_dir_all(&read).with_context(|| format!("cannot delete {}", read.display()))?;
    let started = Instant::now();
    host.restart().await;
    let client = host.client();
    loop {
        let listed = client.get("/v1/projections").await.ok();
        let position = listed["items"][0]["position"].as_u64().context("a projection's position")?;
        let took = started.elapsed();
        if position >= head {
            // The host's own start is in this time; it is short beside a rebuild that is worth measuring.
            #[expect(clippy::cast_precision_loss, reason = "a count of events is far below 2^52")]
            return Ok(head as f64 / took.as_secs_f64());
        }
        if took > LIMIT {
            bail!("the read model is at {position} of {head} after {} s", took.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
