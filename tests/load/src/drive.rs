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
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_second, count, p50_us, p99_us } = self;
        write!(f, "{per_second:.0}/s ({count} requests, p50 {p50_us} µs, p99 {p99_us} µs)")
    }
}

/// Runs a plan.
///
/// # Errors
/// When a connection breaks or an answer is no success.
pub async fn drive(
    address: SocketAddr,
    key: &str,
    salt: Salt,
    plan: Plan,
    connections: usize,
    limit: Limit,
) -> anyhow::Result<Measured> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await.with_context(|| format!("cannot connect to {address}"))?);
    }
    let histogram = Rc::new(RefCell::new(Histogram::<u64>::new_with_max(120_000_000, 3)?));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    let until = if let Limit::Time(time) = limit { Some(started + time) } else { None };
    let count = if let Limit::Count(count) = limit { Some(count) } else { None };
    for (number, connection) in open.into_iter().enumerate() {
        let requests = Requests::new(plan.clone(), salt, key, number, connections);
        tasks.spawn_local(work(connection, requests, until, count, histogram.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection's task failed")??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let histogram = histogram.borrow();
    Ok(Measured {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        per_second: histogram.len() as f64 / seconds,
        count: histogram.len(),
        p50_us: histogram.value_at_quantile(0.5),
        p99_us: histogram.value_at_quantile(0.99),
    })
}

async fn work(
    mut connection: Connection,
    mut requests: Requests,
    until: Option<Instant>,
    count: Option<usize>,
    histogram: Rc<RefCell<Histogram<u64>>>,
) -> anyhow::Result<()> {
    let mut sent = Instant::now();
    while until.is_none_or(|until| sent < until) {
        let Some(request) = requests.next(count) else { break };
        let (status, answer) = connection.exchange(request).await.context("the connection broke")?;
        if !(200..300).contains(&status) {
            bail!("answered {status}: {}", String::from_utf8_lossy(answer));
        }
        let now = Instant::now();
        let took = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
        histogram.borrow_mut().saturating_record(took);
        sent = now;
    }
    Ok(())
}
