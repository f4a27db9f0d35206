//! Ids, and the randomness of guests: the only place of the project that asks for random bytes.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::clock::Timestamp;

/// The namespace of every UUIDv5 that Cairn derives.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_3c52_0a0e_5e0b_9d53_6361_6972_6e00);

/// A new UUIDv7: its first 48 bits are the time in milliseconds, so ids sort by their making.
///
/// # Panics
/// If the operating system has no randomness, without which nothing here is safe.
pub fn new_id(now: Timestamp) -> Uuid {
    let mut random = [0; 10];
    fill_random(&mut random);
    let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Fills the buffer with bytes that nobody can guess.
///
/// # Panics
/// If the operating system has no randomness, without which nothing here is safe.
pub fn fill_random(buffer: &mut [u8]) {
    if let Err(error) = getrandom::fill(buffer) {
        panic!("the operating system gives no random bytes: {error}");
    }
}

/// The UUIDv5 of these parts; parts are framed by their length, so no two lists give the same name.
pub fn derived_id(parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

/// The 128 bits of randomness that a guest gets with a command: a function of the command's id, so that every
/// replay of the command sees the same.
pub fn seed(command_id: Uuid) -> (u64, u64) {
    let digest = Sha256::new().chain_update(b"cairn seed").chain_update(command_id.as_bytes()).finalize();
    let half = |from: usize| digest[from..from + 8].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    (half(0), half(8))
}
