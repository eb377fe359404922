//! How an [`EventStream`] is put together.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::event_stream::EventStream;
use crate::hub::{History, Hub, Limits};
use crate::runtime::{Background, Executor, Timer};
use crate::serve::Pace;

/// Makes an [`EventStream`]. Setters never fail: [`build`](Builder::build) reports the first mistake.
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
            mistake: None,
        }
    }
}

impl Builder {
    /// What each channel keeps; default [`History::default`].
    pub fn history(mut self, history: History) -> Self {
        self.at_least_one("history: events", history.events);
        self.at_least_one("history: bytes", history.bytes);
        self.at_least_one("history: age", usize::from(!history.age.is_zero()));
        self.history = history;
        self
    }

    /// How long a body is silent before it gets a keep-alive (up to a tenth earlier, so that a crowd spreads out);
    /// default 20 s, zero is never.
    ///
    /// A client that vanished is noticed by the write that fails, so this also bounds how long its memory is held.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }

    /// Tells clients how long to wait before they reconnect, with `stream-open`; default: nothing is said, and
    /// browsers take a few seconds.
    pub fn retry(mut self, after: Duration) -> Self {
        if Event::default().retry(after).encode().is_err() {
            self.note("retry: too long");
        }
        self.retry = Some(after);
        self
    }

    /// Bounds that protect the process; default [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.at_least_one("limits: frame", limits.frame);
        self.at_least_one("limits: channel_name", limits.channel_name);
        self.at_least_one("limits: channels", limits.channels);
        self.at_least_one("limits: item", limits.item);
        self.at_least_one("limits: subscriptions", limits.subscriptions);
        self.at_least_one("limits: hub_channels", limits.hub_channels);
        self.limits = limits;
        self
    }

    /// What runs tasks and what sleeps, both at once; default [`Background`].
    pub fn runtime(mut self, runtime: impl Executor + Timer) -> Self {
        let runtime = Arc::new(runtime);
        self.executor = runtime.clone();
        self.timer = runtime;
        self
    }

    /// What runs tasks; default [`Background`].
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Arc::new(executor);
        self
    }

    /// What tells the time and sleeps; default [`Background`].
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.timer = Arc::new(timer);
        self
    }

    /// Makes the stream. No runtime needs to be running.
    ///
    /// # Errors
    ///
    /// The first mistake that any setter met.
    pub fn build(self) -> Result<EventStream, BuildError> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None => Ok(self.finish()),
        }
    }

    /// The stream; there must be no mistake.
    pub(crate) fn finish(self) -> EventStream {
        let hub = Hub::new(self.history, self.limits, self.timer.now());
        let keep_alive = Some(self.keep_alive).filter(|every| !every.is_zero());
        let seed = RandomState::new().build_hasher().finish();
        EventStream::from_parts(hub, Pace::new(self.timer, keep_alive, self.retry, seed), self.executor)
    }

    fn at_least_one(&mut self, what: &str, value: usize) {
        if value == 0 {
            self.note(&format!("{what}: must not be zero"));
        }
    }

    fn note(&mut self, what: &str) {
        self.mistake.get_or_insert_with(|| BuildError { what: what.to_owned() });
    }
}

/// Why an [`EventStream`] could not be built. It names the setter and never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    what: String,
}

impl BuildError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for BuildError {}
