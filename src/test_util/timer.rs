//! A clock that is moved by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::runtime::Timer;
use crate::sync::StdMutex;

/// A [`Timer`] that stands still until a test moves it. Clones are the same clock.
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
    /// When each sleep ends, and who waits for it. Numbered, so that those due at the same time
    /// wake in their order.
    sleeps: BTreeMap<(Instant, u64), Option<Waker>>,
    count: u64,
}

impl ManualTimer {
    /// A clock that shows the time of its making.
    pub fn new() -> Self {
        Self(Arc::new(StdMutex::new(Clock {
            now: Instant::now(),
            sleeps: BTreeMap::new(),
            count: 0,
        })))
    }

    /// Moves the clock on in one jump, and wakes the sleeps that are due, in their order.
    ///
    /// What sleeps anew when it is woken sleeps from the new time on: three keep-alives take three
    /// jumps.
    ///
    /// # Panics
    ///
    /// If the clock cannot show that time: after hundreds of millions of years.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut clock = self.lock();
            clock.now = clock.now.checked_add(by).expect("a time that the clock can show");
            let now = clock.now;
            let later = clock.sleeps.split_off(&(now, u64::MAX));
            std::mem::replace(&mut clock.sleeps, later)
        };
        due.into_values().flatten().for_each(Waker::wake);
    }

    /// How many sleeps there are that have not ended: each is a timer that a real clock would hold.
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

    /// One of more than a hundred years never ends.
    fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
        const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        let mut clock = self.lock();
        let number = clock.count;
        clock.count += 1;
        let key = (clock.now + for_.min(FOR_EVER), number);
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
            // Those that were due are no longer there.
            let Some(known) = clock.sleeps.get_mut(&self.key).filter(|_| self.key.0 > now) else {
                return Poll::Ready(());
            };
            known.replace(waker)
        };
        // Cloned and dropped with no lock held: wakers are a user's code.
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
