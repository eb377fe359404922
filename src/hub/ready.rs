//! How a reader of several channels learns which of them have something.
//!
//! A publisher marks the reader's leg under the channel's lock and before it draws the seq. The
//! reader reads the clock first and takes the marks after: so any leg with an event at or below
//! that reading is marked, and the others need not be looked at.

use std::task::Waker;

use crate::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    legs: Vec<u32>,
    waker: Option<Waker>,
}

/// One leg of a reader, as it stands on a channel's wait list.
#[derive(Debug)]
pub(super) struct ReadyLeg {
    pub(super) ready: Arc<Ready>,
    pub(super) leg: u32,
}

impl ReadyLeg {
    /// Marks the leg; the waker, if the reader sleeps, is for the caller to wake with no lock held.
    pub(super) fn mark(self) -> Option<Waker> {
        let mut state = self.ready.0.lock();
        state.legs.push(self.leg);
        state.waker.take()
    }
}

impl Ready {
    /// Adds the marked legs to `legs`, each once.
    pub(super) fn take_legs(&self, legs: &mut Vec<u32>) {
        legs.append(&mut self.0.lock().legs);
        if legs.len() > 1 {
            legs.sort_unstable();
            legs.dedup();
        }
    }

    /// Leaves a waker unless a leg is marked. Gives back what must be dropped outside the lock, or
    /// the waker itself if there is something to read.
    pub(super) fn park(&self, waker: Waker) -> Parked {
        let mut state = self.0.lock();
        if !state.legs.is_empty() {
            return Parked::Marked(waker);
        }
        match &mut state.waker {
            Some(parked) if parked.will_wake(&waker) => Parked::Asleep(Some(waker)),
            parked => Parked::Asleep(parked.replace(waker)),
        }
    }

    /// Takes the waker out, so that nothing of the user's is dropped with the list.
    pub(super) fn unpark(&self) -> Option<Waker> {
        self.0.lock().waker.take()
    }
}

pub(super) enum Parked {
    Asleep(Option<Waker>),
    Marked(Waker),
}
