//! What `subscribe` returns.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{FusedStream, Stream};

use crate::event::EventId;
use crate::hub::Cursor;
use crate::serve::{Body, BodySettings};

/// The events of one or several channels, in one total order, as bytes ready for the wire.
///
/// Each item is one or more whole frames: everything that was ready, up to
/// [`Limits::item`](crate::Limits::item) bytes. Subscribers at the same place of the same channel
/// share the same [`Bytes`]. There is no `stream-open` and no keep-alive in it;
/// [`into_body`](Subscription::into_body) adds those.
///
/// # Lagging
///
/// A subscription that is not polled costs its cursor and delays nobody. If an event that was due
/// is no longer kept ([`History`](crate::History)), the subscription gets a `stream-reset` frame in
/// its place, which names the channel.
///
/// # Closing
///
/// After [`EventStream::close`](crate::EventStream::close), or
/// [`close_channel`](crate::EventStream::close_channel) of any of its channels, the stream ends
/// once it has handed out what is left.
///
/// # Cancel safety
///
/// Dropping the subscription, or a future that polls it, loses nothing that was not handed out:
/// [`last_event_id`](Subscription::last_event_id) says where it was.
#[must_use = "a subscription does nothing unless polled"]
pub struct Subscription {
    cursor: Cursor,
    bodies: Arc<BodySettings>,
}

impl Subscription {
    pub(crate) fn new(cursor: Cursor, bodies: Arc<BodySettings>) -> Self {
        Self { cursor, bodies }
    }

    /// Turns it into the body of an answer: `stream-open`, then the events, with keep-alives in
    /// between.
    pub fn into_body(self) -> Body {
        Body::live(self.cursor, self.bodies)
    }

    /// Where the subscription is: a new one after this id misses nothing and repeats nothing.
    ///
    /// It moves with each item handed out. After an id that could not be placed it is where the
    /// stream goes on.
    pub fn last_event_id(&self) -> EventId {
        self.cursor.last_event_id()
    }
}

impl Stream for Subscription {
    type Item = Bytes;

    /// - `Pending`: nothing new; the task is woken when there is, or when a channel was closed.
    /// - `Ready(Some(item))`: whole frames, at least one.
    /// - `Ready(None)`: the end; polling again gives the same.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(&mut self.cursor).poll_next(cx)
    }
}

impl FusedStream for Subscription {
    fn is_terminated(&self) -> bool {
        self.cursor.is_terminated()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.cursor).finish()
    }
}
