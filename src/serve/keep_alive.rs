//! Keep-alives: a frame for streams that have been silent, so that proxies keep them open and a
//! client that vanished is noticed.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::runtime::{nanos, Clock, Registration};

/// A keep-alive may come early by up to this fraction of its period.
const EARLY: u64 = 10;
/// That fraction is cut into this many steps: clients that arrived together share at most this many
/// sleeps.
const STEPS: u64 = 64;
/// A poll gives way to other tasks after this many sleeps that ended before their time.
const TURNS: usize = 4;

/// The keep-alive of one body. Its deadline is lazy: a write only stores the time, and the body
/// moves on to another sleep when the one that it waits for has ended.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    quiet_since: u64,
    sleep: Option<Registration>,
}

impl KeepAlive {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { quiet_since: clock.now(), sleep: None }
    }

    /// `Ready` when a keep-alive is due after `every` of silence. `wrote` says that something was
    /// written since the last call.
    pub(crate) fn poll(
        &mut self,
        clock: &Clock,
        every: Duration,
        wrote: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if wrote {
            self.quiet_since = clock.now();
        }
        match &self.sleep {
            Some(sleep) if sleep.will_wake(cx.waker()) => Poll::Pending,
            _ => self.look(clock, nanos(every), cx),
        }
    }

    /// The slow path: the sleep has ended, or there is none yet, or another task polls the body.
    #[cold]
    fn look(&mut self, clock: &Clock, every: u64, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = clock.now();
            if now.saturating_sub(self.quiet_since) >= every - every / EARLY {
                self.quiet_since = now;
                return Poll::Ready(());
            }
            // A sleep that woke this task before its time wants to be polled again.
            let sleep = match self.sleep.take().filter(|sleep| sleep.at() > now) {
                Some(sleep) => sleep,
                None => clock.sleep_until(self.deadline(clock, every), now),
            };
            if self.sleep.insert(sleep).wait(cx.waker()).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        // A timer that is early must not keep this thread: other tasks run before this one asks it
        // again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// When the keep-alive is due: up to a tenth of the period early, at the beginning of a step.
    fn deadline(&self, clock: &Clock, every: u64) -> u64 {
        let early = every / EARLY;
        let step = (early / STEPS).max(1);
        let jitter = nanos(clock.jitter(Duration::from_nanos(early.saturating_sub(step))));
        (self.quiet_since.saturating_add(every) - jitter) / step * step
    }
}
