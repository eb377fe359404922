//! A client that reads a stream in process.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FusedStream, Stream};
use futures::task::noop_waker_ref;

use super::decoder::{Decoder, Received};
use crate::serve::Body;
use crate::subscription::Subscription;

/// Reads decoded events from a [`Body`] or a [`Subscription`], as a browser would.
///
/// [`ready`](Client::ready) returns what is available now and needs no executor;
/// [`next`](Client::next) waits. The client is also a [`Stream`] of events. Dropping it disconnects
/// it.
#[must_use = "a client does nothing until it is read from"]
pub struct Client {
    source: Source,
    decoder: Decoder,
}

enum Source {
    Body(Body),
    Subscription(Subscription),
}

impl Client {
    /// Returns all events that are available now, without waiting.
    pub fn ready(&mut self) -> Vec<Received> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut events = Vec::new();
        while let Poll::Ready(Some(event)) = self.poll(&mut cx) {
            events.push(event);
        }
        events
    }

    /// Waits for the next event; returns `None` at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Received> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Disconnects, and returns the last event id to reconnect with; empty if there was none.
    pub fn stop(self) -> String {
        self.decoder.last_event_id
    }

    /// Returns the id that was received last; empty if there was none.
    pub fn last_event_id(&self) -> &str {
        &self.decoder.last_event_id
    }

    /// Returns how long to wait before a reconnect, if the server has sent a `retry`.
    pub fn retry(&self) -> Option<Duration> {
        self.decoder.retry
    }

    /// Returns whether the stream has ended and all its events have been read.
    pub fn is_ended(&self) -> bool {
        self.decoder.events.is_empty() && self.source.is_ended()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        loop {
            if let Some(event) = self.decoder.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(self.source.poll(cx)) {
                Some(bytes) => self.decoder.feed(&bytes),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let sure = |item: Result<Bytes, Infallible>| item.unwrap_or_else(|never| match never {});
        match self {
            Self::Body(body) => Stream::poll_next(Pin::new(body), cx).map(|item| item.map(sure)),
            Self::Subscription(subscription) => Pin::new(subscription).poll_next(cx),
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Body(body) => body.is_terminated(),
            Self::Subscription(subscription) => subscription.is_terminated(),
        }
    }
}

impl From<Body> for Client {
    fn from(body: Body) -> Self {
        Self { source: Source::Body(body), decoder: Decoder::default() }
    }
}

impl From<Subscription> for Client {
    fn from(subscription: Subscription) -> Self {
        Self { source: Source::Subscription(subscription), decoder: Decoder::default() }
    }
}

impl Stream for Client {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.poll(cx)
    }
}

impl FusedStream for Client {
    fn is_terminated(&self) -> bool {
        self.is_ended()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("last_event_id", &self.decoder.last_event_id)
            .finish_non_exhaustive()
    }
}
