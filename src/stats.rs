//! Counters for monitoring.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::core::Core;

/// Counters of one [`EventStream`](crate::EventStream), read one after another while it goes on
/// working.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Current subscriptions.
    pub subscriptions: u64,
    /// Current channels: those that have a subscriber or keep events.
    pub channels: u64,
    /// Events published since the stream was built.
    pub published: u64,
    /// Events handed to subscribers since then, counted once for each subscriber.
    pub delivered: u64,
    /// `stream-reset` frames handed to subscribers since then.
    pub resets: u64,
    /// Bytes of the frames that all channels keep.
    pub retained_bytes: u64,
    /// Requests with a `Grip-Sig` that did not verify.
    #[cfg(feature = "grip")]
    pub bad_signatures: u64,
    /// Whether there are GRIP proxies but no key to verify `Grip-Sig` with, so that anyone who can
    /// reach the program can pretend to be a proxy. It is false without a proxy, because then all
    /// requests are direct. It stays the same while the stream exists; see
    /// [`Config::verifies`](crate::grip::Config::verifies).
    #[cfg(feature = "grip")]
    pub unverified_proxy: bool,
    /// What became of the items of each GRIP endpoint.
    #[cfg(feature = "grip")]
    pub grip: Vec<crate::grip::EndpointStats>,
}

impl Stats {
    pub(crate) fn of(core: &Core) -> Self {
        let counts = core.hub().stats(core.now());
        Self {
            subscriptions: counts.subscriptions,
            channels: counts.channels,
            published: counts.published,
            delivered: counts.delivered,
            resets: counts.resets,
            retained_bytes: counts.retained_bytes,
            #[cfg(feature = "grip")]
            bad_signatures: core.proxy().map_or(0, |proxy| proxy.bad_signatures()),
            #[cfg(feature = "grip")]
            unverified_proxy: core.proxy().is_some_and(|proxy| proxy.is_unverified()),
            #[cfg(feature = "grip")]
            grip: core.proxy().map(|proxy| proxy.stats()).unwrap_or_default(),
        }
    }
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = if cfg!(feature = "grip") { 9 } else { 6 };
        let mut stats = serializer.serialize_struct("Stats", fields)?;
        stats.serialize_field("subscriptions", &self.subscriptions)?;
        stats.serialize_field("channels", &self.channels)?;
        stats.serialize_field("published", &self.published)?;
        stats.serialize_field("delivered", &self.delivered)?;
        stats.serialize_field("resets", &self.resets)?;
        stats.serialize_field("retained_bytes", &self.retained_bytes)?;
        #[cfg(feature = "grip")]
        stats.serialize_field("bad_signatures", &self.bad_signatures)?;
        #[cfg(feature = "grip")]
        stats.serialize_field("unverified_proxy", &self.unverified_proxy)?;
        #[cfg(feature = "grip")]
        stats.serialize_field("grip", &self.grip)?;
        stats.end()
    }
}
