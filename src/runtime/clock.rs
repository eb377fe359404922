//! The clock of one stream: the time as a number, jitter, and sleeps that many tasks share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::random::Random;
use super::shared_sleep::{Registration, SharedSleeps};
use super::Timer;

/// A [`Timer`] read in nanoseconds since the clock was made.
#[derive(Debug)]
pub(crate) struct Clock {
    timer: Arc<dyn Timer>,
    start: Instant,
    random: Random,
    sleeps: SharedSleeps,
}

impl Clock {
    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        let start = timer.now();
        Self { timer, start, random: Random::new(), sleeps: SharedSleeps::default() }
    }

    /// Nanoseconds since the clock was made.
    pub(crate) fn now(&self) -> u64 {
        nanos(self.timer.now().saturating_duration_since(self.start))
    }

    /// A duration between zero and `most`, so that clients which arrived together do not act
    /// together.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        self.random.jitter(most)
    }

    /// A sleep of one task's own, counted from this call.
    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.timer.sleep(duration)
    }

    /// A place at the sleep that ends at `at`, shared by everybody who waits for exactly that time.
    pub(crate) fn sleep_until(&self, at: u64, now: u64) -> Registration {
        let left = Duration::from_nanos(at.saturating_sub(now));
        Registration::new(self.sleeps.until(at, || self.timer.sleep(left)))
    }
}

/// Whole nanoseconds. More than fits into 64 bits, 584 years, counts as forever.
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
