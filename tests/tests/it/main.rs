//! Tests of a whole host over HTTP: one binary, so that it is linked once; one file for each promise.

mod campaign;
mod cascade;
mod cluster;
mod commands;
mod crash;
mod dead_letters;
mod disk;
mod export;
mod history;
mod hostile;
mod hot_file;
mod idempotency;
mod import;
mod journal;
mod lifecycle;
mod log_import;
mod moves;
mod names;
mod permissions;
mod problems;
mod queries;
mod rebuilds;
mod streams;
