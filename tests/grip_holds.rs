//! How requests through a proxy are answered: case by case as recorded from the reference
//! implementation, or as it should have answered.
#![cfg(feature = "grip")]

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::engine::Engine;
use bytes::Bytes;
use common::{body_text, ready};
use eventstream::grip::{Config, Endpoint, InvalidSignaturePolicy, Publisher};
use eventstream::runtime::Background;
use eventstream::{Body, Builder, Event, EventStream, History, Limits};
use futures::executor::block_on;
use http::{HeaderMap, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{json, Value};

const FILE: &str = include_str!("vectors/hold-responses.json");
const KEEP_ALIVE: &[u8] = b"event: keep-alive\ndata: \n\n";
const OPEN: &str = "event: stream-open\ndata: \n\n";
const VERIFYING: &str = "http://localhost:1/?verify-iss=pushpin&verify-key=changeme";

/// Names and values.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// A transport that never answers: nothing is published here.
async fn nobody(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    pending().await
}

fn behind(grip_url: &str) -> Builder {
    EventStream::builder().grip(grip_url).transport(nobody)
}

fn token(name: &str) -> String {
    let file: Value = serde_json::from_str(FILE).unwrap();
    file["tokens"][name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned()
}

fn request(method: &str, uri: &str, headers: Fields<'_>) -> Request<()> {
    let request = Request::builder().method(method).uri(uri);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(())
        .unwrap()
}

/// The answer, on these channels, to a request that the proxy of [`VERIFYING`] has signed.
fn signed(
    stream: &EventStream,
    method: &str,
    channels: &[&str],
    headers: Fields<'_>,
) -> Response<Body> {
    let token = token("valid");
    let headers = [&[("grip-sig", &*token)], headers].concat();
    block_on(stream.run(&request(method, "/", &headers), Response::new(()), channels))
}

fn text(answer: Response<Body>) -> String {
    body_text(&mut answer.into_body())
}

/// What a hold's headers mean to the proxy.
#[derive(Debug, PartialEq)]
struct Held {
    channels: Vec<String>,
    hold: String,
    keep_alive: Option<(Vec<u8>, u64)>,
}

/// `None` if there is no hold header at all.
fn held(headers: &HeaderMap) -> Option<Held> {
    let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let name = |name: &str| percent_decode_str(name.trim()).decode_utf8().unwrap().into_owned();
    headers.keys().any(|name| name.as_str().starts_with("grip-")).then(|| Held {
        channels: get("grip-channel").unwrap().split(',').map(name).collect(),
        hold: get("grip-hold").unwrap().to_owned(),
        keep_alive: get("grip-keep-alive").map(keep_alive),
    })
}

fn keep_alive(header: &str) -> (Vec<u8>, u64) {
    let (value, parameters) = header.split_once(';').unwrap();
    let parameters: BTreeMap<_, _> =
        parameters.split(';').map(|one| one.trim().split_once('=').unwrap()).collect();
    let content = match parameters["format"] {
        "base64" => STANDARD.decode(value).unwrap(),
        // The only escapes in these files.
        "cstring" => value.replace(r"\n", "\n").replace(r"\r", "\r").into_bytes(),
        other => panic!("{other}"),
    };
    (content, parameters["timeout"].parse().unwrap())
}

/// The recorded application, with the routes that the cases use.
fn answer(stream: &EventStream, request: Request<()>) -> Response<Body> {
    let channels = |names: &[&str]| stream.handler(names);
    let handler = match request.uri().path() {
        "/two" => channels(&["chan-a", "chan-b"]),
        "/none" => channels(&[]),
        "/t3" => channels(&["{id}"]),
        "/fn" => stream.handler_fn(|request| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            query
                .split('&')
                .filter_map(|pair| pair.strip_prefix("c="))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        }),
        "/fnone" => stream.handler_fn(|_| "single"),
        other => panic!("{other}"),
    };
    block_on(handler.call(request))
}

/// A builder with a case's configuration: a GRIP_URL, a list of endpoints, or nothing.
fn configured(config: &Value) -> Builder {
    let builder = EventStream::builder().history(History::none()).transport(nobody);
    let endpoint = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        let endpoint = Endpoint::new(text("control_uri")).unwrap();
        if text("verify_key").is_empty() {
            endpoint
        } else {
            endpoint.verify_key(text("verify_key")).unwrap()
        }
    };
    match &config["grip"] {
        Value::Null => builder,
        Value::String(url) => builder.grip(url.as_str()),
        several => {
            builder.grip(several.as_array().unwrap().iter().map(endpoint).collect::<Vec<_>>())
        }
    }
}

/// The right outcome where the reference's is wrong.
#[derive(Clone, Copy)]
enum Right {
    /// The configuration is refused with an error that begins with this.
    Unbuilt(&'static str),
    Refused(u16, &'static str),
    /// The answer that was recorded, but without a hold and without a body.
    NotHeld,
}

/// The right outcome where the recorded one is wrong, and why.
fn correction(name: &str) -> Option<(Right, &'static str)> {
    let forbidden = Right::Refused(403, "GRIP Signature Invalid.\n");
    let (config, signature) = name.split_once("__sig_").unwrap_or((name, ""));
    Some(match (config, signature) {
        // Without a key nothing is verified; with the others, these signatures are valid.
        ("nokey" | "token", _)
        | ("key", "valid" | "valid_other_iss")
        | ("verify" | "two_keys", "valid") => return None,
        ("verify", "no_exp") => (forbidden, "`exp` is required"),
        ("key" | "verify" | "two_keys", _) if !signature.is_empty() => {
            (forbidden, "what does not verify is refused, not served as a direct stream")
        }
        ("verify_only_iss", _) => (
            Right::Unbuilt("grip: verify-iss is given without `verify-key`"),
            "without a key nothing would be verified, not even the issuer",
        ),
        ("mixed", _) => (forbidden, "an endpoint without a key must not weaken the others"),
        ("two_sig_headers_comma_joined_by_node", _) => {
            (forbidden, "several lines are refused: anyone may have added one")
        }
        ("channels_/t3", _) => (
            Right::Refused(400, "Missing parameter \"id\" in channel template \"{id}\".\n"),
            "the answer names what is missing",
        ),
        ("grip_head", _) => (Right::NotHeld, "HEAD never holds"),
        _ => return None,
    })
}

/// Not compared: Date, Connection, Keep-Alive and Transfer-Encoding, which the server adds, and the
/// lack of a Content-Type in recorded refusals, which this crate sends.
#[test]
fn requests_are_answered_as_recorded_or_corrected() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (mut run, mut corrected) = (0, BTreeMap::<_, Vec<&str>>::new());
    for case in file["cases"].as_array().unwrap() {
        let (name, input, expect) =
            (case["name"].as_str().unwrap(), &case["input"], &case["expect"]);
        run += 1;
        let correction = correction(name).map(|(right, why)| {
            corrected.entry(why).or_default().push(name);
            right
        });
        let stream = match (configured(&input["eventstream_config"]).build(), correction) {
            (Ok(stream), _) => stream,
            (Err(error), Some(Right::Unbuilt(start))) => {
                assert!(error.to_string().starts_with(start), "{name}: {error}");
                continue;
            }
            (Err(error), _) => panic!("{name}: {error}"),
        };
        let mut request = Request::builder().method(input["method"].as_str().unwrap());
        for (field, value) in input["headers"].as_object().unwrap() {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            request = values
                .iter()
                .fold(request, |request, value| request.header(field, value.as_str().unwrap()));
        }
        let answer =
            answer(&stream, request.uri(input["route"].as_str().unwrap()).body(()).unwrap());

        let recorded: HeaderMap = expect["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let text = |at: usize| pair[at].as_str().unwrap();
                (text(0).parse().unwrap(), text(1).parse().unwrap())
            })
            .collect();
        let status =
            expect["status_line"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let body = expect["body"].as_str().unwrap();
        let (status, body, hold) = match correction {
            Some(Right::Refused(status, body)) => (status, body, None),
            Some(Right::NotHeld) => (status, "", None),
            Some(Right::Unbuilt(_)) => panic!("{name}: built"),
            None => (status, body, held(&recorded)),
        };
        assert_eq!((answer.status().as_u16(), held(answer.headers())), (status, hold), "{name}");
        let content_type = match status {
            200 => recorded["content-type"].to_str().unwrap(),
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(answer.headers()["content-type"], content_type, "{name}");
        let refused = status >= 400;
        assert_eq!(answer.headers().get("content-length").is_some(), refused, "{name}");
        let bad_signature = u64::from(status == 403);
        assert_eq!(stream.stats().bad_signatures, bad_signature, "{name}");
        let (items, ended) = ready(&mut answer.into_body());
        let got: Vec<Bytes> =
            items.into_iter().map(|item| item.unwrap_or_else(|never| match never {})).collect();
        assert_eq!(String::from_utf8(got.concat()).unwrap(), body, "{name}");
        // Recorded as incomplete: direct streams, which go on, and HEAD, which was never answered.
        let complete = expect["response_complete"].as_bool().unwrap() || correction.is_some();
        assert_eq!(ended, complete, "{name}");
    }
    println!("hold-responses.json: {run} run, 0 listed; the reference is wrong in: {corrected:#?}");
    assert_eq!(run, 74);
    assert_eq!(corrected.values().map(Vec::len).sum::<usize>(), 30);
}

/// The refusals are the same as for a direct client, and never come with a hold.
#[test]
fn what_is_not_a_stream_is_never_held() {
    let stream = behind(VERIFYING).build().unwrap();
    let many: Vec<_> = (0..21).map(|n| format!("c{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(257);
    let a = &["a"][..];
    let cases: &[(&str, &[&str], Fields<'_>, u16, &str)] = &[
        ("HEAD", a, &[], 200, ""),
        ("OPTIONS", a, &[], 204, ""),
        ("OPTIONS", &[], &[("accept", "text/html")], 204, ""),
        ("PUT", a, &[], 405, "Method not allowed.\n"),
        ("GET", a, &[("accept", "application/json")], 406, "Not Acceptable.\n"),
        ("HEAD", a, &[("accept", "application/json")], 406, ""),
        (
            "GET",
            a,
            &[("last-event-id", "error")],
            400,
            "last-event-id header may not be 'error'.\n",
        ),
        ("GET", &[], &[], 400, "No specified channels.\n"),
        ("GET", &["", " "], &[], 400, "No specified channels.\n"),
        ("HEAD", &[], &[], 400, ""),
        ("GET", &many, &[], 400, "21 channels are over the limit of 20 behind a proxy.\n"),
        ("POST", &many, &[], 400, "21 channels are over the limit of 20 behind a proxy.\n"),
        ("HEAD", &many, &[], 400, ""),
    ];
    for (method, channels, headers, status, body) in cases {
        let answer = signed(&stream, method, channels, headers);
        assert_eq!(
            (answer.status().as_u16(), held(answer.headers())),
            (*status, None),
            "{method} {headers:?}"
        );
        if *status == 204 || *status == 405 {
            assert!(answer.headers().contains_key("allow"));
        }
        assert_eq!(text(answer), *body, "{method} {channels:?} {headers:?}");
    }
    // The same message as for a direct client: it names the limit.
    let direct = block_on(stream.run(&request("GET", "/", &[]), Response::new(()), [&long]));
    let proxied = signed(&stream, "GET", &[&long], &[]);
    assert_eq!(direct.status(), 400);
    assert_eq!(proxied.status(), 400);
    assert_eq!(held(proxied.headers()), None);
    let why = text(proxied);
    assert_eq!(text(direct), why);
    assert!(why.contains("256"), "{why}");
    assert_eq!(stream.stats().subscriptions, 0);
}

#[test]
fn head_has_the_headers_of_get_but_no_hold() {
    let stream = behind(VERIFYING).build().unwrap();
    let without_hold = |answer: Response<Body>| -> BTreeMap<_, _> {
        let headers = answer.into_parts().0.headers;
        let fields = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        fields.filter(|(name, _)| !name.starts_with("grip-")).collect()
    };
    let (head, get) = (signed(&stream, "HEAD", &["a"], &[]), signed(&stream, "GET", &["a"], &[]));
    assert!(held(get.headers()).is_some());
    assert_eq!(without_hold(head), without_hold(get));
}

#[test]
fn the_number_of_channels_that_are_held_can_be_set() {
    let stream = behind(VERIFYING).limits(Limits::default().hold_channels(2)).build().unwrap();
    assert!(
        held(signed(&stream, "GET", &["a", "b", "a", ""], &[]).headers()).is_some(),
        "duplicates count once"
    );
    let answer = signed(&stream, "GET", &["a", "b", "c"], &[]);
    assert_eq!(answer.status(), 400);
    assert_eq!(text(answer), "3 channels are over the limit of 2 behind a proxy.\n");
    // The limit is for holds only.
    let direct =
        block_on(stream.run(&request("GET", "/", &[]), Response::new(()), ["a", "b", "c"]));
    assert_eq!(direct.status(), 200);
}

#[test]
fn a_post_is_held_as_a_get_is() {
    let stream = behind(VERIFYING).build().unwrap();
    let [get, post] =
        ["GET", "POST"].map(|method| held(signed(&stream, method, &["a"], &[]).headers()));
    assert!(get.is_some());
    assert_eq!(get, post);
}

#[test]
fn direct_requests_are_refused_where_a_proxy_is_required() {
    let required = behind(VERIFYING).require_proxy().build().unwrap();
    let garbage = token("garbage");
    let cases: &[(&str, Fields<'_>, u16, &str)] = &[
        ("GET", &[], 501, "Not Implemented.\n"),
        ("HEAD", &[], 501, ""),
        ("OPTIONS", &[], 204, ""),
        ("GET", &[("accept", "text/html")], 406, "Not Acceptable.\n"),
        ("GET", &[("grip-sig", &garbage)], 403, "GRIP Signature Invalid.\n"),
    ];
    for (method, headers, status, body) in cases {
        let answer =
            block_on(required.run(&request(method, "/", headers), Response::new(()), ["a"]));
        assert_eq!(
            (answer.status().as_u16(), held(answer.headers())),
            (*status, None),
            "{method} {headers:?}"
        );
        assert_eq!(text(answer), *body);
    }
    assert_eq!(signed(&required, "GET", &["a"], &[]).status(), 200);
    // By this policy a request with a bad signature counts as direct, and those are refused.
    let strict = behind(VERIFYING)
        .require_proxy()
        .invalid_signature(InvalidSignaturePolicy::Direct)
        .build()
        .unwrap();
    let answer = block_on(strict.run(
        &request("GET", "/", &[("grip-sig", &garbage)]),
        Response::new(()),
        ["a"],
    ));
    assert_eq!(answer.status(), 501);
    assert_eq!(strict.stats().bad_signatures, 1);
    let error = EventStream::builder().require_proxy().build().unwrap_err();
    assert_eq!(error.to_string(), "require_proxy: no proxy is configured");
}

#[test]
fn a_bad_signature_is_refused_and_counted() {
    let [valid, expired, other_key] = ["valid", "expired", "bad_key"].map(token);
    let bad: &[&[&str]] = &[
        &[""],
        &["garbage"],
        &[&expired],
        &[&other_key],
        // Several lines: anyone may have added one. Not even two good ones are accepted.
        &[&other_key, &valid],
        &[&valid, &other_key],
        &[&valid, &valid],
        &[&valid, ""],
    ];
    for policy in [InvalidSignaturePolicy::Refuse, InvalidSignaturePolicy::Direct] {
        let stream =
            behind(VERIFYING).history(History::none()).invalid_signature(policy).build().unwrap();
        for (count, lines) in (1..).zip(bad) {
            let headers: Vec<_> = lines.iter().map(|line| ("grip-sig", *line)).collect();
            let answer =
                block_on(stream.run(&request("GET", "/", &headers), Response::new(()), ["a"]));
            assert_eq!(held(answer.headers()), None, "{lines:?}");
            assert_eq!(stream.stats().bad_signatures, count);
            match policy {
                InvalidSignaturePolicy::Direct => {
                    assert_eq!(answer.status(), 200);
                    assert_eq!(stream.stats().subscriptions, 1);
                    let mut body = answer.into_body();
                    assert_eq!(body_text(&mut body), OPEN);
                    drop(stream.publish("a", Event::new("live")));
                    assert_eq!(body_text(&mut body), "event: live\ndata: \n\n");
                }
                _ => {
                    assert_eq!(answer.status(), 403);
                    assert_eq!(stream.stats().subscriptions, 0);
                    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
                    assert_eq!(answer.headers()["content-length"], "24");
                    assert_eq!(text(answer), "GRIP Signature Invalid.\n");
                }
            }
        }
        assert!(held(signed(&stream, "GET", &["a"], &[]).headers()).is_some());
        assert_eq!(stream.stats().bad_signatures, bad.len() as u64, "a good one is not counted");
    }
}

#[test]
fn the_first_fault_decides() {
    let stream = behind(VERIFYING).build().unwrap();
    let handler = stream.handler("room-{id}").path("/rooms/{id}");
    let garbage = token("garbage");
    let cases: &[(&str, &str, Fields<'_>, u16, u64)] = &[
        ("GET", "/else", &[], 404, 0),
        ("PUT", "/rooms/1", &[], 405, 0),
        ("OPTIONS", "/rooms/1", &[], 204, 0),
        ("GET", "/rooms/1", &[("accept", "text/html")], 406, 0),
        ("GET", "/rooms/1", &[("last-event-id", "error")], 403, 1),
        ("GET", "/rooms/%ff", &[], 403, 1),
        ("HEAD", "/rooms/1", &[], 403, 1),
    ];
    let mut counted = 0;
    for (method, uri, headers, status, bad) in cases {
        let headers = [&[("grip-sig", &*garbage)], *headers].concat();
        let answer = block_on(handler.call(request(method, uri, &headers)));
        assert_eq!(
            (answer.status().as_u16(), held(answer.headers())),
            (*status, None),
            "{method} {uri} {headers:?}"
        );
        counted += bad;
        assert_eq!(stream.stats().bad_signatures, counted, "{method} {uri} {headers:?}");
    }
}

#[test]
fn a_hold_begins_with_stream_open_at_the_newest_event() {
    let stream = behind(VERIFYING).retry(Duration::from_secs(3)).build().unwrap();
    drop(stream.publish("other", Event::default()));
    let id = stream.try_publish("a", Event::default()).unwrap();
    let answer = signed(&stream, "GET", &["a"], &[]);
    let expected = Held {
        channels: vec!["events-a".into()],
        hold: "stream".into(),
        keep_alive: Some((KEEP_ALIVE.to_vec(), 20)),
    };
    assert_eq!(held(answer.headers()), Some(expected));
    let fields = ["content-type", "cache-control", "x-accel-buffering", "vary"]
        .map(|name| &answer.headers()[name]);
    assert_eq!(fields, ["text/event-stream", "no-cache, no-transform", "no", "Accept"]);
    let (open, ended) = ready(&mut answer.into_body());
    assert!(ended, "the proxy keeps the client from here on");
    assert_eq!(
        open,
        [Ok(Bytes::from(format!("id: {id}\nevent: stream-open\nretry: 3000\ndata: \n\n")))]
    );
    assert_eq!(stream.stats().subscriptions, 0);
}

/// Behind a proxy the client's position is unknown, even if its id is one of this stream's.
#[test]
fn a_last_event_id_behind_a_proxy_is_reset_as_unknown() {
    let stream = behind(VERIFYING).build().unwrap();
    let own = stream.try_publish("a", Event::default()).unwrap();
    let now = stream.try_publish("b", Event::default()).unwrap();
    let reset = |channels: Value| {
        let data = json!({ "channels": channels, "reason": "unknown" });
        format!("{OPEN}id: {now}\nevent: stream-reset\ndata: {data}\n\n")
    };
    for id in [own.as_ref(), now.as_ref(), "5", "ERROR"] {
        let answer = signed(&stream, "GET", &["a", "b"], &[("last-event-id", id)]);
        assert!(held(answer.headers()).is_some());
        assert_eq!(text(answer), reset(json!(["a", "b"])), "{id}");
    }
    let token = token("valid");
    let by_query = request("GET", "/?lastEventId=5", &[("grip-sig", &token)]);
    assert_eq!(text(block_on(stream.run(&by_query, Response::new(()), "a"))), reset(json!(["a"])));
    let mut not_utf8 = request("GET", "/", &[("grip-sig", &token)]);
    not_utf8.headers_mut().insert("last-event-id", http::HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(text(block_on(stream.run(&not_utf8, Response::new(()), "a"))), reset(json!(["a"])));
    // An empty id counts as none.
    let answer = signed(&stream, "GET", &["a"], &[("last-event-id", "")]);
    assert_eq!(text(answer), format!("id: {now}\n{OPEN}"));
    // Without history no id means anything.
    let stream = behind(VERIFYING).history(History::none()).build().unwrap();
    assert_eq!(text(signed(&stream, "GET", &["a"], &[("last-event-id", "5")])), OPEN);
}

#[test]
fn holds_use_the_prefix_of_the_stream() {
    let held_on = |stream: &EventStream| {
        held(signed(stream, "GET", &["a", "b c", "d,e;f", "\u{e9}\r\n"], &[]).headers())
            .unwrap()
            .channels
    };
    let names = ["a", "b c", "d,e;f", "\u{e9}\r\n"];
    for prefix in ["events-", "", "sg/Az09-._~"] {
        let channels = names.map(|name| format!("{prefix}{name}"));
        assert_eq!(held_on(&behind(VERIFYING).grip_prefix(prefix).build().unwrap()), channels);
        // A ready-made publisher gets it too. The reference publishes without it but holds with it.
        let config: Config = VERIFYING.parse().unwrap();
        let publisher = Publisher::new(config, nobody, Background, Background);
        let stream =
            EventStream::builder().grip_publisher(publisher).grip_prefix(prefix).build().unwrap();
        assert_eq!(held_on(&stream), channels);
    }
    let default = behind(VERIFYING).build().unwrap();
    assert_eq!(held_on(&default), names.map(|name| format!("events-{name}")));
    let raw = signed(&default, "GET", &["a b,c", "\u{e9}"], &[]);
    assert_eq!(raw.headers()["grip-channel"], "events-a%20b%2Cc, events-%C3%A9");
    for prefix in ["a b", "a,", "a;", "\"", "%41", "\u{e9}", "a\n", "+", "a:", "{x}", "\0"] {
        let error = behind(VERIFYING).grip_prefix(prefix).build().unwrap_err().to_string();
        assert!(error.starts_with("grip_prefix: "), "{error}");
    }
}

/// A hold asks for whole seconds, at least one; the headers of the program's own answer stay.
#[test]
fn a_hold_asks_for_the_keep_alive_of_the_stream() {
    let cases = [
        (Duration::ZERO, None),
        (Duration::from_millis(10), Some(1)),
        (Duration::from_millis(2900), Some(2)),
        (Duration::from_secs(55), Some(55)),
    ];
    for (every, seconds) in cases {
        let stream = behind(VERIFYING).keep_alive(every).build().unwrap();
        let held = held(signed(&stream, "GET", &["a"], &[]).headers()).unwrap();
        assert_eq!(
            held.keep_alive,
            seconds.map(|seconds| (KEEP_ALIVE.to_vec(), seconds)),
            "{every:?}"
        );
    }
    let stream = behind(VERIFYING).build().unwrap();
    let token = token("valid");
    let res = Response::builder()
        .header("access-control-allow-origin", "*")
        .header("grip-channel", "x")
        .body(())
        .unwrap();
    let answer = block_on(stream.run(&request("GET", "/", &[("grip-sig", &token)]), res, "a"));
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers().get_all("grip-channel").iter().collect::<Vec<_>>(), ["events-a"]);
}

#[test]
fn a_closed_stream_sends_clients_of_the_proxy_away_for_a_while() {
    let cases = [(Limits::default(), 200), (Limits::default().refuse_with_503(), 503)];
    for (limits, status) in cases {
        let stream = behind(VERIFYING).limits(limits).build().unwrap();
        // The call closes the stream; its future would only wait for the publisher's worker.
        drop(stream.close());
        let answer = signed(&stream, "GET", &["a"], &[]);
        assert_eq!((answer.status().as_u16(), held(answer.headers())), (status, None));
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        let head = signed(&stream, "HEAD", &["a"], &[]);
        assert_eq!(head.status(), status);
        assert_eq!(text(head), "", "HEAD has no body");
        let (items, ended) = ready(&mut answer.into_body());
        let body =
            items[0].as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
        assert!(ended);
        match status {
            200 => {
                let after = body.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n"));
                assert!((4000..=6000).contains(&after.unwrap().parse::<u64>().unwrap()), "{body}");
            }
            _ => assert_eq!(body, "Service Unavailable.\n"),
        }
    }
}

/// Only a warning said so, which needs the feature `tracing`.
#[test]
fn proxies_that_nothing_verifies_are_seen_in_the_configuration_and_in_the_stats() {
    let endpoint = || Endpoint::new("http://localhost:1/").unwrap();
    let key = |key: &str| endpoint().verify_key(key).unwrap();
    for (endpoints, verifies, unverified) in [
        (vec![], false, false),
        (vec![endpoint()], false, true),
        (vec![endpoint(), endpoint().bearer("t0ken")], false, true),
        (vec![endpoint().basic("u", "p")], false, true),
        (vec![endpoint().iss("i").key("k").unwrap()], true, false),
        (vec![endpoint(), key("k")], true, false),
        (vec![key("k").verify_iss("pushpin")], true, false),
    ] {
        let config = Config::from(endpoints);
        assert_eq!(config.verifies(), verifies, "{config:?}");
        let publisher = Publisher::new(config.clone(), nobody, Background, Background);
        let builder = EventStream::builder;
        for stream in [
            builder().grip(config.clone()).transport(nobody).build().unwrap(),
            builder().grip_publisher(publisher).build().unwrap(),
        ] {
            let stats = stream.stats();
            assert_eq!(stats.unverified_proxy, unverified, "{config:?}");
            let written = serde_json::to_value(stats).unwrap();
            assert_eq!(written["unverified_proxy"], json!(unverified), "{config:?}");
        }
    }
    // A configuration that was not checked: all signatures are refused until there is a key.
    assert!(Config::from(endpoint().verify_iss("pushpin")).verifies());
    assert!(!EventStream::new().stats().unverified_proxy);
}
