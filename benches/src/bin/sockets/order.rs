//! What a server is told to publish, and the data of its events: the same for every server.

use rustix::time::{clock_gettime, ClockId};

/// Data of this many bytes make an event of 138 bytes on eventstream's wire.
pub(crate) const SMALL: usize = 91;
pub(crate) const LARGE: usize = 1000;

/// The header of the answer that has the nanoseconds that publishing took.
pub(crate) const TOOK: &str = "publishing-took";
/// How the data begins; anything else is not an event of this benchmark.
pub(crate) const SEQ: &str = r#"{"seq":"#;
pub(crate) const AT: &str = r#","at":"#;

/// `POST /publish/CHANNEL?from=SEQ&events=N&size=BYTES&way=singly`
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) channel: String,
    from: u64,
    events: u64,
    size: usize,
    /// In one call, if the server has one for that.
    pub(crate) as_batch: bool,
}

impl Order {
    /// From the path and query of a request.
    pub(crate) fn parse(target: &str) -> Option<Self> {
        let (channel, query) = target.strip_prefix("/publish/")?.split_once('?')?;
        let value = |name| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| v)
        };
        Some(Self {
            channel: channel.to_owned(),
            from: value("from")?.parse().ok()?,
            events: value("events")?.parse().ok()?,
            size: value("size")?.parse().ok()?,
            as_batch: value("way")? == "batch",
        })
    }

    /// The events; each gets its timestamp when it is asked for.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, String)> + use<> {
        let size = self.size;
        (self.from..self.from + self.events).map(move |seq| (seq, data(seq, size)))
    }
}

/// The channel of a request for events.
pub(crate) fn subscribed(target: &str) -> Option<&str> {
    target.strip_prefix("/events/")
}

/// JSON of exactly `size` bytes that says which event this is and when it was made.
pub(crate) fn data(seq: u64, size: usize) -> String {
    let head = format!(r#"{SEQ}{seq}{AT}{},"text":""#, now());
    let mut data = String::with_capacity(size);
    data.push_str(&head);
    data.extend(std::iter::repeat_n('x', size.saturating_sub(head.len() + 2)));
    data.push_str("\"}");
    data
}

/// Microseconds of the monotonic clock, which all processes of a machine share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}
