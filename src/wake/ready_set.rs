//! Which legs of a task that waits on several lists have something.
//!
//! A publisher marks the reader's leg under the channel's lock and before it draws the seq. The
//! reader reads the sequence first and takes the marks after. So any leg with an event at or below
//! that reading is marked, and the others need not be looked at.

use std::task::Waker;

use crate::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(crate) struct ReadySet(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    legs: Vec<u32>,
    waker: Option<Waker>,
}

/// One leg of a reader, as it stands on a channel's wait list.
#[derive(Debug)]
pub(crate) struct ReadyLeg {
    pub(crate) set: Arc<ReadySet>,
    pub(crate) leg: u32,
}

impl ReadyLeg {
    /// Marks the leg. If the reader sleeps, the caller wakes the returned waker with no lock held.
    pub(super) fn mark(self) -> Option<Waker> {
        let mut marks = self.set.0.lock();
        marks.legs.push(self.leg);
        marks.waker.take()
    }
}

impl ReadySet {
    /// Moves the marked legs to `legs`, each once and in order.
    #[inline]
    pub(crate) fn take_legs(&self, legs: &mut Vec<u32>) {
        legs.append(&mut self.0.lock().legs);
        if legs.len() > 1 {
            legs.sort_unstable();
            legs.dedup();
        }
    }

    /// Leaves `waker` to be woken at the next mark, unless a leg is marked already.
    #[inline]
    pub(crate) fn park(&self, waker: Waker) -> Park {
        let mut marks = self.0.lock();
        if !marks.legs.is_empty() {
            return Park::Marked(waker);
        }
        match &mut marks.waker {
            Some(parked) if parked.will_wake(&waker) => Park::Asleep(Some(waker)),
            parked => Park::Asleep(parked.replace(waker)),
        }
    }

    /// Takes the waker out, so that no user code runs when the set is dropped under a lock.
    pub(crate) fn unpark(&self) -> Option<Waker> {
        self.0.lock().waker.take()
    }
}

/// What became of a waker that was to be parked.
pub(crate) enum Park {
    /// It waits. Drop the waker that it replaced outside the lock.
    Asleep(Option<Waker>),
    /// Something is marked: look first. Here is the waker back.
    Marked(Waker),
}
