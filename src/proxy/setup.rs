//! The builder's settings for proxies, and the proxy that they make.

use std::sync::Arc;

use super::Proxy;
use crate::error::{BuildError, BuildErrorKind};
use crate::grip::{Config, InvalidSignaturePolicy, Publisher, Transport};
use crate::hub::Hub;
use crate::runtime::{Executor, Timer};

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) source: Source,
    pub(crate) prefix: String,
    pub(crate) required: bool,
    pub(crate) policy: InvalidSignaturePolicy,
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

/// What items are published through.
#[derive(Debug)]
pub(crate) enum Source {
    None,
    Config(Config),
    Publisher(Publisher),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            source: Source::None,
            prefix: "events-".into(),
            required: false,
            policy: InvalidSignaturePolicy::default(),
            transport: None,
        }
    }
}

impl Setup {
    pub(crate) fn build(
        self,
        executor: &dyn Executor,
        timer: Arc<dyn Timer>,
        hub: &Arc<Hub>,
    ) -> Result<Option<Proxy>, BuildError> {
        let publisher = match self.source {
            Source::None if self.required => {
                let why = "require_proxy: no proxy is configured";
                return Err(BuildError::new(BuildErrorKind::NoProxy, why));
            }
            Source::None => return Ok(None),
            Source::Publisher(publisher) => publisher,
            Source::Config(config) => {
                config.check()?;
                let transport = match self.transport {
                    Some(transport) => transport,
                    None => default_transport(&config)?,
                };
                Publisher::with(config, transport, executor, timer, hub.limits())
            }
        };
        Ok(Some(Proxy::new(publisher, hub, self.prefix, self.required, self.policy)))
    }
}

#[cfg(feature = "hyper")]
fn default_transport(config: &Config) -> Result<Arc<dyn Transport>, BuildError> {
    config.check_tls()?;
    Ok(Arc::new(crate::grip::transport::Hyper::new()))
}

#[cfg(not(feature = "hyper"))]
fn default_transport(_: &Config) -> Result<Arc<dyn Transport>, BuildError> {
    let why = "transport: none is set, and the feature `hyper` is off";
    Err(BuildError::new(BuildErrorKind::NoTransport, why))
}
