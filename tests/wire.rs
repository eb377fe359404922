//! The bytes on the wire: they equal those of the JavaScript library, and two third-party parsers
//! read from them what was published.

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use common::{body_text, ready};
use eventsource_stream::Eventsource;
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Channels, Event, EventStream, History};
use futures::executor::block_on;
use futures::stream::{self, TryStreamExt};
use http::{Request, Response};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{json, Value};

// The JavaScript library's bytes.

/// Cases in which the JavaScript library's bytes are a fault: why, and what is sent instead.
const LISTED: [(&str, &str, &str); 5] = [
    (
        "event_undefined_data",
        "JavaScript's `undefined` as data: without data there is an empty line",
        "event: message\ndata: \n\n",
    ),
    (
        "event_event_missing",
        "JavaScript's `undefined` as name: without a name there is no line",
        "data: 1\n\n",
    ),
    (
        "event_event_empty",
        "an empty name is written: without a name there is no line",
        "data: 1\n\n",
    ),
    (
        "event_event_newline",
        "a line break in a name makes a second field: such a name is refused",
        "",
    ),
    (
        "event_event_named_keepalive",
        "a publisher can forge a keep-alive: names of events that the stream sends are refused",
        "",
    ),
];

enum Step {
    Publish(String, Event),
    Wait(Duration),
}

/// The event as the JavaScript library's callers give it: the data is always JSON.
fn event(fields: &Value) -> Event {
    let event = Event::new(fields.get("event").map_or("", |name| name.as_str().unwrap()));
    fields.get("data").map_or(event.clone(), |data| event.json(data))
}

fn steps(case: &Value) -> Vec<Step> {
    let publish = |channel: &str, fields: &Value| Step::Publish(channel.to_owned(), event(fields));
    let second = Duration::from_secs(1);
    // The cases that are described in words; their times are scaled down by 20.
    match case["name"].as_str().unwrap() {
        "several_events_order" => (0..3)
            .flat_map(|n| {
                let fields = |data: Value| json!({"event": "e", "data": data});
                let on = |channel, data| publish(channel, &fields(data));
                [on("c", json!(n)), on("elsewhere", json!(n)), on("other", json!(format!("d{n}")))]
            })
            .collect(),
        "circular_data_error" => {
            let not_a_string_as_key = BTreeMap::from([((1, 2), 3)]);
            vec![Step::Publish("c".into(), Event::new("e").json(&not_a_string_as_key))]
        }
        "keepalive_idle_20x" => {
            vec![Step::Wait(20 * second), Step::Wait(20 * second), Step::Wait(10 * second)]
        }
        "keepalive_reset_by_event" => {
            let event = publish("c", &json!({"event": "e", "data": 1}));
            vec![Step::Wait(12 * second), event, Step::Wait(17 * second), Step::Wait(3 * second)]
        }
        _ => {
            let pairs = case["input"]["publish"].as_array().unwrap();
            pairs.iter().map(|pair| publish(pair[0].as_str().unwrap(), &pair[1])).collect()
        }
    }
}

/// What a client of `c` (and `other`) receives, write by write.
fn chunks(steps: Vec<Step>) -> Vec<String> {
    let timer = ManualTimer::new();
    let stream =
        EventStream::builder().history(History::none()).timer(timer.clone()).build().unwrap();
    let mut body =
        block_on(stream.run(&Request::new(()), Response::new(()), ["c", "other"])).into_body();
    let mut chunks = vec![body_text(&mut body)];
    for step in steps {
        let outcome = match step {
            Step::Wait(duration) => {
                timer.advance(duration);
                None
            }
            Step::Publish(channel, event) => Some(stream.publish(&channel, event)),
        };
        // Read before the outcome is awaited: local delivery does not wait.
        chunks.push(body_text(&mut body));
        outcome.map(block_on);
    }
    assert_eq!(stream.stats().subscriptions, 1);
    drop(body);
    assert_eq!(
        stream.stats().subscriptions,
        0,
        "the JavaScript library keeps a listener and a timer"
    );
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

#[test]
fn without_history_the_bytes_are_those_of_the_javascript_library() {
    let vectors: Value =
        serde_json::from_str(include_str!("vectors/direct-stream-bytes.json")).unwrap();
    let (mut run, mut listed) = (0, 0);
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if name == "leak_after_5_clients_left" {
            five_clients_come_and_go();
            run += 1;
            continue;
        }
        let ours = chunks(steps(case));
        let theirs: Vec<String> = serde_json::from_value(case["expect"]["chunks"].clone()).unwrap();
        match LISTED.iter().find(|(listed, ..)| *listed == name) {
            None => {
                assert_eq!(ours, theirs, "{name}");
                assert_eq!(ours.concat(), case["expect"]["body"], "{name}");
                run += 1;
            }
            Some((_, why, instead)) => {
                println!("{name}: {why}");
                assert_eq!(ours.concat(), format!("{}{instead}", theirs[0]), "{name}");
                assert_ne!(ours, theirs, "{name} need not be listed");
                listed += 1;
            }
        }
    }
    println!("{run} cases run, {listed} listed");
    assert_eq!(run, 16);
    assert_eq!(listed, LISTED.len());
}

/// The JavaScript library leaves five timers and six listeners behind here.
fn five_clients_come_and_go() {
    let stream = EventStream::builder().history(History::none()).build().unwrap();
    let answer = || block_on(stream.run(&Request::new(()), Response::new(()), "c"));
    let clients: Vec<_> = (0..5).map(|_| answer()).collect();
    assert_eq!(stream.stats().subscriptions, 5);
    assert_eq!(stream.stats().channels, 1);
    drop(clients);
    assert_eq!(stream.stats().subscriptions, 0);
    assert_eq!(stream.stats().channels, 0);
}

// Two parsers.

#[derive(Clone, Debug, Default, PartialEq)]
struct Received {
    name: String,
    id: String,
    data: String,
    retry: Option<Duration>,
}

/// What eventsource-stream makes of bytes that arrive in these pieces.
///
/// It panics on a byte order mark at the start of a stream, which is never written.
fn by_eventsource_stream(pieces: &[Bytes]) -> Vec<Received> {
    let pieces = stream::iter(pieces.iter().map(Ok::<_, Infallible>));
    let received = |event: eventsource_stream::Event| {
        let eventsource_stream::Event { event: name, id, data, retry } = event;
        Received { name, id, data, retry }
    };
    block_on(pieces.eventsource().map_ok(received).try_collect()).unwrap()
}

/// What sse-codec makes of bytes that arrive in these pieces.
///
/// It takes the space in `retry: 1` as part of the value, and so ignores the field.
fn by_sse_codec(pieces: &[Bytes]) -> Vec<Received> {
    let pieces = stream::iter(pieces.iter().cloned().map(Ok)).into_async_read();
    let received = |event| match event {
        sse_codec::Event::Message { id, event: name, data } => {
            Received { name, id: id.unwrap_or_default(), data, retry: None }
        }
        sse_codec::Event::Retry { .. } => unreachable!("it reads only `retry:1`"),
    };
    block_on(sse_codec::decode_stream(pieces).map_ok(received).try_collect()).unwrap()
}

/// What both parsers read from bytes that arrive in these pieces.
fn decode(pieces: &[Bytes]) -> Vec<Received> {
    let received = by_eventsource_stream(pieces);
    let without_retry: Vec<_> =
        received.iter().map(|event| Received { retry: None, ..event.clone() }).collect();
    assert_eq!(by_sse_codec(pieces), without_retry);
    received
}

/// The items that a body has now.
fn pieces(body: &mut Body) -> Vec<Bytes> {
    ready(body).0.into_iter().map(Result::unwrap).collect()
}

/// An event's fields as a publisher gives them.
#[derive(Clone, Debug)]
struct Draft {
    name: String,
    id: Option<String>,
    data: String,
    comment: Option<String>,
    retry: Option<u64>,
}

impl Draft {
    fn event(&self) -> Event {
        let mut event = Event::new(&self.name).data(&self.data);
        event = self.id.iter().fold(event, |event, id| event.id(id));
        event = self.comment.iter().fold(event, |event, comment| event.comment(comment));
        self.retry.iter().fold(event, |event, millis| event.retry(Duration::from_millis(*millis)))
    }

    fn is_valid(&self) -> bool {
        let single_line = |text: &str| !text.contains(['\r', '\n', '\0']);
        let space_or_tab = [' ', '\t'];
        single_line(&self.name)
            && self.retry.is_none_or(|millis| (1..1 << 31).contains(&millis))
            && self.id.as_ref().is_none_or(|id| {
                let reserved = |part: &str| ["error", "earliest"].contains(&part.trim_matches(' '));
                let plain = !id.is_empty() && id.len() <= 1024 && !id.split(',').any(reserved);
                let trimmed = !id.starts_with(space_or_tab) && !id.ends_with(space_or_tab);
                plain && id.chars().all(|c| (' '..='~').contains(&c)) && trimmed
            })
    }

    /// What a client with this last id receives.
    fn received(&self, last_id: &str) -> Received {
        Received {
            name: if self.name.is_empty() { "message".to_owned() } else { self.name.clone() },
            id: self.id.as_deref().unwrap_or(last_id).to_owned(),
            data: self.data.replace("\r\n", "\n").replace('\r', "\n"),
            retry: self.retry.map(Duration::from_millis),
        }
    }
}

/// Any text, rich in parts that mean something to a parser.
fn text() -> impl Strategy<Value = String> {
    let meaningful: &[&str] = &[
        "\r\n", "\r", "\n", "\n\n", ":", ": ", " ", "\t", "\0", "data", "data: x", "event: x",
        "id: 1", "retry: 1", "\u{feff}", "\u{2028}", "\u{2029}", "\u{85}", "\u{b}", "\u{c}", "é",
        "😀", "error", "earliest", ",", "message",
    ];
    let part = prop_oneof![
        select(meaningful).prop_map(String::from),
        any::<char>().prop_map(String::from)
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Mostly without what is refused in names and ids.
fn line() -> impl Strategy<Value = String> {
    let single = |text: String| text.replace(['\r', '\n', '\0'], "");
    prop_oneof![
        4 => text().prop_map(single),
        4 => text().prop_map(move |text| single(text).trim_matches([' ', '\t']).to_owned()),
        1 => text()
    ]
}

/// Mostly what is accepted as an id.
fn id() -> impl Strategy<Value = String> {
    let visible = |text: String| text.replace(|c: char| !(' '..='~').contains(&c), "");
    prop_oneof![
        4 => text().prop_map(move |text| visible(text).trim().to_owned()),
        1 => line()
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let retry = prop_oneof![9 => 0..100_000u64, 1 => any::<u64>()];
    (line(), option::of(id()), text(), option::of(text()), option::of(retry))
        .prop_map(|(name, id, data, comment, retry)| Draft { name, id, data, comment, retry })
}

/// The same bytes in pieces of these sizes, over and over.
fn split(mut bytes: Bytes, sizes: &[usize]) -> Vec<Bytes> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(|| {
        let size = bytes.len().min(*sizes.next()?);
        (size > 0).then(|| bytes.split_to(size))
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_published_is_what_two_parsers_receive_however_it_is_split(
        drafts in vec(draft(), 1..8),
        sizes in vec(1..40usize, 1..6),
        history in prop_oneof![Just(History::default()), Just(History::none())],
    ) {
        let ids = history == History::default();
        let stream = EventStream::builder().history(history).build().unwrap();
        let subscription = stream.subscribe("a");
        let mut last_id = String::new();
        if ids {
            last_id = subscription.last_event_id().to_string();
        }
        let mut body = subscription.into_body();
        let open = Draft {
            name: "stream-open".into(),
            id: None,
            data: String::new(),
            comment: None,
            retry: None,
        };
        let mut expected = vec![open.received(&last_id)];
        // A publisher may not send one of this name.
        let mut encoded = vec![Bytes::from_static(b"event: stream-open\ndata: \n\n")];
        for draft in &drafts {
            let published = stream.try_publish("a", draft.event());
            prop_assert_eq!(published.is_ok(), draft.is_valid(), "{:?}", draft);
            let Ok(id) = published else { continue };
            if ids {
                last_id = id.to_string();
            }
            expected.push(draft.received(&last_id));
            last_id = expected[expected.len() - 1].id.clone();
            encoded.push(draft.event().encode().unwrap());
        }
        let pieces = pieces(&mut body);
        let bytes = Bytes::from(pieces.concat());
        prop_assert_eq!(decode(&pieces), &expected[..]);
        prop_assert_eq!(decode(&split(bytes.clone(), &sizes)), &expected[..]);
        prop_assert_eq!(decode(&split(bytes.clone(), &[1])), expected);
        if !ids {
            prop_assert_eq!(bytes, encoded.concat());
        }
    }
}

// Hostile input.

/// What a client receives of these events, after `stream-open`.
fn received(events: impl IntoIterator<Item = Event>) -> Vec<Received> {
    let stream = EventStream::builder().history(History::none()).build().unwrap();
    let mut body = stream.subscribe("a").into_body();
    for event in events {
        stream.try_publish("a", event).unwrap();
    }
    let mut received = decode(&pieces(&mut body));
    assert_eq!(received.remove(0).name, "stream-open");
    received
}

fn plain(data: &str) -> Received {
    Received { name: "message".to_owned(), data: data.to_owned(), ..Received::default() }
}

/// Texts that try to end a line, a block or a value.
const FORGERIES: [&str; 12] = [
    "\r\nevent: forged",
    "\n\n",
    "\rid: 1",
    "\nretry: 1",
    "\n\ndata: forged\n\n",
    "\r\rdata: forged\r\r",
    "x\r\n\r\nevent: forged\r\ndata: forged\r\n\r\n",
    "\n:\ndata",
    "\n\r\n\r",
    "\u{feff}\ndata: forged",
    "data: \ndata:\ndata",
    "\0\n\0",
];

#[test]
fn cr_lf_and_nul_in_a_name_are_refused_with_an_error_that_names_it() {
    for (name, found) in
        [("a\rdata: x", "carriage return"), ("a\nid: 1", "line feed"), ("a\0", "NUL")]
    {
        let error = Event::new(name).data("x").encode().unwrap_err().to_string();
        assert!(error.contains(&format!("event name {name:?}")), "{error}");
        assert!(error.contains(found), "{error}");
        assert!(!error.contains(['\r', '\n', '\0']), "an error is one line of a log");
    }
    for forgery in FORGERIES {
        assert_eq!(
            Event::new(forgery).encode().is_err(),
            forgery.contains(['\r', '\n', '\0']),
            "{forgery:?}"
        );
    }
}

#[test]
fn cr_lf_and_nul_in_an_id_are_refused_with_an_error_that_names_it() {
    for id in ["a\rdata: x", "a\nevent: x", "a\0", "\n", "\r\n"] {
        let error = Event::default().id(id).encode().unwrap_err().to_string();
        assert!(error.contains(&format!("event id {id:?}")), "{error}");
        assert!(error.contains("line break or a NUL"), "{error}");
        assert!(!error.contains(['\r', '\n', '\0']), "an error is one line of a log");
    }
}

#[test]
fn data_cannot_forge() {
    let end = plain("the end");
    for forgery in FORGERIES {
        let data = forgery.replace("\r\n", "\n").replace('\r', "\n");
        let events = [Event::default().data(forgery), Event::default().data("the end")];
        assert_eq!(received(events), [plain(&data), end.clone()], "{forgery:?}");
        let frame = Event::default().data(forgery).encode().unwrap();
        let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
        assert_eq!(frame, lines + "\n", "{forgery:?}");
    }
}

#[test]
fn data_given_as_json_cannot_forge() {
    for forgery in FORGERIES {
        let events =
            [Event::default().json(forgery), Event::default().json(&json!({ forgery: [forgery] }))];
        let received = received(events);
        let values: Vec<Value> =
            received.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        assert_eq!(values, [json!(forgery), json!({ forgery: [forgery] })]);
    }
}

#[test]
fn a_comment_cannot_forge() {
    for forgery in FORGERIES {
        let event = || Event::default().comment(forgery).data("x");
        assert_eq!(received([event(), Event::default()]), [plain("x"), plain("")], "{forgery:?}");
        let frame = event().encode().unwrap();
        let lines = forgery.replace("\r\n", "\n").replace('\r', "\n");
        let lines: String = lines.split('\n').map(|line| format!(": {line}\n")).collect();
        assert_eq!(frame, lines + "data: x\n\n", "{forgery:?}");
    }
}

#[test]
fn line_breaks_that_do_not_count_in_this_format_pass_unharmed() {
    for c in ['\u{2028}', '\u{2029}', '\u{85}', '\u{b}', '\u{c}', '\u{1c}', '\u{feff}'] {
        let text = format!("a{c}data: b{c}{c}");
        let event = Event::new(&text).data(&text).comment(&text);
        let frame = format!(": {text}\nevent: {text}\ndata: {text}\n\n");
        assert_eq!(event.encode().unwrap(), frame, "{c:?}");
        let whole = Received { name: text.clone(), data: text, ..Received::default() };
        assert_eq!(received([event]), [whole], "{c:?}");
    }
}

#[test]
fn whitespace_at_the_edges_of_names_and_data_is_kept() {
    let event = Event::new("  name ").data("  data \n\n \n");
    let whole =
        Received { name: "  name ".into(), data: "  data \n\n \n".into(), ..Received::default() };
    assert_eq!(received([event]), [whole]);
}

/// The data of the only `stream-reset` in these pieces.
fn reset(pieces: &[Bytes]) -> Value {
    let resets: Vec<_> =
        decode(pieces).into_iter().filter(|event| event.name == "stream-reset").collect();
    assert_eq!(resets.len(), 1);
    serde_json::from_str(&resets[0].data).unwrap()
}

#[test]
fn names_of_channels_cannot_forge_in_a_reset() {
    let quotes =
        ["\"", "\\", "\"],\"reason\":\"forged\"}", "\\\"", "{}", "\u{2028}", "\u{1f}", "é😀"];
    for name in FORGERIES.into_iter().chain(quotes).filter(|name| !name.trim().is_empty()) {
        let stream = EventStream::builder().history(History::default().events(1)).build().unwrap();
        let position = stream.subscribe(name).last_event_id().to_string();
        let mut lagging = stream.subscribe([name, "b"]).into_body();
        body_text(&mut lagging);
        for _ in 0..2 {
            stream.try_publish(name, Event::default()).unwrap();
        }
        let mut evicted = stream.subscribe_after(name, &position).into_body();
        let names: Channels = ["b", name].into();
        let mut unknown = stream.subscribe_after(names, "a foreign id").into_body();
        for (body, channels, reason) in [
            (&mut lagging, json!([name]), "lagged"),
            (&mut evicted, json!([name]), "evicted"),
            (&mut unknown, json!(["b", name]), "unknown"),
        ] {
            let pieces = pieces(body);
            assert_eq!(reset(&pieces), json!({"channels": channels, "reason": reason}), "{name:?}");
            // Otherwise the text is as if the name were harmless: it has only the fields and events
            // that the stream itself writes.
            let text = String::from_utf8(pieces.concat()).unwrap();
            for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
                let (field, value) = line.split_once(": ").unwrap();
                let expected = match field {
                    "id" => true,
                    "event" => value == "stream-open" || value == "stream-reset",
                    "data" => value.is_empty() || value.starts_with("{\"channels\":["),
                    _ => false,
                };
                assert!(expected, "{line:?} in {text:?}");
            }
        }
    }
}
