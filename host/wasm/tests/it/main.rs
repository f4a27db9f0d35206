//! The crate from outside, against a guest that misbehaves on request (`tests/guests/faulty`).

mod calls;
mod contended;
mod faults;
mod load;
mod needs;
mod support;
mod workers;
