//! The proxies of one stream.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::grip::{EndpointStats, InvalidSignaturePolicy, Item, Publisher};
use crate::trace;

/// How long `close` waits for what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Proxy {
    pub(super) publisher: Publisher,
    prefix: String,
    /// Whether direct requests are refused.
    pub(super) required: bool,
    pub(super) policy: InvalidSignaturePolicy,
    pub(super) bad_signatures: AtomicU64,
}

impl Proxy {
    pub(super) fn new(
        publisher: Publisher,
        prefix: String,
        required: bool,
        policy: InvalidSignaturePolicy,
    ) -> Self {
        let proxy = Self { publisher, prefix, required, policy, bad_signatures: AtomicU64::new(0) };
        if proxy.is_unverified() {
            trace::warn!(
                target: "eventstream::connect",
                "no endpoint has a key to verify Grip-Sig with: anyone can pretend to be the proxy"
            );
        }
        proxy
    }

    /// Whether anyone can pretend to be the proxy. Without endpoints all requests are direct.
    pub(crate) fn is_unverified(&self) -> bool {
        let config = self.publisher.config();
        !config.endpoints().is_empty() && !config.verifies()
    }

    /// The name under which the proxies know a channel, not yet encoded.
    pub(super) fn channel(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Has the proxies end the streams of a channel.
    pub(crate) fn close_channel(&self, name: &str) {
        // Nobody waits for the outcome, but the endpoints' counters show it.
        drop(self.publisher.publish(Item::close(self.channel(name))));
    }

    /// Resolves when everything is sent, or after [`CLOSE_PATIENCE`].
    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.publisher.close(CLOSE_PATIENCE)
    }

    pub(crate) fn bad_signatures(&self) -> u64 {
        self.bad_signatures.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Vec<EndpointStats> {
        self.publisher.stats()
    }
}
