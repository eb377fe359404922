//! The demo's routes on a socket, and a client that reads a stream.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "../../examples/app/mod.rs"]
mod app;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::Duration;

use eventstream::EventStream;
use futures::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::net::TcpListener;
use smol_hyper::rt::FuturesIo;

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reserves an address: the proxy must know it before the origin that publishes to it is built.
pub(crate) fn bind() -> (TcpListener, SocketAddr) {
    let listener = smol::block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Serves until the test's process ends.
pub(crate) fn serve(listener: TcpListener, stream: EventStream) {
    let app = app::App::new(stream);
    smol::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let app = app.clone();
            smol::spawn(async move {
                let service =
                    service_fn(|req| app.respond(req).map(Ok::<_, std::convert::Infallible>));
                // A client that disconnects is not a failure.
                let _ =
                    http1::Builder::new().serve_connection(FuturesIo::new(socket), service).await;
            })
            .detach();
        }
    })
    .detach();
}

/// The frames of a stream, as they arrive.
pub(crate) struct Client(Receiver<String>);

impl Client {
    /// Opens a stream of these channels and waits for `stream-open`.
    pub(crate) fn open(at: SocketAddr, channels: &[&str]) -> Self {
        let (client, _) = Self::open_after(at, channels, None);
        client
    }

    /// Like `open`, with a `Last-Event-ID`; also returns the first frame.
    pub(crate) fn open_after(
        at: SocketAddr,
        channels: &[&str],
        last_event_id: Option<&str>,
    ) -> (Self, String) {
        let query: Vec<_> = channels
            .iter()
            .map(|name| {
                format!(
                    "channel={}",
                    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
                )
            })
            .collect();
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.get(format!("http://{at}/events?{}", query.join("&")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let mut answer = request.call().unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.body_mut().read_to_string());
        let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
        let (sender, frames) = channel();
        thread::spawn(move || {
            let mut frame = String::new();
            while let Some(Ok(line)) = lines.next() {
                frame += &line;
                frame.push('\n');
                if line.is_empty() && sender.send(std::mem::take(&mut frame)).is_err() {
                    return;
                }
            }
        });
        let client = Self(frames);
        let open = client.next().unwrap();
        assert!(open.contains("event: stream-open\n"), "{open:?}");
        (client, open)
    }

    /// The next frame that is not a keep-alive; `None` at the end of the stream.
    pub(crate) fn next(&self) -> Option<String> {
        loop {
            match self.next_of_all() {
                Some(frame) if frame == "event: keep-alive\ndata: \n\n" => {}
                frame => return frame,
            }
        }
    }

    pub(crate) fn next_of_all(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(frame) => Some(frame),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("no frame came within {PATIENCE:?}")
            }
        }
    }

    /// The unread frames that have arrived by now, without keep-alives.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.try_iter().filter(|frame| !frame.contains("event: keep-alive\n")).collect()
    }
}

/// The value of a frame's field.
pub(crate) fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
