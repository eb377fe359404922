//! Why a stream cannot be built, and why a publication failed.

// Stands in for the error of a configuration that cannot be given.
#[cfg(not(feature = "grip"))]
use std::convert::Infallible as InvalidConfig;
use std::error::Error;
use std::fmt;

use crate::event::InvalidEvent;
#[cfg(feature = "grip")]
use crate::grip::InvalidConfig;
use crate::hub::Refused;

/// Why an [`EventStream`](crate::EventStream) could not be built.
///
/// Its text says what is wrong and never shows a secret. [`kind`](Self::kind) is for programs that
/// tell the reasons apart. If the configuration of a proxy is at fault,
/// [`source`](std::error::Error::source) is the `grip::InvalidConfig`.
///
/// ```
/// use std::time::Duration;
/// use eventstream::{BuildErrorKind, EventStream, History};
///
/// let history = History::default().age(Duration::ZERO);
/// let error = EventStream::builder().history(history).build().unwrap_err();
/// assert_eq!(error.kind(), BuildErrorKind::Setting);
/// assert_eq!(error.to_string(), "history: age: must not be zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    kind: BuildErrorKind,
    text: String,
    cause: Option<InvalidConfig>,
}

/// What kind of mistake a [`BuildError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// A setter got a value that is out of range or does not parse.
    Setting,
    /// The configuration of a GRIP proxy does not parse, or its parts do not fit together.
    GripConfig,
    /// [`require_proxy`](crate::Builder) was set, but no proxy is configured.
    NoProxy,
    /// A proxy is configured, but nothing can send publications to it: no transport is set and the
    /// feature `hyper` is off.
    NoTransport,
    /// The function given to [`EventStream::named`](crate::EventStream::named) asked for the stream
    /// that it was building.
    Recursion,
}

impl BuildError {
    pub(crate) fn new(kind: BuildErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), cause: None }
    }

    /// What kind of mistake it is.
    pub fn kind(&self) -> BuildErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl From<InvalidConfig> for BuildError {
    fn from(invalid: InvalidConfig) -> Self {
        let text = invalid.to_string();
        Self { kind: BuildErrorKind::GripConfig, text, cause: Some(invalid) }
    }
}

/// For [`Builder::grip`](crate::Builder::grip), which also takes values that need no conversion.
#[cfg(feature = "grip")]
impl From<std::convert::Infallible> for BuildError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Why a publication failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The event, the batch or the channel's name is not valid: nothing happened.
    Invalid(InvalidEvent),
    /// The stream was closed: nothing happened.
    Closed,
    /// Some GRIP endpoint did not take the event. Subscribers in this process and behind the other
    /// endpoints have it, so do not publish it again.
    #[cfg(feature = "grip")]
    Grip {
        /// The event, or the first of a batch that failed.
        id: crate::EventId,
        /// The endpoints that did not take it, and why.
        failures: Vec<crate::grip::Failure>,
    },
}

impl From<Refused> for PublishError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => Self::Invalid(invalid),
            Refused::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Closed => f.write_str("publishing to a closed event stream"),
            #[cfg(feature = "grip")]
            Self::Grip { id, failures } => {
                write!(f, "event {id} was delivered locally, but not to every proxy")?;
                failures.iter().try_for_each(|failure| write!(f, "; {failure}"))
            }
        }
    }
}

impl Error for PublishError {}
