//! The body of an answer.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::io::AsyncBufRead;
use futures::stream::{FusedStream, Stream, TryStreamExt};
use http_body::{Frame, SizeHint};

use super::keep_alive::KeepAlive;
use crate::event::{control, EventId};
use crate::hub::Cursor;
use crate::runtime::Clock;

/// The body that [`run`](crate::EventStream::run) answers with: an endless stream of frames, or a
/// short text.
///
/// It is a [`Stream`] of [`Bytes`], an [`http_body::Body`] (hyper, axum, tower, warp), and through
/// [`into_async_read`](Body::into_async_read) a reader for everything else. It never fails.
///
/// A live body begins with `stream-open`, whose id is the position. Then it hands out the events, a
/// `stream-reset` where some are missing, and a `keep-alive` after a time of silence. Dropping it
/// frees everything it held.
#[derive(Debug)]
#[must_use = "a body does nothing unless polled"]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// A short text, taken once.
    Text(Bytes),
    Live(Live),
    /// The body of an answer to HEAD: nothing comes, and nothing is said of how much a GET would
    /// get.
    Head,
    Ended,
}

#[derive(Debug)]
struct Live {
    settings: Arc<BodySettings>,
    events: Cursor,
    keep_alive: KeepAlive,
    /// `stream-open` was handed out.
    opened: bool,
    /// Something was handed out that the keep-alive does not know of yet.
    wrote: bool,
}

/// What a body needs from its stream: shared by all, unless the client came with a publisher's id.
#[derive(Debug)]
pub(crate) struct BodySettings {
    pub(crate) clock: Arc<Clock>,
    /// After how long a silence a keep-alive is due; `None` is never.
    pub(crate) keep_alive: Option<Duration>,
    /// The reconnection time that `stream-open` carries.
    pub(crate) retry: Option<Duration>,
    /// For a client that came with a publisher's id: this id, and the position that it names.
    pub(crate) given: Option<(EventId, EventId)>,
}

impl BodySettings {
    /// The same, for a client that came with this id of a publisher.
    pub(crate) fn opening_with(&self, given: &str, position: EventId) -> Self {
        Self {
            clock: self.clock.clone(),
            keep_alive: self.keep_alive,
            retry: self.retry,
            given: Some((EventId::given(given.into()), position)),
        }
    }

    /// The id of `stream-open`. It repeats a publisher's id, because other processes may know that
    /// one too, but only if nothing was read since.
    fn open_id(&self, position: Option<EventId>) -> Option<EventId> {
        match &self.given {
            Some((given, named)) if position.as_ref() == Some(named) => Some(given.clone()),
            _ => position,
        }
    }
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(Kind::Ended)
    }

    pub(crate) fn head() -> Self {
        Self(Kind::Head)
    }

    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self(Kind::Text(text.into()))
    }

    pub(crate) fn live(events: Cursor, settings: Arc<BodySettings>) -> Self {
        if events.is_terminated() {
            return Self::empty();
        }
        let keep_alive = KeepAlive::new(&settings.clock);
        Self(Kind::Live(Live { settings, events, keep_alive, opened: false, wrote: false }))
    }

    /// Turns the body into a reader, for frameworks that want one (tide, async-h1) and for copying
    /// to any `AsyncWrite`.
    pub fn into_async_read(self) -> impl AsyncBufRead + Send + Sync + Unpin + 'static {
        self.map_err(|never| -> io::Error { match never {} }).into_async_read()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.0 {
            Kind::Live(live) => {
                let polled = live.poll(cx);
                if let Poll::Ready(None) = polled {
                    self.0 = Kind::Ended;
                }
                polled
            }
            Kind::Text(text) => {
                let text = std::mem::take(text);
                self.0 = Kind::Ended;
                Poll::Ready(Some(text).filter(|text| !text.is_empty()))
            }
            Kind::Head | Kind::Ended => Poll::Ready(None),
        }
    }
}

impl Live {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = if self.opened {
            Pin::new(&mut self.events).poll_next(cx)
        } else {
            self.opened = true;
            // Nothing was read yet, so this is where the client begins.
            let position = self.settings.open_id(self.events.open_id());
            Poll::Ready(Some(control::stream_open(position.as_ref(), self.settings.retry)))
        };
        let Poll::Pending = polled else {
            self.wrote = true;
            return polled;
        };
        let wrote = std::mem::take(&mut self.wrote);
        let Some(every) = self.settings.keep_alive else { return Poll::Pending };
        let due = self.keep_alive.poll(&self.settings.clock, every, wrote, cx);
        due.map(|()| {
            // Where nothing is published either, nobody else looks for what is too old.
            self.events.sweep(self.settings.clock.now());
            Some(Bytes::from_static(control::KEEP_ALIVE))
        })
    }
}

/// An empty body. Middleware that answers in place of the endpoint (tower-http's CORS) asks for
/// one.
impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|item| item.map(Ok))
    }
}

impl FusedStream for Body {
    fn is_terminated(&self) -> bool {
        matches!(self.0, Kind::Head | Kind::Ended)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll(cx).map(|item| item.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Text(text) => text.is_empty(),
            Kind::Live(_) => false,
            Kind::Head | Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Text(text) => SizeHint::with_exact(text.len() as u64),
            Kind::Live(_) | Kind::Head => SizeHint::default(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}
