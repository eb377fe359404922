//! What the crate needs of a runtime: a way to sleep, and a way to run a task.
//!
//! Only keep-alives sleep. [`Background`] is the default for both and works under any executor, so nothing here needs a
//! thought until a program wants its own timer wheel or a clock that a test can move.

mod background;

use std::fmt;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

pub use background::Background;

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
