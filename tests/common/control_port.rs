//! STAND-INS for a proxy's control port, used only where a real Pushpin cannot be made to do what a
//! test needs: a scripted transport that answers by rule under a manual clock, and a plain socket
//! that keeps, cuts, closes or ignores connections at will.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventstream::grip::Transport;
use eventstream::runtime::{Executor, Timer};
use eventstream::test_util::ManualTimer;
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{pending, BoxFuture, FutureExt};
use futures::task::LocalSpawnExt;
use http::{HeaderMap, Method, Request, Response, Uri};
use serde_json::Value;

/// Far longer than any step takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A request that the scripted transport was given.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Post {
    pub(crate) fn items(&self) -> Vec<Value> {
        let mut body: Value = serde_json::from_slice(&self.body).expect("the body is JSON");
        match body["items"].take() {
            Value::Array(items) => items,
            other => panic!("items: {other}"),
        }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.items()
            .iter()
            .map(|item| item["id"].as_str().expect("an item has an id").to_owned())
            .collect()
    }

    pub(crate) fn contents(&self) -> Vec<String> {
        let content = |item: &Value| {
            item["formats"]["http-stream"]["content"]
                .as_str()
                .expect("an item has a content")
                .to_owned()
        };
        self.items().iter().map(content).collect()
    }

    pub(crate) fn authorization(&self) -> &str {
        self.headers["authorization"].to_str().unwrap()
    }
}

/// What the scripted transport does with a request.
pub(crate) enum Reply {
    Status(u16),
    /// Answers with this status and this `Retry-After`.
    RetryAfter(u16, &'static str),
    /// Fails, as when the connection is refused or breaks.
    NoAnswer,
    /// Never answers.
    Hang,
    /// Answers with the status that comes through the channel.
    Later(oneshot::Receiver<u16>),
    /// Panics, as a broken transport may.
    Panic,
}

/// All requests so far, in the order they were sent.
#[derive(Clone, Default)]
pub(crate) struct Posts(Arc<Log>);

#[derive(Default)]
struct Log {
    all: Mutex<Vec<Post>>,
    /// Held by each request that is neither answered nor dropped.
    open: Arc<()>,
}

impl Posts {
    pub(crate) fn all(&self) -> Vec<Post> {
        self.0.all.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.all.lock().unwrap().len()
    }

    /// The requests to this host.
    pub(crate) fn to(&self, host: &str) -> Vec<Post> {
        self.all().into_iter().filter(|post| post.uri.host() == Some(host)).collect()
    }

    /// How many requests are neither answered nor dropped.
    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.0.open) - 1
    }
}

/// A transport that treats each request as `reply` says.
pub(crate) fn scripted(
    timer: &ManualTimer,
    reply: impl FnMut(&Post) -> Reply + Send + 'static,
) -> (Box<dyn Transport>, Posts) {
    let posts = Posts::default();
    let (log, timer, reply) = (posts.clone(), timer.clone(), Mutex::new(reply));
    let transport = move |req: Request<Bytes>| {
        let (parts, body) = req.into_parts();
        let post = Post {
            at: timer.now(),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
        };
        let does = reply.lock().unwrap()(&post);
        log.0.all.lock().unwrap().push(post);
        let open = log.0.open.clone();
        async move {
            let _open = open;
            let mut response = Response::builder();
            let status = match does {
                Reply::Status(status) => status,
                Reply::RetryAfter(status, after) => {
                    response = response.header("retry-after", after);
                    status
                }
                Reply::NoAnswer => return Err("connection refused"),
                Reply::Hang => pending().await,
                Reply::Later(status) => status.await.map_err(|_| "connection reset")?,
                // Skips the panic hook, which would write to the test's output.
                Reply::Panic => std::panic::resume_unwind(Box::new(())),
            };
            Ok(response.status(status).body(Bytes::new()).unwrap())
        }
    };
    (Box::new(transport), posts)
}

/// An executor whose tasks run only when a test lets its `Pool` settle.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Spawned>);

#[derive(Default)]
struct Spawned {
    new: Mutex<Vec<BoxFuture<'static, ()>>>,
    /// Held by each task that has not ended.
    alive: Arc<()>,
}

impl Executor for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let alive = self.0.alive.clone();
        let task = std::panic::AssertUnwindSafe(task).catch_unwind();
        self.0.new.lock().unwrap().push(Box::pin(async move {
            let _alive = alive;
            // A panic ends only its own task.
            let _ = task.await;
        }));
    }
}

/// Runs what is spawned on its `Tasks`.
pub(crate) struct Pool {
    pool: LocalPool,
    tasks: Tasks,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { pool: LocalPool::new(), tasks: Tasks::default() }
    }

    pub(crate) fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// How many tasks have not ended.
    pub(crate) fn alive(&self) -> usize {
        Arc::strong_count(&self.tasks.0.alive) - 1
    }

    /// Runs all tasks until none can make progress.
    pub(crate) fn settle(&mut self) {
        for task in std::mem::take(&mut *self.tasks.0.new.lock().unwrap()) {
            self.pool.spawner().spawn_local(task).unwrap();
        }
        self.pool.run_until_stalled();
    }
}

/// What the socket does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes this, and keeps the connection.
    Answer(&'static str),
    /// Writes this and closes, even if the answer promises to keep the connection.
    AnswerAndClose(&'static str),
    /// Closes without an answer.
    Close,
    /// Never answers, and waits until the client closes.
    Hang,
    /// Writes this without end, until the client closes.
    Flood(&'static str),
}

pub(crate) const PUBLISHED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nPublished\n";
/// What Pushpin answers: it takes one request per connection.
pub(crate) const PUBLISHED_CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\
     Content-Type: text/plain\r\nContent-Length: 10\r\n\r\nPublished\n";
/// Shorter than its `Content-Length`.
pub(crate) const CUT_SHORT: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nPubl";
pub(crate) const CUT_IN_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Ty";

/// A request as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    /// All values of a header, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let value = |line: &'_ str| -> Option<usize> {
            let (found, _) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(found.len() + 1)
        };
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| value(line).map(|at| line[at..].trim()))
            .collect()
    }
}

/// A control port on a plain socket, with one thread per connection. It runs until the test's
/// process ends.
pub(crate) struct ControlPort {
    pub(crate) at: SocketAddr,
    requests: Receiver<Wire>,
    closed: Receiver<usize>,
}

impl ControlPort {
    /// Over plain TCP. `act` is called for each request with the request's number, counted from 0
    /// over all connections.
    pub(crate) fn start(act: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        Self::start_over(act, |socket| Some(Box::new(socket)))
    }

    /// Over what `wrap` makes of each socket; where it returns `None`, the connection is closed.
    pub(crate) fn start_over(
        act: impl Fn(usize) -> Act + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let ((seen, requests), (gone, closed)) = (channel(), channel());
        let script = Arc::new((act, wrap, Mutex::new(0)));
        thread::spawn(move || {
            for (connection, socket) in listener.incoming().enumerate() {
                let (script, seen, gone) = (script.clone(), seen.clone(), gone.clone());
                thread::spawn(move || {
                    let (act, wrap, count) = &*script;
                    let next = || {
                        let mut count = count.lock().unwrap();
                        *count += 1;
                        act(*count - 1)
                    };
                    if let Some(mut socket) = socket.ok().and_then(wrap) {
                        serve(&mut *socket, connection, next, &seen);
                    }
                    let _ = gone.send(connection);
                });
            }
        });
        Self { at, requests, closed }
    }

    /// The next request; waits for it if it has not come yet.
    pub(crate) fn request(&self) -> Wire {
        self.requests.recv_timeout(PATIENCE).expect("no request came")
    }

    /// All other requests that have come so far.
    pub(crate) fn rest(&self) -> Vec<Wire> {
        self.requests.try_iter().collect()
    }

    /// Waits until a connection is closed, and returns its number.
    pub(crate) fn closed(&self) -> usize {
        self.closed.recv_timeout(PATIENCE).expect("no connection was closed")
    }
}

/// What a connection runs over.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn serve(socket: &mut dyn Stream, connection: usize, next: impl Fn() -> Act, seen: &Sender<Wire>) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(socket, &mut buffer, connection) {
        let act = next();
        let _ = seen.send(request);
        match act {
            Act::Answer(text)
                if socket.write_all(text.as_bytes()).and_then(|()| socket.flush()).is_ok() => {}
            Act::AnswerAndClose(text) => {
                let _ = socket.write_all(text.as_bytes()).and_then(|()| socket.flush());
                return;
            }
            Act::Flood(text) => {
                let flood = text.repeat(1000);
                while socket.write_all(flood.as_bytes()).is_ok() {}
                return;
            }
            Act::Answer(_) | Act::Close => return,
            // Returns when the client closes; it must not send another request before.
            Act::Hang => return drop(socket.read(&mut [0])),
        }
    }
}

fn read_request(socket: &mut dyn Stream, buffer: &mut Vec<u8>, connection: usize) -> Option<Wire> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(socket, buffer)?;
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).expect("a head is ASCII");
    let mut request = Wire { connection, head, body: Vec::new() };
    let length =
        request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        more(socket, buffer)?;
    }
    request.body = buffer.drain(..length).collect();
    Some(request)
}

fn more(socket: &mut dyn Stream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let read = socket.read(&mut chunk).ok().filter(|&read| read > 0)?;
    buffer.extend_from_slice(&chunk[..read]);
    Some(())
}
