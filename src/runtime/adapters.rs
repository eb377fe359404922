//! Adapters for the runtimes that programs already use, each behind the feature of its name.

#[cfg(feature = "async-std")]
pub use self::async_std::AsyncStd;
#[cfg(feature = "smol")]
pub use self::smol::Smol;
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;

#[cfg(feature = "tokio")]
mod tokio {
    use std::time::{Duration, Instant};

    use futures::future::BoxFuture;
    use tokio::runtime::Handle;

    use crate::runtime::{Executor, Timer};

    /// A tokio runtime, through its handle.
    ///
    /// Tasks and sleeps run in that runtime whichever thread asks for them, so a stream may be
    /// built, published to and read outside the runtime. The clock is tokio's own, which a test may
    /// pause (`tokio::time::pause`); threads outside the runtime see the real time even then. After
    /// the runtime has shut down, tasks are dropped, and a body with keep-alives must not be polled
    /// any more, because tokio's sleeps then panic.
    ///
    /// ```
    /// use eventstream::{runtime::Tokio, EventStream};
    ///
    /// let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    /// let stream = EventStream::builder().runtime(Tokio::from(runtime.handle().clone())).build()?;
    /// # Ok::<(), eventstream::BuildError>(())
    /// ```
    #[derive(Clone, Debug)]
    pub struct Tokio {
        handle: Handle,
    }

    impl Tokio {
        /// Returns the runtime in which this is called.
        ///
        /// # Panics
        ///
        /// If called outside a runtime, as [`Handle::current`] does. There, use
        /// [`From<Handle>`](#impl-From<Handle>-for-Tokio) instead.
        #[track_caller]
        pub fn current() -> Self {
            Handle::current().into()
        }
    }

    /// Uses the runtime of this handle. A runtime without timers (`enable_time`) panics at the
    /// first sleep: give the stream another [`Timer`] there.
    impl From<Handle> for Tokio {
        fn from(handle: Handle) -> Self {
            Self { handle }
        }
    }

    impl Executor for Tokio {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            drop(self.handle.spawn(task));
        }
    }

    impl Timer for Tokio {
        /// While the clock is paused, tasks of the runtime see the paused time. They must, because
        /// a keep-alive compares this time with its sleep.
        fn now(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let _inside = self.handle.enter();
            Box::pin(tokio::time::sleep(duration))
        }
    }
}

#[cfg(feature = "smol")]
mod smol {
    use std::time::{Duration, Instant};

    use futures::future::{BoxFuture, FutureExt};

    use crate::runtime::{Executor, Timer};

    /// smol's global executor and timers.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Smol;

    impl Executor for Smol {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            smol::spawn(task).detach();
        }
    }

    impl Timer for Smol {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            smol::Timer::after(duration).map(drop).boxed()
        }
    }
}

#[cfg(feature = "async-std")]
mod async_std {
    use std::time::{Duration, Instant};

    use futures::future::BoxFuture;

    use crate::runtime::{Executor, Timer};

    /// async-std's global executor and timers.
    ///
    /// async-std is discontinued. This is for programs that already use it.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct AsyncStd;

    impl Executor for AsyncStd {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            drop(async_std::task::spawn(task));
        }
    }

    impl Timer for AsyncStd {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async_std::task::sleep(duration))
        }
    }
}
