//! A publisher's mistakes never reach a subscriber, and whatever is refused gets an error that says
//! why.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::time::Duration;

use common::{ready, text};
use eventstream::test_util::{Client, ManualTimer};
use eventstream::{
    BuildError, Builder, Event, EventId, EventStream, History, InvalidEvent, Limits, PublishError,
    SubscribeError,
};
use futures::executor::block_on;
use futures::sink::SinkExt;
use futures::stream::{self, FusedStream, StreamExt};
use serde_json::{json, Value};

const MIB: usize = 1 << 20;
const OWN_FORM: &str = "7v0q2m9x4tkc1-42";

type Way = fn(&EventStream, &str, Event) -> Result<(), PublishError>;

/// Every way to publish one event.
const WAYS: [(&str, Way); 8] = [
    ("publish", |stream, channel, event| block_on(stream.publish(channel, event)).map(drop)),
    ("try_publish", |stream, channel, event| stream.try_publish(channel, event).map(drop)),
    ("publish_all", |stream, channel, event| {
        block_on(stream.publish_all(channel, [event])).map(drop)
    }),
    ("publisher.publish", |stream, channel, event| {
        block_on(stream.publisher(channel).publish(event)).map(drop)
    }),
    ("publisher.try_publish", |stream, channel, event| {
        stream.publisher(channel).try_publish(event).map(drop)
    }),
    ("publisher.publish_all", |stream, channel, event| {
        block_on(stream.publisher(channel).publish_all([event])).map(drop)
    }),
    ("sink", |stream, channel, event| block_on(stream.sink(channel).send(event))),
    ("publisher.sink", |stream, channel, event| {
        block_on(stream.publisher(channel).sink().feed(event))
    }),
];

/// An event for each mistake, words of its error, and whether it is merely too large.
fn mistakes() -> Vec<(Event, &'static str, bool)> {
    let not_a_string_as_key = BTreeMap::from([((1, 2), 3)]);
    let id = |id: &str| Event::default().id(id);
    vec![
        (Event::new("a\rb"), r#"event name "a\rb" contains a carriage return"#, false),
        (Event::new("a\nb"), r#"event name "a\nb" contains a line feed"#, false),
        (Event::new("a\0b"), r#"event name "a\0b" contains a NUL"#, false),
        (id(""), r#"event id "" is empty"#, false),
        (id("error"), r#"event id "error" is reserved"#, false),
        (id(OWN_FORM), r#"event id "7v0q2m9x4tkc1-42" has the form"#, false),
        (id(" a"), r#"event id " a" starts or ends with a space or tab"#, false),
        (id("a "), r#"event id "a " starts or ends with a space or tab"#, false),
        (id("\ta"), r#"event id "\ta" starts or ends with a space or tab"#, false),
        (id("a\t"), r#"event id "a\t" starts or ends with a space or tab"#, false),
        (id("a\rb"), r#"event id "a\rb" contains a line break"#, false),
        (id("a\nb"), r#"event id "a\nb" contains a line break"#, false),
        (id("a\0b"), r#"event id "a\0b" contains a line break or a NUL"#, false),
        (id(&"x".repeat(1025)), "over 1024 bytes", false),
        (id("a\u{1}b"), r#"event id "a\u{1}b" contains a character that is neither"#, false),
        (id("é"), r#"event id "é" contains a character that is neither visible ASCII"#, false),
        (id("a\u{7f}"), "neither visible ASCII nor a space", false),
        (id("earliest"), r#"event id "earliest" is reserved"#, false),
        (id("a, error"), r#"event id "a, error" is reserved"#, false),
        (Event::new("stream-open"), r#"event name "stream-open" is reserved"#, false),
        (Event::new("stream-reset"), r#"event name "stream-reset" is reserved"#, false),
        (Event::new("stream-error"), r#"event name "stream-error" is reserved"#, false),
        (Event::new("keep-alive").data("x"), r#"event name "keep-alive" is reserved"#, false),
        (Event::default().retry(Duration::ZERO), "retry of 0ns is not between 1 ms and", false),
        (Event::default().retry(Duration::from_millis(1 << 31)), "2147483647 ms", false),
        (Event::new("e").json(&not_a_string_as_key), "data cannot be written as JSON", false),
        (
            Event::new("e").json(&not_a_string_as_key).json(&1),
            "data cannot be written as JSON",
            false,
        ),
        (Event::default().retry(Duration::MAX), "retry", false),
        (Event::default().data("x".repeat(MIB + 1)), "over the limit of 1048576", true),
        (Event::default().comment("x".repeat(MIB)), "over the limit of 1048576", true),
        (Event::new("x".repeat(MIB + 1)), "over the limit of 1048576", true),
        // The first mistake is the one that is reported.
        (Event::new("a\0").id(""), r#"event name "a\0""#, false),
    ]
}

#[track_caller]
fn invalid(error: PublishError) -> InvalidEvent {
    assert!(error.source().is_none(), "the message says everything without a source");
    match error {
        PublishError::Invalid(invalid) => invalid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_invalid_event_reaches_nobody_however_it_is_published_and_the_next_one_arrives() {
    for (way, publish) in WAYS {
        for (event, words, too_large) in mistakes() {
            let stream = EventStream::new();
            let mut live = stream.subscribe("a");
            let mut several = stream.subscribe(["a", "b"]);
            let before = live.last_event_id();
            let invalid = invalid(publish(&stream, "a", event).unwrap_err());
            assert!(invalid.to_string().contains(words), "{way}: {words} in {invalid}");
            assert_eq!(invalid.is_too_large(), too_large, "{way}: {invalid}");
            assert_eq!(text(&mut live), "", "{way}: {words}");
            assert_eq!(text(&mut several), "", "{way}: {words}");
            assert_eq!(live.last_event_id(), before, "{way}: {words}");

            let id = stream.try_publish("a", Event::default().data("next")).unwrap();
            let next = format!("id: {id}\ndata: next\n\n");
            let mut returning = stream.subscribe_after("a", before.as_ref());
            for subscription in [&mut live, &mut several, &mut returning] {
                assert_eq!(text(subscription), next, "{way}: {words}");
            }
            assert_eq!(stream.stats().published, 1, "{way}: {words}");
            assert_eq!(stream.stats().resets, 0, "{way}: {words}");
        }
    }
}

#[test]
fn an_invalid_event_whose_outcome_nobody_awaits_reaches_nobody_either() {
    let stream = EventStream::new();
    let mut live = stream.subscribe("a");
    drop(stream.publish("a", Event::new("\n")));
    drop(stream.publish_all("a", [Event::new("fine"), Event::new("\n")]));
    assert_eq!(text(&mut live), "");
    assert_eq!(stream.stats().published, 0);
}

#[test]
fn an_error_shows_only_the_start_of_what_is_long() {
    for long in ["x", "é", "\u{2028}"].map(|c| c.repeat(MIB) + "\n") {
        for event in [Event::new(&long), Event::default().id(&long)] {
            let error = event.encode().unwrap_err().to_string();
            assert!(error.len() < 1000, "{error}");
            assert!(error.contains("..."), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn an_invalid_channel_name_is_an_error_however_it_is_published_to() {
    let long = "é".repeat(128) + "x";
    for (way, publish) in WAYS {
        for (channel, words, too_large) in [
            ("", "whitespace-only", false),
            (" \t\r\n\u{2003}", "whitespace-only", false),
            (&*long, "channel name of 257 bytes is over the limit of 256", true),
        ] {
            let stream = EventStream::new();
            let invalid = invalid(publish(&stream, channel, Event::new("fine")).unwrap_err());
            assert!(invalid.to_string().contains(words), "{way}: {invalid}");
            assert_eq!(invalid.is_too_large(), too_large, "{way}");
            assert_eq!(invalid.index(), None, "{way}");
            assert_eq!(stream.stats().published, 0, "{way}");
            assert_eq!(stream.stats().channels, 0, "{way}");
        }
        let stream = EventStream::new();
        publish(&stream, &long[..256], Event::default()).unwrap();
        publish(&stream, " a\n", Event::default()).unwrap();
        assert_eq!(stream.stats().published, 2, "{way}: names are exact");
    }
}

// Batches.

#[test]
fn a_batch_with_one_invalid_event_is_refused_whole_and_names_its_index() {
    for (bad, words, too_large) in mistakes() {
        for index in 0..3 {
            let stream = EventStream::new();
            let mut live = stream.subscribe("a");
            let mut batch =
                vec![Event::default().data("1"), Event::default().id("2"), Event::new("3")];
            batch.insert(index, bad.clone());
            // A second mistake after the first does not matter.
            batch.push(Event::new("\n"));
            for outcome in
                [stream.publish_all("a", batch.clone()), stream.publisher("a").publish_all(batch)]
            {
                let invalid = invalid(block_on(outcome).unwrap_err());
                assert_eq!(invalid.index(), Some(index), "{invalid}");
                assert_eq!(invalid.is_too_large(), too_large, "{invalid}");
                let message = invalid.to_string();
                assert!(message.contains(&index.to_string()), "{index} in {message}");
                assert!(message.contains(words), "{words} in {message}");
            }
            assert_eq!(text(&mut live), "");
            assert_eq!(stream.stats().published, 0);
            let ids =
                block_on(stream.publish_all("a", [Event::default(), Event::default()])).unwrap();
            let expected: String = ids.iter().map(|id| format!("id: {id}\ndata: \n\n")).collect();
            assert_eq!(text(&mut live), expected);
        }
    }
    let single = EventStream::new().try_publish("a", Event::new("\n")).unwrap_err();
    assert_eq!(invalid(single).index(), None, "a single event has no index");
}

#[test]
fn a_batch_over_the_window_is_refused_before_anything_is_appended() {
    let of = |count: usize, size: usize| {
        (0..count).map(move |_| Event::default().data("x".repeat(size)))
    };
    for (history, too_many) in [
        (History::default(), of(1025, 1)),
        (History::default(), of(3, MIB / 2)),
        (History::default().events(4), of(5, 1)),
        (History::default().bytes(100), of(2, 50)),
        (History::none(), of(257, 1)),
        (History::none(), of(2, 128 << 10)),
    ] {
        let stream = EventStream::builder().history(history.clone()).build().unwrap();
        let mut live = stream.subscribe("a");
        let invalid = invalid(block_on(stream.publish_all("a", too_many)).unwrap_err());
        assert!(invalid.is_too_large(), "{invalid}");
        assert_eq!(invalid.index(), None, "{invalid}");
        assert!(invalid.to_string().starts_with("batch exceeds "), "{invalid}");
        assert_eq!(text(&mut live), "", "{history:?}");
        assert_eq!(stream.stats().published, 0, "{history:?}");
    }
    for (history, fits) in [
        (History::default(), of(1024, 1)),
        (History::default().events(4), of(4, 1)),
        (History::default().events(1).bytes(1), of(1, MIB)),
        (History::none(), of(256, 1)),
    ] {
        let stream = EventStream::builder().history(history.clone()).build().unwrap();
        let mut live = stream.subscribe("a");
        let count = fits.clone().count();
        assert_eq!(block_on(stream.publish_all("a", fits)).unwrap().len(), count, "{history:?}");
        let received = text(&mut live);
        assert_eq!(received.matches("\n\n").count(), count, "{history:?}");
        assert!(!received.contains("stream-reset"), "{history:?}");
    }
}

#[test]
fn an_empty_batch_publishes_nothing() {
    let stream = EventStream::new();
    assert_eq!(block_on(stream.publish_all("a", [])), Ok(vec![]));
    assert_eq!(stream.stats().published, 0);
    assert_eq!(stream.stats().channels, 0);
}

#[test]
fn a_batch_is_contiguous_and_in_order_with_ids_of_both_kinds() {
    let stream = EventStream::new();
    let mut live = stream.subscribe("a");
    let batch = [Event::new("1"), Event::new("2").id("own"), Event::new("3")];
    let ids = block_on(stream.publish_all("a", batch)).unwrap();
    let expected: String =
        (1..).zip(&ids).map(|(n, id)| format!("id: {id}\nevent: {n}\ndata: \n\n")).collect();
    assert_eq!(text(&mut live), expected);
    assert_eq!(ids[1].as_ref(), "own");
}

// The limit of a frame.

#[test]
fn data_of_exactly_the_limit_fits_and_one_byte_more_does_not() {
    for (limits, limit) in [(Limits::default(), MIB), (Limits::default().frame(10), 10)] {
        let stream = EventStream::builder().limits(limits).build().unwrap();
        let mut live = stream.subscribe("a");
        let exact = || Event::new("e").id("own").data("x".repeat(limit));
        stream.try_publish("a", exact()).unwrap();
        let frame = format!("id: own\nevent: e\ndata: {}\n\n", "x".repeat(limit));
        assert_eq!(text(&mut live), frame);
        let two_bytes_each = "é".repeat(limit / 2);
        for over in [
            exact().data("x".repeat(limit + 1)),
            exact().data(two_bytes_each + "x"),
            exact().comment(""),
        ] {
            assert!(invalid(stream.try_publish("a", over).unwrap_err()).is_too_large());
        }
        assert_eq!(text(&mut live), "");
    }
}

#[test]
fn line_breaks_count_as_they_are_encoded() {
    let stream = EventStream::builder().limits(Limits::default().frame(70)).build().unwrap();
    let try_data = |data: &str| stream.try_publish("a", Event::default().data(data));
    // The framing of the first line is free; each further line costs its break and `data: `.
    let per_line = "\ndata: ".len();
    for line_break in ["\n", "\r", "\r\n"] {
        assert!(try_data(&line_break.repeat(70 / per_line)).is_ok());
        let error = invalid(try_data(&line_break.repeat(70 / per_line + 1)).unwrap_err());
        assert_eq!(error.to_string(), "frame of 77 bytes is over the limit of 70");
    }
    assert!(EventStream::new()
        .try_publish("a", Event::default().data("\n".repeat(MIB / 2)))
        .is_err());
}

// Closed.

#[test]
fn after_close_every_way_to_publish_says_closed_and_does_nothing_else() {
    for history in [History::default(), History::none()] {
        for (way, publish) in WAYS {
            let stream = EventStream::builder().history(history.clone()).build().unwrap();
            let mut live = stream.subscribe("a");
            let mut sink = stream.sink("a");
            block_on(stream.close());
            let before = stream.stats();
            for channel in ["a", "never seen"] {
                assert_eq!(
                    publish(&stream, channel, Event::new("late")),
                    Err(PublishError::Closed),
                    "{way}"
                );
            }
            assert_eq!(block_on(sink.send(Event::new("late"))), Err(PublishError::Closed));
            assert_eq!(block_on(stream.publish_all("a", [])), Err(PublishError::Closed));
            assert_eq!(stream.stats(), before, "{way}");
            assert_eq!(ready(&mut live), (vec![], true), "{way}");
        }
    }
    assert_eq!(PublishError::Closed.to_string(), "publishing to a closed event stream");
}

#[test]
fn a_sink_goes_on_after_an_invalid_event_and_closing_it_closes_nothing_else() {
    let stream = EventStream::builder().history(History::none()).build().unwrap();
    let mut live = stream.subscribe("a");
    let mut sink = stream.sink("a");
    let mut events = stream::iter(["1", "\n", "2"].map(|name| Ok(Event::new(name))));
    invalid(block_on(sink.send_all(&mut events)).unwrap_err());
    block_on(sink.send_all(&mut events)).unwrap();
    block_on(sink.close()).unwrap();
    stream.try_publish("a", Event::new("3")).unwrap();
    assert_eq!(text(&mut live), "event: 1\ndata: \n\nevent: 2\ndata: \n\nevent: 3\ndata: \n\n");
}

// Ids.

#[test]
fn publishing_returns_the_id_that_the_client_sees() {
    let stream = EventStream::new();
    let mut live = stream.subscribe("a");
    let own = block_on(stream.publish("a", Event::default())).unwrap();
    assert_eq!(text(&mut live), format!("id: {own}\ndata: \n\n"));
    assert_eq!(live.last_event_id(), own);
    let (epoch, seq) = own.as_ref().split_once('-').unwrap();
    assert_eq!(epoch.len(), 13, "{epoch}");
    let digit = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    assert!(epoch.bytes().all(digit), "{epoch}");
    assert!(seq.parse::<u64>().is_ok());
    let longest = "~".repeat(1024);
    for given in
        ["order-7", "a b", "a, b", "errors", "Error", "7v0q2m9x4tkc1", "7V0Q2M9X4TKC1-42", &longest]
    {
        assert_eq!(stream.try_publish("a", Event::default().id(given)).unwrap().as_ref(), given);
        assert_eq!(text(&mut live), format!("id: {given}\ndata: \n\n"));
    }
    // Without history an id is returned too, though clients see only those that events were given.
    let without = EventStream::builder().history(History::none()).build().unwrap();
    assert_eq!(without.try_publish("a", Event::default().id("given")).unwrap().as_ref(), "given");
    assert_ne!(
        without.try_publish("a", Event::default()).unwrap(),
        without.try_publish("a", Event::default()).unwrap()
    );
}

#[test]
fn an_event_id_is_its_text() {
    let stream = EventStream::new();
    let given = |id| stream.try_publish("a", Event::default().id(id)).unwrap();
    let ours = stream.try_publish("a", Event::default()).unwrap();
    for id in [ours.clone(), given("a b"), given("~")] {
        let text = id.to_string();
        assert_eq!(text, id.as_ref());
        assert_eq!(format!("{id:?}"), format!("EventId({text:?})"));
        let parsed: EventId = text.parse().unwrap();
        assert_eq!(parsed, id);
        assert_eq!(HashSet::from([parsed, id.clone(), id]).len(), 1);
    }
    assert_ne!(ours, given("another"));
    assert_eq!(
        OWN_FORM.parse::<EventId>().unwrap().as_ref(),
        OWN_FORM,
        "an id of another stream is one too"
    );
    for bad in ["", "error", " a", "a\t", "a\nb", "a\r", "\0", &"x".repeat(1025)] {
        assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
    }
}

// Building.

#[test]
fn the_first_mistake_of_a_builder_is_reported_at_build_and_names_its_setter() {
    let (history, limits) = (History::default, Limits::default);
    let with = EventStream::builder;
    let mistakes: [(&[&str], Builder); 17] = [
        (&["history", "events"], with().history(history().events(0))),
        (&["history", "bytes"], with().history(history().bytes(0))),
        (&["history", "age"], with().history(history().age(Duration::ZERO))),
        (&["history", "events"], with().history(History::none().events(0))),
        (&["limits", "frame"], with().limits(limits().frame(0))),
        (&["limits", "channel_name"], with().limits(limits().channel_name(0))),
        (&["limits", "channels"], with().limits(limits().channels(0))),
        (&["limits", "item"], with().limits(limits().item(0))),
        (&["limits", "subscriptions"], with().limits(limits().subscriptions(0))),
        (&["limits", "hub_channels"], with().limits(limits().hub_channels(0))),
        (&["retry"], with().retry(Duration::MAX)),
        (&["retry"], with().retry(Duration::ZERO)),
        (&["retry"], with().retry(Duration::from_millis(1 << 31))),
        (
            &["retry"],
            with().retry(Duration::MAX).limits(limits().frame(0)).history(history().events(0)),
        ),
        (&["history", "bytes"], with().history(history().bytes(0)).history(history())),
        (&["keep_alive"], with().keep_alive(Duration::from_nanos(1))),
        (&["keep_alive"], with().keep_alive(Duration::from_nanos(9_999_999))),
    ];
    for (names, builder) in mistakes {
        let error = builder.build().unwrap_err().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{names:?} in {error:?}");
    }
    for fine in [
        with().retry(Duration::from_nanos(1)).keep_alive(Duration::ZERO),
        with().retry(Duration::from_millis((1 << 31) - 1)).keep_alive(Duration::from_millis(10)),
        with().history(history().events(1).bytes(1).age(Duration::from_nanos(1))),
        with().history(history().events(usize::MAX).bytes(usize::MAX).age(Duration::MAX)),
        with().limits(
            limits().frame(1).channel_name(1).channels(1).item(1).subscriptions(1).hub_channels(1),
        ),
    ] {
        let stream = fine.build().unwrap();
        stream.try_publish("a", Event::default().data("x")).unwrap();
    }
}

#[test]
fn a_named_stream_is_built_once_and_a_failure_is_not_kept() {
    let get =
        |build: fn() -> Result<EventStream, BuildError>| EventStream::named("publishing", build);
    let failure = get(|| EventStream::builder().retry(Duration::MAX).build());
    assert!(failure.unwrap_err().to_string().contains("retry"));
    let first = get(|| EventStream::builder().history(History::none()).build()).unwrap();
    let mut live = first.subscribe("a");
    get(|| unreachable!("the stream has been built"))
        .unwrap()
        .try_publish("a", Event::new("e"))
        .unwrap();
    assert_eq!(text(&mut live), "event: e\ndata: \n\n");
    let other = EventStream::named("publishing too", || Ok(EventStream::new())).unwrap();
    other.try_publish("a", Event::new("e")).unwrap();
    assert_eq!(text(&mut live), "");
}

#[test]
fn stats_are_written_with_exactly_the_names_of_their_fields() {
    let stream = EventStream::builder().history(History::default().events(2)).build().unwrap();
    let mut slow = stream.subscribe(["a", "b"]);
    let _idle = stream.subscribe("c");
    for _ in 0..3 {
        stream.try_publish("a", Event::default()).unwrap();
    }
    let kept = text(&mut stream.subscribe("a")).len()
        + text(&mut slow).split_once("}\n\n").unwrap().1.len();
    let stats = stream.stats();
    let written = serde_json::to_value(&stats).unwrap();
    let counts =
        json!({"subscriptions": 2, "channels": 3, "published": 3, "delivered": 2, "resets": 1});
    for (name, count) in
        counts.as_object().unwrap().iter().chain([(&"retained_bytes".into(), &json!(kept))])
    {
        assert_eq!(written[name], *count, "{name}");
    }
    let debug = format!("{stats:#?}");
    let field = |line: &str| Some(line.strip_prefix("    ")?.split_once(": ")?.0.to_owned());
    let fields: HashSet<_> =
        debug.lines().filter_map(field).filter(|field| !field.starts_with(' ')).collect();
    assert_eq!(written.as_object().unwrap().keys().cloned().collect::<HashSet<_>>(), fields);
}

// Subscribing.

#[test]
fn try_subscribe_says_why_not_and_subscribe_returns_one_that_has_ended() {
    let strict = || {
        EventStream::builder()
            .limits(Limits::default().channels(2).channel_name(4))
            .build()
            .unwrap()
    };
    let full = EventStream::builder().limits(Limits::default().subscriptions(1)).build().unwrap();
    let _held = full.subscribe("a");
    let no_channel_left =
        EventStream::builder().limits(Limits::default().hub_channels(1)).build().unwrap();
    let _held_too = no_channel_left.subscribe("other");
    let two_channels =
        EventStream::builder().limits(Limits::default().hub_channels(2)).build().unwrap();
    let closed = strict();
    block_on(closed.close());
    let both = EventStream::builder().limits(Limits::default().subscriptions(1)).build().unwrap();
    let _held_as_well = both.subscribe("a");
    block_on(both.close());
    for (stream, channels, error, words) in [
        (strict(), &[][..], SubscribeError::NoChannels, "no specified channels"),
        (strict(), &[" ", ""], SubscribeError::NoChannels, "no specified channels"),
        (
            strict(),
            &["a", "b", "c"],
            SubscribeError::TooManyChannels { channels: 3, limit: 2 },
            "limit of 2",
        ),
        (strict(), &["a", "fünf"], SubscribeError::ChannelName { size: 5, limit: 4 }, "limit of 4"),
        (full, &["a"], SubscribeError::Full, "limit"),
        (no_channel_left, &["other", "a"], SubscribeError::Full, "limit"),
        (two_channels, &["a", "b", "c"], SubscribeError::Full, "limit"),
        (closed, &["a"], SubscribeError::Closed, "closed"),
        (both, &["a"], SubscribeError::Closed, "closed"),
    ] {
        let before = stream.stats();
        for last_event_id in [None, Some("a foreign id")] {
            assert_eq!(stream.try_subscribe(channels, last_event_id).unwrap_err(), error);
        }
        assert!(error.to_string().contains(words), "{error}");
        for mut ended in
            [stream.subscribe(channels), stream.subscribe_after(channels, "a foreign id")]
        {
            assert!(ended.is_terminated(), "{error}");
            assert_eq!(ready(&mut ended), (vec![], true), "{error}");
            assert!(ended.last_event_id().as_ref().parse::<EventId>().is_ok(), "{error}");
        }
        assert_eq!(stream.stats(), before, "{error}: nothing is left behind");
    }
}

#[test]
fn try_subscribe_is_subscribe_when_nothing_is_in_its_way() {
    let stream = EventStream::new();
    let first = stream.try_publish("a", Event::new("1")).unwrap();
    stream.try_publish("a", Event::new("2").id("2")).unwrap();
    assert_eq!(text(&mut stream.try_subscribe("a", None).unwrap()), "");
    assert_eq!(
        text(&mut stream.try_subscribe("a", Some(first.as_ref())).unwrap()),
        "id: 2\nevent: 2\ndata: \n\n"
    );
}

// Limits of the hub.

fn limited(limits: Limits) -> (EventStream, String) {
    let stream = EventStream::builder().limits(limits).build().unwrap();
    let start = stream.subscribe("a").last_event_id().to_string();
    (stream, start)
}

fn evicted(at: &str, channels: Value) -> String {
    let data = format!("{{\"channels\":{channels},\"reason\":\"evicted\"}}");
    format!("id: {at}\nevent: stream-reset\ndata: {data}\n\n")
}

#[test]
fn subscriptions_are_refused_at_their_limit_and_one_that_ended_makes_room() {
    let (stream, _) = limited(Limits::default().subscriptions(2));
    let mut one = stream.try_subscribe("a", None).unwrap();
    let two = stream.try_subscribe(["b", "c"], None).unwrap();
    assert_eq!(stream.try_subscribe("a", None).unwrap_err(), SubscribeError::Full);
    drop(two);
    let three = stream.try_subscribe("a", None).unwrap();
    assert_eq!(stream.try_subscribe("a", None).unwrap_err(), SubscribeError::Full);
    stream.close_channel("a");
    assert_eq!(block_on(one.next()), None);
    let _four = stream.try_subscribe("a", None).unwrap();
    assert_eq!(
        stream.try_subscribe("a", None).unwrap_err(),
        SubscribeError::Full,
        "the third subscription has not read to its end"
    );
    drop((one, three));
    assert_eq!(stream.stats().subscriptions, 1);
}

#[test]
fn a_new_channel_takes_the_place_of_the_idle_one_whose_clients_get_a_reset() {
    let (stream, start) = limited(Limits::default().hub_channels(2));
    for channel in ["a", "b", "c"] {
        stream.try_publish(channel, Event::new(channel).id(channel)).unwrap();
        assert!(stream.stats().channels <= 2);
    }
    // `a` was evicted. `b` is still there, and stays while it is read.
    let mut b = stream.subscribe_after("b", &start);
    assert_eq!(text(&mut b), "id: b\nevent: b\ndata: \n\n");
    // `a` comes back and takes the place of `c`.
    let mut a = stream.subscribe_after("a", &start);
    assert_eq!(text(&mut a), evicted(&start, json!(["a"])));
    assert_eq!(
        stream.try_subscribe("c", None).unwrap_err(),
        SubscribeError::Full,
        "all channels are in use"
    );
    assert_eq!(stream.stats().channels, 2);
    stream.try_publish("a", Event::new("live").id("live")).unwrap();
    assert_eq!(text(&mut a), "id: live\nevent: live\ndata: \n\n");
    drop(a);
    let mut c = stream.subscribe_after("c", &start);
    assert_eq!(text(&mut c), evicted(&start, json!(["c"])));
}

#[test]
fn what_is_published_to_a_channel_that_cannot_be_kept_is_never_lost_silently() {
    let (stream, start) = limited(Limits::default().hub_channels(1));
    let mut in_use = stream.subscribe("in use");
    let early = stream.try_publish("a", Event::new("1")).unwrap();
    let late = block_on(stream.publish_all("a", [Event::new("2"), Event::new("3")])).unwrap();
    assert_eq!(stream.stats().published, 3);
    assert_eq!(stream.stats().channels, 1);
    assert_eq!(stream.try_subscribe("a", Some(&start)).unwrap_err(), SubscribeError::Full);
    assert_eq!(text(&mut in_use), "");
    drop(in_use);
    for before in [&start, early.as_ref(), late[0].as_ref()] {
        assert_eq!(text(&mut stream.subscribe_after("a", before)), evicted(before, json!(["a"])));
        assert_eq!(
            text(&mut stream.subscribe_after("b", before)),
            "",
            "the other channels have no gap"
        );
    }
    // A client that had all of it already missed nothing, and the channel is like any other again.
    let mut subscription = stream.subscribe_after("a", late[1].as_ref());
    let next = stream.try_publish("a", Event::new("4")).unwrap();
    assert_eq!(text(&mut subscription), format!("id: {next}\nevent: 4\ndata: \n\n"));
}

#[test]
fn more_channels_that_cannot_be_kept_than_are_remembered_are_never_silent() {
    let (stream, start) = limited(Limits::default().hub_channels(1));
    let in_use = stream.subscribe("in use");
    let count = 5000;
    for n in 0..count {
        stream.try_publish(&n.to_string(), Event::default()).unwrap();
    }
    drop(in_use);
    for n in (0..count).step_by(97) {
        let channel = n.to_string();
        let received = text(&mut stream.subscribe_after(&channel, &start));
        assert_eq!(received, evicted(&start, json!([channel])));
    }
}

#[test]
fn an_endless_batch_is_refused_when_it_is_over_the_window() {
    let stream = EventStream::new();
    let events = std::iter::repeat_with(|| Event::new("e").data("x"));
    let refused = block_on(stream.publish_all("c", events)).unwrap_err();
    assert_eq!(refused.to_string(), "batch exceeds the 1024 events that a channel keeps");
    assert_eq!(stream.stats().published, 0);
}

#[test]
fn a_refused_subscription_costs_no_idle_channel_its_events() {
    let stream = EventStream::builder().limits(Limits::default().hub_channels(2)).build().unwrap();
    let origin = stream.subscribe("a").last_event_id();
    for channel in ["a", "b"] {
        stream.try_publish(channel, Event::default().data(channel)).unwrap();
    }
    assert_eq!(stream.try_subscribe(["x", "y", "z"], None).unwrap_err(), SubscribeError::Full);
    let kept = text(&mut stream.subscribe_after(["a", "b"], origin.as_ref()));
    assert!(kept.contains("data: a\n"), "{kept}");
    assert!(kept.contains("data: b\n"), "{kept}");
    assert!(!kept.contains("stream-reset"), "{kept}");
}

/// What counted as evictable used to include channels that had subscribers again, and those that
/// the subscription itself asked for. So one channel lost its events before there was no other.
#[test]
fn a_refused_subscription_evicts_nothing_for_the_channels_that_it_could_have_had() {
    let (stream, start) = limited(Limits::default().hub_channels(2));
    for channel in ["a", "b"] {
        stream.try_publish(channel, Event::new(channel).id(channel)).unwrap();
    }
    assert_eq!(stream.try_subscribe(["a", "x", "y"], None).unwrap_err(), SubscribeError::Full);
    let a = stream.subscribe("a");
    assert_eq!(stream.try_subscribe(["x", "y"], None).unwrap_err(), SubscribeError::Full);
    assert_eq!(stream.try_subscribe(["b", "x"], None).unwrap_err(), SubscribeError::Full);
    assert_eq!(text(&mut stream.subscribe_after("b", &start)), "id: b\nevent: b\ndata: \n\n");
    assert_eq!(text(&mut stream.subscribe_after("a", &start)), "id: a\nevent: a\ndata: \n\n");
    // What can be made is made: `b` gives way.
    let x = stream.try_subscribe(["a", "x"], None).unwrap();
    assert_eq!(stream.stats().channels, 2);
    drop((a, x));
    assert_eq!(text(&mut stream.subscribe_after("b", &start)), evicted(&start, json!(["b"])));
}

/// The order used to be that in which the channels were left alone, whatever came to them later.
#[test]
fn the_channel_that_gives_way_is_the_one_whose_newest_event_is_oldest() {
    let (stream, start) = limited(Limits::default().hub_channels(2));
    for channel in ["a", "b", "a", "c"] {
        stream.try_publish(channel, Event::new(channel).id(channel)).unwrap();
    }
    let a = text(&mut stream.subscribe_after("a", &start));
    assert_eq!(a, "id: a\nevent: a\ndata: \n\n".repeat(2));
    assert_eq!(text(&mut stream.subscribe_after("b", &start)), evicted(&start, json!(["b"])));
}

#[test]
fn a_publisher_of_one_channel_follows_its_name_when_the_channel_goes() {
    for history in [History::default(), History::none()] {
        let timer = ManualTimer::new();
        let stream = EventStream::builder().history(history).timer(timer.clone()).build().unwrap();
        let publisher = stream.publisher("a");
        let mut first = Client::from(stream.subscribe("a"));
        publisher.try_publish(Event::new("1")).unwrap();
        assert_eq!(first.ready()[0].name, "1");

        stream.close_channel("a");
        assert!(first.ready().is_empty());
        assert!(first.is_ended());
        let mut second = Client::from(stream.subscribe("a"));
        publisher.try_publish(Event::new("2")).unwrap();
        assert_eq!(second.ready()[0].name, "2");

        // The channel goes with its last reader, or when its last event is too old.
        drop(second);
        timer.advance(Duration::from_secs(301));
        assert_eq!(stream.stats().channels, 0);
        let mut third = Client::from(stream.subscribe(["a", "b"]));
        block_on(publisher.publish_all([Event::new("3"), Event::new("4")])).unwrap();
        assert_eq!(third.ready().iter().map(|event| &*event.name).collect::<Vec<_>>(), ["3", "4"]);

        block_on(stream.close());
        assert_eq!(publisher.try_publish(Event::new("5")), Err(PublishError::Closed));
        assert_eq!(block_on(publisher.publish_all([])), Err(PublishError::Closed));
        assert_eq!(
            format!("{publisher:?}"),
            r#"ChannelPublisher("a")"#,
            "without anything of the channel's history"
        );
    }
}
