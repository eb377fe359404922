//! The façade: joins the hub, the front door and the runtime, and holds no algorithm of its own.

use std::fmt;
use std::future::Future;
#[cfg(feature = "grip")]
use std::sync::atomic::Ordering;
use std::sync::Arc;

use http::{Request, Response};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::builder::{BuildError, Builder};
use crate::event::{Event, EventId};
use crate::handler::Handler;
use crate::hub::{Accepted, Cursor, Hub, Limits, Refused, Start, SubscribeError, To};
use crate::named;
#[cfg(feature = "grip")]
use crate::proxy::{Outcome, Proxy, Window};
use crate::publisher::{ChannelPublisher, ChannelSink, PublishError, Publishing};
use crate::run::{self, Run};
use crate::serve::{Body, Channels, Pace};
use crate::subscription::Subscription;

/// Channels of server-sent events, and the endpoints that serve them.
///
/// A handle: clones are cheap and mean the same channels. Dropping the last one ends nothing that
/// is still being read.
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
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    pace: Arc<Pace>,
    #[cfg(feature = "grip")]
    proxy: Option<Proxy>,
}

impl EventStream {
    /// An in-process stream with all defaults. No runtime is needed, now or later.
    pub fn new() -> Self {
        Builder::build_default()
    }

    /// Sets history, limits, keep-alive and runtime.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The process-wide stream of this name. The first caller builds it, later callers get the same
    /// one and their `build` is not called.
    ///
    /// Other names are not held up while `build` runs.
    ///
    /// # Errors
    ///
    /// What `build` said; the next caller tries again. Also if `build` asks for the name that it is
    /// building.
    pub fn named(
        name: &str,
        build: impl FnOnce() -> Result<Self, BuildError>,
    ) -> Result<Self, BuildError> {
        named::get_or_build(name, build)
    }

    pub(crate) fn from_parts(
        hub: Hub,
        pace: Pace,
        #[cfg(feature = "grip")] proxy: Option<Proxy>,
    ) -> Self {
        let inner = Inner {
            hub: Arc::new(hub),
            pace: Arc::new(pace),
            #[cfg(feature = "grip")]
            proxy,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Publishes `event` on `channel` and wakes its subscribers.
    ///
    /// They have it before this returns; the future tells the outcome, and dropping it undoes
    /// nothing. The channel is made if it is not there. A reader that falls behind what it keeps
    /// ([`History`](crate::History)) gets a `stream-reset`. The future yields once whenever the
    /// channel took half of what it keeps and nobody has read, so that readers on the same thread
    /// keep up.
    ///
    /// # Errors
    ///
    /// [`PublishError::Invalid`] if the event or the channel's name is not valid, [`PublishError::Closed`] after
    /// [`close`](Self::close): nothing happened.
    pub fn publish(&self, channel: &str, event: Event) -> Publishing<EventId> {
        self.publish_to(To::named(channel), &event)
    }

    /// Publishes all of `events` or none: in order, and with nothing of others between them in the
    /// channel.
    ///
    /// It is one step: a batch of more than half of what the channel keeps may push out what
    /// readers on the same thread had no chance to read yet.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), for the first event that is not valid; also if there are more
    /// than the channel keeps.
    pub fn publish_all(
        &self,
        channel: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> Publishing<Vec<EventId>> {
        self.publish_all_to(To::named(channel), events)
    }

    /// Publishes without a future, and so without giving way to readers.
    ///
    /// # Errors
    ///
    /// If the event is not valid, or the stream was closed.
    pub fn try_publish(&self, channel: &str, event: Event) -> Result<EventId, PublishError> {
        self.try_publish_to(To::named(channel), &event)
    }

    pub(crate) fn publish_to(&self, channel: To<'_>, event: &Event) -> Publishing<EventId> {
        let id =
            |accepted: Accepted| (self.inner.hub.id_of(event, accepted.first), accepted.give_way);
        #[cfg(feature = "grip")]
        if let Some(proxy) = self.proxy() {
            let (report, reports) = async_channel::unbounded();
            let mut tap = proxy.tap(channel.name(), Some(&report));
            let accepted = self.inner.hub.publish(channel, event, self.inner.pace.now(), &mut tap);
            drop(tap);
            return Publishing::new(accepted.map(id))
                .with_outcome(Outcome::new(reports, |id, _| id.clone()));
        }
        Publishing::new(self.publish_locally(channel, event).map(id))
    }

    pub(crate) fn publish_all_to(
        &self,
        channel: To<'_>,
        events: impl IntoIterator<Item = Event>,
    ) -> Publishing<Vec<EventId>> {
        let now = self.inner.pace.now();
        let all = |(accepted, ids): (Accepted, Vec<EventId>)| (ids, accepted.give_way);
        #[cfg(feature = "grip")]
        if let Some(proxy) = self.proxy() {
            let (report, reports) = async_channel::unbounded();
            let mut tap = proxy.tap(channel.name(), Some(&report));
            let accepted = self.inner.hub.publish_all(channel, events, now, &mut tap);
            drop(tap);
            let failed = |_: &Vec<EventId>, id: &str| EventId::given(id.into());
            return Publishing::new(accepted.map(all)).with_outcome(Outcome::new(reports, failed));
        }
        Publishing::new(self.inner.hub.publish_all(channel, events, now, &mut ()).map(all))
    }

    pub(crate) fn try_publish_to(
        &self,
        channel: To<'_>,
        event: &Event,
    ) -> Result<EventId, PublishError> {
        #[cfg(feature = "grip")]
        if let Some(proxy) = self.proxy() {
            let mut tap = proxy.tap(channel.name(), None);
            let accepted =
                self.inner.hub.publish(channel, event, self.inner.pace.now(), &mut tap)?;
            return Ok(self.inner.hub.id_of(event, accepted.first));
        }
        let accepted = self.publish_locally(channel, event)?;
        Ok(self.inner.hub.id_of(event, accepted.first))
    }

    /// Publishes to the subscribers of this process alone.
    pub(crate) fn publish_locally(
        &self,
        channel: To<'_>,
        event: &Event,
    ) -> Result<Accepted, Refused> {
        self.inner.hub.publish(channel, event, self.inner.pace.now(), &mut ())
    }

    /// Publishes with the room that a sink has reserved.
    #[cfg(feature = "grip")]
    pub(crate) fn publish_in(
        &self,
        channel: To<'_>,
        event: &Event,
        window: &mut Window,
    ) -> Result<Accepted, Refused> {
        match self.proxy() {
            Some(proxy) => {
                let mut tap = window.tap(proxy, channel.name());
                self.inner.hub.publish(channel, event, self.inner.pace.now(), &mut tap)
            }
            None => self.publish_locally(channel, event),
        }
    }

    /// Whether the stream stands behind GRIP proxies.
    pub fn is_grip(&self) -> bool {
        #[cfg(feature = "grip")]
        return self.proxy().is_some();
        #[cfg(not(feature = "grip"))]
        false
    }

    #[cfg(feature = "grip")]
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.inner.proxy.as_ref()
    }

    /// A publisher of one channel.
    pub fn publisher(&self, channel: &str) -> ChannelPublisher {
        ChannelPublisher::new(self.clone(), channel)
    }

    /// A [`Sink`](futures::Sink) of events into one channel.
    pub fn sink(&self, channel: &str) -> ChannelSink {
        self.publisher(channel).sink()
    }

    /// Subscribes to all that is published on these channels from now on.
    ///
    /// Where [`try_subscribe`](Self::try_subscribe) fails, this gives a subscription that has
    /// ended.
    pub fn subscribe(&self, channels: impl Into<Channels>) -> Subscription {
        self.subscribe_or_end(&channels.into(), Start::Now)
    }

    /// Subscribes to all that comes after this id: what is kept first, then what is published.
    ///
    /// If something is no longer kept, or the id is not known, a `stream-reset` says so.
    pub fn subscribe_after(
        &self,
        channels: impl Into<Channels>,
        last_event_id: &str,
    ) -> Subscription {
        self.subscribe_or_end(&channels.into(), Start::After(last_event_id))
    }

    /// Subscribes from now on, or behind an id.
    ///
    /// # Errors
    ///
    /// If no channel is named, a limit is reached, or the stream was closed.
    pub fn try_subscribe(
        &self,
        channels: impl Into<Channels>,
        last_event_id: Option<&str>,
    ) -> Result<Subscription, SubscribeError> {
        let cursor =
            self.cursor(&channels.into(), last_event_id.map_or(Start::Now, Start::After))?;
        Ok(Subscription::new(cursor, self.inner.pace.clone()))
    }

    fn subscribe_or_end(&self, channels: &Channels, start: Start<'_>) -> Subscription {
        let cursor = self.cursor(channels, start).unwrap_or_else(|_| self.inner.hub.ended());
        Subscription::new(cursor, self.inner.pace.clone())
    }

    pub(crate) fn cursor(
        &self,
        channels: &Channels,
        start: Start<'_>,
    ) -> Result<Cursor, SubscribeError> {
        self.inner.hub.subscribe(channels.as_slice(), start, self.inner.pace.now())
    }

    /// Answers a request with a whole SSE endpoint.
    ///
    /// Takes any request and any started response, whose headers and extensions stay (CORS,
    /// cookies), and finishes it: method, `Accept`, replay behind `Last-Event-ID`, headers, and a
    /// body that lives as long as the client. Channel names are literal: nothing is expanded in
    /// them ([`handler`](Self::handler) does that).
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
        Run::new(run::answer(self, req, res, Ok(channels), Ok))
    }

    /// An endpoint for channel templates: `{id}` is taken from [`Params`](crate::Params) or the
    /// path, `{?id}` from the query.
    pub fn handler(&self, channels: impl Into<Channels>) -> Handler {
        Handler::templates(self.clone(), &channels.into())
    }

    /// An endpoint whose channels depend on the request. The names that `f` gives are literal.
    pub fn handler_fn<F, C>(&self, f: F) -> Handler
    where
        F: Fn(&Request<()>) -> C + Send + Sync + 'static,
        C: Into<Channels>,
    {
        Handler::function(self.clone(), move |request| f(request).into())
    }

    /// Ends every stream that reads this channel, after what is kept, and frees the channel.
    ///
    /// A stream of several channels ends too: to end what a user receives, close a channel of that
    /// user's own. Who publishes or subscribes later gets a new channel of the same name.
    pub fn close_channel(&self, channel: &str) {
        self.inner.hub.close_channel(channel);
        #[cfg(feature = "grip")]
        if let Some(proxy) = self.proxy() {
            proxy.close_channel(channel);
        }
    }

    /// Counters, for monitoring.
    pub fn stats(&self) -> Stats {
        let counts = self.inner.hub.stats(self.inner.pace.now());
        Stats {
            subscriptions: counts.subscriptions,
            channels: counts.channels,
            published: counts.published,
            delivered: counts.delivered,
            resets: counts.resets,
            retained_bytes: counts.retained_bytes,
            #[cfg(feature = "grip")]
            bad_signatures: self
                .proxy()
                .map_or(0, |proxy| proxy.bad_signatures.load(Ordering::Relaxed)),
            #[cfg(feature = "grip")]
            grip: self.proxy().map(|proxy| proxy.publisher.stats()).unwrap_or_default(),
        }
    }

    /// Closes the stream: publishing and subscribing fail from now on, requests are told to come
    /// back later, and open streams end by themselves when they have handed out what is left.
    ///
    /// All of that has happened when this returns. The future is ready at once in process; behind a
    /// GRIP proxy it resolves when the queues of all endpoints are empty, or after 10 s: what is
    /// left then has failed, and [`stats`](Self::stats) counts it.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.hub.close();
        #[cfg(feature = "grip")]
        let flushed = self.proxy().map(Proxy::close);
        async move {
            #[cfg(feature = "grip")]
            if let Some(flushed) = flushed {
                flushed.await;
            }
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.inner.hub.limits()
    }

    #[cfg(feature = "grip")]
    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.inner.pace
    }

    pub(crate) fn body(&self, cursor: Cursor) -> Body {
        Body::live(cursor, &self.inner.pace)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.hub.is_closed()
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Counters of one [`EventStream`], taken one after the other while it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Channels now: those with a subscriber, and those that keep events.
    pub channels: u64,
    /// Events published since the stream was made.
    pub published: u64,
    /// Events handed to subscribers since then, each counted for each subscriber.
    pub delivered: u64,
    /// `stream-reset` frames handed to subscribers since then.
    pub resets: u64,
    /// Bytes of the frames kept now.
    pub retained_bytes: u64,
    /// Requests with a `Grip-Sig` that did not verify.
    #[cfg(feature = "grip")]
    pub bad_signatures: u64,
    /// What became of the items of each GRIP endpoint.
    #[cfg(feature = "grip")]
    pub grip: Vec<crate::grip::EndpointStats>,
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stats =
            serializer.serialize_struct("Stats", if cfg!(feature = "grip") { 8 } else { 6 })?;
        stats.serialize_field("subscriptions", &self.subscriptions)?;
        stats.serialize_field("channels", &self.channels)?;
        stats.serialize_field("published", &self.published)?;
        stats.serialize_field("delivered", &self.delivered)?;
        stats.serialize_field("resets", &self.resets)?;
        stats.serialize_field("retained_bytes", &self.retained_bytes)?;
        #[cfg(feature = "grip")]
        stats.serialize_field("bad_signatures", &self.bad_signatures)?;
        #[cfg(feature = "grip")]
        stats.serialize_field("grip", &self.grip)?;
        stats.end()
    }
}
