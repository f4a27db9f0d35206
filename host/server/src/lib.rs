//! The host: HTTP in front, the write path and the read side behind it. See `ARCHITECTURE.md` for the way of a command
//! and of an event through these modules, which stand here in the order in which a newcomer should read them.

pub mod auth;
pub mod command;
pub mod config;
pub mod facts;
pub mod host;
pub mod host_log;
pub mod housekeeping;
pub mod http;
pub mod leases;
pub mod plugins;
pub mod policy;
pub mod problem;
pub mod projection;
pub mod query;
pub mod relay;
pub mod transfer;
