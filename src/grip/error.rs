//! The error for an invalid proxy configuration.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Describes what is wrong with the configuration of a proxy.
///
/// The message names the parameter and, if a crate feature is missing, that feature. It never shows
/// a key, a token or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    parameter: &'static str,
    why: Cow<'static, str>,
}

impl InvalidConfig {
    pub(super) fn new(parameter: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { parameter, why: why.into() }
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grip: {} {}", self.parameter, self.why)
    }
}

impl Error for InvalidConfig {}
