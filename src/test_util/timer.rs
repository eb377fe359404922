//! A clock that a test moves by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::runtime::Timer;
use crate::sync::StdMutex;

/// A [`Timer`] that stands still until a test moves it. All clones share one clock.
///
/// ```
/// use std::time::Duration;
/// use eventstream::runtime::Timer;
/// use eventstream::test_util::ManualTimer;
/// use futures::FutureExt;
///
/// let timer = ManualTimer::new();
/// let mut sleep = timer.sleep(Duration::from_secs(60));
/// assert!((&mut sleep).now_or_never().is_none());
/// timer.advance(Duration::from_secs(60));
/// assert!(sleep.now_or_never().is_some());
/// ```
#[derive(Clone, Debug)]
pub struct ManualTimer(Arc<StdMutex<Clock>>);

#[derive(Debug)]
struct Clock {
    now: Instant,
    /// When each sleep ends, and the waker of the task that waits for it. The number keeps sleeps
    /// that end at the same time in the order in which they were started.
    sleeps: BTreeMap<(Instant, u64), Option<Waker>>,
    count: u64,
}

impl ManualTimer {
    /// Creates a clock that stands still at the current time.
    pub fn new() -> Self {
        Self(Arc::new(StdMutex::new(Clock {
            now: Instant::now(),
            sleeps: BTreeMap::new(),
            count: 0,
        })))
    }

    /// Moves the clock forward in one jump, and wakes the sleeps that are due, in the order of
    /// their ends.
    ///
    /// A task that sleeps again when it is woken sleeps from the new time on, so three keep-alives
    /// need three jumps.
    ///
    /// # Panics
    ///
    /// If an [`Instant`] cannot represent the new time.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut clock = self.lock();
            clock.now = clock.now.checked_add(by).expect("an `Instant` can represent the new time");
            let now = clock.now;
            let later = clock.sleeps.split_off(&(now, u64::MAX));
            std::mem::replace(&mut clock.sleeps, later)
        };
        due.into_values().flatten().for_each(Waker::wake);
    }

    /// Returns how many sleeps have not ended. With a real clock, each of them would hold a timer.
    pub fn sleeping(&self) -> usize {
        self.lock().sleeps.len()
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock()
    }
}

impl Default for ManualTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for ManualTimer {
    fn now(&self) -> Instant {
        self.lock().now
    }

    /// A sleep of more than a hundred years ends after a hundred years.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        let mut clock = self.lock();
        let number = clock.count;
        clock.count += 1;
        let key = (clock.now + duration.min(FOREVER), number);
        clock.sleeps.insert(key, None);
        Box::pin(Sleep { timer: self.clone(), key })
    }
}

struct Sleep {
    timer: ManualTimer,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let replaced = {
            let mut clock = self.timer.lock();
            let now = clock.now;
            // `advance` has removed the sleeps that were due.
            let Some(known) = clock.sleeps.get_mut(&self.key).filter(|_| self.key.0 > now) else {
                return Poll::Ready(());
            };
            known.replace(waker)
        };
        // Wakers are user code, so they are cloned and dropped with no lock held.
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let removed = self.timer.lock().sleeps.remove(&self.key);
        drop(removed);
    }
}
