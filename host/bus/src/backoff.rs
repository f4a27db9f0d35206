//! Pauses between attempts: they double up to a limit, and vary, so that many hosts do not knock at the same time.

use std::time::Duration;

use cairn_model::ids;

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// More doublings than this reach every limit.
const DOUBLINGS_MAX: u32 = 16;

/// How many attempts failed in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    limit: Duration,
}

impl Backoff {
    pub fn new(limit: Duration) -> Self {
        Self { failures: 0, limit }
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait, between half of the pause and all of it.
    pub fn next(&mut self) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.limit);
        self.failures = self.failures.saturating_add(1);
        let mut random = [0; 4];
        ids::fill_random(&mut random);
        let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }

    /// Waits as long.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_begin_again() {
        let limit = Duration::from_secs(1);
        let mut backoff = Backoff::new(limit);
        assert!(backoff.next() <= PAUSE_MIN);
        for _ in 0..100 {
            assert!(backoff.next() <= limit);
        }
        assert!(backoff.next() >= limit / 2);
        backoff.reset();
        assert!(backoff.next() <= PAUSE_MIN);
    }
}
