//! `hosts`: one, two and three hosts on one PostgreSQL: new files through all of them, and one file that all of them rename.
//!
//! All hosts, the server and the load share one machine, so more hosts cannot be faster here. What is measured is what they
//! cost each other, and that none of them refuses anything.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use cairn_tests::TestHost;
use uuid::Uuid;

use crate::commands::Target;
use crate::drive::{Limit, Load, Measured};
use crate::home::{Database, Home, host_on};
use crate::request::{Plan, Salt};
use crate::table::{Row, markdown, median};

/// How many hosts there are.
const HOSTS: [usize; 3] = [1, 2, 3];
/// How many connections create files.
const CREATE: usize = 128;
/// How many clients rename one file.
const RENAME: usize = 64;

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// For how many seconds each run goes on.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many runs; the table has the one in the middle.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Hosts on one log.
struct Cluster {
    first: Target,
    /// Kept, so that they go on.
    _others: Vec<TestHost>,
    addresses: Vec<SocketAddr>,
}

impl Cluster {
    async fn start(home: &Home, count: usize) -> anyhow::Result<Self> {
        let url = home.database();
        let first = Target::of(host_on(url.as_deref()).await)?;
        let (mut others, mut addresses) = (Vec::new(), vec![first.address]);
        for _ in 1..count {
            let host = host_on(url.as_deref()).await;
            addresses.push(host.address().parse().context("the host's address")?);
            others.push(host);
        }
        Ok(Self { first, _others: others, addresses })
    }

    /// Runs a plan through all hosts; what they refuse is counted.
    async fn drive(&self, plan: &Plan, connections: usize, limit: Limit) -> anyhow::Result<Measured> {
        self.first.settle().await;
        let load = Load { connections, limit, counts_refusals: true };
        load.run(&self.addresses, &self.first.key, Salt::new(), plan.clone()).await
    }
}

/// Measures and prints the table.
///
/// # Errors
/// When a host fails, or a renamed file has not the version that the answers say.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let home = Home::new(Database::Postgres);
    let limit = Limit::Time(Duration::from_secs(args.seconds));
    let mut rows = Vec::new();
    for count in HOSTS {
        let cluster = Cluster::start(&home, count).await?;
        let parents = cluster.first.folders(1).await;
        let create = Plan::Create { parents };
        let mut runs = Vec::new();
        for _ in 0..args.runs.max(1) {
            let measured = cluster.drive(&create, CREATE, limit).await?;
            eprintln!("{count} hosts, create: {measured}");
            runs.push(measured);
        }
        rows.push(row(format!("create, hosts: {count}, connections: {CREATE}"), runs)?);
        let ids = cluster.first.files(1).await?;
        let rename = Plan::Rename { ids: ids.clone() };
        let mut runs: Vec<Measured> = Vec::new();
        for _ in 0..args.runs.max(1) {
            let measured = cluster.drive(&rename, RENAME, limit).await?;
            eprintln!("{count} hosts, rename one file: {measured}");
            runs.push(measured);
        }
        check(&cluster, ids[0], 1 + runs.iter().map(|run| run.count).sum::<u64>()).await?;
        rows.push(row(format!("rename one file, hosts: {count}, connections: {RENAME}"), runs)?);
    }
    println!(
        "\nMedians of {} runs of {} s, one machine for load, hosts and PostgreSQL.\n\n{}",
        args.runs.max(1),
        args.seconds,
        markdown(&rows)
    );
    Ok(())
}

/// Each rename that was answered well has happened, once.
async fn check(cluster: &Cluster, file: Uuid, version: u64) -> anyhow::Result<()> {
    let path = format!("/v1/aggregates/file/{file}");
    let found = cluster.first.host.client().get(&path).await.ok()["version"].clone();
    ensure!(found == version, "the file has version {found}, the answers make it {version}");
    Ok(())
}

fn row(what: String, runs: Vec<Measured>) -> anyhow::Result<Row> {
    let refused: u64 = runs.iter().map(|run| run.refused).sum();
    let measured = median(runs).context("no runs")?;
    Ok(Row {
        what: format!("{what}; refused: {refused}"),
        per_second: measured.per_second,
        latency_us: Some((measured.p50_us, measured.p99_us)),
        beside: Vec::new(),
    })
}
