//! The servers that this program runs: eventstream on its runtimes, the Rust peers, and the bounds.
//!
//! Each runs in a separate process, prints the port on which it listens, and ends when its standard
//! input is closed.

mod actix;
mod async_std;
mod axum;
mod broadcast;
#[path = "../../../../../examples/server/joined.rs"]
mod joined;
mod limit;
mod ours;
mod smol;
mod tokio;

use std::convert::Infallible;
use std::future::{ready, Future};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::process;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::{Request, Response};

/// Threads of each server whose number of threads can be set.
const WORKERS: usize = 2;

/// Runs the server of this name until standard input is closed.
pub(crate) fn run(name: &str) -> io::Result<()> {
    let serve = match name {
        "tokio" => tokio::ours,
        "smol" => smol::ours,
        "async-std" => async_std::ours,
        "ours-in-axum" => axum::ours,
        "axum" => axum::theirs,
        "actix" => actix::theirs,
        "limit" => limit::serve,
        "hyper" => tokio::silent,
        _ => return Err(io::Error::other(format!("no server is called {name}"))),
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    thread::spawn(|| {
        // Whether it is closed or fails, the run is over.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    serve(listener)
}

/// Answers requests. The body is concrete and the future small, because hyper keeps room for both
/// as long as the connection lasts.
trait Respond: Clone + Send + 'static {
    type Body: Body<Data = Bytes, Error = Infallible> + Send + 'static;

    fn respond(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static + use<Self>;
}

/// A stream that stays open at no cost except hyper's own. It has a header, because hyper keeps
/// room for headers as soon as there is one.
#[derive(Clone, Debug)]
struct Silent;

impl Respond for Silent {
    type Body = Self;

    fn respond(
        &self,
        _: Request<Incoming>,
    ) -> impl Future<Output = Response<Self>> + Send + 'static + use<> {
        let mut answer = Response::new(Self);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        ready(answer)
    }
}

impl Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
