//! The proxies of one stream.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::grip::{EndpointStats, InvalidSignaturePolicy, Item, Origin, Publisher};
use crate::hub::Hub;
use crate::trace;

/// How long `close` waits for what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Proxy {
    pub(super) publisher: Publisher,
    pub(super) clients: Arc<dyn Origin>,
    prefix: String,
    /// Whether direct requests are refused.
    pub(super) required: bool,
    pub(super) policy: InvalidSignaturePolicy,
    pub(super) bad_signatures: AtomicU64,
}

impl Proxy {
    pub(super) fn new(
        publisher: Publisher,
        hub: &Arc<Hub>,
        prefix: String,
        required: bool,
        policy: InvalidSignaturePolicy,
    ) -> Self {
        let clients = Arc::new(Clients { hub: hub.clone(), prefix: prefix.clone() });
        let bad_signatures = AtomicU64::new(0);
        let proxy = Self { publisher, clients, prefix, required, policy, bad_signatures };
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

/// The clients of one stream that proxies hold.
struct Clients {
    hub: Arc<Hub>,
    prefix: String,
}

impl Origin for Clients {
    fn reset(&self, channel: &str, position: Option<&str>) -> Item {
        let frame = self.hub.lost(channel, position);
        let item = Item::new(format!("{}{channel}", self.prefix), frame);
        match position {
            // Not the id of an event: a proxy drops what it has seen before.
            Some(id) => item.id(format!("{id}-lost")),
            None => item,
        }
    }

    fn channels(&self) -> Vec<Arc<str>> {
        self.hub.channel_names()
    }
}
