//! A closed loop: so many connections, each with one request at a time, for a time or a count.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::request::{Plan, Requests, Salt};
use crate::wire::Connection;

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After this many requests.
    Count(usize),
    /// When the plan has no more.
    All,
}

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Answered requests per second.
    pub per_second: f64,
    /// How many were answered.
    pub count: u64,
    /// Half of the answers came within this time, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 answers came within this time, in microseconds.
    pub p99_us: u64,
    /// How many further requests were answered with something else than a success.
    pub refused: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_second, count, p50_us, p99_us, refused } = self;
        write!(f, "{per_second:.0}/s ({count} requests, p50 {p50_us} µs, p99 {p99_us} µs)")?;
        if *refused > 0 { write!(f, ", {refused} refused") } else { Ok(()) }
    }
}

/// What runs against a host, or against several of one log.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many connections, each with one request at a time; hosts have them by turns.
    pub connections: usize,
    /// When it ends.
    pub limit: Limit,
    /// Whether an answer that is no success is counted rather than the end of everything.
    pub counts_refusals: bool,
}

impl Load {
    /// Runs a plan.
    ///
    /// # Errors
    /// When a connection breaks or, unless that is counted, an answer is no success.
    pub async fn run(
        self,
        hosts: &[SocketAddr],
        key: &str,
        salt: Salt,
        plan: Plan,
    ) -> anyhow::Result<Measured> {
        let mut open = Vec::new();
        for address in hosts.iter().cycle().take(self.connections) {
            let connection = Connection::open(*address).await;
            open.push(connection.with_context(|| format!("cannot connect to {address}"))?);
        }
        let taken = Rc::new(RefCell::new(Taken {
            histogram: Histogram::new_with_max(120_000_000, 3)?,
            refused: 0,
            counts_refusals: self.counts_refusals,
        }));
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        let until = if let Limit::Time(time) = self.limit { Some(started + time) } else { None };
        let count = if let Limit::Count(count) = self.limit { Some(count) } else { None };
        for (number, connection) in open.into_iter().enumerate() {
            let requests = Requests::new(plan.clone(), salt, key, number, self.connections);
            tasks.spawn_local(work(connection, requests, until, count, taken.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a connection's task failed")??;
        }
        let seconds = started.elapsed().as_secs_f64();
        let taken = taken.borrow();
        let histogram = &taken.histogram;
        Ok(Measured {
            #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
            per_second: histogram.len() as f64 / seconds,
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            refused: taken.refused,
        })
    }
}

/// What is noted of the answers.
struct Taken {
    histogram: Histogram<u64>,
    refused: u64,
    counts_refusals: bool,
}

async fn work(
    mut connection: Connection,
    mut requests: Requests,
    until: Option<Instant>,
    count: Option<usize>,
    taken: Rc<RefCell<Taken>>,
) -> anyhow::Result<()> {
    let mut sent = Instant::now();
    while until.is_none_or(|until| sent < until) {
        let Some(request) = requests.next(count) else { break };
        let (status, answer) = connection.exchange(request).await.context("the connection broke")?;
        let now = Instant::now();
        let mut taken = taken.borrow_mut();
        if (200..300).contains(&status) {
            let took = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
            taken.histogram.saturating_record(took);
        } else if taken.counts_refusals {
            if taken.refused == 0 {
                eprintln!("answered {status}: {}", String::from_utf8_lossy(answer));
            }
            taken.refused += 1;
        } else {
            bail!("answered {status}: {}", String::from_utf8_lossy(answer));
        }
        sent = now;
    }
    Ok(())
}
