//! Randomness that repeats: the host gives every command 128 random bits, and all that looks random in a decision
//! grows from them. A replay of the command therefore sees the same ids.

use std::cell::Cell;

use uuid::Uuid;

/// A generator of pseudo-random numbers (SplitMix64, Steele, Lea and Flood, 2014, over both halves of the seed).
///
/// Good enough for ids and samples, not for secrets: whoever knows the command's seed knows the numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: Cell<u64>,
    stream: u64,
}

impl Random {
    /// The generator that grows from these 128 bits.
    pub const fn new(seed: (u64, u64)) -> Self {
        Self { state: Cell::new(seed.0), stream: seed.1 }
    }

    /// The next 64 bits.
    pub fn next_u64(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        mix(mix(state) ^ self.stream)
    }

    /// A new UUID (version 4).
    pub fn next_uuid(&self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_half_gives_others() {
        let (one, two, other) = (Random::new((1, 2)), Random::new((1, 2)), Random::new((1, 3)));
        let numbers: Vec<u64> = (0..4).map(|_| one.next_u64()).collect();
        assert_eq!(numbers, (0..4).map(|_| two.next_u64()).collect::<Vec<_>>());
        assert_ne!(numbers, (0..4).map(|_| other.next_u64()).collect::<Vec<_>>());
        assert_eq!(one.next_uuid().get_version_num(), 4);
    }
}
