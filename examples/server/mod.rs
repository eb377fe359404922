//! What the servers share: where to listen, when to end, and how to end without leaving a stream
//! half written.
#![allow(dead_code, reason = "each server uses a part")]

pub(crate) mod joined;
pub(crate) mod smol;
pub(crate) mod timer;
pub(crate) mod tokio;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{env, process};

use async_channel::{bounded, Receiver};
use eventstream::EventStream;
use futures::future::{join, select, FutureExt};
use futures_timer::Delay;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{service_fn, Service};
use hyper::Request;
use socket2::{Domain, Socket, Type};

use crate::app::{Answer, App};
use timer::AnyTimer;

/// How long connections may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a client may take to send the head of a request, and a connection may be idle.
pub(crate) const HEAD: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted: all clients come back at once when a server was
/// restarted. With the standard library's 128, the others wait for a second or more.
const BACKLOG: i32 = 4096;

/// Listens at `LISTEN` and prints the address. The socket can be given to any runtime.
pub(crate) fn listen() -> Result<TcpListener, Box<dyn Error>> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = bind(&address).map_err(|error| format!("LISTEN: {address}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    Ok(listener)
}

fn bind(address: &str) -> io::Result<TcpListener> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in address.to_socket_addrs()? {
        result = bind_to(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A server that has just ended may start again at once.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A channel over which nothing is sent: the first Ctrl-C (or SIGTERM) closes it. A second one ends
/// the process at once.
pub(crate) fn ctrl_c() -> Result<Receiver<()>, ctrlc::Error> {
    let (sender, receiver) = bounded(1);
    let mut sender = Some(sender);
    ctrlc::set_handler(move || {
        if sender.take().is_none() {
            process::exit(130);
        }
    })?;
    Ok(receiver)
}

/// Waits until a channel over which nothing is sent is closed.
pub(crate) async fn closed(channel: Receiver<()>) {
    let _ = channel.recv().await;
}

/// Pauses after a failed accept. Most likely there are too many open files: the open connections go
/// on, and some will end.
pub(crate) async fn not_accepted(error: io::Error) {
    eprintln!("accept: {error}");
    Delay::new(Duration::from_millis(100)).await;
}

/// HTTP/1 by hyper, under any runtime. hyper needs a timer to limit how long a head may take.
pub(crate) fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1.timer(AnyTimer).header_read_timeout(HEAD);
    http1
}

/// The app as a service for hyper.
pub(crate) fn service(
    app: &Arc<App>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send + 'static>
       + Send
       + 'static {
    let app = app.clone();
    service_fn(move |req| app.respond(req).map(Ok))
}

/// Ends all streams, so that `connections` can end too. Waits for them, though not forever, and for
/// whatever is still to be sent to GRIP proxies.
pub(crate) async fn close(stream: &EventStream, connections: impl Future<Output = ()>) {
    println!("closing");
    join(stream.close(), select(pin!(connections), Delay::new(DRAIN))).await;
}
