//! An HTTP/1 client on a plain socket. It accepts only answers that are framed exactly.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Far longer than any step takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const KEEP_ALIVE: &str = "event: keep-alive\ndata: \n\n";

/// The first line and the headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Sorted by name; the names are lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    fn read(socket: &mut impl BufRead) -> Self {
        let first = line(socket);
        let (version, status) = first.split_once(' ').unwrap();
        assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{first}");
        let status = status.split(' ').next().unwrap().parse().unwrap();
        let header = |line: String| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let lines = std::iter::from_fn(|| Some(line(socket)).filter(|line| !line.is_empty()));
        let mut headers: Vec<_> = lines.map(header).collect();
        headers.sort();
        Self { status, headers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }
}

fn line(socket: &mut impl BufRead) -> String {
    let mut line = Vec::new();
    socket.read_until(b'\n', &mut line).unwrap();
    let line = String::from_utf8(line).unwrap();
    line.strip_suffix("\r\n")
        .unwrap_or_else(|| panic!("{line:?} does not end with CRLF"))
        .to_owned()
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(head: &Head, method: &str) -> Self {
        match (head.header("transfer-encoding"), head.header("content-length")) {
            _ if method == "HEAD" => Self::Length(0),
            (Some("chunked"), None) => Self::Chunked,
            (None, Some(length)) => Self::Length(length.parse().unwrap()),
            (None, None) => Self::UntilClose,
            both => panic!("the framing is not exact: {both:?}"),
        }
    }
}

fn connect(at: SocketAddr) -> BufReader<TcpStream> {
    let socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    BufReader::new(socket)
}

/// A request with its body, as it goes over the wire.
pub(crate) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A client that keeps its connection for as long as the server does.
pub(crate) struct Client {
    at: SocketAddr,
    socket: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(at: SocketAddr) -> Self {
        Self { at, socket: None }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (Head, String) {
        let mut socket = self.socket.take().unwrap_or_else(|| connect(self.at));
        socket.get_mut().write_all(&request(method, target, headers, body)).unwrap();
        let head = Head::read(&mut socket);
        assert!(
            method == "HEAD" || head.header("content-type") != Some("text/event-stream"),
            "{target} never ends"
        );
        let mut text = Vec::new();
        match Framing::of(&head, method) {
            Framing::Length(length) => {
                text.resize(length, 0);
                socket.read_exact(&mut text).unwrap();
            }
            Framing::Chunked => while chunk(&mut socket, &mut text) {},
            Framing::UntilClose => panic!("no framing in {head:?}"),
        }
        if head.header("connection") == Some("close") {
            let after = socket.read_to_end(&mut Vec::new()).unwrap();
            assert_eq!(after, 0, "bytes after the answer");
        } else {
            self.socket = Some(socket);
        }
        (head, String::from_utf8(text).unwrap())
    }

    pub(crate) fn get(&mut self, target: &str) -> (Head, String) {
        self.call("GET", target, &[], b"")
    }

    /// Publishes to `/publish/{target}`, and returns the event's id.
    pub(crate) fn publish(&mut self, target: &str, data: impl AsRef<[u8]>) -> String {
        let (head, text) = self.call("POST", &format!("/publish/{target}"), &[], data.as_ref());
        assert_eq!(head.status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Publishes one event per line, and returns their ids.
    pub(crate) fn publish_all(&mut self, channel: &str, lines: &str) -> Vec<String> {
        let ndjson = [("Content-Type", "application/x-ndjson")];
        let (head, text) =
            self.call("POST", &format!("/publish/{channel}"), &ndjson, lines.as_bytes());
        assert_eq!(head.status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn stats(&mut self) -> Value {
        serde_json::from_str(&self.get("/stats").1).unwrap()
    }
}

/// Reads a chunk, and returns whether more chunks follow.
fn chunk(socket: &mut impl BufRead, text: &mut Vec<u8>) -> bool {
    let size = line(socket);
    assert!(
        !size.is_empty() && size.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{size:?} is not a chunk size"
    );
    let size = u64::from_str_radix(&size, 16).unwrap();
    let read = socket.by_ref().take(size).read_to_end(text).unwrap() as u64;
    assert_eq!(read, size, "a chunk is as long as it says");
    assert_eq!(line(socket), "", "a chunk ends where it says");
    size > 0
}

/// An event stream: the head of the answer, then frame by frame.
pub(crate) struct Stream {
    pub(crate) head: Head,
    socket: BufReader<TcpStream>,
    framing: Framing,
    read: Vec<u8>,
}

impl Stream {
    pub(crate) fn get(at: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        Self::send(at, &request("GET", target, headers, b""))
    }

    /// Sends these bytes as the request.
    pub(crate) fn send(at: SocketAddr, request: &[u8]) -> Self {
        let mut socket = connect(at);
        socket.get_mut().write_all(request).unwrap();
        let head = Head::read(&mut socket);
        let framing = Framing::of(&head, "GET");
        Self { head, socket, framing, read: Vec::new() }
    }

    /// Opens a stream and waits for `stream-open`, so that it gets everything published from then
    /// on. Also returns the id of that frame.
    pub(crate) fn open(at: SocketAddr, target: &str) -> (Self, String) {
        let mut stream = Self::get(at, target, &[]);
        let open = stream.next().unwrap();
        let id = open
            .strip_prefix("id: ")
            .and_then(|rest| rest.strip_suffix("\nevent: stream-open\ndata: \n\n"));
        (stream, id.unwrap_or_else(|| panic!("{open:?}")).to_owned())
    }

    /// The next frame that is not a keep-alive; `None` at the end of the stream, which must end the
    /// connection too.
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            match self.next_of_all() {
                Some(frame) if frame == KEEP_ALIVE => {}
                frame => return frame,
            }
        }
    }

    pub(crate) fn next_of_all(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\n\n") {
                return Some(String::from_utf8(self.read.drain(..end + 2).collect()).unwrap());
            }
            let more = match self.framing {
                Framing::Chunked => {
                    let more = chunk(&mut self.socket, &mut self.read);
                    assert!(!more || self.read.ends_with(b"\n\n"), "a chunk is whole frames");
                    more
                }
                Framing::UntilClose => {
                    let read = self.socket.fill_buf().unwrap();
                    self.read.extend_from_slice(read);
                    let read = read.len();
                    self.socket.consume(read);
                    read > 0
                }
                Framing::Length(_) => panic!("not a stream: {:?}", self.head),
            };
            if !more {
                assert_eq!(self.read, b"", "an incomplete frame at the end");
                let after = self.socket.read(&mut [0]).unwrap();
                assert_eq!(after, 0, "bytes after the last chunk");
                return None;
            }
        }
    }

    /// The next `frames` frames, as text.
    pub(crate) fn take(&mut self, frames: usize) -> String {
        (0..frames).map(|_| self.next().expect("the stream has ended")).collect()
    }
}

/// The value of a frame's field.
pub(crate) fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
