//! The runtimes that programs have already, each behind the feature of its name.

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

    /// A tokio runtime, by its handle: what it is asked for happens in that runtime, from whichever
    /// thread.
    ///
    /// So a stream may be built, published to and read outside of the runtime. Its clock is tokio's
    /// own, which a test may pause (`tokio::time::pause`); threads outside of the runtime see the
    /// real time even then. When the runtime is gone, tasks are dropped, and a body with
    /// keep-alives must not be polled any more: tokio's sleeps panic then.
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
        /// The runtime that this is called in.
        ///
        /// # Panics
        ///
        /// Outside of a runtime, as [`Handle::current`] does; elsewhere
        /// [`From<Handle>`](#impl-From<Handle>-for-Tokio) serves.
        #[track_caller]
        pub fn current() -> Self {
            Handle::current().into()
        }
    }

    /// A runtime without timers (`enable_time`) panics at the first sleep: use another [`Timer`]
    /// there.
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
        /// Where the clock is paused, a task of the runtime sees the paused time: a keep-alive
        /// compares it with its sleep.
        fn now(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }

        fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
            let _inside = self.handle.enter();
            Box::pin(tokio::time::sleep(for_))
        }
    }
}

#[cfg(feature = "smol")]
mod smol {
    use std::time::{Duration, Instant};

    use futures::future::{BoxFuture, FutureExt};

    use crate::runtime::{Executor, Timer};

    /// smol's global executor and its timers.
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

        fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
            smol::Timer::after(for_).map(drop).boxed()
        }
    }
}

#[cfg(feature = "async-std")]
mod async_std {
    use std::time::{Duration, Instant};

    use futures::future::BoxFuture;

    use crate::runtime::{Executor, Timer};

    /// async-std's global executor and its timers. async-std is discontinued: for programs that
    /// have it already.
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

        fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async_std::task::sleep(for_))
        }
    }
}
