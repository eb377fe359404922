//! One sleep for many tasks: those that wait for the same time share it.

use std::collections::HashMap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

use crate::sync::{AtomicU64, Mutex};
use crate::wake::{is_armed, Ticket, WaitList, WakerId, FIRST_GENERATION};

/// The sleeps that somebody waits for, by the time at which they end.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedSleeps(Arc<Mutex<HashMap<u64, Weak<SharedSleep>>>>);

/// Wakes everybody who waits for it once it ends, and whenever its future wants to be polled.
#[derive(Debug)]
pub(crate) struct SharedSleep {
    at: u64,
    waiters: Arc<Waiters>,
    future: Mutex<Sleep>,
    sleeps: SharedSleeps,
}

enum Sleep {
    Idle(BoxFuture<'static, ()>),
    /// A task is polling the future. It does so without the lock, because timers are user code.
    Polling {
        /// Another task tried to poll it meanwhile.
        again: bool,
    },
    Ended,
}

/// The tasks that wait. This is the future's waker, so it must not own the future.
#[derive(Debug)]
struct Waiters {
    /// The list's generation, to be read without the lock.
    generation: AtomicU64,
    list: Mutex<WaitList>,
}

/// One task's place among the waiters of a sleep.
#[derive(Debug)]
pub(crate) struct Registration {
    sleep: Arc<SharedSleep>,
    ticket: Ticket,
    task: WakerId,
}

impl SharedSleeps {
    /// The sleep that ends at `at`; `sleep` makes its future if there is none yet.
    pub(super) fn until(
        &self,
        at: u64,
        sleep: impl FnOnce() -> BoxFuture<'static, ()>,
    ) -> Arc<SharedSleep> {
        let known = self.known(at);
        known.unwrap_or_else(|| {
            // Made without the lock, because timers are user code.
            let future = Mutex::new(Sleep::Idle(sleep()));
            let made =
                Arc::new(SharedSleep { at, waiters: Arc::default(), future, sleeps: self.clone() });
            let mut sleeps = self.0.lock();
            let entry = sleeps.entry(at).or_default();
            let first = entry.upgrade();
            if first.is_none() {
                *entry = Arc::downgrade(&made);
            }
            drop(sleeps);
            first.unwrap_or(made)
        })
    }

    fn known(&self, at: u64) -> Option<Arc<SharedSleep>> {
        self.0.lock().get(&at)?.upgrade()
    }

    /// Nobody else joins this sleep from now on.
    fn remove(&self, sleep: &SharedSleep) {
        let mut sleeps = self.0.lock();
        if sleeps.get(&sleep.at).is_some_and(|known| std::ptr::eq(known.as_ptr(), sleep)) {
            sleeps.remove(&sleep.at);
        }
    }
}

impl Registration {
    pub(super) fn new(sleep: Arc<SharedSleep>) -> Self {
        Self { sleep, ticket: Ticket::default(), task: WakerId::default() }
    }

    /// When the sleep ends.
    pub(crate) fn at(&self) -> u64 {
        self.sleep.at
    }

    /// Whether `task` is among the waiters, and they have not been woken since.
    #[inline]
    pub(crate) fn will_wake(&self, task: &Waker) -> bool {
        is_armed(self.ticket, &self.sleep.waiters.generation, self.task, WakerId::of(task))
    }

    /// Has `task` woken when the sleep ends. `Ready` if it has ended.
    pub(crate) fn wait(&mut self, task: &Waker) -> Poll<()> {
        let waker = task.clone();
        self.task = WakerId::of(&waker);
        let replaced = self.sleep.waiters.list.lock().arm_task(&mut self.ticket, waker);
        drop(replaced);
        self.sleep.poll()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waker = self.sleep.waiters.list.lock().disarm_task(self.ticket);
        drop(waker);
    }
}

impl SharedSleep {
    /// Polls the future on behalf of all waiters. They are woken when it wants to be polled again,
    /// and when it ends.
    fn poll(&self) -> Poll<()> {
        let mut sleep = self.future.lock();
        let mut future = match std::mem::replace(&mut *sleep, Sleep::Polling { again: false }) {
            Sleep::Idle(future) => future,
            Sleep::Polling { .. } => {
                *sleep = Sleep::Polling { again: true };
                return Poll::Pending;
            }
            Sleep::Ended => {
                *sleep = Sleep::Ended;
                return Poll::Ready(());
            }
        };
        drop(sleep);
        let ended = Ended(self);
        let waker = Waker::from(self.waiters.clone());
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return Poll::Ready(());
        }
        std::mem::forget(ended);
        let before = std::mem::replace(&mut *self.future.lock(), Sleep::Idle(future));
        // The future may have asked to be polled before that task registered, and nobody else may
        // come: that task has to try once more.
        if matches!(before, Sleep::Polling { again: true }) {
            self.waiters.wake_all();
        }
        Poll::Pending
    }
}

/// Ends the sleep when dropped, also where its future panics: the other waiters then move on to
/// another sleep.
struct Ended<'a>(&'a SharedSleep);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        *self.0.future.lock() = Sleep::Ended;
        self.0.sleeps.remove(self.0);
        self.0.waiters.wake_all();
    }
}

impl Drop for SharedSleep {
    fn drop(&mut self) {
        self.sleeps.remove(self);
    }
}

impl Waiters {
    /// Wakes all waiters. A waker that panics ends here: this may run on a thread that serves all
    /// timers of the process.
    fn wake_all(&self) {
        let woken = self.list.lock().take(&self.generation);
        if let Some(woken) = woken {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| woken.wake())) {
                // Dropping the payload may panic again.
                std::mem::forget(panic);
            }
        }
    }
}

impl Default for Waiters {
    fn default() -> Self {
        Self { generation: AtomicU64::new(FIRST_GENERATION), list: Mutex::default() }
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}
