//! `commands`: everything about commands in one go, ending in one table.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use cairn_tests::{TestHost, new_id};
use serde_json::json;
use uuid::Uuid;

use crate::decide;
use crate::drive::{Limit, Load, Measured};
use crate::home::{Database, Home};
use crate::limits::{Echo, raw_appends};
use crate::request::{Plan, Salt};
use crate::table::{Row, markdown, median};

/// How many connections a run has.
const CONNECTIONS: [usize; 3] = [1, 32, 128];
/// How many files are renamed by turns.
const FILES: usize = 10_000;
/// How many aggregates have a long history, and how many events each.
const LONG: (usize, usize) = (128, 1_000);
/// How many connections prepare.
const PREPARE: usize = 128;
/// How long a read model may take to catch up before a run.
const CATCH_UP: Duration = Duration::from_secs(120);

/// How to measure.
#[derive(clap::Args)]
pub struct Args {
    /// For how many seconds each run goes on.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many runs; the table has the one in the middle.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Where the log is.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    /// Leave out what is measured without HTTP: raw appends, the bare decision.
    #[arg(long)]
    only_http: bool,
}

/// What runs of one kind have in common.
struct Bench {
    home: Home,
    limit: Limit,
    runs: usize,
}

/// Measures and prints the table.
///
/// # Errors
/// When the host or a run fails.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let bench = Bench {
        home: Home::new(args.database),
        limit: Limit::Time(Duration::from_secs(args.seconds)),
        runs: args.runs.max(1),
    };
    let echo = bench.echo().await?;
    let raw = if args.only_http { Vec::new() } else { raw_appends(bench.home.database().as_deref()) };
    let raw_best = raw.iter().map(|(_, rate)| *rate).reduce(f64::max);
    let limits = |connections: usize| {
        let mut limits: Vec<(&'static str, f64)> = echo
            .iter()
            .filter(|(number, _)| *number == connections)
            .map(|(_, m)| ("echo", m.per_second))
            .collect();
        limits.extend(raw_best.map(|rate| ("raw appends", rate)));
        limits
    };
    let mut rows = Vec::new();
    for (connections, measured) in bench.create().await? {
        rows.push(row(format!("create, connections: {connections}"), &measured, limits(connections)));
    }
    for (connections, measured) in bench.rename().await? {
        rows.push(row(format!("rename, connections: {connections}"), &measured, limits(connections)));
    }
    let hot = bench.hot().await?;
    rows.push(row("rename one file, connections: 128".to_owned(), &hot, limits(128)));
    let [warm, cold] = bench.long().await?;
    let (number, events) = LONG;
    rows.push(row(
        format!("rename {number} files with {events} events, connections: 128"),
        &warm,
        limits(128),
    ));
    rows.push(row("the same, first command of each after a restart".to_owned(), &cold, Vec::new()));
    for (connections, measured) in &echo {
        rows.push(row(format!("limit: echo, connections: {connections}"), measured, Vec::new()));
    }
    for (what, per_second) in raw {
        let what = format!("limit: raw appends, {what}");
        rows.push(Row { what, per_second, latency_us: None, beside: Vec::new() });
    }
    if !args.only_http {
        rows.extend(decide::rows(&decide::Args::runs(bench.runs))?);
    }
    println!(
        "\nMedians of {} runs of {} s on {:?}, one machine for load, host and database.\n\n{}",
        bench.runs,
        args.seconds,
        args.database,
        markdown(&rows)
    );
    Ok(())
}

fn row(what: String, measured: &Measured, beside: Vec<(&'static str, f64)>) -> Row {
    let latency_us = Some((measured.p50_us, measured.p99_us));
    Row { what, per_second: measured.per_second, latency_us, beside }
}

/// A running host, as the load sees it.
pub struct Target {
    /// The host; it goes when this does.
    pub host: TestHost,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its administrator's key.
    pub key: String,
}

impl Target {
    /// A fresh host.
    pub async fn start() -> anyhow::Result<Self> {
        Self::of(TestHost::start().await)
    }

    /// This host.
    pub fn of(host: TestHost) -> anyhow::Result<Self> {
        let address = host.address().parse().context("the host's address")?;
        let key = host.key();
        Ok(Self { host, address, key })
    }

    /// The host, started again.
    pub async fn restart(mut self) -> anyhow::Result<Self> {
        self.host.restart().await;
        Self::of(self.host)
    }

    /// Runs a plan against it.
    pub async fn drive(&self, plan: Plan, connections: usize, limit: Limit) -> anyhow::Result<Measured> {
        let load = Load { connections, limit, counts_refusals: false };
        load.run(&[self.address], &self.key, Salt::new(), plan).await
    }

    /// Makes folders at the root.
    pub async fn folders(&self, count: usize) -> Rc<[Uuid]> {
        let (client, mut ids) = (self.host.client(), Vec::new());
        for _ in 0..count {
            let id = new_id();
            client.command("folder", id, "create", json!({"name": format!("bench {id}")})).await.created();
            ids.push(id);
        }
        ids.into()
    }

    /// Makes files in one folder.
    pub async fn files(&self, count: usize) -> anyhow::Result<Rc<[Uuid]>> {
        let parents = self.folders(1).await;
        let ids: Rc<[Uuid]> = (0..count).map(|_| new_id()).collect();
        self.drive(Plan::CreateThese { ids: ids.clone(), parents }, PREPARE, Limit::All).await?;
        Ok(ids)
    }

    /// Waits until the read models have everything, so that one run does not pay for the one before.
    pub async fn settle(&self) {
        let client = self.host.client();
        let head = client.head().await;
        cairn_tests::eventually(CATCH_UP, || async {
            let listed = client.get("/v1/projections").await.ok();
            let behind = listed["items"].as_array().map_or(0, |items| {
                items
                    .iter()
                    .filter(|item| item["position"].as_u64().is_none_or(|position| position < head))
                    .count()
            });
            if behind == 0 { Ok(()) } else { Err(format!("the read models are behind {head}: {listed}")) }
        })
        .await;
    }
}

impl Bench {
    /// The runs of one plan with so many connections; the one in the middle.
    async fn runs(
        &self,
        target: &Target,
        what: &str,
        plan: Plan,
        connections: usize,
    ) -> anyhow::Result<Measured> {
        let mut runs = Vec::new();
        for _ in 0..self.runs {
            target.settle().await;
            let measured = target.drive(plan.clone(), connections, self.limit).await?;
            eprintln!("{what}, {connections} connections: {measured}");
            runs.push(measured);
        }
        median(runs).context("no runs")
    }

    async fn echo(&self) -> anyhow::Result<Vec<(usize, Measured)>> {
        let echo = Echo::start()?;
        let mut all = Vec::new();
        for connections in CONNECTIONS {
            let mut runs = Vec::new();
            for _ in 0..self.runs {
                let plan = Plan::Create { parents: [Uuid::nil()].into() };
                let load = Load { connections, limit: self.limit, counts_refusals: false };
                let measured = load.run(&[echo.address], "key", Salt::new(), plan).await?;
                eprintln!("echo, {connections} connections: {measured}");
                runs.push(measured);
            }
            all.push((connections, median(runs).context("no runs")?));
        }
        Ok(all)
    }

    async fn create(&self) -> anyhow::Result<Vec<(usize, Measured)>> {
        let target = Target::of(self.home.host().await)?;
        let parents = target.folders(1).await;
        let mut all = Vec::new();
        for connections in CONNECTIONS {
            let plan = Plan::Create { parents: parents.clone() };
            all.push((connections, self.runs(&target, "create", plan, connections).await?));
        }
        Ok(all)
    }

    async fn rename(&self) -> anyhow::Result<Vec<(usize, Measured)>> {
        let target = Target::of(self.home.host().await)?;
        let ids = target.files(FILES).await?;
        let mut all = Vec::new();
        for connections in CONNECTIONS {
            let plan = Plan::Rename { ids: ids.clone() };
            all.push((connections, self.runs(&target, "rename", plan, connections).await?));
        }
        Ok(all)
    }

    async fn hot(&self) -> anyhow::Result<Measured> {
        let target = Target::of(self.home.host().await)?;
        let ids = target.files(1).await?;
        self.runs(&target, "rename one file", Plan::Rename { ids }, 128).await
    }

    /// Files with a long history: in the middle of work, and the first command of each after a restart.
    async fn long(&self) -> anyhow::Result<[Measured; 2]> {
        let mut target = Target::of(self.home.host().await)?;
        let (number, events) = LONG;
        let ids = target.files(number).await?;
        let plan = Plan::Rename { ids };
        target.drive(plan.clone(), PREPARE, Limit::Count(number * (events - 1))).await?;
        let mut cold = Vec::new();
        for _ in 0..self.runs {
            target.settle().await;
            target = target.restart().await?;
            let measured = target.drive(plan.clone(), PREPARE, Limit::Count(number)).await?;
            eprintln!("rename files with {events} events, first of each: {measured}");
            cold.push(measured);
        }
        let warm = self.runs(&target, "rename files with a long history", plan, 128).await?;
        Ok([warm, median(cold).context("no runs")?])
    }
}
