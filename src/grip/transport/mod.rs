//! Transports: the HTTP clients that carry publications to the control ports of endpoints.

#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "surf")]
mod surf;
#[cfg(feature = "rustls")]
mod tls;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};

#[cfg(feature = "hyper")]
pub use self::hyper::Hyper;
#[cfg(feature = "surf")]
pub use self::surf::Surf;

/// Sends HTTP requests for a [`Publisher`](super::Publisher).
///
/// Every closure that takes a request and returns a future of a response implements it, so you can
/// use the HTTP client that your program already has.
///
/// A request has an absolute URI, all headers except `Host`, and a complete body. An implementation
///
/// - must send `Content-Length`: Pushpin's control port refuses a chunked body;
/// - must **not** follow redirects: the authorization token would be sent along;
/// - needs no timeout of its own: when the time is up, the publisher drops the future, and that
///   must end the request.
pub trait Transport: Send + Sync + 'static {
    /// Sends `req` and reads the whole response, whatever its status.
    ///
    /// # Errors
    ///
    /// If there was no complete response. The publisher then tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must end the request. The control port may have received it already.
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

impl<F, Fut, E> Transport for F
where
    F: Fn(Request<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Bytes>, E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self(req).map(|answer| answer.map_err(TransportError::new)).boxed()
    }
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        (**self).send(req)
    }
}

impl Transport for Box<dyn Transport> {
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        (**self).send(req)
    }
}

impl fmt::Debug for dyn Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// Wraps the reason why a transport got no response.
///
/// It displays the wrapped error's message and returns the wrapped error's source.
#[derive(Debug)]
pub struct TransportError(Box<dyn Error + Send + Sync>);

impl TransportError {
    /// Wraps the error of an HTTP client, or a message.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
