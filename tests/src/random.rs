//! Random choices that a failed test can repeat.

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `CAIRN_SEED`, or else by the clock; the seed is printed, so it stands in a failed test's output.
    pub fn new() -> Self {
        let given = std::env::var("CAIRN_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| cairn_model::Clock::System.now().micros().unsigned_abs());
        println!("CAIRN_SEED={seed}");
        Self::seeded(seed)
    }

    /// With this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.max(1)
    }

    /// A place in a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
