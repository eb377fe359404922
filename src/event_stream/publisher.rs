//! Publishers of one channel: by method, and as a sink.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::sink::Sink;

use crate::core::Core;
use crate::error::PublishError;
use crate::event::{Event, EventId};
use crate::hub::{CachedChannel, Channel, Target};
use crate::proxy::{Proxy, SinkTurn};
use crate::publishing::{give_way, Publishing};

/// Publishes on one channel. Made by [`EventStream::publisher`](crate::EventStream::publisher).
///
/// It finds its channel once, so publishing through it is a little faster than by name.
#[derive(Clone)]
pub struct ChannelPublisher {
    core: Arc<Core>,
    channel: Arc<str>,
    cache: CachedChannel,
}

impl ChannelPublisher {
    pub(super) fn new(core: Arc<Core>, channel: &str) -> Self {
        Self { core, channel: channel.into(), cache: CachedChannel::new() }
    }

    fn target(&self) -> Target<'_> {
        Target::cached(&self.channel, &self.cache)
    }

    /// Publishes an event, as [`EventStream::publish`](crate::EventStream::publish) does.
    pub fn publish(&self, event: Event) -> Publishing<EventId> {
        self.core.publish(self.target(), &event)
    }

    /// Publishes all of `events` or none, as
    /// [`EventStream::publish_all`](crate::EventStream::publish_all) does.
    pub fn publish_all(&self, events: impl IntoIterator<Item = Event>) -> Publishing<Vec<EventId>> {
        self.core.publish_all(self.target(), events)
    }

    /// Publishes without a future, as [`EventStream::try_publish`](crate::EventStream::try_publish)
    /// does.
    ///
    /// # Errors
    ///
    /// If the event is not valid, or the stream was closed.
    pub fn try_publish(&self, event: Event) -> Result<EventId, PublishError> {
        self.core.try_publish(self.target(), &event)
    }

    /// A sink into this channel, as [`EventStream::sink`](crate::EventStream::sink) makes it.
    pub fn sink(&self) -> ChannelSink {
        let turn = self.core.proxy().map(Proxy::sink_turn);
        ChannelSink { publisher: self.clone(), give_way: None, turn }
    }
}

impl fmt::Debug for ChannelPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelPublisher").field(&self.channel).finish()
    }
}

/// Publishes on one channel as a [`Sink`]. Made by [`EventStream::sink`](crate::EventStream::sink).
///
/// Subscribers have an event when `start_send` returns. Without a proxy there is nothing to wait
/// for, except that the sink occasionally is not ready once so that readers on the same thread keep
/// up. Behind a GRIP proxy the sink is ready when the queue of every endpoint has room. Flushing or
/// closing it waits until everything that it sent was accepted or has failed, and reports what
/// failed since the last time; the sink remains usable.
///
/// An event that is not valid fails `start_send`, and the sink remains usable. Closing the sink
/// does not close the channel.
#[must_use = "a sink does nothing unless something is sent to it"]
pub struct ChannelSink {
    publisher: ChannelPublisher,
    give_way: Option<Arc<Channel>>,
    turn: Option<SinkTurn>,
}

impl Sink<Event> for ChannelSink {
    type Error = PublishError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        if let Some(channel) = self.give_way.take() {
            return give_way(&channel, cx);
        }
        match &mut self.turn {
            Some(turn) => turn.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), PublishError> {
        let Self { publisher, give_way, turn } = &mut *self;
        let target = publisher.target();
        let accepted = publisher.core.publish_in_turn(target, &event, turn.as_mut())?;
        *give_way = accepted.give_way;
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        match &mut self.turn {
            Some(turn) => turn.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        self.poll_flush(cx)
    }
}

impl Clone for ChannelSink {
    fn clone(&self) -> Self {
        self.publisher.sink()
    }
}

impl fmt::Debug for ChannelSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelSink").field(&self.publisher.channel).finish()
    }
}
