//! Endpoints that read a request's body before they answer.

use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use tower_service::Service;

use crate::handler::Handler;
use crate::serve::{drain, Body};

/// A [`Handler`] that reads and discards the request's body before it answers.
///
/// [`Handler::draining`] makes one. It is for endpoints that get POST requests from clients built
/// on `fetch`, and like the handler it is a [`tower_service::Service`]. The request's body can be
/// any [`http_body::Body`]. Clones are cheap.
///
/// An unread body blocks the stream. A browser's `fetch` does not see the answer before its body
/// has been taken, so with more than the sockets hold, a few megabytes, it waits for ever. With
/// less, the stream opens, but the server cannot see that the client has left, because the end of
/// the connection lies behind the unread bytes (RFC 9112, 9.3).
///
/// # Limits
///
/// It reads at most 1 MiB of data, and waits at most 10 s by the stream's
/// [`Timer`](crate::runtime::Timer). Trailers are discarded too and not counted. A body whose
/// [`is_end_stream`](http_body::Body::is_end_stream) is true, such as that of a GET, is not read.
///
/// # Errors
///
/// Before all refusals of the handler come these:
///
/// - 413 `Payload too large.` for more than 1 MiB, without reading any of it where the length is
///   known;
/// - 408 `Request timeout.` for a body that has not ended after 10 s;
/// - 400 `The request's body broke off.` for a body that ends with an error. Mostly the client has
///   left, and nobody reads this.
///
/// After a refusal that leaves some of the body unread, an HTTP/1 server closes the connection.
///
/// ```
/// use eventstream::EventStream;
/// use futures::executor::block_on;
/// use http::Request;
///
/// let events = EventStream::new().handler("{channel}").path("/events/{channel}").draining();
/// let request = |length| {
///     // A `String` is a body. So are hyper's `Incoming` and axum's `Body`.
///     Request::post("/events/lobby").body("x".repeat(length)).unwrap()
/// };
/// assert_eq!(block_on(events.call(request(1 << 20))).status(), 200);
/// assert_eq!(block_on(events.call(request((1 << 20) + 1))).status(), 413);
/// ```
#[derive(Clone, Debug)]
pub struct Draining(Handler);

impl Handler {
    /// Reads and discards the request's body before it answers: at most 1 MiB, in at most 10 s.
    ///
    /// Without this, [`call`](Handler::call) leaves the body alone, which is right where the server
    /// or the framework has read it. [`Draining`] says when it is not.
    ///
    /// ```
    /// # use eventstream::{Draining, EventStream};
    /// let events: Draining = EventStream::new().handler("lobby").draining();
    /// ```
    pub fn draining(self) -> Draining {
        Draining(self)
    }
}

impl Draining {
    /// Reads the body, then answers as [`Handler::call`] does. The future borrows nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what is left of the body. The client is subscribed only after its
    /// body has been read, so nothing else is lost.
    pub fn call<B>(&self, req: Request<B>) -> BoxFuture<'static, Response<Body>>
    where
        B: http_body::Body + Send + 'static,
    {
        self.answer(req).boxed()
    }

    fn answer<B>(&self, req: Request<B>) -> impl Future<Output = Response<Body>> + Send + 'static
    where
        B: http_body::Body + Send + 'static,
    {
        let handler = self.0.clone();
        let (parts, body) = req.into_parts();
        async move {
            let read = drain(body, handler.clock()).await;
            handler.answer(&Request::from_parts(parts, ()), read)
        }
    }
}

impl<B> Service<Request<B>> for Draining
where
    B: http_body::Body + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    /// Boxed, because a server keeps room for it as long as the connection lasts.
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: Request<B>) -> Self::Future {
        self.answer(req).map(Ok).boxed()
    }
}
