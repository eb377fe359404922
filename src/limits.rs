//! What a channel keeps, and how much of anything there may be.

use std::time::Duration;

use crate::runtime::nanos;

/// What each channel keeps, for clients that come back and for readers that are slow.
///
/// The default is 1024 events, 1 MiB and 5 minutes per channel, whichever is reached first; the
/// newest event is kept whatever its size, until it is too old. A reader that needs an event which
/// is gone is told so by a `stream-reset`.
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
    /// No replay: events carry no id of ours and a client's `Last-Event-ID` is ignored.
    ///
    /// A live window of 256 events and 256 KiB remains, for it is the queue that subscribers read
    /// from.
    pub fn none() -> Self {
        Self { replay: false, events: 256, bytes: 256 << 10, age: Duration::from_secs(300) }
    }

    /// How many events a channel keeps; default 1024, at least 1.
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// How many bytes of frames a channel keeps; default 1 MiB, at least 1.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// How long a channel keeps an event; default 5 minutes, more than zero.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// When an event of time `at` is too old, in nanoseconds as [`nanos`] counts.
    pub(crate) fn due(&self, at: u64) -> u64 {
        at.saturating_add(nanos(self.age))
    }
}

/// Bounds that protect the process. All are per [`EventStream`](crate::EventStream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) frame: usize,
    pub(crate) channel_name: usize,
    pub(crate) channels: usize,
    pub(crate) item: usize,
    pub(crate) subscriptions: usize,
    pub(crate) hub_channels: usize,
    pub(crate) hold_channels: usize,
    pub(crate) grip_queue: usize,
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
            hold_channels: 20,
            grip_queue: 10_000,
            refuse_with_503: false,
        }
    }
}

impl Limits {
    /// Bytes of data and comment in one event, as encoded (each line of data after the first counts
    /// its `data: `); the name may be as long again. Default 1 MiB, and data of exactly 1 MiB fits.
    pub fn frame(mut self, bytes: usize) -> Self {
        self.frame = bytes;
        self
    }

    /// Bytes of a channel's name; default 256.
    pub fn channel_name(mut self, bytes: usize) -> Self {
        self.channel_name = bytes;
        self
    }

    /// Channels of one subscription; default 100.
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// Bytes of frames handed out as one item (a single larger frame is an item of its own);
    /// default 64 KiB.
    pub fn item(mut self, bytes: usize) -> Self {
        self.item = bytes;
        self
    }

    /// Subscriptions at one time; unlimited unless set.
    pub fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Channels at one time; unlimited unless set.
    ///
    /// When they are reached, a new channel takes the place of one without subscribers: of that
    /// whose events are the oldest. Where every channel has subscribers, a subscription to a new
    /// channel is refused, and what is published to one is not kept.
    pub fn hub_channels(mut self, channels: usize) -> Self {
        self.hub_channels = channels;
        self
    }

    /// Channels of one hold; default 20, beyond which Pushpin drops channels without a word.
    #[cfg(feature = "grip")]
    pub fn hold_channels(mut self, channels: usize) -> Self {
        self.hold_channels = channels;
        self
    }

    /// Items that may wait for each GRIP endpoint; default 10 000. What finds no room has failed at
    /// that endpoint.
    #[cfg(feature = "grip")]
    pub fn grip_queue(mut self, items: usize) -> Self {
        self.grip_queue = items;
        self
    }

    /// Answers 503 with `Retry-After` instead of a 200 that ends at once, when closed or full.
    ///
    /// Good for load balancers; a browser's `EventSource` gives up for good on any status but 200.
    pub fn refuse_with_503(mut self) -> Self {
        self.refuse_with_503 = true;
        self
    }
}
