//! How the parts of a host hear that the log has grown, and how the rest of the world does. The only crate that knows Redis.
//!
//! [`Bus`] wakes: inside of the process, and with Redis the other hosts too. [`Relay`] publishes the log to Redis Streams for
//! others to consume. [`Cache`] keeps what is expensive to make and cannot go stale.
//!
//! Everything here is a hint or a copy. The log is the truth and is read by whoever needs to know; Redis may be slow, gone,
//! emptied or wrong, and nothing but speed is lost. No command waits for anything in this crate.

mod backoff;
mod bus;
pub mod cache;
pub mod cloud_event;
mod connection;
mod error;
mod hints;
mod keys;
mod options;
pub mod relay;

pub use bus::{Bus, Wakes};
pub use cache::{Cache, Validity};
pub use error::Error;
pub use options::{CacheOptions, ForeignLog, RedisOptions};
pub use relay::{Page, Relay, Status, Superseded};
