//! The bus against a Redis of its own: started by each test on a free port, harmed in each way that a Redis can be, and stopped.

mod cache;
mod chaos;
mod log;
mod loss;
mod memory;
mod order;
mod owners;
mod server;
mod wakes;
