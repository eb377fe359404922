//! Knows when every subscriber has everything, by counting bytes.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::Poll;

use futures::task::AtomicWaker;

use crate::message::wire_len;

/// One meter for all subscribers of a pass.
#[derive(Debug, Default)]
pub struct Meter {
    published: AtomicU64,
    /// Bytes that each subscriber has when it has everything.
    goal: AtomicU64,
    /// Subscribers that do not have everything yet.
    missing: AtomicUsize,
    driver: AtomicWaker,
}

impl Meter {
    /// Counts the events that are published before anyone subscribes.
    pub fn skip(&self, events: u64) {
        self.published.fetch_add(events, Ordering::Relaxed);
    }

    /// To be called before `events` are published to `subscribers` that have all earlier ones.
    pub fn expect(&self, events: u64, subscribers: usize) {
        let before = self.published.fetch_add(events, Ordering::Relaxed);
        let bytes: u64 = (before + 1..=before + events).map(wire_len).sum();
        self.missing.store(subscribers, Ordering::Relaxed);
        self.goal.fetch_add(bytes, Ordering::Release);
    }

    pub fn is_done(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// Resolves when all subscribers have everything.
    pub async fn done(&self) {
        poll_fn(|cx| {
            self.driver.register(cx.waker());
            if self.is_done() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// One count for each subscriber.
#[derive(Debug)]
pub struct Count {
    meter: Arc<Meter>,
    bytes: u64,
}

impl Count {
    pub fn new(meter: &Arc<Meter>) -> Self {
        Self { meter: meter.clone(), bytes: 0 }
    }

    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let goal = self.meter.goal.load(Ordering::Acquire);
        assert!(self.bytes <= goal, "more than was published");
        if self.bytes == goal && self.meter.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.meter.driver.wake();
        }
    }
}
