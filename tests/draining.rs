//! What a `Draining` handler does with the body of a request, and why one is needed.

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::io::{BufRead, BufReader, Read, Write};
use std::marker::PhantomPinned;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use common::body_text;
use eventstream::runtime::Timer;
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Draining, EventStream};
use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FusedStream;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower_service::Service;

const MIB: usize = 1 << 20;
const LONGEST: Duration = Duration::from_secs(10);

/// Data that can only be counted.
struct Zeros(usize);

impl Buf for Zeros {
    fn remaining(&self) -> usize {
        self.0
    }

    fn chunk(&self) -> &[u8] {
        &[0][..self.0.min(1)]
    }

    fn advance(&mut self, count: usize) {
        self.0 -= count;
    }
}

/// An error that says nothing, not even with `Debug`.
struct Silent;

#[derive(Clone, Copy)]
enum Step {
    Data(usize),
    Trailers,
    /// Frames without data, one after the other and at once.
    Nothing,
    Stall,
    Break,
}
use Step::{Break, Data, Nothing, Stall, Trailers};

/// A body that is `Send` and nothing more. It shares `polls`, in which it counts, for as long as it
/// exists.
struct Scripted {
    steps: RefCell<VecDeque<Step>>,
    /// Whether it says when it has ended, and how long it is.
    known: bool,
    polls: Arc<AtomicUsize>,
    _pinned: PhantomPinned,
}

impl http_body::Body for Scripted {
    type Data = Zeros;
    type Error = Silent;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Zeros>, Silent>>> {
        assert!(!self.is_end_stream(), "polled at its end");
        self.polls.fetch_add(1, SeqCst);
        let mut steps = self.steps.borrow_mut();
        Poll::Ready(match steps.front() {
            Some(Stall) => return Poll::Pending,
            Some(Nothing) => Some(Ok(Frame::data(Zeros(0)))),
            _ => steps.pop_front().map(|step| match step {
                Data(length) => Ok(Frame::data(Zeros(length))),
                Trailers => Ok(Frame::trailers(HeaderMap::new())),
                _ => Err(Silent),
            }),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.steps.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |step: &Step| if let Data(length) = step { *length as u64 } else { 0 };
        match self.known {
            true => SizeHint::with_exact(self.steps.borrow().iter().map(length).sum()),
            false => SizeHint::default(),
        }
    }
}

/// A clock that counts how many sleeps were asked for.
#[derive(Clone, Default)]
struct Counting {
    timer: ManualTimer,
    sleeps: Arc<AtomicUsize>,
}

impl Timer for Counting {
    fn now(&self) -> Instant {
        self.timer.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleeps.fetch_add(1, SeqCst);
        self.timer.sleep(duration)
    }
}

/// An endpoint at `/events`, and what its answers do to its surroundings.
struct Stage {
    stream: EventStream,
    events: Draining,
    clock: Counting,
    polls: Arc<AtomicUsize>,
}

impl Stage {
    fn new() -> Self {
        let clock = Counting::default();
        let stream = EventStream::builder().timer(clock.clone()).build().unwrap();
        let events = stream.handler("a").path("/events").draining();
        Self { stream, events, clock, polls: Arc::default() }
    }

    fn body(&self, known: bool, steps: &[Step]) -> Scripted {
        let steps = RefCell::new(steps.iter().copied().collect());
        Scripted { steps, known, polls: self.polls.clone(), _pinned: PhantomPinned }
    }

    fn post(&self, known: bool, steps: &[Step]) -> BoxFuture<'static, Response<Body>> {
        self.events.call(Request::post("/events").body(self.body(known, steps)).unwrap())
    }

    fn body_exists(&self) -> bool {
        Arc::strong_count(&self.polls) > 1
    }
}

/// Asserts an answer that streams.
#[track_caller]
fn streams(response: Response<Body>) {
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert!(body_text(&mut body).ends_with("event: stream-open\ndata: \n\n"));
    assert!(!body.is_terminated());
}

/// Asserts an answer that is this and nothing else.
#[track_caller]
fn refuses(response: Response<Body>, status: u16, text: &str) {
    let length = text.len().to_string();
    let expected = [("content-type", "text/plain; charset=utf-8"), ("content-length", &length)];
    let headers = expected.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    assert_eq!(response.status(), status);
    assert_eq!(*response.headers(), HeaderMap::from_iter(headers));
    assert_eq!(body_text(&mut response.into_body()), text);
}

#[test]
fn a_body_that_has_ended_is_not_polled() {
    let stage = Stage::new();
    let response = stage.post(true, &[]).now_or_never().unwrap();
    assert_eq!((stage.polls.load(SeqCst), stage.clock.sleeps.load(SeqCst)), (0, 0));
    streams(response);
}

#[test]
fn a_body_that_is_there_is_read_to_its_end_and_costs_no_timer() {
    for (known, steps, polls) in [
        (true, &[Data(5), Data(0), Data(7)][..], 3),
        // Only the last poll says that it has ended.
        (false, &[Data(5), Data(7)], 3),
        (false, &[], 1),
        (false, &[Data(5), Trailers], 3),
    ] {
        let stage = Stage::new();
        let response = stage.post(known, steps).now_or_never().unwrap();
        assert_eq!((stage.polls.load(SeqCst), stage.clock.sleeps.load(SeqCst)), (polls, 0));
        assert!(!stage.body_exists());
        streams(response);
    }
}

#[test]
fn a_mebibyte_of_data_is_read_and_one_byte_more_is_413() {
    let stage = Stage::new();
    for known in [true, false] {
        for steps in [&[Data(MIB)][..], &[Data(1), Data(MIB - 1)], &[Data(MIB), Trailers]] {
            streams(stage.post(known, steps).now_or_never().unwrap());
        }
        for steps in [&[Data(MIB + 1)][..], &[Data(MIB), Data(1)], &[Data(MIB), Data(1), Stall]] {
            let response = stage.post(known, steps).now_or_never().unwrap();
            refuses(response, 413, "Payload too large.\n");
        }
    }
    assert!(!stage.body_exists());
}

/// A client that sends `Expect: 100-continue` is told to go on by the first poll.
#[test]
fn a_body_that_says_it_is_too_long_is_refused_unread() {
    let stage = Stage::new();
    let response = stage.post(true, &[Data(MIB), Data(1)]).now_or_never().unwrap();
    assert_eq!(stage.polls.load(SeqCst), 0);
    refuses(response, 413, "Payload too large.\n");
}

#[test]
fn a_body_that_stalls_for_ten_seconds_is_408() {
    let stage = Stage::new();
    let mut answer = stage.post(false, &[Data(1), Stall]);
    assert!((&mut answer).now_or_never().is_none());
    // The time counts for the whole body, however often the answer is polled.
    for step in [Duration::from_secs(4), LONGEST - Duration::from_secs(4) - Duration::from_nanos(1)]
    {
        stage.clock.timer.advance(step);
        assert!((&mut answer).now_or_never().is_none());
    }
    assert!(stage.body_exists());
    stage.clock.timer.advance(Duration::from_nanos(1));
    refuses((&mut answer).now_or_never().unwrap(), 408, "Request timeout.\n");
    drop(answer);
    assert!(!stage.body_exists());
    assert_eq!((stage.clock.sleeps.load(SeqCst), stage.clock.timer.sleeping()), (1, 0));
}

/// It is the time that ends this: no frame counts towards the limit, and none has to be waited for.
#[test]
fn frames_without_data_and_without_end_let_other_tasks_run_and_are_408() {
    let stage = Stage::new();
    let mut answer = stage.post(false, &[Nothing]);
    for polls in [64, 128] {
        assert!((&mut answer).now_or_never().is_none());
        assert_eq!(stage.polls.load(SeqCst), polls);
    }
    stage.clock.timer.advance(LONGEST);
    refuses(answer.now_or_never().unwrap(), 408, "Request timeout.\n");
}

#[test]
fn many_small_frames_are_read_without_another_wake() {
    let stage = Stage::new();
    // `block_on` polls again only if the answer has woken it.
    streams(block_on(stage.post(false, &[Data(1); 1000])));
}

#[test]
fn a_body_that_breaks_off_is_400() {
    let stage = Stage::new();
    let response = stage.post(false, &[Data(1), Break]).now_or_never().unwrap();
    refuses(response, 400, "The request's body broke off.\n");
    assert!(!stage.body_exists());
}

#[test]
fn nobody_is_subscribed_before_the_body_is_read_and_dropping_the_answer_drops_the_body() {
    let stage = Stage::new();
    let mut answer = stage.post(false, &[Data(1), Stall]);
    assert!((&mut answer).now_or_never().is_none());
    assert_eq!(stage.stream.stats().subscriptions, 0);
    assert!(stage.body_exists());
    drop(answer);
    assert!(!stage.body_exists());
    assert_eq!(stage.clock.timer.sleeping(), 0);
}

#[test]
fn the_handler_answers_all_that_it_would_without_the_body() {
    let stage = Stage::new();
    let ask = |method: &str, uri: &str, accept: &str, length: usize| {
        let req = Request::builder().method(method).uri(uri).header("accept", accept);
        let response = block_on(stage.events.call(req.body("x".repeat(length)).unwrap()));
        (response.status().as_u16(), body_text(&mut response.into_body()))
    };
    assert_eq!(ask("POST", "/other", "*/*", 9), (404, "Not Found.\n".into()));
    assert_eq!(ask("PUT", "/events", "*/*", 9), (405, "Method not allowed.\n".into()));
    assert_eq!(ask("POST", "/events", "text/html", 9), (406, "Not Acceptable.\n".into()));
    assert_eq!(ask("HEAD", "/events", "*/*", 9), (200, String::new()));
    // The body comes before all this.
    assert_eq!(ask("PUT", "/other", "text/html", MIB + 1), (413, "Payload too large.\n".into()));
    assert_eq!(ask("HEAD", "/events", "*/*", MIB + 1), (413, String::new()));
}

#[test]
fn it_is_a_service_for_any_body() {
    async fn serve<S, B>(mut service: S, body: B) -> Response<Body>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync,
        S::Future: Send + 'static,
    {
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        service.clone().call(Request::post("/events").body(body).unwrap()).await.unwrap()
    }
    let stage = Stage::new();
    block_on(async {
        streams(serve(stage.events.clone(), Empty::<Bytes>::new()).await);
        streams(serve(stage.events.clone(), stage.body(false, &[Data(1), Trailers])).await);
        streams(serve(stage.events.clone(), Full::new(Bytes::from("text"))).await);
        let long = serve(stage.events.clone(), "x".repeat(MIB + 1)).await;
        refuses(long, 413, "Payload too large.\n");
    });
}

// Over sockets.

/// Serves requests with hyper, each connection in a task.
fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |req| answer(req).map(Ok::<_, Infallible>));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    };
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(accepting)
    });
    address
}

/// Sends a body of 900 KB and reads up to the end of `stream-open`.
fn open(address: SocketAddr) -> TcpStream {
    const LENGTH: usize = 900_000;
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("POST /events HTTP/1.1\r\nhost: here\r\ncontent-length: {LENGTH}\r\n\r\n");
    let mut sending = socket.try_clone().unwrap();
    // Beside the reading, because the server may leave the body where it is.
    thread::spawn(move || sending.write_all(&[head.as_bytes(), &[b'x'; LENGTH]].concat()));
    let mut reader = BufReader::new(&mut socket);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    let mut heard = Vec::new();
    while !heard.ends_with(b"event: stream-open\ndata: \n\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    socket
}

/// hyper used to keep subscriptions of clients that had left until the next keep-alive.
#[test]
fn hyper_sees_a_client_leave_only_if_its_body_was_read() {
    let stream = EventStream::new();
    let handler = stream.handler("a").path("/events");
    let draining = handler.clone().draining();
    let undrained = serve(move |req| handler.call(req));
    let drained = serve(move |req| draining.call(req));
    let subscriptions = || stream.stats().subscriptions;

    let left = open(undrained);
    assert_eq!(subscriptions(), 1);
    left.shutdown(Shutdown::Both).unwrap();
    for _ in 0..2 {
        let leaves = open(drained);
        assert_eq!(subscriptions(), 2);
        leaves.shutdown(Shutdown::Both).unwrap();
        let start = Instant::now();
        while subscriptions() == 2 {
            assert!(start.elapsed() < Duration::from_secs(15), "before the first keep-alive");
            thread::sleep(Duration::from_millis(1));
        }
        // That of the client that was the first to leave.
        assert_eq!(subscriptions(), 1);
    }
}
