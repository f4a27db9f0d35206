//! Servers of a test's own: PostgreSQL and Redis from the machine's binaries, on free ports, with folders of their own.
//!
//! They are gone with the test, however it ends: a guardian process holds the other end of a pipe, and when that closes, as it
//! does when a process is killed, it kills the server and removes the folder.
//!
//! # Panics
//! Everything here panics where it fails, with a text that says what to do: there is no other way to go on with a test.

mod guardian;
mod postgres;
mod process;
mod redis;

pub use postgres::Postgres;
pub use redis::Redis;
