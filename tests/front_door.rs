//! The front door: which request gets which answer, step by step. The first fault decides.

mod common;

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::rc::Rc;
use std::str::FromStr;

use bytes::Bytes;
use common::{body_text, text};
use eventstream::{
    Body, BuildError, Builder, ChannelPublisher, ChannelSink, Channels, Draining, Event, EventId,
    EventStream, Handler, InvalidEvent, Limits, Params, PublishError, Run, Stats, SubscribeError,
    Subscription,
};
use futures::executor::block_on;
use futures::io::{AsyncBufRead, AsyncRead};
use futures::sink::Sink;
use futures::stream::{FusedStream, Stream};
use http::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use tower_service::Service;

/// An answer, with what its body has ready.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    ended: bool,
    size: Option<u64>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        let size = http_body::Body::size_hint(&body).exact();
        let text = body_text(&mut body);
        let ended = body.is_terminated() && http_body::Body::is_end_stream(&body);
        Self { status: parts.status.as_u16(), headers: parts.headers, text, ended, size }
    }
}

impl Answer {
    fn of(run: Run) -> Self {
        block_on(run).into()
    }

    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Asserts a refusal with this status, in the form that all refusals have, and that its
    /// sentence contains these words.
    #[track_caller]
    fn refuses(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.text.contains(words), "{words:?} in {self:?}");
        let sentence = self.text.strip_suffix(".\n").unwrap_or_else(|| panic!("{self:?}"));
        assert!(!sentence.is_empty(), "{self:?}");
        assert!(!sentence.contains(['\r', '\n']), "one line: {self:?}");
        assert!(!sentence.contains(". "), "one sentence: {self:?}");
        assert_eq!(self.header("content-type"), ["text/plain; charset=utf-8"], "{self:?}");
        assert_eq!(self.header("content-length"), [self.text.len().to_string()], "{self:?}");
        assert!(self.ended, "{self:?}");
        assert_eq!(self.size, Some(self.text.len() as u64), "{self:?}");
    }

    /// Asserts a body that has ended without any bytes.
    #[track_caller]
    fn is_empty(&self, context: &str) {
        assert_eq!(self.text, "", "{context}");
        assert!(self.ended, "{context}");
    }

    /// Asserts an event stream with status 200.
    #[track_caller]
    fn is_event_stream(&self) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), ["text/event-stream"], "{self:?}");
    }

    /// Asserts an event stream that goes on.
    #[track_caller]
    fn streams(&self) {
        self.is_event_stream();
        assert!(self.text.contains("event: stream-open\ndata: \n\n"), "{self:?}");
        assert!(!self.ended, "{self:?}");
    }

    /// Asserts an event stream that only says when to come back, and returns the milliseconds.
    #[track_caller]
    fn asks_to_come_back(&self) -> u64 {
        self.is_event_stream();
        assert!(self.ended, "{self:?}");
        let millis = self.text.strip_prefix("retry: ").and_then(|text| text.strip_suffix("\n\n"));
        let millis =
            millis.and_then(|millis| millis.parse().ok()).unwrap_or_else(|| panic!("{self:?}"));
        assert!((4000..=6000).contains(&millis), "near 5 s: {millis}");
        millis
    }
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn run(stream: &EventStream, req: &Request<()>, channels: impl Into<Channels>) -> Answer {
    Answer::of(stream.run(req, Response::new(()), channels))
}

/// A response with everything that a server may have set on it before.
fn started() -> Response<&'static str> {
    Response::builder()
        .status(500)
        .header("access-control-allow-origin", "*")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("vary", "Origin")
        .header("cache-control", "max-age=3600")
        .header("content-type", "application/json")
        .header("content-length", "7")
        .header("content-encoding", "gzip")
        .header("transfer-encoding", "chunked")
        .header("connection", "keep-alive")
        .extension("an extension")
        .body("dropped")
        .unwrap()
}

/// Streams that cannot take a subscriber to `a`, and the subscription that keeps each of them full.
fn closed_and_full(limits: &Limits) -> Vec<(&'static str, EventStream, Option<Subscription>)> {
    let with = |limits: Limits| EventStream::builder().limits(limits).build().unwrap();
    let closed = with(limits.clone());
    block_on(closed.close());
    let subscriptions = with(limits.clone().subscriptions(1));
    let one = subscriptions.subscribe("a");
    let channels = with(limits.clone().hub_channels(1));
    let other = channels.subscribe("other");
    vec![
        ("closed", closed, None),
        ("subscriptions", subscriptions, Some(one)),
        ("hub_channels", channels, Some(other)),
    ]
}

// Step 1: the method.

#[test]
fn get_and_post_stream_head_and_options_answer_and_other_methods_are_refused() {
    let stream = EventStream::new();
    for (method, status) in [
        ("GET", 200),
        ("POST", 200),
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("PUT", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("CONNECT", 405),
        ("TRACE", 405),
        ("BREW", 405),
        ("get", 405),
    ] {
        let answer = run(&stream, &Request::builder().method(method).body(()).unwrap(), "a");
        assert_eq!(answer.status, status, "{method}");
        let mut allowed: Vec<_> =
            answer.header("allow").iter().flat_map(|allow| allow.split(", ")).collect();
        allowed.sort_unstable();
        match status {
            405 => answer.refuses(405, ""),
            204 => {
                answer.is_empty(method);
                assert_eq!(answer.size, Some(0), "{method}");
            }
            _ => {}
        }
        let methods: &[_] = if status == 200 { &[] } else { &["GET", "HEAD", "OPTIONS", "POST"] };
        assert_eq!(allowed, methods, "{method}");
    }
}

#[test]
fn request_targets_without_a_path_are_answered_too() {
    let stream = EventStream::new();
    let routed = stream.handler("{id}").path("/{id}");
    for (method, uri, plain, with_pattern) in [
        ("CONNECT", "example.com:443", 405, 404),
        ("OPTIONS", "*", 204, 404),
        ("GET", "http://example.com", 200, 404),
    ] {
        let req = Request::builder().method(method).uri(uri).body(()).unwrap();
        assert_eq!(run(&stream, &req, "a").status, plain, "{method} {uri}");
        assert_eq!(Answer::of(routed.call(req)).status, with_pattern, "{method} {uri}");
    }
}

#[test]
fn head_gets_the_status_and_headers_of_get_and_nothing_else() {
    let open = EventStream::new();
    let mut streams = closed_and_full(&Limits::default());
    streams.extend(closed_and_full(&Limits::default().refuse_with_503()));
    streams.push(("open", open, None));
    for (name, stream, held) in streams {
        let before = stream.stats().subscriptions;
        let templates = stream.handler("room-{room}").path("/rooms/{room}");
        let broken = stream.handler("{");
        for (uri, accept, last_event_id) in [
            ("/rooms/1", "*/*", ""),
            ("/rooms/1", "*/*", "a foreign id"),
            ("/rooms/%FF", "*/*", ""),
            ("/rooms/1", "text/html", ""),
            ("/rooms/1", "*/*", "error"),
            ("/elsewhere", "*/*", ""),
        ] {
            let req = |method: &str| {
                let req = Request::builder().method(method).uri(uri).header(ACCEPT, accept);
                req.header("last-event-id", last_event_id).body(()).unwrap()
            };
            for handler in [&templates, &broken] {
                let (mut get, mut head) =
                    (Answer::of(handler.call(req("GET"))), Answer::of(handler.call(req("HEAD"))));
                let context = format!("{name} {uri} {accept} {last_event_id}");
                head.is_empty(&context);
                // This one is drawn at random.
                let retry_after = [&mut get, &mut head].map(|it| it.headers.remove(RETRY_AFTER));
                assert_eq!(retry_after[0].is_some(), retry_after[1].is_some(), "{context}");
                assert_eq!((head.status, head.headers), (get.status, get.headers), "{context}");
            }
        }
        assert_eq!(stream.stats().subscriptions, before, "{name}");
        drop(held);
    }
}

#[test]
fn head_counts_no_subscription_while_its_answer_is_held() {
    let stream = EventStream::new();
    let held = block_on(stream.run(&Request::head("/").body(()).unwrap(), Response::new(()), "a"));
    assert_eq!(stream.stats().subscriptions, 0);
    assert_eq!(stream.stats().channels, 0);
    assert!(held.body().is_terminated());
}

// Step 2: what the client accepts.

#[test]
fn accept_must_admit_an_event_stream() {
    let stream = EventStream::new();
    let admitted: &[&[&str]] = &[
        &[],
        &[""],
        &["*/*"],
        &["text/*"],
        &["text/event-stream"],
        &["TEXT/EVENT-STREAM; charset=utf-8"],
        &["text/event-stream;q=0.001"],
        &["text/html, application/json;q=0.9, */*;q=0.1"],
        &["text/html", "text/event-stream"],
        &["", "text/event-stream"],
        &["*/*;q=0", "text/event-stream;q=1.0"],
    ];
    let refused: &[&[&str]] = &[
        &["text/html"],
        &["text/event-stream;q=0"],
        &["text/event-stream;q=0.0, */*"],
        &["*/*", "text/event-stream;q=0"],
        &["text/*;q=0", "*/*;q=1"],
        &["text/html", "application/json"],
        &["text/event-streams"],
        &["event-stream"],
        &["*"],
        &[";q=1,,;"],
        &["\u{ff}\u{fe}"],
    ];
    for (rows, admits) in [(admitted, true), (refused, false)] {
        for lines in rows {
            let mut req = get("/");
            for line in *lines {
                req.headers_mut().append(ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let answer = run(&stream, &req, "a");
            assert_eq!(answer.status, if admits { 200 } else { 406 }, "{lines:?}");
            if admits {
                answer.streams();
            } else {
                answer.refuses(406, "");
                assert_eq!(answer.text, "Not Acceptable.\n");
                assert_eq!(answer.header("vary"), ["Accept"]);
            }
        }
    }
}

// Step 4: where the client was. (Step 3 is a proxy's signature.)

#[test]
fn the_last_event_id_is_the_header_or_else_the_query() {
    let stream = EventStream::new();
    let first = stream.try_publish("a", Event::default()).unwrap().to_string();
    const IDS: [&str; 3] = ["two", "+3 &", "4, last"];
    for id in IDS {
        stream.try_publish("a", Event::default().id(id)).unwrap();
    }
    // Places that a publisher's id names: `stream-open` repeats it.
    const GIVEN: [Option<(usize, bool)>; 5] =
        [None, None, Some((2, true)), Some((3, true)), Some((4, true))];
    let third = first.replace("-1", "-3");
    let query = |id: &str| format!("/?x=1&lastEventId={id}");
    let nothing = "/".to_owned();
    for (header, uri, place) in [
        (None, nothing.clone(), Some((4, false))),
        // From the header.
        (Some(first.as_bytes()), nothing.clone(), Some((1, false))),
        (Some(b"two"), nothing.clone(), GIVEN[2]),
        (Some("é".as_bytes()), nothing.clone(), None),
        (Some(b"never seen"), nothing.clone(), None),
        (Some(b"\xe9"), nothing.clone(), None),
        (Some(format!("{first}0").as_bytes()), nothing.clone(), None),
        (Some(first.replace("-1", "-01").as_bytes()), nothing.clone(), None),
        (Some(b"7v0q2m9x4tkc1-1"), nothing.clone(), None),
        // From the query, decoded as a form.
        (None, query(&first), Some((1, false))),
        (None, query("t%77o"), GIVEN[2]),
        (None, query("%2B3+%26"), GIVEN[3]),
        (None, query("%FF"), None),
        (None, "/?lasteventid=x&last-event-id=x".to_owned(), Some((4, false))),
        // From both: an empty id counts as none, and any other id in the header wins.
        (Some(b""), query("two"), GIVEN[2]),
        (Some(b""), query("%FF"), None),
        (Some(b""), query(""), Some((4, false))),
        (Some(b""), "/?lastEventId".to_owned(), Some((4, false))),
        (Some(first.as_bytes()), query("%FF"), Some((1, false))),
        (Some(first.as_bytes()), query("error"), Some((1, false))),
        (Some(b"\xff"), query(&first), None),
        // Several: the newest of the stream's own counts, a publisher's id only as a whole.
        (Some(format!("two, {first}").as_bytes()), nothing.clone(), Some((1, false))),
        (Some(format!("{first},{third} ,é").as_bytes()), nothing.clone(), Some((3, false))),
        (Some(format!("{third}, 7v0q2m9x4tkc1-9").as_bytes()), nothing.clone(), Some((3, false))),
        (Some(b"two, two"), nothing.clone(), None),
        (Some(b"4, last"), nothing.clone(), GIVEN[4]),
        (None, format!("{}&lastEventId={third}", query(&first)), Some((3, false))),
        (None, format!("{}&lastEventId=", query("two")), GIVEN[2]),
    ] {
        let mut req = get(&uri);
        if let Some(header) = header {
            req.headers_mut().insert("last-event-id", HeaderValue::from_bytes(header).unwrap());
        }
        let answer = run(&stream, &req, "a");
        answer.streams();
        let own = |seq: usize| format!("id: {}-{seq}\n", first.strip_suffix("-1").unwrap());
        let expected = match place {
            Some((seq, given)) => {
                let later =
                    ["id: two\ndata: \n\n", "id: +3 &\ndata: \n\n", "id: 4, last\ndata: \n\n"]
                        [seq - 1..]
                        .concat();
                let id = if given { format!("id: {}\n", IDS[seq - 2]) } else { own(seq) };
                format!("{id}event: stream-open\ndata: \n\n{later}")
            }
            None => {
                let unknown =
                    "event: stream-reset\ndata: {\"channels\":[\"a\"],\"reason\":\"unknown\"}\n\n";
                format!("event: stream-open\ndata: \n\n{}{unknown}", own(4))
            }
        };
        assert_eq!(answer.text, expected, "{header:?} {uri}");
    }
}

#[test]
fn the_last_event_id_error_is_refused() {
    let stream = EventStream::new();
    let sentence = "last-event-id header may not be 'error'.\n";
    for (header, uri) in [
        (Some("error"), "/"),
        (None, "/?lastEventId=error"),
        (Some(""), "/?lastEventId=%65rror"),
        (Some("saved,error"), "/"),
        (Some("\terror , new"), "/"),
        (None, "/?lastEventId=saved&lastEventId=error"),
    ] {
        let mut req = get(uri);
        header.map(|id| req.headers_mut().insert("last-event-id", HeaderValue::from_static(id)));
        let answer = run(&stream, &req, "a");
        answer.refuses(400, sentence);
        assert_eq!(answer.text, sentence);
    }
    let mut req = get("/");
    req.headers_mut().insert("last-event-id", HeaderValue::from_static("errors"));
    run(&stream, &req, "a").streams();
}

// Step 5: the channels.

#[test]
fn channels_must_be_named_and_within_the_limits() {
    let stream = EventStream::new();
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Channels>();
    for none in
        [Channels::default(), "".into(), " \t".into(), ["", "\n", "\u{2003}"].into(), many(0)]
    {
        let answer = run(&stream, &get("/"), none);
        answer.refuses(400, "");
        assert_eq!(answer.text, "No specified channels.\n");
    }
    run(&stream, &get("/"), many(101)).refuses(400, "limit of 100");
    run(&stream, &get("/"), "x".repeat(257)).refuses(400, "limit of 256");
    run(&stream, &get("/"), ["a", &"é".repeat(129)]).refuses(400, "limit of 256");
    run(&stream, &get("/"), many(100)).streams();
    run(&stream, &get("/"), vec!["twice"; 101]).streams();
    run(&stream, &get("/"), "é".repeat(128)).streams();
    let strict = EventStream::builder()
        .limits(Limits::default().channels(1).channel_name(3))
        .build()
        .unwrap();
    run(&strict, &get("/"), ["a", "b"]).refuses(400, "limit of 1.");
    run(&strict, &get("/"), "four").refuses(400, "limit of 3.");
    Answer::of(strict.handler("{?id}").call(get("/?id=four"))).refuses(400, "limit of 3.");
    assert_eq!(stream.stats().subscriptions, 0);
    assert_eq!(stream.stats().channels, 0);
}

/// Those of these channels whose events the answer's body yields.
fn heard<'c>(stream: &EventStream, response: Response<Body>, channels: &[&'c str]) -> Vec<&'c str> {
    let mut body = response.into_body();
    assert!(body_text(&mut body).contains("event: stream-open\n"));
    let hears = |channel: &&&str| {
        stream.try_publish(channel, Event::default()).unwrap();
        body_text(&mut body).ends_with("\ndata: \n\n")
    };
    channels.iter().filter(hears).copied().collect()
}

#[test]
fn templates_take_values_from_params_then_the_path_and_from_the_query_only_where_they_say_so() {
    let stream = EventStream::new();
    let none = Params::new();
    let id = |value: &str| Params::from([("id", value)]);
    for (template, pattern, uri, params, channel) in [
        ("room", None, "/?id=1", none.clone(), "room"),
        ("room-{id}", None, "/x?id=query", id("params"), "room-params"),
        ("room-{id}", Some("/{id}"), "/path?id=query", none.clone(), "room-path"),
        ("room-{id}", Some("/{id}"), "/path?id=query", id("params"), "room-params"),
        ("room-{id}", Some("/{id}"), "/path", Params::new().with("ID", "other"), "room-path"),
        ("room-{?id}", Some("/{id}"), "/path?id=query", id("params"), "room-query"),
        ("{id}.{?id}", Some("/{id}"), "/a?x=%ff&id=b&id=c", none.clone(), "a.b"),
        ("{a}{b}", Some("/{a}/x/{b}"), "/1/x/2", none.clone(), "12"),
        ("{id}{id}", None, "/", id("1"), "11"),
        ("{rest}", Some("/f/{*rest}"), "/f/a/b%2Fc", none.clone(), "a/b/c"),
        // Values are decoded once, and are never read as templates.
        ("{id}", Some("/{id}/e"), "/a%20b%2Fc%25/e", none.clone(), "a b/c%"),
        ("{id}", Some("/{id}"), "/a+b", none.clone(), "a+b"),
        ("{?id}", None, "/?%69d=a+b%2B%26", none.clone(), "a b+&"),
        ("{id}", Some("/{id}"), "/%C3%A9", none.clone(), "é"),
        ("{id}", Some("/{id}"), "/%7Bid%7D", none.clone(), "{id}"),
        ("{id}", Some("/{id}"), "/%7B%3Fid%7D?id=query", none.clone(), "{?id}"),
        ("{?id}", None, "/?id={x}", none.clone(), "{x}"),
        ("{id}", None, "/", id("{id}{{"), "{id}{{"),
        ("{id}", None, "/", id("%41+\r\n"), "%41+\r\n"),
        // A doubled brace is a literal brace.
        ("{{id}}-{id}", None, "/", id("1"), "{id}-1"),
        ("{{{id}}}", None, "/", id("1"), "{1}"),
        ("}}{{", None, "/", none.clone(), "}{"),
    ] {
        let handler = stream.handler(template);
        let handler = pattern.map_or(handler.clone(), |pattern| handler.path(pattern));
        let mut req = get(uri);
        req.extensions_mut().insert(params);
        let response = block_on(handler.call(req));
        assert_eq!(response.status(), 200, "{template} {uri}");
        let others = ["room-query", "room-params", "room-path", "query", "{id}"];
        let others = others.into_iter().filter(|other| *other != channel);
        let candidates: Vec<_> = others.chain([channel]).collect();
        assert_eq!(heard(&stream, response, &candidates), [channel], "{template} {uri}");
    }
}

#[test]
fn a_parameter_that_is_missing_empty_or_not_utf_8_is_named() {
    let stream = EventStream::new();
    for (templates, pattern, uri, named) in [
        // Never from the query: it is the path that was authorized.
        (&["{id}"][..], None, "/?id=1", "\"id\""),
        (&["{id}"], Some("/{other}"), "/1?id=1", "\"id\""),
        (&["{?id}"], Some("/{id}"), "/1", "\"id\""),
        (&["{?id}"], None, "/", "\"id\""),
        (&["{?id}"], None, "/?id", "\"id\""),
        (&["{?id}"], None, "/?id=&id=1", "\"id\""),
        (&["{?id}"], None, "/?ID=1", "\"id\""),
        (&["{?id}"], None, "/?id=%FF", "\"id\""),
        (&["{id}"], Some("/{id}"), "/%FF", "\"id\""),
        (&["{id}"], Some("/{id}"), "/a%C3", "\"id\""),
        (&["{empty}"], None, "/", "\"empty\""),
        (&["fine", "{?also}", "{gone}"], None, "/?also=1", "\"gone\""),
        (&["room-{a\nb}"], None, "/", r#""a\nb""#),
    ] {
        let handler = stream.handler(templates);
        let handler = pattern.map_or(handler.clone(), |pattern| handler.path(pattern));
        let mut req = get(uri);
        req.extensions_mut().insert(Params::new().with("empty", ""));
        Answer::of(handler.call(req)).refuses(400, named);
    }
    let whitespace = stream.handler("{?id}").call(get("/?id=%20+"));
    assert_eq!(Answer::of(whitespace).text, "No specified channels.\n");
}

/// `Handler::path` used to panic.
#[test]
fn a_pattern_of_over_25_braces_answers_with_a_500_that_names_it() {
    let pattern = |count: usize| (0..count).map(|n| format!("/{{p{n}}}")).collect::<String>();
    let call = |pattern: &str, path: &str| {
        let handler = EventStream::new().handler("{p0}{p22}").path(pattern);
        Answer::of(handler.call(Request::builder().uri(path).body(()).unwrap()))
    };
    assert_eq!(call(&pattern(25), &"/x".repeat(25)).status, 200);
    let literal = format!("{}/{{{{", pattern(23));
    assert_eq!(call(&literal, &format!("{}/{{", "/x".repeat(23))).status, 200);
    // Some of its literal braces were counted as parameters.
    let found = "/2é{?a}. {room}{b}{?room}{é x}{{a}{{{{{é x}{é{?oom}{é x}{{a}{{{{{é x}{éa}{{{{{?room}{{ \
                 {room}{b}{?room}{é x}{{a}{{{{{é x}{éa}{{{{?{rooom}{é x}{{a}{{{{{é x}{éa}{{{{{?room}{{";
    assert_eq!(call(found, "/").status, 500);
    let long = pattern(26);
    let why = format!("Path pattern {long:?} has more than 25 opening braces.\n");
    call(&long, &"/x".repeat(26)).refuses(500, &why);
}

#[test]
fn a_template_or_pattern_that_does_not_parse_answers_every_request_with_a_500_that_names_it() {
    let stream = EventStream::new();
    let handlers = ["{", "}", "a{b", "{}", "{?}", "{a{b}", "{??a}", "a}b"]
        .map(|bad| (bad, stream.handler(["fine", bad])));
    let patterns = ["/{", "/{}", "/{a}{b}", "/{*all}/x", "/{*}"]
        .map(|bad| (bad, stream.handler("a").path(bad)));
    let literal = stream.handler_fn(|_| "a").path("/{a}{b}");
    for (bad, handler) in handlers.into_iter().chain(patterns).chain([("/{a}{b}", literal)]) {
        for (method, uri) in
            [("GET", "/"), ("POST", "/x/y"), ("PUT", "/?lastEventId=error"), ("OPTIONS", "*")]
        {
            let req = Request::builder()
                .method(method)
                .uri(uri)
                .header(ACCEPT, "text/html")
                .body(())
                .unwrap();
            Answer::of(handler.call(req)).refuses(500, &format!("{bad:?}"));
        }
    }
}

#[test]
fn paths_other_than_the_pattern_are_404() {
    let stream = EventStream::new();
    let templates = stream.handler("room-{id}").path("/rooms/{id}/events");
    let literal = stream.handler_fn(|_| "a").path("/rooms/{id}/events");
    for handler in [templates, literal] {
        Answer::of(handler.call(get("/rooms/1/events?x"))).streams();
        for uri in [
            "/",
            "/rooms/1",
            "/rooms/1/events/",
            "/rooms//events",
            "/rooms/1/2/events",
            "/Rooms/1/events",
        ] {
            Answer::of(handler.call(get(uri))).refuses(404, "");
        }
    }
    // The last pattern counts.
    let twice = stream.handler("a").path("/a").path("/b");
    assert_eq!(["/a", "/b"].map(|uri| Answer::of(twice.call(get(uri))).status), [404, 200]);
}

#[test]
fn names_given_by_the_program_are_literal() {
    let stream = EventStream::new();
    let mut req = get("/path?id=query&lastEventId=");
    req.extensions_mut().insert(Params::from([("id", "params")]));
    for name in ["{id}", "{?id}", "{{id}}", "{", "a}"] {
        let candidates = [name, "params", "query", "path"];
        let response = block_on(stream.run(&req, Response::new(()), name));
        assert_eq!(heard(&stream, response, &candidates), [name]);
        let handler = stream.handler_fn(move |_| name).path("/{id}");
        assert_eq!(heard(&stream, block_on(handler.call(req.clone())), &candidates), [name]);
    }
}

#[test]
fn handler_fn_sees_the_request_as_it_came() {
    let stream = EventStream::new();
    let handler = stream.handler_fn(|req| {
        let user = req
            .extensions()
            .get::<Params>()
            .and_then(|params| params.get("user"))
            .unwrap_or("nobody");
        vec![format!("{}-{}", req.method(), req.uri()), format!("{:?}-{user}", req.headers()["x"])]
    });
    let req = Request::post("/a%20b?c").header("x", "1").extension(Params::from([("user", "me")]));
    let response = block_on(handler.call(req.body("a body of any type").unwrap()));
    assert_eq!(heard(&stream, response, &["POST-/a%20b?c", "\"1\"-me"]).len(), 2);
}

// Step 6: closed or full.

#[test]
fn a_closed_or_full_stream_answers_200_with_when_to_come_back_and_ends() {
    for (name, stream, held) in closed_and_full(&Limits::default()) {
        let before = stream.stats().subscriptions;
        for method in ["GET", "POST"] {
            let req = Request::builder().method(method).body(()).unwrap();
            let answers: Vec<_> =
                (0..20).map(|_| run(&stream, &req, "a").asks_to_come_back()).collect();
            assert!(
                answers.iter().any(|millis| *millis != answers[0]),
                "{name}: clients must not all come back at once: {answers:?}"
            );
        }
        let head = run(&stream, &Request::head("/").body(()).unwrap(), "a");
        assert_eq!(head.status, 200, "{name}");
        head.is_empty(name);
        let answer = run(&stream, &get("/"), "a");
        assert_eq!(answer.headers, run(&EventStream::new(), &get("/"), "a").headers, "{name}");
        assert_eq!(stream.stats().subscriptions, before, "{name}");
        drop(held);
    }
}

#[test]
fn a_balancer_may_have_503_instead() {
    for (name, stream, held) in closed_and_full(&Limits::default().refuse_with_503()) {
        let answer = Answer::of(stream.run(&get("/"), started(), "a"));
        answer.refuses(503, "");
        let retry_after: u64 = answer.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((4..=6).contains(&retry_after), "{name}: whole seconds");
        drop(held);
    }
}

#[test]
fn room_is_there_again_when_a_subscriber_has_left() {
    for (name, stream, held) in closed_and_full(&Limits::default()).into_iter().skip(1) {
        run(&stream, &get("/"), "a").asks_to_come_back();
        drop(held);
        let answer = run(&stream, &get("/"), "a");
        answer.streams();
        assert_eq!(stream.stats().subscriptions, 0, "{name}");
    }
}

// Step 7: the headers.

#[test]
fn a_stream_has_exactly_these_headers() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    let answer = run(&EventStream::new(), &get("/"), "a");
    answer.streams();
    assert_eq!(answer.headers, headers);
    assert_eq!(answer.size, None);
}

#[test]
fn headers_and_extensions_of_the_response_stay_and_its_framing_goes() {
    let stream = EventStream::new();
    for (req, channel, status) in [
        (get("/"), "a", 200),
        (Request::head("/").body(()).unwrap(), "a", 200),
        (Request::options("/").body(()).unwrap(), "a", 204),
        (Request::put("/").body(()).unwrap(), "a", 405),
        (Request::get("/").header(ACCEPT, "text/html").body(()).unwrap(), "a", 406),
        (Request::get("/").header("last-event-id", "error").body(()).unwrap(), "a", 400),
        (get("/"), " ", 400),
    ] {
        let response = block_on(stream.run(&req, started(), channel));
        assert_eq!(response.extensions().get(), Some(&"an extension"), "{status}");
        let answer = Answer::from(response);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), ["*"], "{status}");
        assert_eq!(answer.header("set-cookie"), ["a=1", "b=2"], "{status}");
        for framing in ["content-encoding", "transfer-encoding", "connection"] {
            assert!(answer.header(framing).is_empty(), "{status} {framing}");
        }
        match status {
            200 => {
                assert_eq!(answer.header("content-type"), ["text/event-stream"]);
                assert_eq!(answer.header("cache-control"), ["no-cache, no-transform"]);
                assert_eq!(answer.header("vary"), ["Origin", "Accept"]);
                assert!(answer.header("content-length").is_empty());
            }
            204 => {
                assert!(answer.header("content-type").is_empty());
                assert!(answer.header("content-length").is_empty());
            }
            _ => answer.refuses(status, ""),
        }
    }
}

#[test]
fn vary_is_appended_to_and_names_accept_once() {
    for (before, after) in [
        (&[][..], &["Accept"][..]),
        (&["Origin"], &["Origin", "Accept"]),
        (&["Origin, Accept-Encoding"], &["Origin, Accept-Encoding", "Accept"]),
        (&["Accept"], &["Accept"]),
        (&["Origin", "Cookie ,  ACCEPT"], &["Origin", "Cookie ,  ACCEPT"]),
        (&["*"], &["*"]),
    ] {
        let mut res = Response::new(());
        for value in before {
            res.headers_mut().append(VARY, HeaderValue::from_static(value));
        }
        assert_eq!(Answer::of(EventStream::new().run(&get("/"), res, "a")).header("vary"), after);
    }
}

#[test]
fn no_answer_has_a_connection_header() {
    for version in [http::Version::HTTP_10, http::Version::HTTP_11, http::Version::HTTP_2] {
        let req = Request::get("/").version(version).header(CONNECTION, "close").body(()).unwrap();
        assert!(run(&EventStream::new(), &req, "a").header("connection").is_empty());
    }
}

// The order of the steps.

#[test]
fn the_first_fault_decides() {
    let long = "x".repeat(257);
    // The first row has every fault, and each later row mends the one that decided the row before.
    // The stream stays closed or full throughout.
    let rows = [
        ("{", "/other", "PUT", "text/html", "error", None, 500, "\"{\""),
        ("{id}", "/other", "PUT", "text/html", "error", None, 404, ""),
        ("{id}", "/events", "PUT", "text/html", "error", None, 405, ""),
        ("{id}", "/events", "GET", "text/html", "error", None, 406, ""),
        ("{id}", "/events", "GET", "*/*", "error", None, 400, "'error'"),
        ("{id}", "/events", "GET", "*/*", "", None, 400, "\"id\""),
        ("{id}", "/events", "GET", "*/*", "", Some(" "), 400, "No specified channels"),
        ("{id}", "/events", "GET", "*/*", "", Some(&long), 400, "256"),
    ];
    for limits in [Limits::default(), Limits::default().refuse_with_503()] {
        for (name, stream, held) in closed_and_full(&limits) {
            let answer =
                |template: &str, uri, method: &str, accept, last_event_id, id: Option<&str>| {
                    let mut req = Request::builder().method(method).uri(uri).header(ACCEPT, accept);
                    req = req.header("last-event-id", last_event_id);
                    req =
                        req.extension(id.map(|id| Params::from([("id", id)])).unwrap_or_default());
                    Answer::of(stream.handler(template).path("/events").call(req.body(()).unwrap()))
                };
            for (template, uri, method, accept, last_event_id, id, status, words) in rows {
                answer(template, uri, method, accept, last_event_id, id).refuses(status, words);
            }
            let options = answer("{id}", "/events", "OPTIONS", "text/html", "error", None);
            assert_eq!(options.status, 204, "{name}");
            assert!(options.headers.contains_key(ALLOW), "{name}");
            let last = answer("{id}", "/events", "GET", "*/*", "", Some("a"));
            if limits == Limits::default() {
                last.asks_to_come_back();
            } else {
                last.refuses(503, "");
            }
            drop(held);
        }
    }
}

// Whatever a client sends.

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_and_every_template_is_answered_without_a_panic(
        method in "GET|POST|HEAD|OPTIONS|[A-Z]{1,9}",
        uri in "/[!-~]{0,12}([?][!-~]{0,12}(lastEventId|id)=[!-~]{0,9})?",
        accept in vec(any::<u8>(), 0..9).prop_map(|tail| [&b"text/*;q=1,"[..], &tail].concat()),
        last_event_id in vec(any::<u8>(), 0..9),
        template in "([a-c{}?*/]|[{]id[}]|[{][?]id[}]){0,6}",
        pattern in "/([a-c{}?*/]|[{]id[}]){0,6}|.{0,3}",
    ) {
        // What the types of `http` refuse does not get past a server's parser either.
        let Ok(mut req) = Request::builder().method(&*method).uri(uri).body(()) else {
            return Ok(());
        };
        for (name, value) in [("accept", accept), ("last-event-id", last_event_id)] {
            HeaderValue::from_bytes(&value).into_iter().for_each(|value| {
                req.headers_mut().insert(name, value);
            });
        }
        let stream = EventStream::new();
        let handler = stream.handler(["fixed", &template]);
        let runs = [
            stream.run(&req, started(), &*template),
            handler.call(req.clone()),
            handler.path(&pattern).call(req),
        ];
        for run in runs {
            let answer = Answer::of(run);
            match answer.status {
                200 | 204 => {}
                _ if method == "HEAD" => answer.is_empty("HEAD"),
                status => answer.refuses(status, ""),
            }
        }
        prop_assert_eq!(stream.stats().subscriptions, 0);
        prop_assert_eq!(stream.stats().channels, 0);
    }
}

// Types.

#[test]
fn a_handler_is_a_service_for_any_request_body() {
    fn serve<S, Q>(mut service: S, body: Q) -> Response<Body>
    where
        S: Service<Request<Q>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        block_on(async {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
            service.call(Request::new(body)).await.unwrap()
        })
    }
    let stream = EventStream::new();
    let handler = stream.handler("a");
    Answer::from(serve(handler.clone(), futures::stream::empty::<Bytes>())).streams();
    assert_eq!(
        heard(&stream, serve(handler.clone(), Rc::new("a body that is not Send")), &["b", "a"]),
        ["a"]
    );
    assert_eq!(serve(stream.handler_fn(|_| Channels::default()), 1).status(), 400);
    assert_eq!(serve(handler.path("/x"), ()).status(), 404);
}

#[test]
fn an_answer_borrows_nothing() {
    fn assert_free<F: Future<Output = Response<Body>> + Send + 'static>(run: F) -> F {
        run
    }
    let run = {
        let stream = EventStream::new();
        let (local, name) = (
            Rc::new(String::from("not Send, and gone by the time of the answer")),
            String::from("a"),
        );
        let (req, res) = (Request::new(&*local), Response::new(local.clone()));
        Answer::of(assert_free(stream.handler(&name).call(Request::new(&local)))).streams();
        assert_free(stream.run(&req, res, &name))
    };
    Answer::of(run).streams();
}

#[test]
fn the_public_types_keep_their_traits() {
    fn handle<T: Clone + fmt::Debug + Send + Sync + 'static>() {}
    fn plain<T: fmt::Debug + Send + Sync + Unpin + 'static>() {}
    fn error<T: Error + Clone + Send + Sync + 'static>() {}
    fn outcome<T, F: Future<Output = Result<T, PublishError>> + Send + 'static>(_: F) {}
    fn reader<R: AsyncRead + AsyncBufRead + Send + Sync + Unpin + 'static>(_: R) {}
    fn subscription<S: Stream<Item = Bytes> + FusedStream + Unpin + Send + Sync>() {}
    fn stream_body<B: Stream<Item = Result<Bytes, Infallible>> + Unpin + Send + Sync + 'static>() {}
    fn http_body<
        B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin + Send + Sync + 'static,
    >() {
    }
    fn sink<S: Sink<Event, Error = PublishError>>() {}
    fn id<T: Eq + Hash + fmt::Display + AsRef<str> + FromStr>() {}
    fn default<T: Default>() {}

    handle::<EventStream>();
    handle::<Handler>();
    handle::<Draining>();
    handle::<ChannelPublisher>();
    handle::<Event>();
    handle::<EventId>();
    handle::<Params>();
    handle::<Channels>();
    handle::<Limits>();
    handle::<Stats>();
    plain::<Builder>();
    plain::<Subscription>();
    plain::<Body>();
    plain::<Run>();
    plain::<ChannelSink>();
    error::<PublishError>();
    error::<InvalidEvent>();
    error::<SubscribeError>();
    error::<BuildError>();
    subscription::<Subscription>();
    stream_body::<Body>();
    http_body::<Body>();
    sink::<ChannelSink>();
    id::<EventId>();
    default::<EventStream>();
    default::<Event>();
    default::<Params>();
    default::<Channels>();

    let stream = EventStream::new();
    outcome::<EventId, _>(stream.publish("a", Event::default()));
    outcome::<Vec<EventId>, _>(stream.publish_all("a", [Event::default()]));
    outcome::<EventId, _>(stream.publisher("a").publish(Event::default()));
    outcome::<Vec<EventId>, _>(stream.publisher("a").publish_all(vec![Event::default()]));
    reader(stream.subscribe("a").into_body().into_async_read());
    assert_eq!(Params::from([("a", "1")]), vec![(String::from("a"), "1")].into_iter().collect());
}

#[test]
fn channels_are_made_from_everything_that_names_them() {
    let stream = EventStream::new();
    let (owned, list) = (String::from("a"), vec!["a", "b", " ", "a"]);
    let one: [Channels; 4] =
        ["a".into(), owned.clone().into(), (&owned).into(), Cow::from("a").into()];
    let two: [Channels; 8] = [
        ["a", "b"].into(),
        [owned.clone(), "b".into()].into(),
        (&["a", "b"]).into(),
        list[..].into(),
        (&list).into(),
        vec![Cow::from("a"), "b".into()].into(),
        list.iter().collect(),
        list.into(),
    ];
    for (channels, expected) in
        one.into_iter().map(|one| (one, 1)).chain(two.into_iter().map(|two| (two, 2)))
    {
        let mut subscription = stream.subscribe(channels);
        for name in ["a", "b"] {
            stream.try_publish(name, Event::new(name)).unwrap();
        }
        assert_eq!(text(&mut subscription).matches("event: ").count(), expected);
    }
}

/// All clients of a stream that is restarted used to be sent back for the same second.
#[test]
fn clients_that_are_refused_with_503_do_not_all_come_back_at_once() {
    let limits = Limits::default().refuse_with_503();
    let stream = EventStream::builder().limits(limits).build().unwrap();
    block_on(stream.close());
    let seconds: std::collections::BTreeSet<_> =
        (0..100).map(|_| run(&stream, &get("/"), "a").header("retry-after").concat()).collect();
    assert!(seconds.len() > 1, "{seconds:?}");
    assert!(seconds.iter().all(|seconds| ["4", "5", "6"].contains(&&**seconds)), "{seconds:?}");
}
