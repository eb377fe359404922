//! A sleep for many bodies: those whose time comes within the same short stretch share one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

use crate::hub::{Ticket, WaitList, WakerId, FIRST_GENERATION};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The alarms that somebody waits for, by the time at which they ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms(Arc<Mutex<HashMap<u64, Weak<Alarm>>>>);

/// Rings once at its time, and whenever its sleep wants to be polled.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: u64,
    bell: Arc<Bell>,
    sleep: Mutex<Sleep>,
    alarms: Alarms,
}

enum Sleep {
    Waits(BoxFuture<'static, ()>),
    /// A task polls it, with no lock held: it is the user's code.
    Polled {
        /// Another task wanted to meanwhile.
        again: bool,
    },
    Ended,
}

/// Who waits. It is the sleep's waker, and so must not own the sleep.
#[derive(Debug)]
struct Bell {
    /// The list's generation, for a look without the lock.
    generation: AtomicU64,
    waiting: Mutex<WaitList>,
}

/// One task's place at an alarm.
#[derive(Debug)]
pub(crate) struct Seat {
    alarm: Arc<Alarm>,
    ticket: Ticket,
    task: WakerId,
}

impl Alarms {
    /// The alarm at this time, with a sleep that is made if there is none yet.
    pub(crate) fn at(&self, at: u64, sleep: impl FnOnce() -> BoxFuture<'static, ()>) -> Arc<Alarm> {
        let known = self.known(at);
        known.unwrap_or_else(|| {
            // Made with no lock held: it is the user's code.
            let sleep = Mutex::new(Sleep::Waits(sleep()));
            let alarm = Arc::new(Alarm { at, bell: Arc::default(), sleep, alarms: self.clone() });
            let mut alarms = self.0.lock();
            let place = alarms.entry(at).or_default();
            let sooner = place.upgrade();
            if sooner.is_none() {
                *place = Arc::downgrade(&alarm);
            }
            drop(alarms);
            sooner.unwrap_or(alarm)
        })
    }

    fn known(&self, at: u64) -> Option<Arc<Alarm>> {
        self.0.lock().get(&at)?.upgrade()
    }

    /// Nobody comes to this alarm any more.
    fn remove(&self, alarm: &Alarm) {
        let mut alarms = self.0.lock();
        if alarms.get(&alarm.at).is_some_and(|known| std::ptr::eq(known.as_ptr(), alarm)) {
            alarms.remove(&alarm.at);
        }
    }
}

impl Seat {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { alarm, ticket: Ticket::default(), task: WakerId::default() }
    }

    /// When it rings.
    pub(crate) fn at(&self) -> u64 {
        self.alarm.at
    }

    /// Whether this task will be woken as things are: it sits here, and the alarm has not rung.
    #[inline]
    pub(crate) fn is_held_by(&self, task: &Waker) -> bool {
        self.ticket.is_good(self.alarm.bell.generation.load(Ordering::Acquire))
            && self.task == WakerId::of(task)
    }

    /// From now on this task is woken when the alarm rings. `Ready` if its sleep has ended.
    pub(crate) fn take(&mut self, task: &Waker) -> Poll<()> {
        let waker = task.clone();
        self.task = WakerId::of(&waker);
        let replaced = self.alarm.bell.waiting.lock().arm_task(&mut self.ticket, waker);
        drop(replaced);
        self.alarm.poll()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let waker = self.alarm.bell.waiting.lock().disarm_task(self.ticket);
        drop(waker);
    }
}

impl Alarm {
    /// Polls the sleep on behalf of all who sit here. They are woken when it wants to be polled
    /// again, and when it ends.
    fn poll(&self) -> Poll<()> {
        let mut sleep = self.sleep.lock();
        let mut future = match std::mem::replace(&mut *sleep, Sleep::Polled { again: false }) {
            Sleep::Waits(future) => future,
            Sleep::Polled { .. } => {
                *sleep = Sleep::Polled { again: true };
                return Poll::Pending;
            }
            Sleep::Ended => {
                *sleep = Sleep::Ended;
                return Poll::Ready(());
            }
        };
        drop(sleep);
        let end = End(self);
        let waker = Waker::from(self.bell.clone());
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return Poll::Ready(());
        }
        std::mem::forget(end);
        let before = std::mem::replace(&mut *self.sleep.lock(), Sleep::Waits(future));
        // It may have wanted to be polled before that task sat down, and nobody else may come: it
        // shall try once more.
        if matches!(before, Sleep::Polled { again: true }) {
            self.bell.ring();
        }
        Poll::Pending
    }
}

/// The end of a sleep, also of one that panics: who else sits at its alarm takes another.
struct End<'a>(&'a Alarm);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.sleep.lock() = Sleep::Ended;
        self.0.alarms.remove(self.0);
        self.0.bell.ring();
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.alarms.remove(self);
    }
}

impl Bell {
    fn ring(&self) {
        let woken = self.waiting.lock().take(&self.generation);
        if let Some(woken) = woken {
            woken.wake();
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self { generation: AtomicU64::new(FIRST_GENERATION), waiting: Mutex::default() }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}
