//! A frame for streams that have nothing to say, so that proxies keep them and vanished clients are noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::runtime::Timer;

/// A named event, for a comment makes some clients deliver an empty message.
pub(crate) const FRAME: &[u8] = b"event: keep-alive\ndata: \n\n";

/// What all bodies of a stream share.
#[derive(Debug)]
pub(crate) struct Pace {
    timer: Arc<dyn Timer>,
    /// `None` is never.
    pub(crate) keep_alive: Option<Duration>,
    /// Sent with `stream-open`.
    pub(crate) retry: Option<Duration>,
    random: AtomicU64,
}

impl Pace {
    pub(crate) fn new(timer: Arc<dyn Timer>, keep_alive: Option<Duration>, retry: Option<Duration>, seed: u64) -> Self {
        Self { timer, keep_alive, retry, random: AtomicU64::new(seed) }
    }

    pub(crate) fn now(&self) -> Instant {
        self.timer.now()
    }

    /// A time from zero up to `most`, so that a crowd that came together does not act together.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        // SplitMix64: plenty for spreading clients out.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        most.mul_f64((z >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// The keep-alive of one body. Its deadline is lazy: a write stores the time, and the sleep is renewed only when it ends.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    period: Duration,
    quiet_since: Instant,
    sleeps_until: Instant,
    /// Whom the sleep wakes.
    wakes: Option<Waker>,
    /// Never locked: it only makes the sleep, which is `Send`, also `Sync`.
    sleep: Mutex<Sleep>,
}

struct Sleep(BoxFuture<'static, ()>);

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sleep")
    }
}

impl KeepAlive {
    /// `None` if keep-alives are off.
    pub(crate) fn new(pace: &Pace) -> Option<Self> {
        let period = pace.period()?;
        let now = pace.now();
        Some(Self {
            period,
            quiet_since: now,
            sleeps_until: later(now, period),
            wakes: None,
            sleep: Mutex::new(Sleep(pace.timer.sleep(period))),
        })
    }

    /// `Ready` when a keep-alive is due. `wrote` tells that something was written since the last time.
    pub(crate) fn poll(&mut self, pace: &Pace, wrote: bool, cx: &mut Context<'_>) -> Poll<()> {
        if wrote {
            self.quiet_since = pace.now();
            // As long as the sleep goes on and wakes this task, there is nothing to ask it. That it may have ended is
            // taken to be so a little before its time.
            let goes_on = later(self.quiet_since, self.period / 16) < self.sleeps_until;
            if goes_on && self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        let sleep = &mut self.sleep.get_mut().unwrap_or_else(PoisonError::into_inner).0;
        while sleep.as_mut().poll(cx).is_ready() {
            let now = pace.now();
            let quiet = now.saturating_duration_since(self.quiet_since);
            let left = self.period.checked_sub(quiet).filter(|left| !left.is_zero());
            if left.is_none() {
                self.quiet_since = now;
                self.period = pace.period().unwrap_or(self.period);
            }
            let next = left.unwrap_or(self.period);
            *sleep = pace.timer.sleep(next);
            self.sleeps_until = later(now, next);
            self.wakes = None;
            if left.is_none() {
                return Poll::Ready(());
            }
        }
        if !self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.wakes = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A time that cannot be told is never reached: the sleep is asked each time then.
fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now)
}

impl Pace {
    /// The silence after which a keep-alive is due: up to a tenth less than asked for.
    fn period(&self) -> Option<Duration> {
        self.keep_alive.map(|every| every - self.jitter(every / 10))
    }
}
