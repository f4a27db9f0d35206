//! How long a call may take, measured in the time that its thread really ran: on a machine with too much to do, a guest
//! that was not given the processor has not used its time, and the same command must not fail there.
//!
//! Reading that clock costs more than a short call, so it is read only when a call outlives the first ticks.

use std::time::Duration;

use wasmtime::UpdateDeadline;

/// After so many ticks a call is looked at for the first time, and again.
pub(crate) const STEP_TICKS: u64 = 2;

/// The time that a call has left.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    limit: Duration,
    /// The thread's clock when the call was first looked at.
    since: Option<Duration>,
}

impl Deadline {
    /// Begins a call that may take this long (and the ticks until it is first looked at).
    pub fn begin(&mut self, limit: Duration) {
        *self = Self { limit, since: None };
    }

    /// Looks at the call: may it go on?
    pub fn look(&mut self) -> UpdateDeadline {
        let now = thread_time();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= self.limit {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(STEP_TICKS)
        }
    }
}

/// For how long this thread has had a processor.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// For how long the process has existed: where threads have no clock of their own, waiting counts too.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_the_processor_does_not_count() {
        let mut deadline = Deadline::default();
        deadline.begin(Duration::from_millis(20));
        assert!(matches!(deadline.look(), UpdateDeadline::Continue(_)));
        if cfg!(unix) {
            std::thread::sleep(Duration::from_millis(50));
            assert!(matches!(deadline.look(), UpdateDeadline::Continue(_)));
        }
        let start = thread_time();
        while thread_time() - start < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        assert!(matches!(deadline.look(), UpdateDeadline::Interrupt));
    }
}
