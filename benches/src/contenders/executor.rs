//! EXEC and EXECr: no channel at all. Each publication wakes all tasks, which only count.

use std::future::{poll_fn, Future};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::Contender;
use crate::message::wire_len;
use crate::meter::Count;

/// Wakers are registered once and stay: the least an executor can do for a delivery.
pub type ExecutorOnly = Tasks<false>;
/// Wakers are taken by each publication and registered again by each poll, as in any channel.
pub type ExecutorAndReArm = Tasks<true>;

#[derive(Debug, Default)]
pub struct Tasks<const RE_ARM: bool> {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seq: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl<const RE_ARM: bool> Contender for Tasks<RE_ARM> {
    const NAME: &'static str = if RE_ARM { "EXECr" } else { "EXEC" };

    fn new(_: usize) -> Self {
        Self::default()
    }

    fn publish(&self, _: usize) {
        self.shared.seq.fetch_add(1, Ordering::Release);
        let mut wakers = self.shared.wakers.lock().expect("no panic");
        if RE_ARM {
            let empty = Vec::with_capacity(wakers.len());
            let taken = std::mem::replace(&mut *wakers, empty);
            drop(wakers);
            taken.into_iter().for_each(Waker::wake);
        } else {
            wakers.iter().for_each(Waker::wake_by_ref);
        }
    }

    fn subscribe(
        &self,
        _: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<RE_ARM> {
        let shared = self.shared.clone();
        let mut seen = shared.seq.load(Ordering::Acquire);
        let mut arms = true;
        poll_fn(move |cx| {
            if arms {
                let waker = cx.waker().clone();
                shared.wakers.lock().expect("no panic").push(waker);
                arms = RE_ARM;
            }
            // Read after the waker was registered: whatever comes later wakes the task.
            let newest = shared.seq.load(Ordering::Acquire);
            if seen < newest {
                let bytes: u64 = (seen + 1..=newest).map(wire_len).sum();
                seen = newest;
                count.add(bytes as usize);
            }
            Poll::Pending
        })
    }
}
