//! What each channel keeps, and the bounds that protect the process.

use std::time::Duration;

use crate::runtime::nanos;

/// What each channel keeps, for clients that come back and for slow readers.
///
/// The default is 1024 events, 1 MiB and 5 minutes per channel, whichever is reached first. The
/// newest event is kept whatever its size, until it is too old. A reader that needs an event which
/// is no longer kept gets a `stream-reset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub(crate) replay: bool,
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self { replay: true, events: 1024, bytes: 1 << 20, age: Duration::from_secs(300) }
    }
}

impl History {
    /// No replay: the stream adds no ids to events and ignores a client's `Last-Event-ID`.
    ///
    /// The newest 256 events, up to 256 KiB, are still kept, because they are the queue that
    /// subscribers read from.
    pub fn none() -> Self {
        Self { replay: false, events: 256, bytes: 256 << 10, age: Duration::from_secs(300) }
    }

    /// Sets how many events a channel keeps; default 1024, at least 1.
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Sets how many bytes of frames a channel keeps; default 1 MiB, at least 1.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long a channel keeps an event; default 5 minutes, more than zero.
    ///
    /// A new subscription never gets an older event. No timer frees the memory: each publication,
    /// subscription and keep-alive of the stream looks at up to two channels that are due. A quiet
    /// channel is due no later than when its newest event is too old; until then, older ones may
    /// stay with it.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// When an event published at `at` is too old. Times are nanoseconds of the stream's clock.
    pub(crate) fn due(&self, at: u64) -> u64 {
        at.saturating_add(nanos(self.age))
    }
}

/// Bounds that protect the process. Each holds for one [`EventStream`](crate::EventStream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) frame: usize,
    pub(crate) channel_name: usize,
    pub(crate) channels: usize,
    pub(crate) item: usize,
    pub(crate) subscriptions: usize,
    pub(crate) hub_channels: usize,
    pub(crate) gone_channels: usize,
    pub(crate) hold_channels: usize,
    pub(crate) grip_queue: usize,
    pub(crate) grip_queue_bytes: usize,
    pub(crate) refuse_with_503: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 1 << 20,
            channel_name: 256,
            channels: 100,
            item: 64 << 10,
            subscriptions: usize::MAX,
            hub_channels: usize::MAX,
            gone_channels: 64 << 20,
            hold_channels: 20,
            grip_queue: 10_000,
            grip_queue_bytes: 64 << 20,
            refuse_with_503: false,
        }
    }
}

impl Limits {
    /// Sets how many bytes of data and comment one event may have, as encoded: each line of data
    /// after the first also counts its `data: `. The name may be as long again. Default 1 MiB; data
    /// of exactly 1 MiB fits.
    pub fn frame(mut self, bytes: usize) -> Self {
        self.frame = bytes;
        self
    }

    /// Sets how many bytes a channel's name may have; default 256.
    pub fn channel_name(mut self, bytes: usize) -> Self {
        self.channel_name = bytes;
        self
    }

    /// Sets how many channels one subscription may have; default 100.
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// Sets how many bytes of frames are handed out as one item; default 64 KiB. A single larger
    /// frame is an item by itself.
    pub fn item(mut self, bytes: usize) -> Self {
        self.item = bytes;
        self
    }

    /// Sets how many subscriptions there may be at a time; unlimited unless set.
    pub fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Sets how many channels there may be at a time; unlimited unless set.
    ///
    /// At the limit, creating a channel evicts the subscriber-less channel whose events are oldest.
    /// If every channel has subscribers, a subscription to a new channel is refused, and events
    /// published to a new channel are not kept.
    pub fn hub_channels(mut self, channels: usize) -> Self {
        self.hub_channels = channels;
        self
    }

    /// Sets roughly how many bytes may be used to remember channels that are gone; default 64 MiB,
    /// zero remembers next to nothing.
    ///
    /// A channel is gone once it has no subscribers and its newest event is too old. About 20 to 40
    /// bytes of it are kept: where it ended. So a client that comes back to a quiet channel learns
    /// whether it missed anything. The default is exact for the newest 900 000 such channels at
    /// least. Beyond that, the channels that went first share floors by a hash of their names: a
    /// client of one of these may get a `stream-reset` although it missed nothing.
    pub fn gone_channels(mut self, bytes: usize) -> Self {
        self.gone_channels = bytes;
        self
    }

    /// Sets how many channels one hold may have; default 20, beyond which Pushpin silently drops
    /// channels.
    #[cfg(feature = "grip")]
    pub fn hold_channels(mut self, channels: usize) -> Self {
        self.hold_channels = channels;
        self
    }

    /// Sets how many items may wait for each GRIP endpoint; default 10 000, at least 1. An item
    /// that finds the queue full has failed at that endpoint. Each sink that has waited for room
    /// may exceed this by one item.
    #[cfg(feature = "grip")]
    pub fn grip_queue(mut self, items: usize) -> Self {
        self.grip_queue = items;
        self
    }

    /// Sets how many bytes of JSON may wait for each GRIP endpoint; default 64 MiB. An item that
    /// finds no room has failed at that endpoint, but a larger one is accepted if the queue is
    /// empty. At least 1.
    #[cfg(feature = "grip")]
    pub fn grip_queue_bytes(mut self, bytes: usize) -> Self {
        self.grip_queue_bytes = bytes;
        self
    }

    /// Answers 503 with `Retry-After` when the stream is closed or full, instead of a 200 that ends
    /// at once.
    ///
    /// This suits load balancers. A browser's `EventSource` gives up for good on any status other
    /// than 200.
    pub fn refuse_with_503(mut self) -> Self {
        self.refuse_with_503 = true;
        self
    }
}
