//! The hub against a model too simple to be wrong (`common/hub_model.rs`). Whatever is done, every
//! poll returns what the model says, byte for byte.

mod common;
#[path = "common/hub_model.rs"]
mod hub_model;

use std::fmt;
use std::time::Duration;

use common::ready;
use eventstream::test_util::ManualTimer;
use eventstream::{Event, EventStream, History, Limits};
use hub_model::{as_text, Draft, Form, Id, Op, Pair, Setup, Via, GIVEN, NAMES};
use proptest::prelude::*;

/// Shown on one line, so that a failing sequence can be read from top to bottom.
#[derive(Clone)]
struct Line(Op);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    (
        prop::bool::weighted(0.9),
        1..=6usize,
        prop_oneof![2 => Just(1 << 20), 1 => 1..400usize],
        prop_oneof![1 => Just(300), 1 => 1..=4u64],
        prop_oneof![1 => Just(64 << 10), 1 => 1..300usize],
        prop_oneof![2 => Just(usize::MAX), 1 => 1..=3usize],
        prop_oneof![4 => Just(usize::MAX), 1 => 1..=4usize],
    )
        .prop_map(|(replay, events, bytes, seconds, item, channels, subscriptions)| Setup {
            replay,
            events,
            bytes,
            age: 1000 * seconds,
            item,
            channels,
            subscriptions,
        })
}

fn line() -> impl Strategy<Value = Line> {
    let name = || prop::sample::select(&NAMES[..]);
    let names = || prop::sample::subsequence(&NAMES[..], 1..=3).prop_shuffle();
    let draft = || {
        let given =
            prop_oneof![4 => Just(None), 1 => prop::sample::select(&GIVEN[..]).prop_map(Some)];
        let more = prop_oneof![3 => Just(0), 1 => 0..120usize];
        (given, more).prop_map(|(given, more)| Draft { given, more })
    };
    let id = prop_oneof![
        8 => (0..15u64).prop_map(Id::Back),
        1 => Just(Id::BeyondTheClock),
        1 => Just(Id::OtherEpoch),
        3 => prop::sample::select(&GIVEN[..]).prop_map(Id::Given),
        1 => (0..15u64, 0..15u64).prop_map(|(one, other)| Id::Both(one, other)),
    ];
    static ALL: [Via; 5] = [Via::Stream, Via::Try, Via::Publisher, Via::TryPublisher, Via::Sink];
    let via = || prop::sample::select(&ALL[..]);
    let form = || prop_oneof![6 => Just(Form::Plain), 1 => Just(Form::Try), 2 => Just(Form::Body)];
    let which = || 0..6usize;
    prop_oneof![
        30 => (name(), draft(), via()).prop_map(|(name, draft, via)| Op::Publish(name, draft, via)),
        8 => (name(), prop::collection::vec(draft(), 0..6), via())
            .prop_map(|(name, drafts, via)| Op::PublishAll(name, drafts, via)),
        1 => (name(), via()).prop_map(|(name, via)| Op::PublishInvalid(name, via)),
        8 => (names(), form()).prop_map(|(names, form)| Op::Subscribe(names, None, form)),
        8 => (names(), id, form())
            .prop_map(|(names, id, form)| Op::Subscribe(names, Some(id), form)),
        20 => which().prop_map(Op::PollOne),
        10 => which().prop_map(Op::PollAll),
        4 => which().prop_map(Op::Drop),
        5 => which().prop_map(Op::Reconnect),
        5 => (1..=4u64).prop_map(Op::Advance),
        3 => Just(Op::Stats),
        3 => name().prop_map(Op::CloseChannel),
        1 => Just(Op::Close),
    ]
    .prop_map(Line)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_poll_returns_what_the_model_says(
        setup in setup(),
        ops in prop::collection::vec(line(), 1..80),
    ) {
        let checked = Pair::new(setup).apply_all(ops.iter().map(|Line(op)| op));
        checked.map_err(TestCaseError::fail)?;
    }
}

/// An item used to end as soon as one channel had more than fits, though another channel's frame
/// came first and did fit.
#[test]
fn an_item_of_several_channels_takes_all_that_fits() {
    let stream = EventStream::builder().limits(Limits::default().item(80)).build().unwrap();
    let mut both = stream.subscribe(["a", "b"]);
    for (channel, data) in [("a", "1"), ("b", "2"), ("a", "3, and too long for the item")] {
        stream.try_publish(channel, Event::new("e").data(data)).unwrap();
    }
    let items: Vec<String> = ready(&mut both).0.into_iter().map(as_text).collect();
    let frames: Vec<_> = items.iter().map(|item| item.matches("data:").count()).collect();
    assert_eq!(frames, [2, 1], "{items:?}");
}

/// A stream that had missed nothing used to end with a reset, about events lost after the close.
#[test]
fn a_stream_that_has_read_all_up_to_the_close_of_a_channel_just_ends() {
    let stream = EventStream::builder().history(History::default().events(1)).build().unwrap();
    let mut both = stream.subscribe(["a", "b"]);
    stream.close_channel("a");
    for _ in 0..2 {
        stream.try_publish("b", Event::new("e")).unwrap();
    }
    assert_eq!(ready(&mut both), (vec![], true));
}

/// A channel used to keep its last events for ever while it had readers, because only channels
/// without readers were looked at.
#[test]
fn events_that_are_too_old_go_when_anything_is_published_though_their_channel_has_a_reader() {
    let timer = ManualTimer::new();
    let age = Duration::from_secs(4);
    let history = History::default().age(age);
    let stream = EventStream::builder().history(history).timer(timer.clone()).build().unwrap();
    let mut read = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    let mut unread = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    let last = stream.try_publish("a", Event::new("e")).unwrap();
    read.iter_mut().for_each(|reader| assert_eq!(ready(reader).0.len(), 1));

    timer.advance(age);
    let next = stream.try_publish("c", Event::new("e")).unwrap();
    for reader in &mut read {
        assert_eq!(ready(reader), (vec![], false), "missed nothing");
    }
    let start = last.as_ref().replace("-1", "-0");
    for reader in &mut unread {
        let data = r#"{"channels":["a"],"reason":"lagged"}"#;
        let reset = format!("id: {start}\nevent: stream-reset\ndata: {data}\n\n");
        assert_eq!(ready(reader), (vec![reset.into()], false));
    }
    // The channel and its readers go on as before.
    let live = stream.try_publish("a", Event::new("live")).unwrap();
    for reader in read.iter_mut().chain(&mut unread) {
        let frame = format!("id: {live}\nevent: live\ndata: \n\n");
        assert_eq!(ready(reader), (vec![frame.into()], false), "after {next}");
    }
}
