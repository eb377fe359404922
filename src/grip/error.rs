//! What can be wrong with the configuration of a proxy.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// What is wrong with the configuration of a proxy. It names the parameter, or the feature that is
/// missing, and never shows a key, a token or a password.
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
