//! The body of an answer.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::io::AsyncBufRead;
use futures::stream::{FusedStream, Stream, TryStreamExt};
use http_body::{Frame, SizeHint};

use super::keep_alive::{self, KeepAlive, Pace};
use crate::event::{Event, EventId};
use crate::hub::Cursor;

/// What [`run`](crate::EventStream::run) answers with: an endless stream of frames, or a short
/// text.
///
/// It is a [`Stream`] of [`Bytes`], an [`http_body::Body`] (hyper, axum, tower, warp), and by
/// [`into_async_read`](Body::into_async_read) a reader for everything else. It never fails.
///
/// A live one begins with `stream-open`, which carries the position as its id, then hands out the
/// events, a `stream-reset` where some are missing, and a `keep-alive` after a time of silence.
/// Dropping it frees all it held.
#[derive(Debug)]
#[must_use = "a body does nothing unless polled"]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// Taken once.
    Text(Bytes),
    Live(Live),
    /// Of the answer to HEAD: nothing comes, and nothing is said of how much a GET would get.
    Head,
    Ended,
}

#[derive(Debug)]
struct Live {
    pace: Arc<Pace>,
    events: Cursor,
    keep_alive: KeepAlive,
    /// `stream-open` was handed out.
    opened: bool,
    /// Something was handed out since the keep-alive was told.
    wrote: bool,
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

    pub(crate) fn live(events: Cursor, pace: &Arc<Pace>) -> Self {
        if events.is_terminated() {
            return Self::empty();
        }
        let keep_alive = KeepAlive::new(pace);
        Self(Kind::Live(Live {
            pace: pace.clone(),
            events,
            keep_alive,
            opened: false,
            wrote: false,
        }))
    }

    /// The body as a reader, for frameworks and sockets that read: tide, async-h1, or a copy to any
    /// `AsyncWrite`.
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

/// The first frame. A client that loses the stream right after it comes back to the same place.
pub(crate) fn open_frame(position: Option<EventId>, pace: &Pace) -> Bytes {
    let mut frame = position.map_or_else(Vec::new, |id| format!("id: {id}\n").into_bytes());
    let open = Event::new("stream-open");
    let open = pace.retry.map_or(open.clone(), |after| open.retry(after));
    // A name and a retry that `build` has checked: it cannot fail.
    let _ = open.encode_into(&mut frame);
    frame.into()
}

impl Live {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = if self.opened {
            Pin::new(&mut self.events).poll_next(cx)
        } else {
            self.opened = true;
            // Nothing was read yet: this is where the client begins.
            Poll::Ready(Some(open_frame(self.events.open_id(), &self.pace)))
        };
        let Poll::Pending = polled else {
            self.wrote = true;
            return polled;
        };
        let wrote = std::mem::take(&mut self.wrote);
        self.keep_alive
            .poll(&self.pace, wrote, cx)
            .map(|()| Some(Bytes::from_static(keep_alive::FRAME)))
    }
}

/// Empty: middleware that answers by itself (tower-http's CORS) asks for one.
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
