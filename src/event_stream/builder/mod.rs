//! How an [`EventStream`] is put together.

#[cfg(feature = "grip")]
mod grip;

use std::sync::Arc;
use std::time::Duration;

use super::EventStream;
use crate::core::Core;
use crate::error::{BuildError, BuildErrorKind};
use crate::event::Event;
use crate::hub::Hub;
use crate::limits::{History, Limits};
use crate::proxy::{Proxy, Setup};
use crate::runtime::random::entropy;
use crate::runtime::{Background, Clock, Executor, Timer};
use crate::serve::BodySettings;

/// A keep-alive comes up to a tenth early, and most timers tell apart no less than a millisecond.
const LEAST_KEEP_ALIVE: Duration = Duration::from_millis(10);

/// Builds an [`EventStream`]. Setters never fail: [`build`](Builder::build) reports the first
/// mistake.
///
/// ```
/// use std::time::Duration;
/// use eventstream::{EventStream, History};
///
/// let stream = EventStream::builder()
///     .history(History::default().events(10_000).age(Duration::from_secs(3600)))
///     .keep_alive(Duration::from_secs(10))
///     .build()?;
/// # Ok::<(), eventstream::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    history: History,
    limits: Limits,
    keep_alive: Duration,
    retry: Option<Duration>,
    executor: Arc<dyn Executor>,
    timer: Arc<dyn Timer>,
    proxy: Setup,
    mistake: Option<BuildError>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            history: History::default(),
            limits: Limits::default(),
            keep_alive: Duration::from_secs(20),
            retry: None,
            executor: Arc::new(Background),
            timer: Arc::new(Background),
            proxy: Setup::default(),
            mistake: None,
        }
    }
}

impl Builder {
    /// Sets what each channel keeps; default [`History::default`].
    pub fn history(mut self, history: History) -> Self {
        self.at_least_one("history: events", history.events);
        self.at_least_one("history: bytes", history.bytes);
        self.at_least_one("history: age", usize::from(!history.age.is_zero()));
        self.history = history;
        self
    }

    /// Sets after how long a silence a body gets a keep-alive: at least 10 ms, default 20 s; zero
    /// is never. It comes up to a tenth early, so that clients which connected together spread out.
    ///
    /// A client that vanished is noticed by a write that fails. The first write after the client
    /// closed its side still succeeds, so its memory is held for up to two keep-alives.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        if !every.is_zero() && every < LEAST_KEEP_ALIVE {
            self.note("keep_alive: must be zero or at least 10 ms");
        }
        self.keep_alive = every;
        self
    }

    /// Sets how long clients wait before they reconnect, which `stream-open` carries: 1 ms to
    /// 2^31 - 1 ms, as for [`Event::retry`](crate::Event::retry). By default it
    /// carries nothing, and browsers wait a few seconds.
    pub fn retry(mut self, after: Duration) -> Self {
        if Event::default().retry(after).encode().is_err() {
            self.note("retry: must be between 1 ms and 2147483647 ms");
        }
        self.retry = Some(after);
        self
    }

    /// Sets the bounds that protect the process; default [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.at_least_one("limits: frame", limits.frame);
        self.at_least_one("limits: channel_name", limits.channel_name);
        self.at_least_one("limits: channels", limits.channels);
        self.at_least_one("limits: item", limits.item);
        self.at_least_one("limits: subscriptions", limits.subscriptions);
        self.at_least_one("limits: hub_channels", limits.hub_channels);
        self.at_least_one("limits: hold_channels", limits.hold_channels);
        self.at_least_one("limits: grip_queue", limits.grip_queue);
        self.at_least_one("limits: grip_queue_bytes", limits.grip_queue_bytes);
        self.limits = limits;
        self
    }

    /// Sets what runs tasks and what tells the time, both at once; default [`Background`].
    pub fn runtime(mut self, runtime: impl Executor + Timer) -> Self {
        let runtime = Arc::new(runtime);
        self.executor = runtime.clone();
        self.timer = runtime;
        self
    }

    /// Sets what runs tasks; default [`Background`].
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Arc::new(executor);
        self
    }

    /// Sets what tells the time and sleeps; default [`Background`].
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.timer = Arc::new(timer);
        self
    }

    /// Builds the stream. No runtime needs to be running.
    ///
    /// # Errors
    ///
    /// The first mistake that any setter met, or one that shows only once everything is set: parts
    /// of a proxy's configuration that do not fit together.
    pub fn build(mut self) -> Result<EventStream, BuildError> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        let setup = std::mem::take(&mut self.proxy);
        let hub = self.hub();
        let proxy = setup.build(&*self.executor, self.timer.clone(), &hub)?;
        Ok(self.finish(hub, proxy))
    }

    /// An in-process stream with all defaults.
    pub(super) fn build_default() -> EventStream {
        let builder = Self::default();
        let hub = builder.hub();
        builder.finish(hub, None)
    }

    fn hub(&self) -> Arc<Hub> {
        Arc::new(Hub::new(self.history.clone(), self.limits.clone(), entropy()))
    }

    fn finish(self, hub: Arc<Hub>, proxy: Option<Proxy>) -> EventStream {
        let bodies = BodySettings {
            clock: Arc::new(Clock::new(self.timer)),
            keep_alive: Some(self.keep_alive).filter(|every| !every.is_zero()),
            retry: self.retry,
            given: None,
        };
        EventStream { core: Arc::new(Core::new(hub, bodies, proxy)) }
    }

    fn at_least_one(&mut self, what: &str, value: usize) {
        if value == 0 {
            self.note(&format!("{what}: must not be zero"));
        }
    }

    fn note(&mut self, what: &str) {
        self.mistake.get_or_insert_with(|| BuildError::new(BuildErrorKind::Setting, what));
    }
}
