//! A frame for streams that have nothing to say, so that proxies keep them and vanished clients are noticed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
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
    /// Never locked: it only makes the sleep, which is `Send`, also `Sync`.
    sleep: Mutex<Sleep>,
    alarm: Arc<Alarm>,
    /// Whom the alarm wakes.
    wakes: Option<Waker>,
}

struct Sleep(BoxFuture<'static, ()>);

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sleep")
    }
}

/// What the sleep wakes. It tells a wake-up of the sleep's from one for an event, after which the sleep need not be
/// polled: with many events that is most of what a keep-alive costs.
#[derive(Debug, Default)]
struct Alarm {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Alarm {
    /// Wakes this task from now on. What it rang before is still to be asked for.
    fn wakes(&self, task: Waker) {
        let replaced = self.task.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        // A user's code, as all wakers are, so not under the lock.
        drop(replaced);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        // In this order: whoever is not woken here sees that it rang.
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl KeepAlive {
    /// `None` if keep-alives are off.
    pub(crate) fn new(pace: &Pace) -> Option<Self> {
        let period = pace.period()?;
        Some(Self {
            period,
            quiet_since: pace.now(),
            sleep: Mutex::new(Sleep(pace.timer.sleep(period))),
            // Rung, for the sleep was never polled.
            alarm: Arc::new(Alarm { rung: AtomicBool::new(true), task: Mutex::default() }),
            wakes: None,
        })
    }

    /// `Ready` when a keep-alive is due. `wrote` tells that something was written since the last time.
    pub(crate) fn poll(&mut self, pace: &Pace, wrote: bool, cx: &mut Context<'_>) -> Poll<()> {
        if wrote {
            self.quiet_since = pace.now();
        }
        if !self.wakes.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.wakes = Some(cx.waker().clone());
            self.alarm.wakes(cx.waker().clone());
        }
        if !self.alarm.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // It woke the task, and lets go of it with that.
        self.alarm.rung.store(false, Ordering::Relaxed);
        self.alarm.wakes(cx.waker().clone());
        let waker = Waker::from(self.alarm.clone());
        let sleep = &mut self.sleep.get_mut().unwrap_or_else(PoisonError::into_inner).0;
        while sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            let now = pace.now();
            let quiet = now.saturating_duration_since(self.quiet_since);
            match self.period.checked_sub(quiet).filter(|left| !left.is_zero()) {
                Some(left) => *sleep = pace.timer.sleep(left),
                None => {
                    self.quiet_since = now;
                    self.period = pace.period().unwrap_or(self.period);
                    *sleep = pace.timer.sleep(self.period);
                    self.alarm.rung.store(true, Ordering::Relaxed);
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

impl Pace {
    /// The silence after which a keep-alive is due: up to a tenth less than asked for.
    fn period(&self) -> Option<Duration> {
        self.keep_alive.map(|every| every - self.jitter(every / 10))
    }
}
