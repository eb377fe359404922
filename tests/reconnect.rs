//! A client that comes back with the last id that it received gets exactly what it missed, or a
//! `stream-reset` that says what is lost.

mod common;

use std::fmt::Display;
use std::time::Duration;

use common::{body_text, ready, text};
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Builder, Event, EventStream, History, Limits, Subscription};
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};

const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// Fewer than a channel keeps by default.
const EVENTS: usize = 1000;

fn event(data: impl Display) -> Event {
    Event::new("e").data(data.to_string())
}

/// Returns the id and the frame.
fn publish(stream: &EventStream, channel: &str, data: impl Display) -> (String, String) {
    let id = stream.try_publish(channel, event(&data)).unwrap().to_string();
    let frame = format!("id: {id}\nevent: e\ndata: {data}\n\n");
    (id, frame)
}

fn publish_with_id(stream: &EventStream, channel: &str, id: &str) -> String {
    stream.try_publish(channel, event("").id(id)).unwrap();
    format!("id: {id}\nevent: e\ndata: \n\n")
}

fn reset(id: impl Display, channels: &[&str], reason: &str) -> String {
    let channels = channels.join("\",\"");
    let data = format!("{{\"channels\":[\"{channels}\"],\"reason\":\"{reason}\"}}");
    format!("id: {id}\nevent: stream-reset\ndata: {data}\n\n")
}

fn next(subscription: &mut Subscription) -> Option<String> {
    let item = subscription.next().now_or_never().flatten()?;
    Some(String::from_utf8(item.into()).unwrap())
}

/// The id of the current position.
fn here(stream: &EventStream) -> String {
    stream.subscribe("a").last_event_id().to_string()
}

fn keeping(history: History) -> EventStream {
    EventStream::builder().history(history).build().unwrap()
}

/// Bodies without keep-alives.
fn quiet() -> Builder {
    EventStream::builder().keep_alive(Duration::ZERO)
}

/// The position of a client that sees only what is on the wire.
fn last_id_in(text: &str) -> Option<&str> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back()
}

/// What was published on some channels, as one text.
#[derive(Default)]
struct Whole {
    text: String,
    /// For each event of all channels, its id, and where in the text a client is that has it.
    places: Vec<(String, usize)>,
}

impl Whole {
    fn of(channels: &[&str], start: &str, published: &[(&str, String, String)]) -> Self {
        let mut whole = Self::default();
        whole.places.push((start.to_owned(), 0));
        for (channel, id, frame) in published {
            if channels.contains(channel) {
                whole.text += frame;
            }
            whole.places.push((id.clone(), whole.text.len()));
        }
        whole
    }
}

/// Spreads the events unevenly, so that the channels are not in step.
fn channel_of(number: usize) -> &'static str {
    CHANNELS[number * number % 7 % 3]
}

#[test]
fn from_each_position_of_a_thousand_events_exactly_the_rest_comes() {
    let stream = EventStream::new();
    let start = here(&stream);
    let published: Vec<_> = (0..EVENTS)
        .map(|number| {
            let (id, frame) = publish(&stream, channel_of(number), number);
            (channel_of(number), id, frame)
        })
        .collect();
    for channels in [&["a", "b", "c"][..], &["c", "a"], &["b"]] {
        let whole = Whole::of(channels, &start, &published);
        for (position, (id, place)) in whole.places.iter().enumerate() {
            let rest = text(&mut stream.subscribe_after(channels, id));
            assert!(rest == whole.text[*place..], "{channels:?} after event {position}");
        }
    }
}

#[test]
fn drops_between_any_items_lose_nothing_and_repeat_nothing_while_events_come() {
    for channels in [&["a", "b", "c"][..], &["c", "a"], &["b"]] {
        for (items, by_wire) in (1..=4).flat_map(|items| [(items, false), (items, true)]) {
            // A few frames per item.
            let stream =
                EventStream::builder().limits(Limits::default().item(200)).build().unwrap();
            let start = here(&stream);
            let (mut published, mut received, mut id) = (Vec::new(), String::new(), start.clone());
            loop {
                for number in (published.len()..EVENTS).take(25) {
                    let (id, frame) = publish(&stream, channel_of(number), number);
                    published.push((channel_of(number), id, frame));
                }
                let mut subscription = stream.subscribe_after(channels, &id);
                let got: Vec<String> = (0..items).map_while(|_| next(&mut subscription)).collect();
                if got.is_empty() && published.len() == EVENTS {
                    break;
                }
                assert!(
                    got.iter().all(|item| (1..=5).contains(&item.matches("\n\n").count())),
                    "{got:?}"
                );
                received += &got.concat();
                id = match last_id_in(&received).filter(|_| by_wire) {
                    Some(id) => id.to_owned(),
                    None => subscription.last_event_id().to_string(),
                };
            }
            let whole = Whole::of(channels, &start, &published).text;
            assert!(received == whole, "{items} items of {channels:?}, by the wire: {by_wire}");
        }
    }
}

#[test]
fn a_gap_in_one_channel_resets_that_one_and_the_other_loses_nothing() {
    let stream = keeping(History::default().events(3));
    let start = here(&stream);
    let mut live = stream.subscribe(["b", "a"]);
    let [first, kept @ .., last] =
        &["b", "a", "a", "a", "a", "a", "b"].map(|channel| publish(&stream, channel, channel).1);
    let rest = [first, &kept[2..].concat(), last].map(String::as_str).concat();
    assert_eq!(text(&mut live), reset(&start, &["a"], "lagged") + &rest);
    assert_eq!(
        text(&mut stream.subscribe_after(["b", "a"], &start)),
        reset(&start, &["a"], "evicted") + &rest
    );
    assert_eq!(text(&mut stream.subscribe_after("b", &start)), first.to_owned() + last);

    let up_to_date = live.last_event_id();
    assert_eq!(text(&mut stream.subscribe_after(["b", "a"], up_to_date.as_ref())), "");
}

#[test]
fn a_client_cut_right_after_a_reset_gets_it_again_and_still_loses_nothing() {
    let stream = EventStream::builder()
        .history(History::default().events(3))
        .limits(Limits::default().item(1))
        .build()
        .unwrap();
    let start = here(&stream);
    let frames = ["a", "b", "a", "a", "a"].map(|channel| publish(&stream, channel, channel).1);
    let mut subscription = stream.subscribe_after(["a", "b"], &start);
    let evicted = reset(&start, &["a"], "evicted");
    assert_eq!(next(&mut subscription).unwrap(), evicted.clone() + &frames[1]);
    let again = text(&mut stream.subscribe_after(["a", "b"], last_id_in(&evicted).unwrap()));
    assert_eq!(again, evicted + &frames[1..].concat());
}

#[test]
fn a_stream_ended_by_a_closed_channel_goes_on_where_it_ended() {
    let stream = EventStream::new();
    let mut both = stream.subscribe(["a", "b"]);
    let (_, before) = publish(&stream, "b", "before");
    stream.close_channel("a");
    let (_, after) = publish(&stream, "b", "after");
    assert_eq!(ready(&mut both), (vec![before.into()], true));
    assert_eq!(text(&mut stream.subscribe_after(["a", "b"], both.last_event_id().as_ref())), after);
}

/// Ways to get a body, each from an id or from the current position on.
const WAYS: [fn(&EventStream, Option<&str>) -> Body; 2] = [run, into_body];

fn run(stream: &EventStream, last_event_id: Option<&str>) -> Body {
    let request = last_event_id
        .into_iter()
        .fold(Request::builder(), |request, id| request.header("last-event-id", id));
    block_on(stream.run(&request.body(()).unwrap(), Response::new(()), ["a", "b"])).into_body()
}

fn into_body(stream: &EventStream, last_event_id: Option<&str>) -> Body {
    match last_event_id {
        Some(id) => stream.subscribe_after(["a", "b"], id).into_body(),
        None => stream.subscribe(["a", "b"]).into_body(),
    }
}

/// Cuts a body after its first frame, and returns the id that the client comes back with.
fn cut_after_open(mut body: Body, id: Option<&str>, open: &str) -> Option<String> {
    let first = body.next().now_or_never().flatten().unwrap().unwrap();
    assert_eq!(first, open);
    last_id_in(open).or(id).map(str::to_owned)
}

fn open(id: &str) -> String {
    format!("id: {id}\nevent: stream-open\ndata: \n\n")
}

#[test]
fn a_body_cut_right_after_its_stream_open_resumes_exactly() {
    for connect in WAYS {
        let stream = quiet().history(History::default().events(2)).build().unwrap();
        let start = here(&stream);
        let back = cut_after_open(connect(&stream, None), None, &open(&start));
        let frames = ["a", "b"].map(|channel| publish(&stream, channel, "missed").1).concat();
        assert_eq!(body_text(&mut connect(&stream, back.as_deref())), open(&start) + &frames);

        // A client that had missed events already, and has now missed more.
        let back =
            cut_after_open(connect(&stream, back.as_deref()), back.as_deref(), &open(&start));
        let (_, more) = publish(&stream, "b", "more");
        assert_eq!(
            body_text(&mut connect(&stream, back.as_deref())),
            open(&start) + &frames + &more
        );
    }
}

#[test]
fn a_body_cut_before_the_reset_that_was_due_gets_it_when_it_comes_back() {
    for connect in WAYS {
        let stream = quiet().history(History::default().events(2)).build().unwrap();
        let start = here(&stream);
        let published = ["a", "b", "a", "a"].map(|channel| publish(&stream, channel, channel));
        let (here, kept) =
            (&published[3].0, published[1..].iter().map(|(_, frame)| &**frame).collect::<String>());

        // `stream-open` has the client's own position, so the gap is still to come.
        let back = cut_after_open(connect(&stream, Some(&start)), Some(&start), &open(&start));
        let whole = open(&start) + &reset(&start, &["a"], "evicted") + &kept;
        assert_eq!(body_text(&mut connect(&stream, back.as_deref())), whole);

        // `stream-open` has no id, so the client keeps the unknown one.
        let unknown = "0000000000000-1";
        let no_id = "event: stream-open\ndata: \n\n";
        let back = cut_after_open(connect(&stream, Some(unknown)), Some(unknown), no_id);
        let whole = no_id.to_owned() + &reset(here, &["a", "b"], "unknown");
        assert_eq!(body_text(&mut connect(&stream, back.as_deref())), whole);

        // After the reset the client goes on from there.
        let (_, later) = publish(&stream, "b", "later");
        assert_eq!(body_text(&mut connect(&stream, last_id_in(&whole))), open(here) + &later);
    }
}

#[test]
fn another_life_of_the_stream_knows_none_of_the_ids() {
    let (before, after) = (EventStream::new(), EventStream::new());
    let (id, _) = publish(&before, "a", 1);
    publish(&after, "a", 1);
    let unknown = reset(here(&after), &["a", "b"], "unknown");
    assert_eq!(text(&mut after.subscribe_after(["a", "b"], &id)), unknown);
}

#[test]
fn a_channel_that_was_collected_comes_back_with_no_false_reset_and_no_silent_gap() {
    let timer = ManualTimer::new();
    let minute = History::default().age(Duration::from_secs(60));
    let stream = quiet().history(minute).timer(timer.clone()).build().unwrap();
    let start = here(&stream);
    let (up_to_date, _) = publish(&stream, "a", "soon too old");
    timer.advance(Duration::from_secs(60));
    assert_eq!(stream.stats().channels, 0);
    let (_, other) = publish(&stream, "b", "other");

    let mut knows = stream.subscribe_after("a", &up_to_date);
    let mut knows_both = stream.subscribe_after(["a", "b"], &up_to_date);
    let mut missed = stream.subscribe_after("a", &start);
    let mut missed_both = stream.subscribe_after(["a", "b"], &start);
    assert_eq!(text(&mut knows), "");
    assert_eq!(text(&mut knows_both), other);
    assert_eq!(text(&mut missed), reset(&start, &["a"], "evicted"));
    assert_eq!(text(&mut missed_both), reset(&start, &["a"], "evicted") + &other);

    let (_, next) = publish(&stream, "a", "next");
    for subscription in [&mut knows, &mut knows_both, &mut missed, &mut missed_both] {
        assert_eq!(text(subscription), next);
    }
}

#[test]
fn nobody_who_missed_nothing_gets_a_reset_however_many_quiet_rooms_are_gone() {
    let timer = ManualTimer::new();
    let stream = EventStream::builder().timer(timer.clone()).build().unwrap();
    let rooms: Vec<_> = (0..10_000).map(|room| format!("room {room}")).collect();
    let ids: Vec<_> = rooms
        .iter()
        .map(|room| {
            let mut subscription = stream.subscribe(room.as_str());
            publish(&stream, room, "hello");
            next(&mut subscription).unwrap();
            subscription.last_event_id()
        })
        .collect();
    timer.advance(Duration::from_secs(301));
    assert_eq!(stream.stats().channels, 0);
    // Somebody asks for rooms that there never were.
    (0..5_000).for_each(|room| drop(stream.subscribe(format!("other {room}"))));
    for (room, id) in rooms.iter().zip(&ids) {
        let mut subscription = stream.subscribe_after(room.as_str(), id.as_ref());
        assert_eq!(next(&mut subscription), None, "{room}");
    }
    // Whoever did miss something gets to know it.
    let missed = &reset(&ids[0], &["room 1"], "evicted");
    assert_eq!(next(&mut stream.subscribe_after("room 1", ids[0].as_ref())).as_ref(), Some(missed));
}

#[test]
fn a_channel_that_went_with_its_last_subscriber_comes_back_with_no_false_reset() {
    let stream = EventStream::new();
    let subscription = stream.subscribe("a");
    publish(&stream, "b", "elsewhere");
    let id = subscription.last_event_id();
    drop(subscription);
    assert_eq!(stream.stats().channels, 1);
    let (_, frame) = publish(&stream, "a", "first");
    assert_eq!(text(&mut stream.subscribe_after("a", id.as_ref())), frame);
}

#[test]
fn a_publishers_id_is_a_place_while_it_is_kept() {
    let stream = keeping(History::default().events(2));
    publish_with_id(&stream, "a", "order 1");
    let (_, other) = publish(&stream, "b", "other");
    let second = publish_with_id(&stream, "a", "order 2");
    assert_eq!(text(&mut stream.subscribe_after("a", "order 1")), second);
    assert_eq!(text(&mut stream.subscribe_after(["a", "b"], "order 1")), other + &second);
    assert_eq!(text(&mut stream.subscribe_after("a", "order 2")), "");

    publish_with_id(&stream, "a", "order 3");
    let unknown = reset(here(&stream), &["a"], "unknown");
    assert_eq!(text(&mut stream.subscribe_after("a", "order 1")), unknown, "no longer kept");
    assert_eq!(text(&mut stream.subscribe_after("a", "order 4")), unknown, "never published");
}

#[test]
fn stream_open_repeats_a_publishers_id_that_was_placed() {
    // Two processes that got the same events from elsewhere.
    let origins = [(); 2].map(|()| quiet().build().unwrap());
    for stream in &origins {
        publish_with_id(stream, "a", "order 1");
    }
    for channels in [&["a"][..], &["a", "b"]] {
        for stream in &origins {
            let (own, frame) = publish(stream, "a", "next");
            let open = |id: &str| {
                let mut body = stream.subscribe_after(channels, id).into_body();
                body_text(&mut body)
            };
            let opening = "event: stream-open\ndata: \n\n";
            let text = open("order 1");
            assert!(text.starts_with(&format!("id: order 1\n{opening}")), "{text}");
            assert!(text.ends_with(&frame), "{text}");
            // A client that is cut right after it comes back with an id that all of them know.
            assert_eq!(last_id_in(&text[..text.find("\n\n").unwrap()]), Some("order 1"));
            assert_eq!(open(own.as_ref()), format!("id: {own}\n{opening}"));
            let unknown = open("order 2");
            assert!(unknown.starts_with(opening), "{unknown}");
            // Among several ids a publisher's does not count.
            let both = open(&format!("order 1, {own}"));
            assert_eq!(both, format!("id: {own}\n{opening}"));
        }
    }
    let subscription = origins[0].subscribe_after("a", "order 1");
    assert_ne!(subscription.last_event_id().as_ref(), "order 1", "a position is the stream's own");
}

#[test]
fn a_publishers_id_that_is_kept_twice_is_not_a_place_until_one_of_them_is_gone() {
    let stream = keeping(History::default().events(2));
    publish_with_id(&stream, "a", "again");
    publish_with_id(&stream, "a", "again");
    let unknown = reset(here(&stream), &["a"], "unknown");
    assert_eq!(text(&mut stream.subscribe_after("a", "again")), unknown);
    let (_, next) = publish(&stream, "a", "next");
    assert_eq!(text(&mut stream.subscribe_after("a", "again")), next);
}

#[test]
fn a_publishers_id_in_two_channels_is_a_place_in_each_alone() {
    let stream = EventStream::new();
    publish_with_id(&stream, "a", "both");
    publish_with_id(&stream, "b", "both");
    let [a, b] = ["a", "b"].map(|channel| publish(&stream, channel, channel).1);
    assert_eq!(text(&mut stream.subscribe_after("a", "both")), a);
    assert_eq!(text(&mut stream.subscribe_after(["b", "c"], "both")), b);
    let unknown = reset(here(&stream), &["a", "b"], "unknown");
    assert_eq!(text(&mut stream.subscribe_after(["a", "b"], "both")), unknown);
}

/// Each item used to copy as much of each channel as one item holds.
#[test]
fn a_replay_over_many_channels_is_whole_in_order_and_in_full_items() {
    const ITEM: usize = 4096;
    let names: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    // Sizes and turns that no rule predicts; the seed makes them the same each time.
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let turns: [(&str, Vec<usize>); 7] = [
        ("in turns", (0..2000).map(|n| n % 40).collect()),
        ("one after another", (0..2000).map(|n| n / 50).collect()),
        ("nearly all in one", (0..2000).map(|n| if n % 50 == 0 { n / 50 } else { 3 }).collect()),
        ("at random", (0..2000).map(|_| random(40) as usize).collect()),
        ("one after another, the last first", (0..2000).map(|n| 39 - n / 50).collect()),
        ("among some others", (0..2000).map(|n| n % 40).collect()),
        ("among many others", (0..500).map(|_| random(40) as usize).collect()),
    ];
    for (how, turns) in turns {
        let others = match how {
            "among some others" => 10,
            "among many others" => 200,
            _ => 1,
        };
        let history = History::default().events(5000).bytes(64 << 20);
        let limits = Limits::default().item(ITEM);
        let stream = EventStream::builder().history(history).limits(limits).build().unwrap();
        let (start, _) = publish(&stream, "another", "");
        let frames: Vec<_> = turns
            .into_iter()
            .map(|turn| {
                let size = [5, 80, 700, 2000, 5000][random(5) as usize] + random(20) as usize;
                (0..random(others)).for_each(|_| drop(publish(&stream, "another", "")));
                publish(&stream, &names[turn], "x".repeat(size)).1
            })
            .collect();
        let mut subscription = stream.subscribe_after(&names, &start);
        let mut rest = frames.iter();
        while let Some(item) = next(&mut subscription) {
            // As many frames as fit, but at least one.
            let mut expected = rest.next().expect("a frame for each item").clone();
            while rest.as_slice().first().is_some_and(|frame| expected.len() + frame.len() <= ITEM)
            {
                expected += rest.next().unwrap();
            }
            assert!(item == expected, "{how}, with {} frames left", rest.len());
        }
        assert_eq!(rest.len(), 0, "{how}");
        // The legs that had nothing left are still there.
        for name in &names {
            let (_, frame) = publish(&stream, name, "live");
            assert_eq!(next(&mut subscription).as_ref(), Some(&frame), "{how}, {name}");
        }
        assert_eq!(stream.stats().resets, 0, "{how}");
    }
}
