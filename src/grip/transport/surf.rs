//! A transport over surf, for programs that already use it.

use std::fmt;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use surf::{Client, Config};

use super::{Transport, TransportError};
use crate::sync::StdMutex;

/// Sends requests with [surf](https://docs.rs/surf).
///
/// surf is **unmaintained** (RUSTSEC-2025-0036) and pulls in many old crates: prefer
/// [`Hyper`](super::Hyper). This transport supports plain `http` only. It turns Nagle's algorithm
/// off, which is on by default in surf and costs 44 ms per POST.
pub struct Surf(StdMutex<Client>);

impl Surf {
    /// Creates a transport with its own surf client.
    ///
    /// # Errors
    ///
    /// If surf cannot create the client.
    pub fn new() -> Result<Self, TransportError> {
        Ok(Self(StdMutex::new(client()?)))
    }
}

fn client() -> Result<Client, TransportError> {
    Config::new().set_tcp_no_delay(true).try_into().map_err(TransportError::new)
}

/// The client for one request. surf returns a connection to its pool even if the request failed or
/// was dropped, and the next request would then read the previous one's response. So the client and
/// its pool are replaced unless the request completed.
struct Lease<'a> {
    surf: &'a Surf,
    client: Client,
    done: bool,
}

impl Lease<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let (false, Ok(client)) = (self.done, client()) {
            *self.surf.0.lock() = client;
        }
    }
}

async fn request(client: &Client, req: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
    let uri = req.uri().to_string();
    let method = req
        .method()
        .as_str()
        .parse()
        .map_err(|_| TransportError::new("surf does not support the request's method"))?;
    let url = surf::Url::parse(&uri).map_err(TransportError::new)?;
    let mut request = surf::RequestBuilder::new(method, url);
    for (name, value) in req.headers() {
        let value = value.to_str().map_err(TransportError::new)?;
        request = request.header(name.as_str(), value);
    }
    let mut answer = client.send(request.body_bytes(req.body())).await.map_err(wrap)?;
    let body = answer.body_bytes().await.map_err(wrap)?;
    let promised =
        answer.header(CONTENT_LENGTH.as_str()).and_then(|length| length.as_str().parse().ok());
    if promised.is_some_and(|length: usize| length != body.len()) {
        // surf treats an early end of the connection as the end of the response.
        return Err(TransportError::new("the response is shorter than its `Content-Length`"));
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status().into()).map_err(TransportError::new)?;
    for (name, values) in answer.iter() {
        for value in values {
            // If there is no `Date`, async-h1 adds one with a line break, which is not a valid
            // header value.
            let (name, value) =
                (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().append(name, value);
            }
        }
    }
    Ok(response)
}

fn wrap(error: surf::Error) -> TransportError {
    TransportError::new(error.into_inner())
}

impl Transport for Surf {
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let lease = Lease { surf: self, client: self.0.lock().clone(), done: false };
        async move {
            let answer = request(&lease.client, req).await;
            if answer.is_ok() {
                lease.done();
            }
            answer
        }
        .boxed()
    }
}

impl fmt::Debug for Surf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surf").finish_non_exhaustive()
    }
}
