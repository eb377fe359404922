//! How an [`EventStream`] is put together.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::event_stream::EventStream;
#[cfg(feature = "grip")]
use crate::grip::{Config, InvalidSignaturePolicy, Publisher, Transport};
use crate::hub::{History, Hub, Limits};
#[cfg(feature = "grip")]
use crate::proxy::Proxy;
use crate::runtime::{Background, Executor, Timer};
use crate::serve::Pace;

/// Makes an [`EventStream`]. Setters never fail: [`build`](Builder::build) reports the first
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
    #[cfg(feature = "grip")]
    grip: GripSetup,
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
            #[cfg(feature = "grip")]
            grip: GripSetup::default(),
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

    /// How long a body is silent before it gets a keep-alive (up to a tenth earlier, so that a
    /// crowd spreads out); default 20 s, zero is never.
    ///
    /// A client that vanished is noticed by the write that fails, so this also bounds how long its
    /// memory is held.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }

    /// Tells clients how long to wait before they reconnect, with `stream-open`; default: nothing
    /// is said, and browsers take a few seconds.
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
        #[cfg(feature = "grip")]
        self.at_least_one("limits: hold_channels", limits.hold_channels);
        #[cfg(feature = "grip")]
        self.at_least_one("limits: grip_queue", limits.grip_queue);
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
    pub fn build(mut self) -> Result<EventStream, BuildError> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        #[cfg(feature = "grip")]
        let proxy = self.proxy()?;
        Ok(self.finish(
            #[cfg(feature = "grip")]
            proxy,
        ))
    }

    /// An in-process stream with all defaults.
    pub(crate) fn build_default() -> EventStream {
        Self::default().finish(
            #[cfg(feature = "grip")]
            None,
        )
    }

    fn finish(self, #[cfg(feature = "grip")] proxy: Option<Proxy>) -> EventStream {
        let hub = Hub::new(self.history, self.limits, self.timer.now());
        let keep_alive = Some(self.keep_alive).filter(|every| !every.is_zero());
        let seed = RandomState::new().build_hasher().finish();
        let pace = Pace::new(self.timer, keep_alive, self.retry, seed);
        EventStream::from_parts(
            hub,
            pace,
            #[cfg(feature = "grip")]
            proxy,
        )
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

/// What was said of proxies.
#[cfg(feature = "grip")]
#[derive(Debug)]
struct GripSetup {
    source: GripSource,
    prefix: String,
    require_proxy: bool,
    invalid_signature: InvalidSignaturePolicy,
    transport: Option<Arc<dyn Transport>>,
}

/// Stands for the configuration that the environment has.
#[cfg(feature = "grip")]
struct FromEnv;

#[cfg(feature = "grip")]
impl TryFrom<FromEnv> for Config {
    type Error = crate::grip::InvalidConfig;

    fn try_from(_: FromEnv) -> Result<Self, Self::Error> {
        Self::from_env()
    }
}

#[cfg(feature = "grip")]
#[derive(Debug)]
enum GripSource {
    None,
    Config(Config),
    Publisher(Publisher),
}

#[cfg(feature = "grip")]
impl Default for GripSetup {
    fn default() -> Self {
        Self {
            source: GripSource::None,
            prefix: "events-".into(),
            require_proxy: false,
            invalid_signature: InvalidSignaturePolicy::default(),
            transport: None,
        }
    }
}

#[cfg(feature = "grip")]
impl Builder {
    /// Stands behind GRIP proxies (Pushpin, Fastly Fanout, Fanout Cloud); default: none.
    ///
    /// Takes a GRIP_URL such as `http://localhost:5561/?verify-iss=pushpin&verify-key=changeme`, an
    /// [`Endpoint`](crate::grip::Endpoint) or several, a ready [`Config`], or an `Option` of these.
    pub fn grip<C>(mut self, config: C) -> Self
    where
        C: TryInto<Config>,
        C::Error: Into<BuildError>,
    {
        match config.try_into().map_err(Into::into) {
            Ok(config) if config.endpoints().is_empty() => self.grip.source = GripSource::None,
            Ok(config) => self.grip.source = GripSource::Config(config),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }

    /// Takes the proxy from the environment: `GRIP_URL`, and `GRIP_VERIFY_KEY` for an endpoint that
    /// has no key to verify with. Unset or empty is no proxy.
    pub fn grip_env(self) -> Self {
        self.grip(FromEnv)
    }

    /// Publishes through this publisher, and stands behind the proxies of its configuration.
    pub fn grip_publisher(mut self, publisher: Publisher) -> Self {
        self.grip.source = GripSource::Publisher(publisher);
        self
    }

    /// What channel names are prefixed with at the proxy, on holds and on publications; default
    /// `events-`.
    ///
    /// It may hold letters, digits, `-`, `.`, `_`, `~` and `/`.
    pub fn grip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.grip.prefix = prefix.into();
        if crate::grip::encode_channel(&self.grip.prefix) != self.grip.prefix {
            self.note("grip_prefix: only letters, digits and -._~/ may stand in it");
        }
        self
    }

    /// Answers requests that did not come through a proxy with 501; default: they get direct
    /// streams.
    pub fn require_proxy(mut self) -> Self {
        self.grip.require_proxy = true;
        self
    }

    /// What to do with a request whose `Grip-Sig` does not verify; default: refuse it.
    pub fn invalid_signature(mut self, policy: InvalidSignaturePolicy) -> Self {
        self.grip.invalid_signature = policy;
        self
    }

    /// What carries publications to the control ports; default: `grip::transport::Hyper`, with the
    /// feature `hyper`.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.grip.transport = Some(Arc::new(transport));
        self
    }

    fn proxy(&mut self) -> Result<Option<Proxy>, BuildError> {
        let setup = std::mem::take(&mut self.grip);
        let publisher = match setup.source {
            GripSource::None if setup.require_proxy => {
                return Err(BuildError::new("require_proxy: no proxy is configured"));
            }
            GripSource::None => return Ok(None),
            GripSource::Publisher(publisher) => publisher,
            GripSource::Config(config) => {
                config.check()?;
                let transport = match setup.transport {
                    Some(transport) => transport,
                    #[cfg(feature = "hyper")]
                    None => {
                        config.check_tls()?;
                        Arc::new(crate::grip::transport::Hyper::new())
                    }
                    #[cfg(not(feature = "hyper"))]
                    None => {
                        return Err(BuildError::new(
                            "transport: none is set, and the feature `hyper` is off",
                        ))
                    }
                };
                Publisher::with(
                    config,
                    transport,
                    &*self.executor,
                    self.timer.clone(),
                    self.limits.grip_queue,
                )
            }
        };
        Ok(Some(Proxy::new(publisher, setup.prefix, setup.require_proxy, setup.invalid_signature)))
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

impl From<Infallible> for BuildError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "grip")]
impl From<crate::grip::InvalidConfig> for BuildError {
    fn from(invalid: crate::grip::InvalidConfig) -> Self {
        Self::new(invalid.to_string())
    }
}
