//! A stop watch of processor time: what others do on the machine does not count.

use std::time::Duration;

/// Started when it was made.
#[derive(Clone, Copy)]
pub struct Watch(Duration);

impl Watch {
    /// Starts.
    pub fn start() -> Self {
        Self(now())
    }

    /// So many decisions since the start, for each second that this process has computed.
    pub fn per_second(self, decisions: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of decisions is far below 2^52")]
        let decisions = decisions as f64;
        decisions / now().saturating_sub(self.0).as_secs_f64()
    }
}

/// The processor time of all threads of this process.
#[cfg(unix)]
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // It is never negative.
    Duration::try_from(time).unwrap_or_default()
}

/// Where there is no such clock, what others do does count.
#[cfg(not(unix))]
fn now() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}
