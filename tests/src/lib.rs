//! What tests of Cairn as a whole are made with: a real host as a process of its own, and a client that speaks to
//! it over HTTP like everybody else.
//!
//! ```no_run
//! # async fn example() {
//! use cairn_tests::{TestHost, new_id};
//! use serde_json::json;
//!
//! let host = TestHost::start().await;
//! let id = new_id();
//! host.client().command("file", id, "create", json!({"name": "a.txt"})).await.created();
//! # }
//! ```
//!
//! Everything here panics instead of answering errors: a test that cannot go on has failed.

mod built;
mod client;
mod dump;
mod host;
mod proxy;
mod random;

use std::time::{Duration, Instant};

pub use built::{cairn, files_import, files_plugin, guest};
pub use client::{Answer, Client};
pub use dump::{all_items, copy_folder, read_model, sqlite};
pub use host::{Builder, TestHost};
pub use proxy::{Network, Proxy};
pub use random::Random;
use uuid::Uuid;

/// A new id.
pub fn new_id() -> Uuid {
    cairn_model::ids::new_id(cairn_model::Clock::System.now())
}

/// Whether the long form of tests is asked for (`CAIRN_FULL=1`).
pub fn is_full() -> bool {
    std::env::var_os("CAIRN_FULL").is_some_and(|value| value == "1")
}

/// The size of a test: `short` in every run, `full` in long campaigns.
pub fn size(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// Asks again and again until the answer is `Ok`.
///
/// # Panics
/// When it is still `Err` after the time; the message is the last one.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(
    within: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(last) if started.elapsed() >= within => panic!("not within {within:?}: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
