//! What is sent to the control ports, and what becomes of it: the recorded publications of the
//! reference's libraries, or what is right. The endpoints stand in for what no real proxy can be
//! made to do.
#![cfg(feature = "grip")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::Engine;
use bytes::Bytes;
use common::text;
use eventstream::grip::{Config, Endpoint, Failure, Item, Publisher, TransportError};
use eventstream::runtime::{Background, Timer};
use eventstream::{Event, EventStream, History, PublishError};
use futures::executor::block_on;
use futures::future::{poll_fn, ready, BoxFuture};
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use serde_json::{json, Value};

const FILE: &str = include_str!("vectors/publish-requests.json");
/// How often what fails for a passing reason is tried.
const TRIES: usize = 5;

/// Pauses take no time. A POST has what it always has.
struct Hasty;

impl Timer for Hasty {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
        // The longest pause is 1.6 s.
        match for_ < Duration::from_secs(2) {
            true => ready(()).boxed(),
            false => futures_timer::Delay::new(for_).boxed(),
        }
    }
}

/// What a control port does with a POST.
#[derive(Clone)]
enum Deed {
    Answers(u16),
    Redirects,
    Cuts,
    /// Answers 200 when the other endpoint has had so many POSTs.
    AnswersAfter(usize),
}

/// Two control ports, `localhost:1` and `localhost:2`.
#[derive(Clone, Default)]
struct Ports(Arc<Mutex<Had>>);

#[derive(Default)]
struct Had {
    requests: Vec<Request<Bytes>>,
    /// Who waits for the next one.
    waiting: Vec<Waker>,
}

impl Ports {
    fn taken(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    fn push(&self, request: Request<Bytes>) {
        let Had { requests, waiting } = &mut *self.0.lock().unwrap();
        requests.push(request);
        waiting.drain(..).for_each(Waker::wake);
    }

    /// Waits until a port has had so many requests.
    async fn has_had(&self, port: u16, count: usize) {
        let enough = |cx: &mut Context<'_>| {
            let Had { requests, waiting } = &mut *self.0.lock().unwrap();
            if requests.iter().filter(|request| request.uri().port_u16() == Some(port)).count()
                >= count
            {
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        };
        poll_fn(enough).await;
    }

    fn transport(
        &self,
        deeds: [Deed; 2],
    ) -> impl Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, TransportError>>
    {
        let ports = self.clone();
        move |request| {
            let port = request.uri().port_u16().unwrap();
            let deed = deeds[usize::from(port) - 1].clone();
            ports.push(request);
            let answer = |status: u16| {
                Ok(Response::builder().status(status).body(Bytes::from("said\n")).unwrap())
            };
            let ports = ports.clone();
            async move {
                match deed {
                    Deed::Answers(status) => answer(status),
                    Deed::Redirects => answer(307).map(|mut redirect| {
                        redirect.headers_mut().insert("location", "/publish2/".parse().unwrap());
                        redirect
                    }),
                    Deed::Cuts => Err(TransportError::new("cut")),
                    Deed::AnswersAfter(posts) => {
                        ports.has_had(3 - port, posts).await;
                        answer(200)
                    }
                }
            }
            .boxed()
        }
    }
}

/// The recorded hosts as names of this machine: a token must not leave it in the clear.
fn here(text: &str) -> String {
    text.replace("A.test:PORT", "localhost:1").replace("B.test:PORT", "localhost:2")
}

fn endpoint(config: &Value) -> Result<Endpoint, String> {
    let made = match config {
        Value::String(url) => Endpoint::new(here(url)),
        parts => {
            let text = |name: &str| parts[name].as_str().unwrap();
            // Any PEM of this kind will do.
            let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
            Endpoint::new(here(text("control_uri")))
                .and_then(|endpoint| endpoint.iss(text("control_iss")).key(pem))
        }
    };
    made.map_err(|error| error.to_string())
}

/// One endpoint or several, as the stream takes them.
fn endpoints(config: &Value) -> Result<Vec<Endpoint>, String> {
    let several = config.as_array().map_or(std::slice::from_ref(config), Vec::as_slice);
    several.iter().map(endpoint).collect()
}

enum What {
    /// Published by a publisher of its own.
    Item(Item),
    /// Published on `chan` of an event stream with this prefix, alone or given to a ready-made
    /// publisher.
    Event {
        prefix: Option<&'static str>,
        given: bool,
        event: Event,
    },
    /// The configuration is an error that begins so.
    Unbuilt(&'static str),
    Listed(&'static str),
}

fn what(name: &str) -> What {
    let event = |prefix, event| What::Event { prefix, given: false, event };
    let x = || Event::default().data("x");
    match name {
        "no_auth_http_stream" => What::Item(Item::new("chan", "hello\n")),
        "ids" => What::Item(Item::new("chan", "x").id("2").prev_id("1")),
        "prev_only" => What::Item(Item::new("chan", "x").prev_id("1")),
        "bytes_content" => What::Item(Item::new("chan", b"\xff\0\n")),
        "close" | "close_with_content" => What::Item(Item::close("chan")),
        "empty_content" => What::Item(Item::new("chan", "")),
        "unicode" => {
            What::Item(Item::new("ch\u{e4}n \u{2603}", "data: \u{2713} \u{1f600}\u{2028}\n\n"))
        }
        "servegrip_prefix" => event(Some("sg-"), x()),
        "servegrip_publisher_given_prefix_ignored_on_publish" => {
            What::Event { prefix: Some("sg-"), given: true, event: x() }
        }
        "eventstream_default_prefix" => event(None, Event::new("message").json(&json!({ "a": 1 }))),
        "eventstream_empty_prefix" => event(Some(""), Event::new("m").json(&())),
        "eventstream_no_event" => event(None, Event::new("").json(&json!({ "x": 1 }))),
        "eventstream_data_undefined" => event(None, Event::new("e")),
        "eventstream_publish_fails" => event(None, Event::new("m").json(&1)),
        "iss_only_empty_key" => What::Unbuilt("grip: iss is given without `key`"),
        "iss_rsa_pem_private" | "iss_ec_pem_private" => What::Unbuilt("grip: key must be a secret"),
        "http_response" | "http_response_full" => What::Listed("response holds are out of scope"),
        _ => What::Item(Item::new("chan", "x")),
    }
}

/// What is right where the recorded outcome or request is not, and why.
fn correction(name: &str) -> Option<&'static str> {
    Some(match name {
        "basic_from_url" => "user and password are percent-decoded",
        "iss_only_empty_key" => "an empty key signs nothing",
        "iss_rsa_pem_private" | "iss_ec_pem_private" => "only secrets sign",
        "close" | "close_with_content" => "the content of a close is ignored, so there is none",
        "unicode" => "a header cannot name such a channel, so holds and items percent-encode it",
        "servegrip_prefix" | "servegrip_publisher_given_prefix_ignored_on_publish" => {
            "one prefix rules holds and items; a stream publishes events only, so the content is one"
        }
        "eventstream_no_event" | "eventstream_data_undefined" => "nobody is called `undefined`",
        "status_429" | "status_502" | "status_503" | "eventstream_publish_fails" | "conn_reset" => "it is tried again",
        "two_endpoints_A_500_B_slow" => "it is tried again, and the outcome of each endpoint is known",
        "two_endpoints_both_fail" => "the outcome of each endpoint is known",
        "redirect_307" => "a redirect is a failure: it must not take a token elsewhere",
        _ => return None,
    })
}

/// What the recorded control ports do.
fn deeds(name: &str, case: &Value) -> [Deed; 2] {
    let a = match name {
        _ if name.starts_with("status_") => {
            Deed::Answers(case["input"]["server_status"].as_u64().unwrap() as u16)
        }
        "two_endpoints_A_500_B_slow" | "eventstream_publish_fails" => Deed::Answers(500),
        // Recorded is only the status of B.
        "two_endpoints_both_fail" => Deed::Answers(403),
        "redirect_307" => Deed::Redirects,
        "conn_reset" => Deed::Cuts,
        _ => Deed::Answers(200),
    };
    let b = match name {
        "two_endpoints_A_500_B_slow" => Deed::AnswersAfter(TRIES),
        "two_endpoints_both_fail" => Deed::Answers(401),
        _ => Deed::Answers(200),
    };
    [a, b]
}

/// The endpoints that are to fail, how often each is asked, and what is said of it.
fn failures(name: &str, case: &Value) -> BTreeMap<&'static str, (usize, String)> {
    let [a, b] = ["http://localhost:1/", "http://localhost:2/"];
    let after = |reason: &str| (TRIES, format!("{reason}, after {TRIES} tries"));
    match name {
        "two_endpoints_A_500_B_slow" => [(a, after("answered 500 Internal Server Error"))].into(),
        "two_endpoints_both_fail" => [
            (a, (1, "answered 403 Forbidden".into())),
            (b, (1, "answered 401 Unauthorized".into())),
        ]
        .into(),
        "eventstream_publish_fails" => [(a, after("answered 500 Internal Server Error"))].into(),
        "conn_reset" => [(a, after("no answer: cut"))].into(),
        "redirect_307" => [(a, (1, "answered 307 Temporary Redirect".into()))].into(),
        "status_403" => [(a, (1, "answered 403 Forbidden".into()))].into(),
        "status_405" => [(a, (1, "answered 405 Method Not Allowed".into()))].into(),
        "status_429" => [(a, after("answered 429 Too Many Requests"))].into(),
        "status_502" => [(a, after("answered 502 Bad Gateway"))].into(),
        "status_503" => [(a, after("answered 503 Service Unavailable"))].into(),
        _ => {
            assert!(case["expect"]["error"].is_null(), "{name}");
            BTreeMap::new()
        }
    }
}

/// Publishes it, and says what came of it. A stream also delivers locally, whatever the endpoints
/// do.
fn publish(name: &str, what: What, case: &Value, ports: &Ports) -> Result<(), Vec<Failure>> {
    let transport = ports.transport(deeds(name, case));
    match what {
        What::Item(item) => {
            let config = Config::from(endpoints(&case["input"]["config"]).unwrap());
            block_on(Publisher::new(config, transport, Background, Hasty).publish(item))
        }
        What::Event { prefix, given, event } => {
            let endpoint = Endpoint::new("http://localhost:1").unwrap();
            let builder = EventStream::builder().history(History::none()).timer(Hasty);
            let builder = match given {
                true => builder.grip_publisher(Publisher::new(
                    endpoint.into(),
                    transport,
                    Background,
                    Hasty,
                )),
                false => builder.grip(endpoint).transport(transport),
            };
            let stream = prefix
                .into_iter()
                .fold(builder, |builder, prefix| builder.grip_prefix(prefix))
                .build()
                .unwrap();
            let mut local = stream.subscribe("chan");
            let outcome = block_on(stream.publish("chan", event.clone()));
            assert_eq!(
                text(&mut local),
                String::from_utf8(event.encode().unwrap().to_vec()).unwrap(),
                "{name}"
            );
            outcome.map(drop).map_err(|error| match error {
                PublishError::Grip { failures, .. } => failures,
                other => panic!("{name}: {other}"),
            })
        }
        What::Unbuilt(_) | What::Listed(_) => unreachable!("nothing to publish"),
    }
}

/// What an `Authorization` means: a scheme and a literal, or who signs, for how long and with which
/// key.
fn authorization(headers: &HeaderMap, key: Option<&str>) -> Value {
    let Some(value) = headers.get("authorization") else { return Value::Null };
    let (scheme, token) = value.to_str().unwrap().split_once(' ').unwrap();
    let Some(key) = key else { return json!([scheme, token]) };
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key: Vec<u8> = (0..key.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
        .collect();
    let mac = URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(signed, key));
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left = parts[1]["exp"].as_u64().unwrap() - now;
    json!([scheme, parts[0]["alg"], parts[1]["iss"], (590..=600).contains(&left), signature == mac])
}

/// The same of a recorded request.
fn recorded_authorization(name: &str, request: &Value, headers: &HeaderMap) -> Value {
    match &request["jwt"] {
        // Of "u%40:p%3A".
        _ if name == "basic_from_url" => json!(["Basic", STANDARD.encode("u@:p:")]),
        Value::Null => authorization(headers, None),
        jwt => json!(["Bearer", jwt["header"]["alg"], jwt["iss"], true, jwt["hmac_matches"]]),
    }
}

/// The items of a body. Those of a stream's events always have an id, for which the recorded ones
/// have none.
fn items(body: &[u8], of_stream: bool) -> Value {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    let mut items = body["items"].take();
    if of_stream {
        for item in items.as_array_mut().unwrap() {
            let id = item.as_object_mut().unwrap().remove("id").expect("an id");
            assert!(id.as_str().unwrap().ends_with("-1"), "the first event's, not {id}");
        }
    }
    items
}

/// The recorded items, or the right ones.
fn recorded_items(name: &str, body: &str) -> Value {
    let mut items = items(body.as_bytes(), false);
    let item = &mut items[0];
    let stream = &mut item["formats"]["http-stream"];
    match name {
        "close" | "close_with_content" => drop(stream.as_object_mut().unwrap().remove("content")),
        "unicode" => item["channel"] = "ch%C3%A4n%20%E2%98%83".into(),
        "eventstream_no_event" => stream["content"] = "data: {\"x\":1}\n\n".into(),
        "eventstream_data_undefined" => stream["content"] = "event: e\ndata: \n\n".into(),
        _ if name.starts_with("servegrip_") => {
            stream["content"] = "data: x\n\n".into();
            item["channel"] = "sg-chan".into();
        }
        _ => {}
    }
    items
}

#[test]
fn publications_are_the_recorded_ones_or_the_right_ones() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (mut run, mut listed, mut corrected) = (0, Vec::new(), Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let what = what(name);
        let of_stream = matches!(what, What::Event { .. });
        if let What::Listed(why) = what {
            listed.push(format!("{name}: {why}"));
            continue;
        }
        run += 1;
        corrected.extend(correction(name).map(|why| format!("{name}: {why}")));
        if let What::Unbuilt(start) = what {
            let config = endpoints(&case["input"]["config"]);
            let built = config.and_then(|config| {
                EventStream::builder().grip(config).build().map_err(|e| e.to_string())
            });
            let error = built.expect_err(name);
            assert!(error.starts_with(start), "{name}: {error}");
            continue;
        }
        let ports = Ports::default();
        let outcome = publish(name, what, case, &ports);
        let right = failures(name, case);
        let failed = outcome.err().unwrap_or_default();
        let said = failed
            .iter()
            .map(|failure| (failure.endpoint(), failure.reason().to_owned()))
            .collect::<BTreeMap<_, _>>();
        let expected = right
            .iter()
            .map(|(endpoint, (_, why))| (*endpoint, why.clone()))
            .collect::<BTreeMap<_, _>>();
        assert_eq!(said, expected, "{name}");
        assert_eq!(failed.len(), right.len(), "{name}: each endpoint once");

        let mut requests = ports.taken();
        for recorded in case["expect"]["requests"].as_array().unwrap() {
            let (endpoint, port) = match recorded["server"].as_str().unwrap() {
                "A" => ("http://localhost:1/", 1),
                _ => ("http://localhost:2/", 2),
            };
            if recorded["path"] == "/publish2/" {
                continue;
            }
            let (mine, others): (Vec<_>, _) =
                requests.into_iter().partition(|one| one.uri().port_u16() == Some(port));
            requests = others;
            assert_eq!(mine.len(), right.get(endpoint).map_or(1, |(times, _)| *times), "{name}");
            let headers: HeaderMap = recorded["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| {
                    (
                        pair[0].as_str().unwrap().parse().unwrap(),
                        pair[1].as_str().unwrap().parse().unwrap(),
                    )
                })
                .collect();
            for request in &mine {
                assert_eq!(request.method().as_str(), recorded["method"], "{name}");
                assert_eq!(
                    request.uri().path_and_query().unwrap().as_str(),
                    recorded["path"],
                    "{name}"
                );
                assert_eq!(request.headers()["content-type"], headers["content-type"], "{name}");
                assert_eq!(
                    request.headers()["content-length"],
                    request.body().len().to_string(),
                    "{name}"
                );
                assert_eq!(
                    authorization(request.headers(), recorded["jwt"]["hmac_key_hex"].as_str()),
                    recorded_authorization(name, recorded, &headers),
                    "{name}"
                );
                let body = recorded["body"].as_str().unwrap();
                assert_eq!(items(request.body(), of_stream), recorded_items(name, body), "{name}");
                assert_eq!(
                    request.body(),
                    mine[0].body(),
                    "{name}: a try has the ids of the one before"
                );
            }
        }
        assert!(requests.is_empty(), "{name}: {requests:?}");
    }
    println!("publish-requests.json: {run} run, {} listed", listed.len());
    listed.iter().for_each(|case| println!("  {case}"));
    println!("the reference is wrong in: {corrected:#?}");
    assert_eq!((run, listed.len(), corrected.len()), (40, 2, 19));
}

/// One rule for both: what is held is what is published, so events arrive, and nowhere else.
#[test]
fn a_stream_publishes_on_the_channel_that_it_holds() {
    let names =
        ["a", "a b", "a,b", "a;b", "a\"b", " a", "a%2Cb", "a\r\nb", "\u{e9}\u{2603}", "\0", "a/b"];
    for prefix in [None, Some(""), Some("sg-")] {
        let ports = Ports::default();
        let transport = ports.transport([Deed::Answers(200), Deed::Answers(200)]);
        let builder = EventStream::builder().grip("http://localhost:1/").transport(transport);
        let stream = prefix
            .into_iter()
            .fold(builder, |builder, prefix| builder.grip_prefix(prefix))
            .build()
            .unwrap();
        for name in names {
            // No endpoint has a key, so any signature will do.
            let request = Request::builder().header("grip-sig", "x").body(()).unwrap();
            let hold = block_on(stream.run(&request, Response::new(()), [name]));
            block_on(stream.publish(name, Event::default())).unwrap();
            block_on(stream.publish_all(name, [Event::default()])).unwrap();
            stream.close_channel(name);
            block_on(stream.publish(name, Event::default())).unwrap();
            let posts = ports.taken();
            let items: Vec<_> = posts
                .iter()
                .flat_map(|post| items(post.body(), false).as_array().unwrap().clone())
                .collect();
            assert_eq!(items.len(), 4, "{name:?}");
            assert_eq!(items[2]["formats"]["http-stream"], json!({ "action": "close" }));
            for item in items {
                assert_eq!(
                    hold.headers()["grip-channel"],
                    item["channel"].as_str().unwrap(),
                    "{name:?}"
                );
            }
        }
    }
}

/// A configuration without an endpoint is none: the stream is a direct one.
#[test]
fn a_stream_without_endpoints_publishes_locally_only() {
    for stream in [
        EventStream::builder().grip(Vec::<Endpoint>::new()).build().unwrap(),
        EventStream::builder().grip(None::<&str>).build().unwrap(),
    ] {
        assert!(!stream.is_grip());
        let mut local = stream.subscribe("chan");
        block_on(stream.publish("chan", Event::new("e"))).unwrap();
        assert!(text(&mut local).ends_with("event: e\ndata: \n\n"));
        assert_eq!(stream.stats().grip, []);
    }
}

/// Where the case is about the connection, it is a real one.
#[cfg(feature = "hyper")]
mod on_a_socket {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::{channel, Receiver};
    use std::thread;

    use eventstream::grip::transport::Hyper;

    use super::*;

    /// The lines of its head, and its body.
    type Post = (Vec<String>, Vec<u8>);

    /// A control port that gives each POST this answer; without one it cuts the connection. Also
    /// gives the POSTs.
    fn control_port(answer: Option<&'static str>) -> (SocketAddr, Receiver<Post>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (sender, posts) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = BufReader::new(socket.unwrap());
                let head: Vec<_> = socket
                    .by_ref()
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let length = head.iter().find_map(|line| {
                    line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()
                });
                let mut body = vec![0; length.unwrap_or(0)];
                socket.read_exact(&mut body).unwrap();
                // The test may have seen enough.
                let _ = sender.send((head, body));
                if let Some(answer) = answer {
                    socket.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        (at, posts)
    }

    fn publish(at: SocketAddr) -> Result<(), Vec<Failure>> {
        let endpoint = Endpoint::new(format!("http://{at}/")).unwrap().bearer("token");
        let publisher = Publisher::new(endpoint.into(), Hyper::new(), Background, Hasty);
        block_on(publisher.publish(Item::new("chan", "x")))
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let answer = "HTTP/1.1 307 x\r\nLocation: /publish2/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (at, posts) = control_port(Some(answer));
        let failures = publish(at).unwrap_err();
        assert_eq!(failures[0].reason(), "answered 307 Temporary Redirect");
        assert_eq!(posts.try_iter().count(), 1);
    }

    #[test]
    fn a_connection_that_is_cut_is_tried_again() {
        let (at, posts) = control_port(None);
        let failures = publish(at).unwrap_err();
        let reason = failures[0].reason();
        assert!(
            reason.starts_with("no answer: ")
                && reason.ends_with(&format!(", after {TRIES} tries")),
            "{reason}"
        );
        let posts: Vec<_> = posts.try_iter().collect();
        assert_eq!(posts.len(), TRIES);
        assert!(posts.iter().all(|post| post == &posts[0]));
    }

    #[test]
    fn a_post_has_a_length_and_no_chunks() {
        let (at, posts) = control_port(Some(
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nPublished\n",
        ));
        publish(at).unwrap();
        let (head, body) = posts.recv().unwrap();
        assert_eq!(head[0], "POST /publish/ HTTP/1.1");
        let mut fields: Vec<_> = head[1..].iter().map(|line| line.to_lowercase()).collect();
        fields.sort_unstable();
        let length = format!("content-length: {}", body.len());
        let host = format!("host: {at}");
        assert_eq!(
            fields,
            ["authorization: bearer token", &length, "content-type: application/json", &host]
        );
        let item = json!({ "channel": "chan", "formats": { "http-stream": { "content": "x" } } });
        assert_eq!(items(&body, false), json!([item]));
    }
}
