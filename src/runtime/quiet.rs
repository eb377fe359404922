//! Wakers are user code: if one panics, other tasks must not suffer.

use std::future::{poll_fn, Future};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Runs code that may wake a task, and stops a panic of its waker, which the hook has reported.
pub(crate) fn quietly(wake: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(wake)) {
        // To drop it may panic again.
        std::mem::forget(panic);
    }
}

/// Polls `future` with a waker that never panics: for what keeps the wakers of several tasks in one
/// list, and loses count of them if one panics.
pub(crate) async fn woken_quietly<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Quiet(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

struct Quiet(Waker);

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {
        quietly(move || {
            self.0.wake_by_ref();
            drop(self);
        });
    }
}
