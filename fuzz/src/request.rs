//! A whole request, through `run`, through a handler, and through one that reads bodies. Each part
//! of the request has a meaning known beforehand; a table of the steps in their order says which of
//! them decides.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use eventstream::grip::InvalidSignaturePolicy;
use eventstream::test_util::{ManualTimer, RecordingTransport};
use eventstream::{Body, EventStream, Limits};
use futures::executor::block_on;
use futures::FutureExt;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use percent_encoding::percent_decode_str;

use crate::input::Input;
use crate::jwt::{signed, NEVER};
use crate::probe;

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Direct,
    /// Behind a proxy without a key.
    Open,
    /// Behind a proxy with a key.
    Keyed,
    /// The same, and a request that does not verify is direct.
    Lenient,
    /// The same as `Keyed`, and every client must come through the proxy.
    Required,
}

const PLACES: [Place; 5] =
    [Place::Direct, Place::Open, Place::Keyed, Place::Lenient, Place::Required];
const KEY: &str = "changeme";

struct Origin {
    place: Place,
    closed: bool,
    with_503: bool,
    stream: EventStream,
    timer: ManualTimer,
}

fn origins() -> &'static [Origin] {
    static ORIGINS: OnceLock<Vec<Origin>> = OnceLock::new();
    ORIGINS.get_or_init(|| {
        let mut origins = Vec::new();
        for place in PLACES {
            for (closed, with_503) in [(false, false), (true, false), (true, true)] {
                let timer = ManualTimer::new();
                let builder = EventStream::builder().timer(timer.clone());
                let limits = Limits::default().hold_channels(3).channels(5).channel_name(20);
                let builder =
                    builder.limits(if with_503 { limits.refuse_with_503() } else { limits });
                let builder = builder.transport(RecordingTransport::new());
                let keyed = format!("http://localhost/?verify-key={KEY}");
                let stream = match place {
                    Place::Direct => builder,
                    Place::Open => builder.grip("http://localhost/"),
                    Place::Keyed => builder.grip(keyed),
                    Place::Lenient => {
                        builder.grip(keyed).invalid_signature(InvalidSignaturePolicy::Direct)
                    }
                    Place::Required => builder.grip(keyed).require_proxy(),
                };
                let stream = stream.build().expect("a valid configuration");
                if closed {
                    block_on(stream.close());
                }
                origins.push(Origin { place, closed, with_503, stream, timer });
            }
        }
        origins
    })
}

/// A request's body: what it does at each poll.
struct Script {
    steps: Vec<Step>,
    hint: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Data(usize),
    Trailers,
    Error,
    /// Waits for more that never comes.
    Stuck,
    /// Waits, and goes on at the next poll.
    Later,
}

const MOST: usize = 1 << 20;
static ZEROS: [u8; MOST] = [0; MOST];

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if self.steps.is_empty() {
            return Poll::Ready(None);
        }
        if self.steps[0] == Step::Stuck {
            return Poll::Pending;
        }
        match self.steps.remove(0) {
            Step::Data(size) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS[..size])))))
            }
            Step::Trailers => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Step::Error => Poll::Ready(Some(Err("broken"))),
            Step::Stuck | Step::Later => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.hint.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Script {
    fn take(input: &mut Input<'_>) -> Self {
        let steps = (0..input.below(6)).map(|_| match input.byte() {
            byte @ 0..96 => {
                Step::Data([0, 1, 100, MOST / 2, MOST - 1, MOST][usize::from(byte % 6)])
            }
            96..128 => Step::Trailers,
            128..144 => Step::Error,
            144..160 => Step::Stuck,
            _ => Step::Later,
        });
        let steps = steps.collect();
        let hint = match input.below(8) {
            0 => Some(0),
            1 => Some(MOST as u64),
            2 => Some(MOST as u64 + 1),
            3 => Some(u64::MAX),
            _ => None,
        };
        Self { steps, hint }
    }

    /// The status with which it is refused, and whether that takes time.
    fn refused(&self) -> Option<u16> {
        if self.hint.is_some_and(|hint| hint > MOST as u64) {
            return Some(413);
        }
        if self.hint == Some(0) && self.steps.is_empty() {
            return None;
        }
        let mut left = MOST;
        for step in &self.steps {
            match step {
                Step::Data(size) if *size > left => return Some(413),
                Step::Data(size) => left -= size,
                Step::Error => return Some(400),
                Step::Stuck => return Some(408),
                Step::Trailers | Step::Later => {}
            }
        }
        None
    }
}

#[derive(Debug, PartialEq)]
enum Expected {
    Status(u16),
    Stream,
    /// Nothing but when to come back.
    Later,
    Hold,
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let Origin { place, closed, with_503, stream, timer } =
        &origins()[usize::from(input.byte()) % origins().len()];
    let method = match input.below(12) {
        0..5 => Method::GET,
        5 | 6 => Method::POST,
        7 => Method::HEAD,
        8 => Method::OPTIONS,
        9 => Method::PUT,
        10 => Method::DELETE,
        _ => Method::from_bytes(input.bytes()).unwrap_or(Method::PATCH),
    };
    let mut req = Request::new(());
    *req.method_mut() = method.clone();
    let headers = req.headers_mut();
    let (accept, accepted) = input.pick(&[
        (None, true),
        (Some("text/event-stream"), true),
        (Some("*/*"), true),
        (Some("text/html, text/*;q=0.1"), true),
        (Some("text/html"), false),
        (Some("text/event-stream;q=0, */*"), false),
    ]);
    accept.iter().for_each(|accept| drop(headers.insert(ACCEPT, HeaderValue::from_static(accept))));
    // Whether there is a signature, and whether it verifies.
    let signature = match input.below(6) {
        0 | 1 => None,
        2 | 3 => {
            let token =
                signed(r#"{"alg":"HS256"}"#, &format!("{{\"exp\":{NEVER}}}"), KEY.as_bytes());
            headers.insert("grip-sig", HeaderValue::from_str(&token).expect("ASCII"));
            Some(true)
        }
        4 => {
            let token = signed(r#"{"alg":"HS256"}"#, &format!("{{\"exp\":{NEVER}}}"), b"other");
            headers.insert("grip-sig", HeaderValue::from_str(&token).expect("ASCII"));
            Some(false)
        }
        _ => match HeaderValue::from_bytes(input.bytes()) {
            Ok(value) => {
                headers.insert("grip-sig", value);
                Some(false)
            }
            Err(_) => None,
        },
    };
    let (last_id, reserved) = input.pick(&[
        (None, false),
        (None, false),
        (Some(probe::FOREIGN), false),
        (Some("error"), true),
        (Some("a, error"), true),
        (Some("earliest"), false),
        (Some(""), false),
    ]);
    last_id
        .iter()
        .for_each(|id| drop(headers.insert("last-event-id", HeaderValue::from_static(id))));
    for _ in 0..input.below(3) {
        let name =
            input.pick(&["cookie", "grip-hold", "x-y", "content-length", "expect", "origin"]);
        if let Ok(value) = HeaderValue::from_bytes(input.bytes()) {
            headers.insert(name, value);
        }
    }
    let names: Vec<String> = (0..input.below(7))
        .map(|at| match input.byte() {
            byte @ 0..64 => format!("{}{at}", char::from(b'a' + byte % 26)),
            64..80 => "x".repeat(20),
            80..96 => "x".repeat(21),
            96..112 => " ".to_owned(),
            _ => input.text(),
        })
        .collect();
    let mut channels: Vec<&String> = Vec::new();
    for name in &names {
        if !name.trim().is_empty() && !channels.contains(&name) {
            channels.push(name);
        }
    }

    let form = input.below(3);
    let script = Script::take(&mut input);
    let read = if form == 2 { script.refused() } else { None };
    let proxied = match (place, signature) {
        (Place::Direct, _) | (_, None) => Ok(false),
        (Place::Open, Some(_)) | (_, Some(true)) => Ok(true),
        (Place::Lenient, Some(false)) => Ok(false),
        (_, Some(false)) => Err(403),
    };
    let most = if proxied == Ok(true) { 3 } else { 5 };
    let bad_channels =
        channels.is_empty() || channels.len() > most || channels.iter().any(|name| name.len() > 20);
    let later = if *with_503 { Expected::Status(503) } else { Expected::Later };
    let expected = match (method.as_str(), proxied) {
        _ if read.is_some() => Expected::Status(read.unwrap_or_default()),
        ("OPTIONS", _) => Expected::Status(204),
        (method, _) if !["GET", "HEAD", "POST"].contains(&method) => Expected::Status(405),
        _ if !accepted => Expected::Status(406),
        (_, Err(status)) => Expected::Status(status),
        (_, Ok(false)) if *place == Place::Required => Expected::Status(501),
        _ if reserved => Expected::Status(400),
        _ if bad_channels => Expected::Status(400),
        _ if *closed => later,
        ("HEAD", Ok(true)) => Expected::Stream,
        (_, Ok(true)) => Expected::Hold,
        (_, Ok(false)) => Expected::Stream,
    };

    let before = stream.stats().subscriptions;
    let answer: Response<Body> = match form {
        0 => {
            let mut res = Response::new("dropped");
            res.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
            res.headers_mut().insert("x-own", HeaderValue::from_static("kept"));
            *res.status_mut() = http::StatusCode::IM_A_TEAPOT;
            let answer = block_on(stream.run(&req, res, &names));
            assert_eq!(answer.headers()["x-own"], "kept");
            answer
        }
        1 => {
            let names = names.clone();
            block_on(stream.handler_fn(move |_| names.clone()).call(req))
        }
        _ => {
            let names = names.clone();
            let handler = stream.handler_fn(move |_| names.clone()).draining();
            let stuck = script.refused() == Some(408);
            let mut answer = handler.call(req.map(|()| script));
            // Each wait that ends takes one more poll.
            match (0..10).find_map(|_| (&mut answer).now_or_never()) {
                Some(answer) => {
                    assert!(!stuck);
                    answer
                }
                None => {
                    assert!(stuck);
                    timer.advance(Duration::from_millis(9_999));
                    assert!((&mut answer).now_or_never().is_none(), "it gave up early");
                    timer.advance(Duration::from_millis(1));
                    answer.now_or_never().expect("it gives up after 10 s")
                }
            }
        }
    };

    let (head, mut body) = answer.into_parts();
    let counted = stream.stats().subscriptions - before;
    let head_only = method == Method::HEAD;
    let (bytes, ended) = probe::ready(&mut body);
    let text = String::from_utf8(bytes).expect("a body is text");
    let header =
        |name: http::HeaderName| head.headers.get(name).map(|it| it.to_str().expect("ASCII"));
    let context = || format!("{place:?} closed {closed}: {text:?} {head:?}");
    match expected {
        Expected::Status(status) => {
            assert_eq!(head.status.as_u16(), status, "{}", context());
            assert!(ended && counted == 0, "{}", context());
            assert_eq!(header(ALLOW).is_some(), [204, 405].contains(&status));
            if status != 204 {
                assert_eq!(header(CONTENT_TYPE), Some("text/plain; charset=utf-8"));
                let length: usize =
                    header(CONTENT_LENGTH).expect("a length").parse().expect("digits");
                assert_eq!(text.len(), if head_only { 0 } else { length }, "{}", context());
                assert!(head_only || (text.ends_with(".\n") && text.lines().count() == 1));
            }
            assert_eq!(head.headers.contains_key("retry-after"), status == 503);
            assert!(!head.headers.contains_key("grip-hold"));
        }
        Expected::Stream | Expected::Later | Expected::Hold => {
            assert_eq!(head.status, 200, "{}", context());
            assert_eq!(header(CONTENT_TYPE), Some("text/event-stream"));
            assert_eq!(header(CONTENT_LENGTH), None);
            assert_eq!(header(http::header::CACHE_CONTROL), Some("no-cache, no-transform"));
            assert!(header(VARY).is_some_and(|vary| vary.contains("Accept")));
            assert_eq!(head.headers.contains_key("grip-hold"), expected == Expected::Hold);
            let live = expected == Expected::Stream && !head_only;
            assert_eq!((!ended, counted), (live, u64::from(live)), "{}", context());
            if head_only {
                assert_eq!(text, "");
            } else if expected == Expected::Later {
                let millis = text.strip_prefix("retry: ").and_then(|it| it.strip_suffix("\n\n"));
                let millis: u64 = millis.expect("a retry").parse().expect("digits");
                assert!((4000..=6000).contains(&millis), "{millis}");
            } else {
                let unknown = last_id.is_some_and(|id| !id.is_empty());
                let events: Vec<_> =
                    text.lines().filter(|line| line.starts_with("event")).collect();
                let reset = unknown.then_some("event: stream-reset");
                let open = ["event: stream-open"];
                assert_eq!(
                    events,
                    open.into_iter().chain(reset).collect::<Vec<_>>(),
                    "{}",
                    context()
                );
            }
            if expected == Expected::Hold {
                assert_eq!(head.headers["grip-hold"], "stream");
                let held = head.headers["grip-channel"].to_str().expect("ASCII").split(", ");
                let held: Vec<_> =
                    held.map(|name| percent_decode_str(name).collect::<Vec<u8>>()).collect();
                let expected: Vec<_> =
                    channels.iter().map(|name| format!("events-{name}").into_bytes()).collect();
                assert_eq!(held, expected);
            }
        }
    }
    drop(body);
    assert_eq!(stream.stats().subscriptions, before);
}
