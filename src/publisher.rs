//! Ways to publish: the future, one channel's publisher, and the sink.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::sink::Sink;

use crate::event::{Event, EventId, InvalidEvent};
use crate::event_stream::EventStream;
use crate::hub::{Channel, FoundChannel, Refused, To};
#[cfg(feature = "grip")]
use crate::proxy::{Outcome, Window};

/// What `publish` and `publish_all` return: the outcome of something that has already happened.
///
/// Subscribers have the event before this exists. It is ready at once in process, but that now and
/// then it yields once, so that a publisher in a loop does not overrun readers that share its
/// thread; behind a GRIP proxy it is ready when every endpoint has accepted the event or failed.
///
/// # Cancel safety
///
/// Dropping it undoes nothing and loses nothing.
#[must_use = "the event is delivered already, but only the outcome tells if it was valid: await it, or use `try_publish`"]
pub struct Publishing<T> {
    accepted: Option<Result<T, PublishError>>,
    give_way: Option<Arc<Channel>>,
    #[cfg(feature = "grip")]
    outcome: Option<Outcome<T>>,
}

impl<T> Publishing<T> {
    /// With the channel to give way to, if there is one.
    pub(crate) fn new(accepted: Result<(T, Option<Arc<Channel>>), Refused>) -> Self {
        let (accepted, give_way) = match accepted {
            Ok((ids, give_way)) => (Ok(ids), give_way),
            Err(refused) => (Err(refused.into()), None),
        };
        Self {
            accepted: Some(accepted),
            give_way,
            #[cfg(feature = "grip")]
            outcome: None,
        }
    }

    #[cfg(feature = "grip")]
    pub(crate) fn with_outcome(mut self, outcome: Outcome<T>) -> Self {
        self.outcome = self.accepted.as_ref().is_some_and(Result::is_ok).then_some(outcome);
        self
    }
}

impl<T: Unpin> Future for Publishing<T> {
    type Output = Result<T, PublishError>;

    /// # Panics
    ///
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(channel) = this.give_way.take() {
            return give_way(&channel, cx);
        }
        #[cfg(feature = "grip")]
        if let (Some(Ok(ids)), Some(outcome)) = (&this.accepted, &mut this.outcome) {
            std::task::ready!(outcome.poll(ids, cx))?;
        }
        Poll::Ready(this.accepted.take().expect("`Publishing` polled after it was ready"))
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
        f.debug_tuple("Publishing").field(&self.accepted).finish()
    }
}

/// Publishes on one channel. Made by [`EventStream::publisher`].
#[derive(Clone)]
pub struct ChannelPublisher {
    stream: EventStream,
    channel: Arc<str>,
    found: FoundChannel,
}

impl ChannelPublisher {
    pub(crate) fn new(stream: EventStream, channel: &str) -> Self {
        Self { stream, channel: channel.into(), found: FoundChannel::new() }
    }

    fn to(&self) -> To<'_> {
        To::found(&self.channel, &self.found)
    }

    /// As [`EventStream::publish`].
    pub fn publish(&self, event: Event) -> Publishing<EventId> {
        self.stream.publish_to(self.to(), &event)
    }

    /// As [`EventStream::publish_all`].
    pub fn publish_all(&self, events: impl IntoIterator<Item = Event>) -> Publishing<Vec<EventId>> {
        self.stream.publish_all_to(self.to(), events)
    }

    /// As [`EventStream::try_publish`].
    ///
    /// # Errors
    ///
    /// If the event is not valid, or the stream was closed.
    pub fn try_publish(&self, event: Event) -> Result<EventId, PublishError> {
        self.stream.try_publish_to(self.to(), &event)
    }

    /// As [`EventStream::sink`].
    pub fn sink(&self) -> ChannelSink {
        ChannelSink {
            give_way: None,
            #[cfg(feature = "grip")]
            window: self.stream.proxy().map(|proxy| proxy.window()),
            publisher: self.clone(),
        }
    }
}

impl fmt::Debug for ChannelPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelPublisher").field(&self.channel).finish()
    }
}

/// Publishes on one channel as a [`Sink`]. Made by [`EventStream::sink`].
///
/// An event is delivered to subscribers when it is sent. In process there is nothing to wait for,
/// but that now and then the sink is not ready once, so that readers on the same thread keep up.
/// Behind a GRIP proxy it is ready when the queue of every endpoint has room, and flushing or
/// closing it waits until all that it sent was accepted or has failed, and reports what failed
/// since the last time; the sink goes on.
///
/// An event that is not valid fails `start_send`, and the sink goes on. Closing it leaves the
/// channel open.
#[must_use = "a sink does nothing unless something is sent to it"]
pub struct ChannelSink {
    publisher: ChannelPublisher,
    give_way: Option<Arc<Channel>>,
    #[cfg(feature = "grip")]
    window: Option<Window>,
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
        #[cfg(feature = "grip")]
        if let Some(window) = &mut self.window {
            return window.poll_ready(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), PublishError> {
        let this = &mut *self;
        let (stream, channel) = (&this.publisher.stream, this.publisher.to());
        #[cfg(feature = "grip")]
        let accepted = match &mut this.window {
            Some(window) => stream.publish_in(channel, &event, window),
            None => stream.publish_locally(channel, &event),
        };
        #[cfg(not(feature = "grip"))]
        let accepted = stream.publish_locally(channel, &event);
        this.give_way = accepted?.give_way;
        Ok(())
    }

    #[cfg_attr(
        not(feature = "grip"),
        expect(unused_variables, unused_mut, reason = "in process nothing is left to wait for")
    )]
    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        #[cfg(feature = "grip")]
        if let Some(window) = &mut self.window {
            return window.poll_flush(cx);
        }
        Poll::Ready(Ok(()))
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

/// Why a publication failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The event, the batch or the channel's name is not valid: nothing happened.
    Invalid(InvalidEvent),
    /// The stream was closed: nothing happened.
    Closed,
    /// Subscribers in this process and behind other endpoints have it: do not publish it again.
    #[cfg(feature = "grip")]
    Grip {
        /// The event, or the first of a batch that failed.
        id: EventId,
        /// The endpoints that did not take it, and why.
        failures: Vec<crate::grip::Failure>,
    },
}

impl From<Refused> for PublishError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => Self::Invalid(invalid),
            Refused::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Closed => f.write_str("publishing to a closed event stream"),
            #[cfg(feature = "grip")]
            Self::Grip { id, failures } => {
                write!(f, "event {id} was delivered locally, but not to every proxy")?;
                failures.iter().try_for_each(|failure| write!(f, "; {failure}"))
            }
        }
    }
}

impl Error for PublishError {}
