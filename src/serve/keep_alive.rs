//! A frame for streams that have nothing to say, so that proxies keep them and vanished clients are noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
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
    quiet_since: Instant,
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
        let period = pace.period(pace.keep_alive?);
        Some(Self { quiet_since: pace.now(), sleep: Mutex::new(Sleep(pace.timer.sleep(period))) })
    }

    /// `Ready` when a keep-alive is due. `wrote` tells that something was written since the last time.
    ///
    /// The sleep is asked each time: only it knows whether it was what woke the task, and what it needs.
    pub(crate) fn poll(&mut self, pace: &Pace, wrote: bool, cx: &mut Context<'_>) -> Poll<()> {
        if wrote {
            self.quiet_since = pace.now();
        }
        let every = pace.keep_alive.unwrap_or(Duration::MAX);
        let sleep = &mut self.sleep.get_mut().unwrap_or_else(PoisonError::into_inner).0;
        loop {
            std::task::ready!(sleep.as_mut().poll(cx));
            let now = pace.now();
            let quiet = now.saturating_duration_since(self.quiet_since);
            if quiet >= every - every / EARLY {
                self.quiet_since = now;
                *sleep = pace.timer.sleep(pace.period(every));
                return Poll::Ready(());
            }
            *sleep = pace.timer.sleep(pace.period(every) - quiet);
        }
    }
}

/// A keep-alive comes by up to this part of its period early.
const EARLY: u32 = 10;

impl Pace {
    /// A silence after which a keep-alive is due.
    fn period(&self, every: Duration) -> Duration {
        every - self.jitter(every / EARLY)
    }
}
