//! How requests are answered that may have come through a proxy.

use std::sync::atomic::Ordering;

use http::HeaderMap;

use super::Proxy;
use crate::event::control;
use crate::grip::{Hold, InvalidSignaturePolicy, Proxied};
use crate::hub::{Hub, Start};
use crate::serve::{Body, BodySettings, Refusal};
use crate::trace;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Direct,
    Proxy,
}

impl Proxy {
    /// Decides by `Grip-Sig` how a request came, and whether it may.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Via, Refusal> {
        match self.via(headers)? {
            Via::Direct if self.required => Err(Refusal::not_implemented()),
            via => Ok(via),
        }
    }

    fn via(&self, headers: &HeaderMap) -> Result<Via, Refusal> {
        match self.publisher.config().proxied(headers) {
            Ok(Proxied::No) => Ok(Via::Direct),
            Ok(Proxied::Unsigned | Proxied::Signed) => Ok(Via::Proxy),
            Err(_) => {
                trace::debug!(target: "eventstream::connect", "Grip-Sig does not verify");
                self.bad_signatures.fetch_add(1, Ordering::Relaxed);
                match self.policy {
                    InvalidSignaturePolicy::Refuse => Err(Refusal::invalid_signature()),
                    InvalidSignaturePolicy::Direct => Ok(Via::Direct),
                }
            }
        }
    }

    /// Whether these channels can be held.
    pub(crate) fn check(&self, hub: &Hub, channels: &[String]) -> Result<(), Refusal> {
        let checked = hub.check_names(channels);
        checked.map_err(|refused| Refusal::bad_request(&refused.to_string()))?;
        let (count, limit) = (channels.len(), hub.limits().hold_channels);
        if count > limit {
            let why = format!("{count} channels are over the limit of {limit} behind a proxy");
            return Err(Refusal::bad_request(&why));
        }
        Ok(())
    }

    /// The headers that make the proxy keep the client, and the bytes that the stream begins with:
    /// those of a direct stream, except that the client's position cannot be known here.
    pub(crate) fn hold(
        &self,
        hub: &Hub,
        settings: &BodySettings,
        channels: &[String],
        start: Start<'_>,
    ) -> (HeaderMap, Body) {
        let mut hold = Hold::stream(channels.iter().map(|channel| self.channel(channel)));
        if let Some(every) = settings.keep_alive {
            hold = hold.keep_alive(control::KEEP_ALIVE, every);
        }
        let (position, reset) = hub.beginning(channels, start);
        let open = control::stream_open(position.as_ref(), settings.retry);
        (hold.headers(), Body::text([&open[..], &reset].concat()))
    }
}
