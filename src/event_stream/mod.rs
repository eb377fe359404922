//! The handle that programs hold: it forwards to the [`Core`] and has no algorithm of its own.

mod builder;
mod publisher;
mod registry;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};

use crate::core::Core;
use crate::error::{BuildError, PublishError};
use crate::event::{Event, EventId};
use crate::handler::Handler;
use crate::hub::{Start, SubscribeError, Target};
use crate::publishing::Publishing;
use crate::run::{self, Run};
use crate::serve::Channels;
use crate::stats::Stats;
use crate::subscription::Subscription;
pub use builder::Builder;
pub use publisher::{ChannelPublisher, ChannelSink};
use registry::Registry;

/// The streams made by [`EventStream::named`].
static NAMED: Registry<EventStream> = Registry::new();

/// Channels of server-sent events, and the endpoints that serve them.
///
/// A cheap-to-clone handle; all clones share the same channels. Dropping the last one does not end
/// streams that are still being read.
///
/// Build it after a `fork`, not before: the processes would share its epoch, and with it the ids of
/// different events. Streams that are built after the `fork` never do.
///
/// ```
/// use eventstream::{Event, EventStream};
/// use futures::{executor::block_on, StreamExt};
///
/// let stream = EventStream::new();
/// let mut subscription = stream.subscribe(["news"]);
/// block_on(async {
///     let id = stream.publish("news", Event::new("headline").data("It works")).await?;
///     let frames = subscription.next().await.unwrap();
///     assert_eq!(frames, format!("id: {id}\nevent: headline\ndata: It works\n\n"));
/// # Ok::<(), eventstream::PublishError>(())
/// })?;
/// # Ok::<(), eventstream::PublishError>(())
/// ```
#[derive(Clone)]
pub struct EventStream {
    core: Arc<Core>,
}

impl EventStream {
    /// An in-process stream with all defaults. It needs no runtime, now or later.
    pub fn new() -> Self {
        Builder::build_default()
    }

    /// Sets history, limits, keep-alive, runtime and proxies.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The process-wide stream of this name. The first caller builds it; later callers get the same
    /// one, and their `build` is not called.
    ///
    /// While `build` runs, callers of the same name wait and callers of other names do not.
    ///
    /// # Errors
    ///
    /// The error of `build`; the next caller tries again. Also if `build` asks for the name that it
    /// is building.
    pub fn named(
        name: &str,
        build: impl FnOnce() -> Result<Self, BuildError>,
    ) -> Result<Self, BuildError> {
        NAMED.get_or_build(name, build)
    }

    /// Publishes `event` on `channel` and wakes its subscribers.
    ///
    /// They have it before this returns; the future reports the outcome, and dropping it undoes
    /// nothing. The channel is created if it does not exist. A reader that falls behind the
    /// channel's [`History`](crate::History) gets a `stream-reset`. The future yields once each
    /// time half of the channel's history has filled up without any reader making progress, so that
    /// readers on the same thread keep up.
    ///
    /// # Errors
    ///
    /// [`PublishError::Invalid`] if the event or the channel's name is not valid, and
    /// [`PublishError::Closed`] after [`close`](Self::close): nothing happened.
    pub fn publish(&self, channel: &str, event: Event) -> Publishing<EventId> {
        self.core.publish(Target::named(channel), &event)
    }

    /// Publishes all of `events` or none, in order, with no other publisher's events between them.
    ///
    /// This is one step. A batch of more than half of the channel's history may push out events
    /// that readers on the same thread had no chance to read yet.
    ///
    /// # Errors
    ///
    /// The errors of [`publish`](Self::publish), about the first event that is not valid. Also if
    /// the batch is larger than the channel's history.
    pub fn publish_all(
        &self,
        channel: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> Publishing<Vec<EventId>> {
        self.core.publish_all(Target::named(channel), events)
    }

    /// Publishes without a future, and so without yielding to readers.
    ///
    /// Behind GRIP proxies, `Ok` says that the event is valid and that local subscribers have it.
    /// An endpoint that does not get it, at once because its queue is full or later, counts it in
    /// [`stats`](Self::stats) as `failed`, and its clients get a `stream-reset`.
    ///
    /// # Errors
    ///
    /// If the event is not valid, or the stream was closed.
    pub fn try_publish(&self, channel: &str, event: Event) -> Result<EventId, PublishError> {
        self.core.try_publish(Target::named(channel), &event)
    }

    /// Whether the stream stands behind GRIP proxies.
    pub fn is_grip(&self) -> bool {
        self.core.proxy().is_some()
    }

    /// A publisher of one channel.
    pub fn publisher(&self, channel: &str) -> ChannelPublisher {
        ChannelPublisher::new(self.core.clone(), channel)
    }

    /// A [`Sink`](futures::Sink) of events into one channel.
    pub fn sink(&self, channel: &str) -> ChannelSink {
        self.publisher(channel).sink()
    }

    /// Subscribes to everything that is published on these channels from now on.
    ///
    /// Where [`try_subscribe`](Self::try_subscribe) would fail, this returns a subscription that
    /// has ended.
    pub fn subscribe(&self, channels: impl Into<Channels>) -> Subscription {
        self.subscribe_or_end(&channels.into(), Start::Now)
    }

    /// Subscribes to everything after this id: first the events in the history, then new ones.
    ///
    /// If some of them are no longer kept, or the id is not known, the subscriber gets a
    /// `stream-reset`.
    pub fn subscribe_after(
        &self,
        channels: impl Into<Channels>,
        last_event_id: &str,
    ) -> Subscription {
        self.subscribe_or_end(&channels.into(), Start::After(last_event_id))
    }

    /// Subscribes from now on, or after an id.
    ///
    /// # Errors
    ///
    /// If no channel is named, a limit is reached, or the stream was closed.
    pub fn try_subscribe(
        &self,
        channels: impl Into<Channels>,
        last_event_id: Option<&str>,
    ) -> Result<Subscription, SubscribeError> {
        let start = last_event_id.map_or(Start::Now, Start::After);
        let (cursor, bodies) = self.core.subscribe(&channels.into(), start)?;
        Ok(Subscription::new(cursor, bodies))
    }

    fn subscribe_or_end(&self, channels: &Channels, start: Start<'_>) -> Subscription {
        let (cursor, bodies) = self.core.subscribe_or_end(channels, start);
        Subscription::new(cursor, bodies)
    }

    /// Answers a request with a whole SSE endpoint.
    ///
    /// Takes any request and any started response, keeps the response's headers and extensions
    /// (CORS, cookies), and finishes it: method, `Accept`, replay after `Last-Event-ID`, headers,
    /// and a body that lives as long as the client. Channel names are literal: nothing in them is
    /// expanded ([`handler`](Self::handler) does that).
    ///
    /// The id to replay after is the header `Last-Event-ID`, or the query's `lastEventId`, because
    /// a page cannot set headers for an `EventSource` that it makes. If there are several, the
    /// newest id that this stream gave counts.
    ///
    /// The request's body is left alone. Where clients send one, the program reads it first, or
    /// lets [`Handler::draining`] do so: [`Draining`](crate::Draining) says what happens otherwise.
    ///
    /// ```
    /// use eventstream::EventStream;
    /// use futures::executor::block_on;
    /// use http::{Request, Response};
    ///
    /// let stream = EventStream::new();
    /// let response = block_on(stream.run(&Request::new(()), Response::new(()), "news"));
    /// assert_eq!(response.headers()["content-type"], "text/event-stream");
    /// ```
    pub fn run<Q, S>(
        &self,
        req: &Request<Q>,
        res: Response<S>,
        channels: impl Into<Channels>,
    ) -> Run {
        let channels = channels.into();
        Run::new(run::answer(&self.core, req, res, Ok(channels), Ok))
    }

    /// An endpoint for channel templates. `{id}` is taken from [`Params`](crate::Params) or the
    /// path, `{?id}` from the query.
    pub fn handler(&self, channels: impl Into<Channels>) -> Handler {
        Handler::templates(self.core.clone(), &channels.into())
    }

    /// An endpoint whose channels depend on the request. The names that `f` returns are literal.
    pub fn handler_fn<F, C>(&self, f: F) -> Handler
    where
        F: Fn(&Request<()>) -> C + Send + Sync + 'static,
        C: Into<Channels>,
    {
        Handler::function(self.core.clone(), move |request| f(request).into())
    }

    /// Ends every stream that reads this channel, once it has handed out the channel's history, and
    /// frees the channel.
    ///
    /// A stream of several channels ends too: to end what one user receives, close a channel of
    /// that user's own. A later publisher or subscriber gets a new channel of the same name.
    ///
    /// GRIP proxies are asked to do the same. An endpoint that does not get this, at once because
    /// its queue is full or later, counts it in [`stats`](Self::stats) as `failed`; the clients
    /// that it holds stay.
    pub fn close_channel(&self, channel: &str) {
        self.core.close_channel(channel);
    }

    /// Counters, for monitoring.
    ///
    /// It looks at every channel, one after the other under its lock: 100 000 channels take about
    /// 14 ms. Cache the result if anybody can request it.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.core)
    }

    /// Closes the stream: publishing and subscribing fail from now on, requests are answered with a
    /// time to come back, and open streams end once they have handed out what is left.
    ///
    /// All of that has happened when this returns. Without a proxy the future is ready immediately.
    /// Behind a GRIP proxy it resolves when the queues of all endpoints are empty, or after 10 s:
    /// whatever is left by then has failed, and [`stats`](Self::stats) counts it. If the publisher
    /// is shared with other streams, that includes their items.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.core.close()
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.core.hub().is_closed();
        f.debug_struct("EventStream").field("closed", &closed).finish_non_exhaustive()
    }
}
