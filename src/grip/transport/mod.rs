//! How a publication reaches an endpoint's control port.

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
/// Any closure from a request to a future of a response is one, so that a program can use the
/// client it has.
///
/// A request has an absolute URI, all its headers but `Host`, and its whole body. An implementation
/// must send `Content-Length` (the control port of Pushpin refuses chunks), must **not** follow
/// redirects (a token would go with them), and need not have a timeout of its own: the publisher
/// drops the future when its time is up, and that must end the request.
pub trait Transport: Send + Sync + 'static {
    /// Sends `req` and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// If there was no answer. The publisher tries again.
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

/// Why there was no answer.
#[derive(Debug)]
pub struct TransportError(Box<dyn Error + Send + Sync>);

impl TransportError {
    /// Wraps what a client said.
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
