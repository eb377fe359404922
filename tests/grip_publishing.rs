//! What is sent to the control ports and what the publisher reports: as recorded of the
//! reference's libraries, except where a table says otherwise. The control ports are fakes, because
//! no real proxy can be made to fail like this.
#![cfg(feature = "grip")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::Engine;
use bytes::Bytes;
use common::text;
use eventstream::grip::{Config, Endpoint, Failure, Item, Publisher, TransportError};
use eventstream::runtime::{Background, Timer};
use eventstream::{Event, EventStream, History, PublishError};
use futures::executor::block_on;
use futures::future::{poll_fn, BoxFuture};
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use serde_json::{json, Value};

const FILE: &str = include_str!("vectors/publish-requests.json");

const RESPONSE_HOLD: &str = "response holds are out of scope";

/// Cases that are not run, and why.
const OUT_OF_SCOPE: [(&str, &str); 2] =
    [("http_response", RESPONSE_HOLD), ("http_response_full", RESPONSE_HOLD)];

const ONLY_SECRETS: &str = "only secrets sign";

/// Cases whose configuration the reference takes and this crate refuses: why, and how the error
/// begins.
const REFUSED: [(&str, &str, &str); 3] = [
    (
        "iss_only_empty_key",
        "the reference signs with an empty secret",
        "grip: iss is given without `key`",
    ),
    ("iss_rsa_pem_private", ONLY_SECRETS, "grip: key must be a secret"),
    ("iss_ec_pem_private", ONLY_SECRETS, "grip: key must be a secret"),
];

type MakeWhat = fn() -> What;

/// The cases that publish something other than an item on `chan` with the content `x`.
const PUBLISHED: [(&str, MakeWhat); 15] = [
    ("no_auth_http_stream", || What::Item(Item::new("chan", "hello\n"))),
    ("ids", || What::Item(Item::new("chan", "x").id("2").prev_id("1"))),
    ("prev_only", || What::Item(Item::new("chan", "x").prev_id("1"))),
    ("bytes_content", || What::Item(Item::new("chan", b"\xff\0\n"))),
    ("close", || What::Item(Item::close("chan"))),
    ("close_with_content", || What::Item(Item::close("chan"))),
    ("empty_content", || What::Item(Item::new("chan", ""))),
    ("unicode", || {
        What::Item(Item::new("ch\u{e4}n \u{2603}", "data: \u{2713} \u{1f600}\u{2028}\n\n"))
    }),
    ("servegrip_prefix", || event(Some("sg-"), Event::default().data("x"))),
    ("servegrip_publisher_given_prefix_ignored_on_publish", || What::Event {
        prefix: Some("sg-"),
        given: true,
        event: Event::default().data("x"),
    }),
    ("eventstream_default_prefix", || event(None, Event::new("message").json(&json!({ "a": 1 })))),
    ("eventstream_empty_prefix", || event(Some(""), Event::new("m").json(&()))),
    ("eventstream_no_event", || event(None, Event::new("").json(&json!({ "x": 1 })))),
    ("eventstream_data_undefined", || event(None, Event::new("e"))),
    ("eventstream_publish_fails", || event(None, Event::new("m").json(&1))),
];

/// The cases whose control ports, A and B, do not answer each POST with the status in the case or
/// with 200.
const DEEDS: [(&str, [Deed; 2]); 5] = [
    ("two_endpoints_A_500_B_slow", [Deed::AnswersAfter(1, 500), Deed::AnswersAfter(10, 200)]),
    // Only B's status is recorded.
    ("two_endpoints_both_fail", [Deed::Answers(403), Deed::Answers(401)]),
    ("redirect_307", [Deed::Redirects, Deed::Answers(200)]),
    ("conn_reset", [Deed::Cuts, Deed::Answers(200)]),
    ("eventstream_publish_fails", [Deed::Answers(500), Deed::Answers(200)]),
];

type Differences = &'static [(&'static str, Option<&'static str>)];

const CLOSE: &str = "the content of a close is ignored, so it is left out";
const PREFIX: &str = "one prefix applies to holds and items, and a stream publishes only events";
const UNDEFINED: &str = "the reference writes JavaScript's `undefined` as a name or as data";
const AGAIN: &str = "a failure for a passing reason is tried again";

/// Cases that differ from the recording: why, and each [fact](Facts) that differs with its value,
/// or `None` where there is no such fact.
const LISTED: [(&str, &str, Differences); 16] = [
    (
        "basic_from_url",
        "user and password are percent-decoded: `u@` and `p:`",
        &[("A authorization", Some("Basic dUA6cDo="))],
    ),
    ("close", CLOSE, &[("A item content", None)]),
    ("close_with_content", CLOSE, &[("A item content", None)]),
    (
        "unicode",
        "a header cannot name such a channel, so holds and items percent-encode it",
        &[("A item channel", Some("ch%C3%A4n%20%E2%98%83"))],
    ),
    ("servegrip_prefix", PREFIX, &[("A item content", Some("data: x\n\n"))]),
    (
        "servegrip_publisher_given_prefix_ignored_on_publish",
        PREFIX,
        &[("A item channel", Some("sg-chan")), ("A item content", Some("data: x\n\n"))],
    ),
    ("eventstream_no_event", UNDEFINED, &[("A item content", Some("data: {\"x\":1}\n\n"))]),
    ("eventstream_data_undefined", UNDEFINED, &[("A item content", Some("event: e\ndata: \n\n"))]),
    (
        "status_429",
        AGAIN,
        &[
            ("A posts", Some("many")),
            ("A failure", Some("answered 429 Too Many Requests, after many tries")),
        ],
    ),
    (
        "status_502",
        AGAIN,
        &[
            ("A posts", Some("many")),
            ("A failure", Some("answered 502 Bad Gateway, after many tries")),
        ],
    ),
    (
        "status_503",
        AGAIN,
        &[
            ("A posts", Some("many")),
            ("A failure", Some("answered 503 Service Unavailable, after many tries")),
        ],
    ),
    (
        "eventstream_publish_fails",
        AGAIN,
        &[
            ("A posts", Some("many")),
            ("A failure", Some("answered 500 Internal Server Error, after many tries")),
        ],
    ),
    (
        "conn_reset",
        AGAIN,
        &[("A posts", Some("many")), ("A failure", Some("no answer: cut, after many tries"))],
    ),
    (
        "two_endpoints_A_500_B_slow",
        AGAIN,
        &[
            ("A posts", Some("many")),
            ("A failure", Some("answered 500 Internal Server Error, after many tries")),
        ],
    ),
    (
        "two_endpoints_both_fail",
        "each endpoint's outcome is reported, not only the last one",
        &[
            ("A failure", Some("answered 403 Forbidden")),
            ("B failure", Some("answered 401 Unauthorized")),
        ],
    ),
    (
        "redirect_307",
        "a redirect is a failure: following it would take a token elsewhere",
        &[("A posts", Some("1")), ("A failure", Some("answered 307 Temporary Redirect"))],
    ),
];

/// A publication and its outcome at both control ports, A and B: the number of `posts`, the
/// `failure` that is reported, and the `method`, `path`, `content-type` and `authorization` of the
/// first POST, with what its `token` says and the fields of its `item`.
type Facts = BTreeMap<String, String>;

enum What {
    /// Published by a publisher of its own.
    Item(Item),
    /// Published on `chan` of an event stream with this prefix. The stream builds its publisher, or
    /// is `given` one.
    Event { prefix: Option<&'static str>, given: bool, event: Event },
}

fn event(prefix: Option<&'static str>, event: Event) -> What {
    What::Event { prefix, given: false, event }
}

fn row<T>(table: &'static [(&'static str, T)], name: &str) -> Option<&'static T> {
    table.iter().find(|(listed, _)| *listed == name).map(|(_, row)| row)
}

/// Pauses between tries pass at once when they are waited for, also by the clock; a POST has its
/// usual time.
#[derive(Clone, Default)]
struct Hasty(Arc<Mutex<Duration>>);

impl Timer for Hasty {
    fn now(&self) -> Instant {
        Instant::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // The longest pause is 2 s.
        if duration > Duration::from_secs(2) {
            return futures_timer::Delay::new(duration).boxed();
        }
        let passed = self.0.clone();
        async move {
            let mut others_ran = false;
            poll_fn(|cx| match std::mem::replace(&mut others_ran, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            *passed.lock().unwrap() += duration;
        }
        .boxed()
    }
}

/// What a control port does with a POST.
#[derive(Clone)]
enum Deed {
    Answers(u16),
    Redirects,
    Cuts,
    /// Answers once the other control port has had this number of POSTs.
    AnswersAfter(usize, u16),
}

/// Two control ports, `localhost:1` and `localhost:2`.
#[derive(Clone, Default)]
struct Ports(Arc<Mutex<Had>>);

#[derive(Default)]
struct Had {
    requests: Vec<Request<Bytes>>,
    /// Tasks that wait for the next request.
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

    /// Waits until a port has had this number of requests.
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
                    Deed::AnswersAfter(posts, status) => {
                        ports.has_had(3 - port, posts).await;
                        answer(status)
                    }
                }
            }
            .boxed()
        }
    }
}

/// The URL with this machine in place of the recorded hosts, so that a token is not sent in the
/// clear.
fn here(text: &str) -> String {
    text.replace("A.test:PORT", "localhost:1").replace("B.test:PORT", "localhost:2")
}

fn endpoint(config: &Value) -> Result<Endpoint, String> {
    let made = match config {
        Value::String(url) => Endpoint::new(here(url)),
        parts => {
            let text = |name: &str| parts[name].as_str().unwrap();
            // The key is not recorded; any PEM will do.
            let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
            Endpoint::new(here(text("control_uri")))
                .and_then(|endpoint| endpoint.iss(text("control_iss")).key(pem))
        }
    };
    made.map_err(|error| error.to_string())
}

/// The endpoints of a configuration: one or several.
fn endpoints(config: &Value) -> Result<Vec<Endpoint>, String> {
    let several = config.as_array().map_or(std::slice::from_ref(config), Vec::as_slice);
    several.iter().map(endpoint).collect()
}

/// Publishes it and returns the failures. A stream also delivers locally, whatever the endpoints
/// do.
fn publish(name: &str, what: What, case: &Value, ports: &Ports) -> Vec<Failure> {
    let status = case["input"]["server_status"].as_u64().unwrap_or(200).try_into().unwrap();
    let default = [Deed::Answers(status), Deed::Answers(200)];
    let transport = ports.transport(row(&DEEDS, name).unwrap_or(&default).clone());
    match what {
        What::Item(item) => {
            let config = Config::from(endpoints(&case["input"]["config"]).unwrap());
            let publisher = Publisher::new(config, transport, Background, Hasty::default());
            block_on(publisher.publish(item)).err().unwrap_or_default()
        }
        What::Event { prefix, given, event } => {
            let endpoint = Endpoint::new("http://localhost:1").unwrap();
            let mut builder =
                EventStream::builder().history(History::none()).timer(Hasty::default());
            builder = if given {
                let publisher =
                    Publisher::new(endpoint.into(), transport, Background, Hasty::default());
                builder.grip_publisher(publisher)
            } else {
                builder.grip(endpoint).transport(transport)
            };
            if let Some(prefix) = prefix {
                builder = builder.grip_prefix(prefix);
            }
            let stream = builder.build().unwrap();
            let mut local = stream.subscribe("chan");
            let outcome = block_on(stream.publish("chan", event.clone()));
            let encoded = event.encode().unwrap();
            assert_eq!(text(&mut local).as_bytes(), encoded, "{name}: local delivery");
            match outcome {
                Ok(_) => Vec::new(),
                Err(PublishError::Grip { failures, .. }) => failures,
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }
}

/// The items of a body, which has no other fields.
fn items(body: &[u8]) -> Vec<Value> {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    serde_json::from_value(body["items"].take()).unwrap()
}

/// The fields of the only item of a body, those of its format among them.
fn item_facts(body: &[u8]) -> impl Iterator<Item = (String, String)> {
    let mut items = items(body);
    assert_eq!(items.len(), 1, "{items:?}");
    let mut fields: BTreeMap<String, Value> = serde_json::from_value(items.remove(0)).unwrap();
    let formats: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(fields.remove("formats").unwrap()).unwrap();
    assert!(formats.keys().eq(["http-stream"]), "{formats:?}");
    let fields = fields.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned()));
    fields
        .chain(formats.into_values().flatten())
        .map(|(name, value)| (format!("item {name}"), value))
}

/// Tokens are good for ten minutes; signing and publishing takes a few seconds at most.
fn life(seconds: u64) -> String {
    match seconds {
        590..=600 => "ten minutes".into(),
        other => format!("{other} s"),
    }
}

/// What a token says, and whether this key (in hex) signed it.
fn token_facts(token: &str, key: &str) -> [(String, String); 4] {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key: Vec<u8> = (0..key.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
        .collect();
    let mac = URL_SAFE_NO_PAD.encode(hmac_sha256::HMAC::mac(signed, key));
    let (header, payload) = signed.split_once('.').unwrap();
    let [header, payload] = [header, payload].map(|part| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left = payload["exp"].as_u64().unwrap() - now;
    [
        ("token alg".into(), header["alg"].as_str().unwrap().into()),
        ("token iss".into(), payload["iss"].as_str().unwrap().into()),
        ("token life".into(), life(left)),
        ("token verifies".into(), (signature == mac).to_string()),
    ]
}

/// The facts of a POST that was sent, with a token signed by this `key` if there is one.
fn sent_facts(name: &str, request: &Request<Bytes>, key: Option<&str>, of_stream: bool) -> Facts {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    let mut facts = Facts::from([
        ("method".into(), request.method().to_string()),
        ("path".into(), request.uri().path_and_query().unwrap().to_string()),
        ("content-type".into(), header("content-type").unwrap().into()),
    ]);
    match (header("authorization"), key) {
        (Some(authorization), Some(key)) => {
            let (scheme, token) = authorization.split_once(' ').unwrap();
            facts.insert("authorization".into(), format!("{scheme} <jwt>"));
            facts.extend(token_facts(token, key));
        }
        (authorization, _) => {
            facts.extend(authorization.map(|value| ("authorization".into(), value.into())))
        }
    }
    let length = request.body().len().to_string();
    assert_eq!(header("content-length"), Some(&*length), "{name}: content-length");
    facts.extend(item_facts(request.body()));
    if of_stream {
        // An event of a stream always has an id, which the recorded items do not have.
        let id = facts.remove("item id").expect(name);
        assert!(id.ends_with("-1"), "{name}: {id} is not the id of a first event");
    }
    facts
}

/// The facts of a recorded POST.
fn recorded_facts(request: &Value) -> Facts {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut facts = Facts::from([
        ("method".into(), text(&request["method"])),
        ("path".into(), text(&request["path"])),
    ]);
    for header in request["headers"].as_array().unwrap() {
        let name = text(&header[0]).to_lowercase();
        if ["content-type", "authorization"].contains(&&*name) {
            facts.insert(name, text(&header[1]));
        }
    }
    if let Some(jwt) = request.get("jwt") {
        facts.insert("token alg".into(), text(&jwt["header"]["alg"]));
        facts.insert("token iss".into(), text(&jwt["iss"]));
        facts.insert("token life".into(), life(jwt["exp_minus_now_seconds"].as_u64().unwrap()));
        facts.insert("token verifies".into(), jwt["hmac_matches"].to_string());
    }
    facts.extend(item_facts(request["body"].as_str().unwrap().as_bytes()));
    facts
}

/// What was recorded of both control ports.
fn recorded(expect: &Value) -> Facts {
    let mut facts = Facts::new();
    for port in ["A", "B"] {
        let posts = expect["requests"].as_array().unwrap().iter();
        let posts: Vec<_> = posts.filter(|post| post["server"] == port).collect();
        let Some(first) = posts.first() else { continue };
        facts.extend(of_port(port, recorded_facts(first), posts.len()));
    }
    // The recorded error does not name an endpoint: it is taken for A's.
    let error = &expect["error"];
    if !error.is_null() {
        let status = error["context"]["statusCode"].as_u64().map(|status| status as u16);
        let failure = match status.map(|status| StatusCode::from_u16(status).unwrap()) {
            Some(status) => format!("answered {status}"),
            None => error["message"].as_str().unwrap().to_owned(),
        };
        facts.insert("A failure".into(), failure);
    }
    facts
}

/// How often a failed POST was tried in 30 s depends on chance.
fn several(posts: usize) -> String {
    if posts >= 10 {
        "many".into()
    } else {
        posts.to_string()
    }
}

fn of_port(port: &str, facts: Facts, posts: usize) -> impl Iterator<Item = (String, String)> + '_ {
    facts
        .into_iter()
        .chain([("posts".into(), several(posts))])
        .map(move |(fact, value)| (format!("{port} {fact}"), value))
}

/// What both control ports had and what the publisher reported. `expect` only gives the keys of the
/// tokens.
fn sent(
    name: &str,
    expect: &Value,
    of_stream: bool,
    requests: Vec<Request<Bytes>>,
    failures: Vec<Failure>,
) -> Facts {
    let mut facts = Facts::new();
    // What the clients of a proxy are told afterwards is another test's matter.
    let is_reset = |item: &Value| item["id"].as_str().is_some_and(|id| id.ends_with("-lost"));
    for (port, number) in [("A", 1), ("B", 2)] {
        let posts = requests.iter().filter(|post| post.uri().port_u16() == Some(number));
        let posts: Vec<_> = posts.filter(|post| !items(post.body()).iter().any(is_reset)).collect();
        let Some(first) = posts.first() else { continue };
        let mut recorded = expect["requests"].as_array().unwrap().iter();
        let recorded = recorded.find(|post| post["server"] == port);
        let key = recorded.and_then(|post| post["jwt"]["hmac_key_hex"].as_str());
        let of_first = sent_facts(name, first, key, of_stream);
        for post in &posts {
            assert_eq!(sent_facts(name, post, key, of_stream), of_first, "{name}: each try");
            assert_eq!(post.body(), first.body(), "{name}: a try has the ids of the one before");
        }
        facts.extend(of_port(port, of_first, posts.len()));
    }
    for failure in failures {
        let port = match failure.endpoint() {
            "http://localhost:1/" => "A",
            "http://localhost:2/" => "B",
            other => panic!("{name}: {other} was not published to"),
        };
        let reason = match failure.reason().rsplit_once(", after ") {
            Some((reason, tries)) => {
                let tries = tries.strip_suffix(" tries").expect(name).parse().expect(name);
                format!("{reason}, after {} tries", several(tries))
            }
            None => failure.reason().to_owned(),
        };
        let before = facts.insert(format!("{port} failure"), reason);
        assert_eq!(before, None, "{name}: each endpoint is reported once");
    }
    facts
}

#[test]
fn publications_are_the_recorded_ones_or_the_right_ones() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (mut run, mut out_of_scope, mut refused, mut listed) = (0, 0, 0, 0);
    for case in file["cases"].as_array().unwrap() {
        let (name, expect) = (case["name"].as_str().unwrap(), &case["expect"]);
        if let Some(why) = row(&OUT_OF_SCOPE, name) {
            println!("{name}: {why}");
            out_of_scope += 1;
            continue;
        }
        run += 1;
        if let Some((_, why, start)) = REFUSED.iter().find(|(refused, ..)| *refused == name) {
            println!("{name}: {why}");
            let config = endpoints(&case["input"]["config"]);
            let built = config.and_then(|config| {
                EventStream::builder().grip(config).build().map_err(|error| error.to_string())
            });
            let error = built.expect_err(name);
            assert!(error.starts_with(start), "{name}: {error}");
            assert_ne!(expect["error"]["message"], error, "{name} need not be listed");
            refused += 1;
            continue;
        }
        let what = row(&PUBLISHED, name).map_or(What::Item(Item::new("chan", "x")), |what| what());
        let of_stream = matches!(what, What::Event { .. });
        let ports = Ports::default();
        let failures = publish(name, what, case, &ports);
        let facts = sent(name, expect, of_stream, ports.taken(), failures);
        let mut right = recorded(expect);
        if let Some((_, why, instead)) = LISTED.iter().find(|(listed, ..)| *listed == name) {
            println!("{name}: {why}");
            for (fact, instead) in *instead {
                let recorded = match instead {
                    Some(value) => right.insert((*fact).to_owned(), (*value).to_owned()),
                    None => right.remove(*fact),
                };
                assert_ne!(recorded.as_deref(), *instead, "{name}: {fact} need not be listed");
            }
            listed += 1;
        }
        for fact in facts.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
            assert_eq!(facts.get(fact), right.get(fact), "{name}: {fact}");
        }
    }
    println!(
        "publish-requests.json: {run} run, of them {refused} refused and {listed} listed; \
         {out_of_scope} out of scope"
    );
    let expected = (40, REFUSED.len(), LISTED.len(), OUT_OF_SCOPE.len());
    assert_eq!((run, refused, listed, out_of_scope), expected);
}

/// Holds and items name a channel in the same way, so events arrive on it and on no other.
#[test]
fn a_stream_publishes_on_the_channel_that_it_holds() {
    let names =
        ["a", "a b", "a,b", "a;b", "a\"b", " a", "a%2Cb", "a\r\nb", "\u{e9}\u{2603}", "\0", "a/b"];
    for prefix in [None, Some(""), Some("sg-")] {
        let ports = Ports::default();
        let transport = ports.transport([Deed::Answers(200), Deed::Answers(200)]);
        let mut builder = EventStream::builder().grip("http://localhost:1/").transport(transport);
        if let Some(prefix) = prefix {
            builder = builder.grip_prefix(prefix);
        }
        let stream = builder.build().unwrap();
        for name in names {
            // No endpoint has a key, so any signature will do.
            let request = Request::builder().header("grip-sig", "x").body(()).unwrap();
            let hold = block_on(stream.run(&request, Response::new(()), [name]));
            block_on(stream.publish(name, Event::default())).unwrap();
            block_on(stream.publish_all(name, [Event::default()])).unwrap();
            stream.close_channel(name);
            block_on(stream.publish(name, Event::default())).unwrap();
            let items: Vec<_> = ports.taken().iter().flat_map(|post| items(post.body())).collect();
            assert_eq!(items.len(), 4, "{prefix:?} {name:?}: {items:?}");
            let third = &items[2]["formats"]["http-stream"];
            assert_eq!(*third, json!({ "action": "close" }), "{prefix:?} {name:?}");
            for item in items {
                let channel = item["channel"].as_str().unwrap();
                assert_eq!(hold.headers()["grip-channel"], channel, "{prefix:?} {name:?}");
            }
        }
    }
}

/// A configuration without an endpoint makes a stream that is not behind a proxy.
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

/// The cases about the connection itself, over real sockets.
#[cfg(feature = "hyper")]
mod on_a_socket {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::{channel, Receiver};
    use std::thread;

    use eventstream::grip::transport::Hyper;

    use super::*;

    /// The lines of the head, and the body.
    type Post = (Vec<String>, Vec<u8>);

    /// A control port that gives each POST this answer, or cuts the connection if there is none.
    /// The receiver gets the POSTs.
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
                // The test may have ended.
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
        let publisher = Publisher::new(endpoint.into(), Hyper::new(), Background, Hasty::default());
        block_on(publisher.publish(Item::new("chan", "x")))
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let answer = "HTTP/1.1 307 x\r\nLocation: /publish2/\r\nContent-Length: 0\r\n\
                      Connection: close\r\n\r\n";
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
        assert!(reason.starts_with("no answer: "), "{reason}");
        let posts: Vec<_> = posts.try_iter().collect();
        assert!(posts.len() > 10, "{}", posts.len());
        // The last one may have been on its way when the time was up.
        let tries = [posts.len() - 1, posts.len()].map(|tries| format!(", after {tries} tries"));
        assert!(tries.iter().any(|tries| reason.ends_with(tries)), "{reason}");
        for post in &posts {
            assert_eq!(post, &posts[0], "each try sends the same");
        }
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
        assert_eq!(items(&body), [item]);
    }
}
