//! What the crate needs from a runtime: a way to sleep, and a way to run tasks.
//!
//! Without a proxy, only keep-alives sleep and nothing runs tasks; publishing to GRIP proxies does
//! both. [`Background`] is the default and works under any executor, so you can ignore this module
//! until you want your own runtime's threads and timers (`Tokio`, `Smol` or `AsyncStd`, each behind
//! the feature of the same name), or a clock that a test can move.

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod adapters;
mod background;
mod clock;
#[cfg(feature = "grip")]
pub(crate) mod quiet;
pub(crate) mod random;
mod shared_sleep;

use std::fmt;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

#[cfg(feature = "async-std")]
pub use adapters::AsyncStd;
#[cfg(feature = "smol")]
pub use adapters::Smol;
#[cfg(feature = "tokio")]
pub use adapters::Tokio;
pub use background::Background;
pub(crate) use clock::{nanos, Clock};
pub(crate) use shared_sleep::Registration;

/// Runs tasks in the background.
pub trait Executor: Send + Sync + 'static {
    /// Runs `task` to completion, and returns without waiting for it.
    ///
    /// A task that cannot be run must be dropped.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Tells the time and sleeps.
pub trait Timer: Send + Sync + 'static {
    /// Returns the current time, which never goes backwards.
    fn now(&self) -> Instant;

    /// Returns a future that resolves when `duration` has passed, counted from this call.
    ///
    /// Dropping the future must free whatever the sleep holds. The bodies of a stream share their
    /// sleeps, a few dozen for any number of bodies: a sleep that one task asked for may be polled
    /// by the tasks of other bodies, on any thread.
    ///
    /// A sleep that resolves early does not bring a keep-alive or a retry forward: the task looks
    /// at [`now`](Self::now) and sleeps again. It lets other tasks run after a few such sleeps.
    /// Only [`EventStream::close`](crate::EventStream::close) trusts it.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

impl fmt::Debug for dyn Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

impl fmt::Debug for dyn Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}
