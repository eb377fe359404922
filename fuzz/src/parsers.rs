//! What two parsers of event streams that nobody here wrote make of bytes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures::executor::block_on;
use futures::stream::{self, TryStreamExt};

/// An event as a client received it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Received {
    pub(crate) name: String,
    /// The last event id after this event.
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) retry: Option<Duration>,
}

/// What eventsource-stream makes of bytes that arrive in these pieces. They must be UTF-8.
///
/// It panics on a byte order mark at the start of a stream.
pub(crate) fn eventsource_stream(pieces: &[Bytes]) -> Vec<Received> {
    let pieces = stream::iter(pieces.iter().map(Ok::<_, Infallible>));
    let received = |event: eventsource_stream::Event| {
        let eventsource_stream::Event { event: name, id, data, retry } = event;
        Received { name, id, data, retry }
    };
    block_on(pieces.eventsource().map_ok(received).try_collect()).expect("the bytes are UTF-8")
}

/// What sse-codec makes of bytes that arrive in these pieces. They must be UTF-8.
///
/// It reads only `retry:1`, without a space, and reports it as an event of its own, which is left
/// out here.
pub(crate) fn sse_codec(pieces: &[Bytes]) -> Vec<Received> {
    let pieces = stream::iter(pieces.iter().cloned().map(Ok)).into_async_read();
    let received = |event| async {
        Ok(match event {
            sse_codec::Event::Message { id, event: name, data } => {
                Some(Received { name, id: id.unwrap_or_default(), data, retry: None })
            }
            sse_codec::Event::Retry { .. } => None,
        })
    };
    let decoded = sse_codec::decode_stream(pieces).try_filter_map(received);
    block_on(decoded.try_collect()).expect("the bytes are UTF-8")
}
