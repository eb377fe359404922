//! Ways to publish: the future, one channel's publisher, and the sink.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::sink::Sink;

use crate::event::{Event, EventId};
use crate::event_stream::EventStream;
use crate::hub::{Accepted, Channel, PublishError};

/// What `publish` and `publish_all` return: the outcome of something that has already happened.
///
/// Now and then it yields once before it is ready, so that a publisher in a loop does not overrun readers that share
/// its thread.
///
/// # Cancel safety
///
/// Dropping it undoes nothing and loses nothing.
#[must_use = "the event is delivered already, but only the outcome tells if it was valid: await it, or use `try_publish`"]
pub struct Publishing<T> {
    outcome: Option<Result<T, PublishError>>,
    give_way: Option<Arc<Channel>>,
}

impl<T> Publishing<T> {
    pub(crate) fn new(accepted: Result<Accepted<T>, PublishError>) -> Self {
        match accepted {
            Ok(Accepted { ids, give_way }) => Self { outcome: Some(Ok(ids)), give_way },
            Err(error) => Self { outcome: Some(Err(error)), give_way: None },
        }
    }
}

impl<T: Unpin> Future for Publishing<T> {
    type Output = Result<T, PublishError>;

    /// # Panics
    ///
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(channel) = self.give_way.take() {
            return give_way(&channel, cx);
        }
        Poll::Ready(self.outcome.take().expect("`Publishing` polled after it was ready"))
    }
}

/// Lets the readers of this channel run first.
fn give_way<T>(channel: &Channel, cx: &Context<'_>) -> Poll<T> {
    channel.yielded();
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<T: fmt::Debug> fmt::Debug for Publishing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publishing").field(&self.outcome).finish()
    }
}

/// Publishes on one channel. Made by [`EventStream::publisher`].
#[derive(Clone, Debug)]
pub struct ChannelPublisher {
    stream: EventStream,
    channel: Arc<str>,
}

impl ChannelPublisher {
    pub(crate) fn new(stream: EventStream, channel: &str) -> Self {
        Self { stream, channel: channel.into() }
    }

    /// As [`EventStream::publish`].
    pub fn publish(&self, event: Event) -> Publishing<EventId> {
        self.stream.publish(&self.channel, event)
    }

    /// As [`EventStream::publish_all`].
    pub fn publish_all(&self, events: impl IntoIterator<Item = Event>) -> Publishing<Vec<EventId>> {
        self.stream.publish_all(&self.channel, events)
    }

    /// As [`EventStream::try_publish`].
    ///
    /// # Errors
    ///
    /// If the event is not valid, or the stream was closed.
    pub fn try_publish(&self, event: Event) -> Result<EventId, PublishError> {
        self.stream.try_publish(&self.channel, event)
    }

    /// As [`EventStream::sink`].
    pub fn sink(&self) -> ChannelSink {
        ChannelSink { publisher: self.clone(), give_way: None }
    }
}

/// Publishes on one channel as a [`Sink`]. Made by [`EventStream::sink`].
///
/// An event is delivered when it is sent; flushing and closing have nothing left to do, and closing leaves the channel
/// open. An event that is not valid fails `start_send` and the sink goes on. Now and then it is not ready once, so that
/// readers on the same thread keep up.
#[derive(Clone)]
#[must_use = "a sink does nothing unless something is sent to it"]
pub struct ChannelSink {
    publisher: ChannelPublisher,
    give_way: Option<Arc<Channel>>,
}

impl Sink<Event> for ChannelSink {
    type Error = PublishError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        match self.give_way.take() {
            Some(channel) => give_way(&channel, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), PublishError> {
        let publishing = self.publisher.publish(event);
        self.give_way = publishing.give_way;
        match publishing.outcome {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for ChannelSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelSink").field(&self.publisher.channel).finish()
    }
}
