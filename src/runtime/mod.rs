//! What the crate needs of a runtime: a way to sleep, and a way to run a task.
//!
//! Only keep-alives sleep, and only publishing through GRIP proxies runs tasks. [`Background`] is
//! the default for both and works under any executor, so nothing here needs a thought until a
//! program wants the threads and the timers that it has anyway (`Tokio`, `Smol`, `AsyncStd`, each
//! behind the feature of its name), or a clock that a test can move.

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod adapters;
mod background;
mod clock;
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
    /// Runs `task` to its end, without waiting for it.
    ///
    /// A task that cannot be run is dropped.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Tells the time and sleeps.
pub trait Timer: Send + Sync + 'static {
    /// The time now. It never goes back.
    fn now(&self) -> Instant;

    /// Resolves when `for_` has passed from now on. Dropping it frees it.
    ///
    /// The bodies of a stream share their sleeps, a few dozen for however many: any of their tasks
    /// may poll one, on any thread, whichever asked for it.
    fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()>;
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
