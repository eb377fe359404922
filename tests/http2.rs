//! The example servers that speak HTTP/2, with prior knowledge: many streams on one connection, and
//! no headers about connections.

#[path = "common/process.rs"]
mod process;

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{handshake, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::Process;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every fact, for each of these servers.
macro_rules! servers {
    ($($server:ident)*) => {
        $(facts! { $server:
            streams_have_no_headers_about_connections
            a_client_that_comes_back_gets_what_it_missed
            refusals_are_the_same
            many_streams_share_a_connection
            a_cancelled_stream_is_freed_and_its_connection_goes_on
            a_stream_that_is_not_read_delays_no_other_on_its_connection
            ctrl_c_ends_streams_and_connection_properly
        })*
    };
}

macro_rules! facts {
    ($server:ident: $($fact:ident)*) => {
        mod $server {
            $(#[tokio::test]
            async fn $fact() {
                crate::$fact(stringify!($server)).await;
            })*
        }
    };
}

/// In a separate module, because one of them has the name of a crate.
mod on {
    servers! { tokio axum }
}

/// A server and a connection to it.
struct Server {
    process: Process,
    requests: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Server {
    async fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let (process, url) = Process::example(name, environment);
        let socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        Self { process, requests, connection: tokio::spawn(connection) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = in_time(self.requests.clone().send_request(request)).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        answer
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        self.send(Method::GET, path, headers, "").await
    }

    async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let answer = self.get(path, headers).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Stream { body: answer.into_body(), read: Vec::new() }
    }

    async fn publish(&self, channel: &str, data: &str) -> String {
        let answer = self.send(Method::POST, &format!("/publish/{channel}"), &[], data).await;
        assert_eq!(answer.status(), StatusCode::OK);
        serde_json::from_str(&text(answer).await).unwrap()
    }

    async fn stats(&self) -> Value {
        serde_json::from_str(&text(self.get("/stats", &[]).await).await).unwrap()
    }

    /// Ends the server as a person would, and asserts that nothing went wrong in it.
    async fn end(self) {
        if cfg!(unix) {
            self.process.signal("INT");
            in_time(self.connection).await.unwrap().unwrap();
            let (status, errors) = self.process.ended();
            assert_eq!(errors, "");
            assert_eq!(status.code(), Some(0));
        }
    }
}

struct Stream {
    body: Incoming,
    read: Vec<u8>,
}

impl Stream {
    /// The next frame that is not a keep-alive; `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\n\n") {
                let frame = String::from_utf8(self.read.drain(..end + 2).collect()).unwrap();
                if frame != "event: keep-alive\ndata: \n\n" {
                    return Some(frame);
                }
            } else if let Some(frame) = in_time(self.body.frame()).await {
                self.read.extend_from_slice(&frame.unwrap().into_data().unwrap());
            } else {
                assert_eq!(self.read, b"", "an incomplete frame at the end");
                return None;
            }
        }
    }

    async fn opened(&mut self) -> String {
        let open = self.next().await.unwrap();
        let id = open
            .strip_prefix("id: ")
            .and_then(|rest| rest.strip_suffix("\nevent: stream-open\ndata: \n\n"));
        id.unwrap_or_else(|| panic!("{open:?}")).to_owned()
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("not done in time")
}

async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(in_time(answer.into_body().collect()).await.unwrap().to_bytes().into())
        .unwrap()
}

fn without_date(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| *name != "date").collect();
    headers.sort();
    headers
}

async fn streams_have_no_headers_about_connections(name: &str) {
    let server = Server::start(name, &[]).await;
    for path in ["/events/a", "/events?channel=a"] {
        let answer = server.get(path, &[("accept", "text/event-stream")]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let expected = [
            ("cache-control", "no-cache, no-transform"),
            ("content-type", "text/event-stream"),
            ("vary", "Accept"),
            ("x-accel-buffering", "no"),
        ];
        assert_eq!(without_date(answer.headers()), expected);
    }
    for path in ["/", "/stats", "/nowhere", "/publish/a"] {
        let answer = server.get(path, &[]).await;
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            assert!(!answer.headers().contains_key(name), "{path} with {name}");
        }
    }
    server.end().await;
}

async fn a_client_that_comes_back_gets_what_it_missed(name: &str) {
    let server = Server::start(name, &[("HISTORY", "2")]).await;
    let position = server.open("/events/a", &[]).await.opened().await;
    let mut live = server.open("/events/a", &[]).await;
    live.opened().await;
    let mut frames = Vec::new();
    for number in 1..=3 {
        let id = server.publish("a", &number.to_string()).await;
        frames.push(format!("id: {id}\ndata: {number}\n\n"));
        assert_eq!(live.next().await.as_ref(), frames.last());
    }
    let first = frames[0].lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    let mut stream = server.open("/events/a", &[("last-event-id", &first)]).await;
    assert_eq!(stream.opened().await, first);
    assert_eq!([stream.next().await.unwrap(), stream.next().await.unwrap()], frames[1..]);

    let mut stream = server.open(&format!("/events/a?lastEventId={position}"), &[]).await;
    assert_eq!(stream.opened().await, position);
    let reset = r#"{"channels":["a"],"reason":"evicted"}"#;
    assert_eq!(
        stream.next().await.unwrap(),
        format!("id: {position}\nevent: stream-reset\ndata: {reset}\n\n")
    );
    assert_eq!([stream.next().await.unwrap(), stream.next().await.unwrap()], frames[1..]);
    server.end().await;
}

async fn refusals_are_the_same(name: &str) {
    let server = Server::start(name, &[]).await;
    let json = ("accept", "application/json");
    for (method, path, header, status, says) in [
        (Method::GET, "/nowhere", ("accept", "*/*"), 404, "Not Found.\n"),
        (Method::GET, "/events/a/b", ("accept", "*/*"), 404, "Not Found.\n"),
        (Method::GET, "/events/a", json, 406, "Not Acceptable.\n"),
        (Method::GET, "/events?channel=a", json, 406, "Not Acceptable.\n"),
        (Method::GET, "/events", ("accept", "*/*"), 400, "No specified channels.\n"),
        (Method::POST, "/events/a", ("accept", "*/*"), 405, "Method Not Allowed.\n"),
        (Method::POST, "/events?channel=a", ("accept", "*/*"), 405, "Method Not Allowed.\n"),
    ] {
        let answer = server.send(method, path, &[header], "").await;
        assert_eq!(answer.status(), status, "{path}");
        let allow = answer.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned());
        assert_eq!(allow.as_deref(), (status == 405).then_some("GET, HEAD"));
        assert_eq!(text(answer).await, says);
    }
    let head = server.send(Method::HEAD, "/events/a", &[], "").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(text(head).await, "");
    server.end().await;
}

async fn many_streams_share_a_connection(name: &str) {
    let server = Server::start(name, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..150 {
        let mut stream = server.open("/events/a", &[]).await;
        stream.opened().await;
        streams.push(stream);
    }
    for number in 0..20 {
        let id = server.publish("a", &number.to_string()).await;
        for stream in &mut streams {
            assert_eq!(stream.next().await, Some(format!("id: {id}\ndata: {number}\n\n")));
        }
    }
    server.end().await;
}

async fn a_cancelled_stream_is_freed_and_its_connection_goes_on(name: &str) {
    let server = Server::start(name, &[]).await;
    let mut stays = server.open("/events/a", &[]).await;
    stays.opened().await;
    let mut cancelled = Vec::new();
    for _ in 0..100 {
        let mut stream = server.open("/events/a", &[]).await;
        stream.opened().await;
        cancelled.push(stream);
    }
    assert_eq!(server.stats().await["subscriptions"], 101);
    drop(cancelled);
    let start = Instant::now();
    while server.stats().await["subscriptions"] != 1 {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(10)).await;
    }
    let id = server.publish("a", "1").await;
    assert_eq!(stays.next().await, Some(format!("id: {id}\ndata: 1\n\n")));
    server.end().await;
}

async fn a_stream_that_is_not_read_delays_no_other_on_its_connection(name: &str) {
    let server = Server::start(name, &[]).await;
    let mut slow = server.open("/events/a", &[]).await;
    slow.opened().await;
    let mut reader = server.open("/events/a", &[]).await;
    reader.opened().await;
    // Several times what a stream's window and the channel's history hold.
    let filler = "x".repeat(100_000);
    for number in 1..=80 {
        let data = format!("[{number},\"{filler}\"]");
        let id = server.publish("a", &data).await;
        assert_eq!(reader.next().await, Some(format!("id: {id}\ndata: {data}\n\n")));
    }
    let (mut last, mut after_reset) = (0, false);
    let mut resets = 0;
    while last < 80 {
        let frame = slow.next().await.unwrap();
        if frame.contains("\nevent: stream-reset\n") {
            assert!(
                frame.ends_with("\ndata: {\"channels\":[\"a\"],\"reason\":\"lagged\"}\n\n"),
                "{frame}"
            );
            after_reset = true;
            resets += 1;
            continue;
        }
        let (_, data) = frame.split_once("\ndata: [").unwrap();
        let number = data.split(',').next().unwrap().parse().unwrap();
        assert!(
            if after_reset { number > last + 1 } else { number == last + 1 },
            "{number} after {last}, after a reset: {after_reset}"
        );
        (last, after_reset) = (number, false);
    }
    assert!(resets > 0);
    server.end().await;
}

async fn ctrl_c_ends_streams_and_connection_properly(name: &str) {
    if !cfg!(unix) {
        println!("skipped: this system has no signals");
        return;
    }
    let server = Server::start(name, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = server.open("/events/a", &[]).await;
        stream.opened().await;
        streams.push(stream);
    }
    let id = server.publish("a", "1").await;
    let start = Instant::now();
    server.end().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for mut stream in streams {
        assert_eq!(stream.next().await, Some(format!("id: {id}\ndata: 1\n\n")));
        assert_eq!(stream.next().await, None);
    }
}
