//! A frame for streams that have nothing to say, so that proxies keep them and vanished clients are
//! noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::alarm::{Alarms, Seat};
use crate::runtime::Timer;

/// A named event, for a comment makes some clients deliver an empty message.
pub(crate) const FRAME: &[u8] = b"event: keep-alive\ndata: \n\n";

/// A keep-alive comes by up to this part of its period early.
const EARLY: u32 = 10;
/// Into how many stretches that part is cut: as many alarms serve a crowd that came together.
const STRETCHES: u64 = 64;

/// What all bodies of a stream share.
#[derive(Debug)]
pub(crate) struct Pace {
    timer: Arc<dyn Timer>,
    /// Alarms count from here.
    start: Instant,
    /// `None` is never.
    pub(crate) keep_alive: Option<Duration>,
    /// Sent with `stream-open`.
    pub(crate) retry: Option<Duration>,
    random: AtomicU64,
    alarms: Alarms,
}

impl Pace {
    pub(crate) fn new(
        timer: Arc<dyn Timer>,
        keep_alive: Option<Duration>,
        retry: Option<Duration>,
        seed: u64,
    ) -> Self {
        let start = timer.now();
        Self {
            timer,
            start,
            keep_alive,
            retry,
            random: AtomicU64::new(seed),
            alarms: Alarms::default(),
        }
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

    /// Nanoseconds from the start, as alarms count.
    fn count(&self, time: Instant) -> u64 {
        nanoseconds(time.saturating_duration_since(self.start))
    }

    /// At the alarm for a keep-alive after this silence: it rings when that is due, which is not
    /// yet now.
    fn seat(&self, every: Duration, quiet_since: Instant, now: Instant) -> Seat {
        let early = nanoseconds(every / EARLY);
        let stretch = (early / STRETCHES).max(1);
        let jitter = nanoseconds(self.jitter(Duration::from_nanos(early.saturating_sub(stretch))));
        let latest = self.count(quiet_since).saturating_add(nanoseconds(every));
        let at = (latest - jitter) / stretch * stretch;
        let left = at.saturating_sub(self.count(now));
        Seat::new(self.alarms.at(at, || self.timer.sleep(Duration::from_nanos(left))))
    }
}

/// Over five hundred years is for ever.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The keep-alive of one body. Its deadline is lazy: a write stores the time, and the body takes
/// another seat only when the alarm rings at which it sits.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    quiet_since: Instant,
    seat: Option<Seat>,
}

impl KeepAlive {
    pub(crate) fn new(pace: &Pace) -> Self {
        Self { quiet_since: pace.now(), seat: None }
    }

    /// `Ready` when a keep-alive is due. `wrote` tells that something was written since the last
    /// time.
    pub(crate) fn poll(&mut self, pace: &Pace, wrote: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(every) = pace.keep_alive else { return Poll::Pending };
        if wrote {
            self.quiet_since = pace.now();
        }
        match &self.seat {
            Some(seat) if seat.is_held_by(cx.waker()) => Poll::Pending,
            _ => self.look(pace, every, cx),
        }
    }

    /// The alarm has rung, or there is none yet, or this is another task.
    #[cold]
    fn look(&mut self, pace: &Pace, every: Duration, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = pace.now();
            if now.saturating_duration_since(self.quiet_since) >= every - every / EARLY {
                self.quiet_since = now;
                return Poll::Ready(());
            }
            // One that rang before its time has a sleep that wants to be polled.
            let seat = match self.seat.take().filter(|seat| seat.at() > pace.count(now)) {
                Some(seat) => seat,
                None => pace.seat(every, self.quiet_since, now),
            };
            if self.seat.insert(seat).take(cx.waker()).is_pending() {
                return Poll::Pending;
            }
            self.seat = None;
        }
    }
}
