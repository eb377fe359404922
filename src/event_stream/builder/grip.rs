//! The builder's setters for GRIP proxies.

use std::sync::Arc;

use super::Builder;
use crate::error::BuildError;
use crate::grip::{
    encode_channel, Config, InvalidConfig, InvalidSignaturePolicy, Publisher, Transport,
};
use crate::proxy::Source;

impl Builder {
    /// Puts the stream behind GRIP proxies (Pushpin, Fastly Fanout, Fanout Cloud); default: none.
    ///
    /// Takes a GRIP_URL such as `http://localhost:5561/?verify-iss=pushpin&verify-key=changeme`,
    /// one [`Endpoint`](crate::grip::Endpoint) or several, a ready [`Config`], or an `Option` of
    /// these.
    pub fn grip<C>(mut self, config: C) -> Self
    where
        C: TryInto<Config>,
        C::Error: Into<BuildError>,
    {
        match config.try_into().map_err(Into::into) {
            Ok(config) if config.endpoints().is_empty() => self.proxy.source = Source::None,
            Ok(config) => self.proxy.source = Source::Config(config),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }

    /// Reads the proxy from the environment: `GRIP_URL`, and `GRIP_VERIFY_KEY` if the URL has no
    /// key to verify with. An unset or empty `GRIP_URL` means no proxy.
    pub fn grip_env(self) -> Self {
        self.grip(FromEnv)
    }

    /// Publishes through this publisher, and puts the stream behind the proxies of its
    /// configuration.
    pub fn grip_publisher(mut self, publisher: Publisher) -> Self {
        self.proxy.source = Source::Publisher(publisher);
        self
    }

    /// Sets the prefix of channel names at the proxy, on holds and on publications; default
    /// `events-`.
    ///
    /// It may contain letters, digits, `-`, `.`, `_`, `~` and `/`.
    pub fn grip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.proxy.prefix = prefix.into();
        if encode_channel(&self.proxy.prefix) != self.proxy.prefix {
            self.note("grip_prefix: only letters, digits and -._~/ may stand in it");
        }
        self
    }

    /// Answers requests that did not come through a proxy with 501; by default they get direct
    /// streams.
    pub fn require_proxy(mut self) -> Self {
        self.proxy.required = true;
        self
    }

    /// Sets what to do with a request whose `Grip-Sig` does not verify; default: refuse it.
    pub fn invalid_signature(mut self, policy: InvalidSignaturePolicy) -> Self {
        self.proxy.policy = policy;
        self
    }

    /// Sets what carries publications to the control ports; default: `grip::transport::Hyper`, with
    /// the feature `hyper`.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.proxy.transport = Some(Arc::new(transport));
        self
    }
}

/// Converts to the configuration in the environment.
struct FromEnv;

impl TryFrom<FromEnv> for Config {
    type Error = InvalidConfig;

    fn try_from(_: FromEnv) -> Result<Self, Self::Error> {
        Self::from_env()
    }
}
