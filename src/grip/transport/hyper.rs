//! The default transport: hyper's HTTP/1 client over sockets that work under any runtime.
//!
//! The request that uses a connection also polls it, so no task is spawned.

use std::collections::HashMap;
use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use async_lock::Mutex;
use async_net::TcpStream;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncRead, AsyncWrite};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{handshake, Connection, SendRequest};
use smol_hyper::rt::FuturesIo;

use super::{Transport, TransportError};
use crate::sync::StdMutex;

/// The most bytes of a response body. Control ports respond with a line or two.
const MAX_ANSWER: usize = 64 << 10;

/// Sends requests with hyper over plain TCP and, with the feature `rustls`, over TLS.
///
/// It works under tokio, async-std, smol and a bare `block_on`. It keeps one connection per control
/// port and sends one request at a time on it. Before reusing a connection, it polls it once to
/// notice whether the control port has closed it. If a reused connection still turns out to be
/// stale, it sends the request again on a new one.
#[derive(Default)]
pub struct Hyper {
    lanes: StdMutex<HashMap<(Scheme, Authority), Arc<Lane>>>,
    #[cfg(feature = "rustls")]
    tls: super::tls::Tls,
}

/// The idle connection of one control port. It stays locked during a request, so a control port has
/// at most one connection at a time.
type Lane = Mutex<Option<Link>>;

struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended. It is dropped then, so that a request still queued for
    /// it fails.
    connection: Option<Pin<Box<Driven>>>,
}

type Io = FuturesIo<Fair<Box<dyn Socket>>>;

type Driven = Connection<Io, Full<Bytes>>;

/// After this many reads in a row a socket lets other tasks run.
const READS_IN_A_ROW: u8 = 16;

/// Lets other tasks run now and then. Without it, a control port that sends interim responses
/// without end keeps its task busy within one poll, so that not even a timeout ends the request.
struct Fair<S> {
    socket: S,
    reads: u8,
}

impl<S> Fair<S> {
    fn new(socket: S) -> Self {
        Self { socket, reads: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Fair<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.reads == READS_IN_A_ROW {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.reads = if read.is_ready() { self.reads + 1 } else { 0 };
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Fair<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// The byte stream under a connection: plain TCP or TLS.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

impl Hyper {
    /// Creates a transport that trusts the same certificate authorities as browsers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the certificates in this PEM to the trusted certificate authorities, for a proxy whose
    /// certificate comes from a private authority.
    ///
    /// # Errors
    ///
    /// If the PEM contains no certificate, or one that cannot be parsed.
    #[cfg(feature = "rustls")]
    pub fn add_root(mut self, pem: &[u8]) -> Result<Self, TransportError> {
        self.tls.add_root(pem).map_err(TransportError::new)?;
        Ok(self)
    }

    async fn request(&self, req: Request<Bytes>) -> Result<Response<Bytes>, Boxed> {
        let (mut parts, body) = req.into_parts();
        let uri = std::mem::take(&mut parts.uri).into_parts();
        let (Some(scheme), Some(authority)) = (uri.scheme, uri.authority) else {
            return Err("the URI has no scheme or no host".into());
        };
        parts.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        parts.uri = Uri::from(uri.path_and_query.unwrap_or(PathAndQuery::from_static("/")));
        let req = Request::from_parts(parts, Full::new(body));

        let lane = self.lane(&scheme, &authority);
        let mut idle = lane.lock().await;
        if let Some(mut link) = idle.take() {
            link.look().await;
            // An error here usually means that the connection was closed while idle, so it is worth
            // trying again on a new one.
            if let Ok(answer) = link.exchange(req.clone()).await {
                *idle = link.if_usable();
                return Ok(answer);
            }
        }
        let mut link = self.connect(&scheme, &authority).await?;
        let answer = link.exchange(req).await?;
        *idle = link.if_usable();
        Ok(answer)
    }

    fn lane(&self, scheme: &Scheme, authority: &Authority) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        Arc::clone(lanes.entry((scheme.clone(), authority.clone())).or_default())
    }

    async fn connect(&self, scheme: &Scheme, authority: &Authority) -> Result<Link, Boxed> {
        let tls = *scheme == Scheme::HTTPS;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let socket = TcpStream::connect((host, port)).await?;
        // Without this, Nagle's algorithm holds the body back until the head is acknowledged, which
        // costs 40 ms per POST.
        socket.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match tls {
            false => Box::new(socket),
            #[cfg(feature = "rustls")]
            true => Box::new(self.tls.connect(host, socket).await?),
            #[cfg(not(feature = "rustls"))]
            true => return Err("https needs the feature `rustls`".into()),
        };
        let (sender, connection) = handshake(FuturesIo::new(Fair::new(socket))).await?;
        Ok(Link { sender, connection: Some(Box::pin(connection)) })
    }
}

impl Link {
    /// Sends a request and reads the response, and polls the connection meanwhile.
    async fn exchange(&mut self, req: Request<Full<Bytes>>) -> Result<Response<Bytes>, Boxed> {
        let Self { sender, connection } = self;
        let mut answer = pin!(async {
            sender.ready().await?;
            let (parts, body) = sender.send_request(req).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        });
        poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            let Some(polled) = connection else { return Poll::Pending };
            if polled.as_mut().poll(cx).is_ready() {
                *connection = None;
            }
            // The connection may just have made progress on the response. If it has ended instead,
            // this poll returns the error.
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Polls an idle connection once, to notice whether the control port has closed it.
    async fn look(&mut self) {
        poll_fn(|cx| {
            if self
                .connection
                .as_mut()
                .is_some_and(|connection| connection.as_mut().poll(cx).is_ready())
            {
                self.connection = None;
            }
            Poll::Ready(())
        })
        .await;
    }

    fn if_usable(self) -> Option<Self> {
        (self.connection.is_some() && !self.sender.is_closed()).then_some(self)
    }
}

impl Transport for Hyper {
    fn send(&self, req: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.request(req).map(|answer| answer.map_err(TransportError::new)).boxed()
    }
}

impl fmt::Debug for Hyper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyper").finish_non_exhaustive()
    }
}
