//! Connections to Redis: opened with time limits, and one that is kept open in the background for those who must not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::options::RedisOptions;

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(AbortHandle);

impl Task {
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the URL; connects to nothing.
pub(crate) fn client(options: &RedisOptions) -> Result<Client, Error> {
    options.check()?;
    let scheme = options.url.split("://").next().unwrap_or_default();
    if matches!(scheme, "rediss" | "valkeys") {
        return Err(Error::Tls);
    }
    let refused = |error: RedisError| Error::Url { reason: error.category().to_owned() };
    let info = options.url.as_str().into_connection_info().map_err(refused)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(Error::Tls);
    }
    Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true))).map_err(refused)
}

/// A connection whose every answer is waited for only so long.
pub(crate) async fn connect(
    client: &Client,
    connect_timeout: Duration,
    response_timeout: Duration,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect_timeout))
        .set_response_timeout(Some(response_timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A connection that somebody else opens: whoever wants to use it gets it at once, or hears at once that there is none. It is
/// the circuit breaker, too: after failures it is closed, and it comes back when Redis has answered.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    current: watch::Sender<Option<MultiplexedConnection>>,
    failures: Arc<AtomicU32>,
    failures_limit: u32,
    _keeper: Arc<Task>,
}

impl Link {
    /// Keeps a connection from now on. `failures_limit` failures in a row close it.
    pub fn keep(
        client: Client,
        options: &RedisOptions,
        response_timeout: Duration,
        failures_limit: u32,
    ) -> Self {
        let current = watch::Sender::new(None);
        let keeper = Keeper {
            client,
            current: current.clone(),
            connect_timeout: options.connect_timeout(),
            response_timeout,
            retry_max: options.retry_max(),
        };
        let failures = Arc::new(AtomicU32::new(0));
        Self { current, failures, failures_limit, _keeper: Arc::new(Task::spawn(keeper.run())) }
    }

    /// The connection, if there is one.
    pub fn get(&self) -> Option<MultiplexedConnection> {
        self.current.borrow().clone()
    }

    /// Waits for a connection; `None` when the keeper is gone.
    pub async fn wait(&self) -> Option<MultiplexedConnection> {
        let mut current = self.current.subscribe();
        let found = current.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }

    /// It answered.
    pub fn worked(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// It did not answer, or not in time.
    pub fn failed(&self, error: &RedisError) {
        let in_a_row = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row >= self.failures_limit || error.is_unrecoverable_error() {
            self.failures.store(0, Ordering::Relaxed);
            self.current.send_replace(None);
        }
    }
}

/// Opens a connection, waits until it is given up, and again.
struct Keeper {
    client: Client,
    current: watch::Sender<Option<MultiplexedConnection>>,
    connect_timeout: Duration,
    response_timeout: Duration,
    retry_max: Duration,
}

impl Keeper {
    async fn run(self) {
        let mut backoff = Backoff::new(self.retry_max);
        let mut given_up = self.current.subscribe();
        loop {
            match self.open().await {
                Ok(connection) => {
                    self.current.send_replace(Some(connection));
                    let opened = Instant::now();
                    if given_up.wait_for(Option::is_none).await.is_err() {
                        return;
                    }
                    tracing::debug!("Redis does not answer; it is left alone for a while");
                    if opened.elapsed() > self.retry_max {
                        backoff.reset();
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection to Redis"),
            }
            backoff.pause().await;
        }
    }

    /// Opens a connection that has answered within the time that its users give it.
    async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = connect(&self.client, self.connect_timeout, self.response_timeout).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_reached_is_said_without_the_password() {
        let refused = |url: &str| client(&RedisOptions::new(url)).expect_err("refused").to_string();
        assert!(refused("rediss://127.0.0.1").contains("TLS"));
        assert!(refused("http://:secret@127.0.0.1").contains("not understood"));
        assert!(!refused("http://:secret@127.0.0.1").contains("secret"));
        assert!(refused("").contains("not understood"));
        client(&RedisOptions::new("redis://127.0.0.1:1/3")).expect("understood");
    }
}
