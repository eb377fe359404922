//! The demo's routes without a framework or a server crate: a socket, `httparse`, and the body as a
//! reader.
//!
//! Each connection serves one request, and a client that closes its side counts as gone.
//! Keep-alives use the default runtime, so no runtime is set.

mod app;
mod server;

use std::error::Error;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use app::{text, Answer, App};
use async_channel::{bounded, Receiver};
use bytes::Bytes;
use futures::stream;
use futures_timer::Delay;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, StreamBody};
use smol::future;
use smol::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, Cursor};
use smol::net::{TcpListener, TcpStream};

const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How long a client may take to read the end of an answer.
const LINGER: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.build()?;
    let app = App::new(stream.clone());
    let interrupted = server::ctrl_c()?;
    let listener = TcpListener::try_from(server::listen()?)?;
    // Nothing is sent over this channel: it is closed when the last connection is gone.
    let (open, all_gone) = bounded(1);
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let (app, interrupted, open) = (app.clone(), interrupted.clone(), open.clone());
                    // A client that disconnects is not a failure.
                    smol::spawn(async move {
                        drop((connection(&app, socket, interrupted).await, open))
                    })
                    .detach();
                }
                Err(error) => server::not_accepted(error).await,
            }
        }
    };
    future::or(accepting, server::closed(interrupted.clone())).await;
    drop(open);
    server::close(&stream, server::closed(all_gone)).await;
    Ok(())
}

async fn connection(
    app: &Arc<App>,
    mut socket: TcpStream,
    interrupted: Receiver<()>,
) -> io::Result<()> {
    let _ = socket.set_nodelay(true);
    let no_longer = async {
        future::or(server::closed(interrupted), Delay::new(server::HEAD)).await;
        Ok(None)
    };
    let head = future::or(read_head(&mut socket), no_longer);
    let Some(head) = head.await? else { return Ok(()) };
    let (mut version, mut method) = (Version::HTTP_11, Method::GET);
    let answer = async {
        let (req, buffered) = head?;
        (version, method) = (req.version(), req.method().clone());
        let body = body(&req, socket.clone(), buffered)?;
        Ok(app.respond(req.map(|()| body)).await)
    };
    let answer = answer.await.unwrap_or_else(refusal);
    // Nothing else reads from the socket now, so `gone` notices when the client leaves, even while
    // there is nothing to write.
    future::or(write(socket.clone(), answer, version, method), gone(socket.clone())).await?;
    // If a socket is closed with unread data, the client may lose the end of the answer (RFC 9112,
    // 9.6).
    socket.shutdown(Shutdown::Write)?;
    let overdue = async {
        Delay::new(LINGER).await;
        Ok(())
    };
    future::or(gone(socket), overdue).await
}

/// Waits until the client has closed its side.
async fn gone(mut socket: TcpStream) -> io::Result<()> {
    while socket.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}

fn refusal(status: StatusCode) -> Answer {
    text(status, &format!("{}.", status.canonical_reason().unwrap_or("Refused")))
}

/// A request without its body, and the bytes that came after its head.
type Head = (Request<()>, Bytes);

/// `None` if the client left without a request; otherwise a head, or the status that refuses it.
async fn read_head(socket: &mut TcpStream) -> io::Result<Option<Result<Head, StatusCode>>> {
    let mut buffer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match socket.read(&mut piece).await? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&piece[..read]),
        }
        let parsed = match parse_head(&buffer) {
            Ok(None) if buffer.len() < MAX_HEAD => continue,
            Ok(None) => Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Ok(Some((req, length))) => Ok((req, Bytes::from(buffer).slice(length..))),
            Err(status) => Err(status),
        };
        return Ok(Some(parsed));
    }
}

/// The request and the length of its head, once the head is complete.
fn parse_head(buffer: &[u8]) -> Result<Option<(Request<()>, usize)>, StatusCode> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        }
        Err(httparse::Error::Version) => return Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        Err(_) => return Err(StatusCode::BAD_REQUEST),
    };
    let version = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let (method, uri) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let mut req = Request::builder().version(version).method(method).uri(uri);
    for header in head.headers {
        req = req.header(header.name, header.value);
    }
    Ok(Some((req.body(()).map_err(|_| StatusCode::BAD_REQUEST)?, length)))
}

/// The body as it arrives, or the status that refuses it.
fn body(
    req: &Request<()>,
    socket: TcpStream,
    buffered: Bytes,
) -> Result<impl Body<Data = Bytes, Error = io::Error>, StatusCode> {
    if req.headers().contains_key(TRANSFER_ENCODING) {
        return Err(StatusCode::LENGTH_REQUIRED);
    }
    let expects = req
        .headers()
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let rest = Rest {
        left: content_length(req.headers())?,
        waits: expects && buffered.is_empty() && req.version() == Version::HTTP_11,
        buffered,
        socket,
    };
    Ok(StreamBody::new(stream::try_unfold(rest, Rest::next)))
}

fn content_length(headers: &HeaderMap) -> Result<u64, StatusCode> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let Some(length) = values.next() else { return Ok(0) };
    if !length.iter().all(u8::is_ascii_digit) || values.any(|other| other != length) {
        return Err(StatusCode::BAD_REQUEST);
    }
    std::str::from_utf8(length)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(StatusCode::BAD_REQUEST)
}

/// The rest of a request's body.
struct Rest {
    left: u64,
    /// Whether the client sends the body only after a `100 Continue`.
    waits: bool,
    buffered: Bytes,
    socket: TcpStream,
}

impl Rest {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        if std::mem::take(&mut self.waits) {
            self.socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if self.buffered.is_empty() {
            let mut piece = vec![0; 16 << 10];
            let read = self.socket.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffered = Bytes::from(piece).slice(..read);
        }
        let length = usize::try_from(self.left)
            .map_or(self.buffered.len(), |left| left.min(self.buffered.len()));
        self.left -= length as u64;
        Ok(Some((Frame::data(self.buffered.split_to(length)), self)))
    }
}

async fn write(
    mut socket: TcpStream,
    answer: Answer,
    version: Version,
    method: Method,
) -> io::Result<()> {
    let (parts, body) = answer.into_parts();
    let length = body.size_hint().exact();
    // HTTP/1.0 has no chunks: there the end of the connection is the end of the body.
    let chunked = length.is_none() && version == Version::HTTP_11;
    let mut head = format!("HTTP/1.1 {}\r\nconnection: close\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    match length {
        None if chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(length) if !parts.headers.contains_key(CONTENT_LENGTH) => {
            head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        _ => {}
    }
    head.extend_from_slice(b"\r\n");
    socket.write_all(&head).await?;
    match body {
        _ if method == Method::HEAD => Ok(()),
        Either::Left(events) => write_body(socket, events.into_async_read(), chunked).await,
        Either::Right(text) => {
            let Ok(text) = text.collect().await;
            write_body(socket, Cursor::new(text.to_bytes()), chunked).await
        }
    }
}

/// Sends all that is ready in one write.
async fn write_body(
    mut socket: TcpStream,
    mut body: impl AsyncBufRead + Unpin,
    chunked: bool,
) -> io::Result<()> {
    loop {
        let ready = body.fill_buf().await?;
        let length = ready.len();
        if chunked {
            // The last chunk is the empty one.
            let chunk = [format!("{length:x}\r\n").as_bytes(), ready, b"\r\n"].concat();
            socket.write_all(&chunk).await?;
        } else {
            socket.write_all(ready).await?;
        }
        if length == 0 {
            return Ok(());
        }
        body.consume(length);
    }
}
