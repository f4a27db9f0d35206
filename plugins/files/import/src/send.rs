//! One request per entry, tried again while that may help.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use crate::options::Options;
use crate::plan::Planned;

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// The first pause before a request is tried again; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, also where the host asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the host says when it does not take a request; only what is used here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    holder: Option<Holder>,
}

#[derive(Deserialize)]
struct Holder {
    id: String,
}

/// The host, as the import sees it.
pub struct Sender {
    client: Client,
    base: String,
    patience: Duration,
    gave_up: Mutex<Option<String>>,
    said_why_it_waits: AtomicBool,
}

/// What an answer means for the entry.
enum Verdict {
    There,
    TryAgain {
        reason: String,
        pause: Option<Duration>,
    },
    Refused(String),
    /// Nothing else will fare better.
    Hopeless(String),
}

impl Sender {
    /// Prepares the connections.
    ///
    /// # Errors
    /// When the key cannot be read or the URL is not one of plain HTTP.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        if !options.url.starts_with("http://") {
            bail!("{:?} does not begin with http://", options.url);
        }
        let mut key = HeaderValue::try_from(format!("Bearer {}", options.read_key()?))
            .context("the key contains characters that cannot be sent")?;
        key.set_sensitive(true);
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, key)]))
            .pool_max_idle_per_host(options.concurrency)
            .timeout(REQUEST_LIMIT)
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            client,
            base: format!("{}/v1/aggregates", options.url.trim_end_matches('/')),
            patience: Duration::from_secs(options.patience_s),
            gave_up: Mutex::new(None),
            said_why_it_waits: AtomicBool::new(false),
        })
    }

    /// Why no further requests are sent, if that is so.
    pub fn gave_up(&self) -> Option<String> {
        self.gave_up.lock().map_or_else(|broken| broken.into_inner().clone(), |reason| reason.clone())
    }

    fn give_up(&self, reason: &str) {
        let mut slot = self.gave_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.get_or_insert_with(|| reason.to_owned());
    }

    /// Creates the entry, or finds that it is there.
    ///
    /// # Errors
    /// Why the host did not take it.
    pub async fn create(&self, entry: &Planned) -> Result<(), String> {
        let kind = if entry.folder.is_some() { "folder" } else { "file" };
        let url = format!("{}/{kind}/{}/create", self.base, entry.id);
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(reason) = self.gave_up() {
                return Err(reason);
            }
            let request = self.client.post(&url).header("Idempotency-Key", entry.key.to_string());
            let verdict = match request.json(&entry.payload).send().await {
                Ok(response) => judge(response, entry).await,
                Err(error) => Verdict::TryAgain { reason: unreachable(&error), pause: None },
            };
            match verdict {
                Verdict::There => return Ok(()),
                Verdict::Refused(reason) => return Err(reason),
                Verdict::Hopeless(reason) => {
                    self.give_up(&reason);
                    return Err(reason);
                }
                Verdict::TryAgain { reason, .. } if started.elapsed() >= self.patience => {
                    self.give_up(&format!("tried for {} s: {reason}", self.patience.as_secs()));
                    return Err(reason);
                }
                Verdict::TryAgain { reason, pause: asked } => {
                    if !self.said_why_it_waits.swap(true, Ordering::Relaxed) {
                        eprintln!("{reason}; trying again for up to {} s", self.patience.as_secs());
                    }
                    tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

fn unreachable(error: &reqwest::Error) -> String {
    use std::error::Error;
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("the host cannot be reached: {cause}")
}

async fn judge(response: Response, entry: &Planned) -> Verdict {
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    // The body is read in any case, so that the connection can be used again.
    let body = response.bytes().await;
    if status.is_success() {
        return Verdict::There;
    }
    let problem: Problem =
        body.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let reason = if problem.detail.is_empty() { status.to_string() } else { problem.detail };
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Verdict::TryAgain { reason, pause: asked.map(Duration::from_secs) }
        }
        StatusCode::UNAUTHORIZED => Verdict::Hopeless(format!("the host does not accept the key: {reason}")),
        // It was created by an earlier run, whose record the host no longer has.
        StatusCode::CONFLICT if problem.holder.is_some_and(|holder| holder.id == entry.id.to_string()) => {
            Verdict::There
        }
        // It was created by an earlier run, and its size has changed since.
        StatusCode::UNPROCESSABLE_ENTITY if problem.code == "idempotency-key-reused" => Verdict::There,
        _ => Verdict::Refused(format!("{} {reason}", status.as_u16())),
    }
}
