//! What several tests need: a clock that is moved by hand, and a look at what a stream has ready.
#![allow(dead_code, reason = "each test takes a part")]

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventstream::runtime::Timer;
use futures::future::{poll_fn, BoxFuture};
use futures::stream::{Stream, StreamExt};
use futures::task::noop_waker_ref;

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct ManualTimer(Arc<Mutex<Clock>>);

struct Clock {
    now: Instant,
    sleepers: Vec<Waker>,
}

impl ManualTimer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Clock { now: Instant::now(), sleepers: Vec::new() })))
    }

    /// Moves the clock on and wakes all sleepers, due or not.
    pub(crate) fn advance(&self, by: Duration) {
        let sleepers = {
            let mut clock = self.0.lock().unwrap();
            clock.now += by;
            std::mem::take(&mut clock.sleepers)
        };
        sleepers.into_iter().for_each(Waker::wake);
    }
}

impl Timer for ManualTimer {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        let until = self.now() + for_;
        Box::pin(poll_fn(move |cx| {
            let mut clock = clock.lock().unwrap();
            if clock.now >= until {
                return Poll::Ready(());
            }
            clock.sleepers.push(cx.waker().clone());
            Poll::Pending
        }))
    }
}

/// All items that a stream has now, and whether it has ended.
pub(crate) fn ready<S: Stream + Unpin>(stream: &mut S) -> (Vec<S::Item>, bool) {
    let mut cx = std::task::Context::from_waker(noop_waker_ref());
    let mut items = Vec::new();
    loop {
        match stream.poll_next_unpin(&mut cx) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => return (items, true),
            Poll::Pending => return (items, false),
        }
    }
}

/// The bytes that a subscription has now, as text.
pub(crate) fn text<S: Stream<Item = Bytes> + Unpin>(stream: &mut S) -> String {
    String::from_utf8(ready(stream).0.concat()).unwrap()
}

/// The bytes that a body has now, as text.
pub(crate) fn body_text(body: &mut eventstream::Body) -> String {
    let bytes: Vec<Bytes> = ready(body).0.into_iter().map(|item| item.unwrap_or_else(|never| match never {})).collect();
    String::from_utf8(bytes.concat()).unwrap()
}
