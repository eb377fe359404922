//! What clients behind a proxy learn of events that its endpoint did not get. The endpoint is
//! scripted and the clock is moved by hand; `pushpin.rs` has the tests with a real proxy.
#![cfg(feature = "grip")]

mod common;
#[path = "common/control_port.rs"]
mod control_port;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use control_port::{scripted, Pool, Post, Posts, Reply};
use eventstream::test_util::ManualTimer;
use eventstream::{Event, EventId, EventStream, History, Limits};
use futures::future::FutureExt;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A stream behind one scripted endpoint, whose worker runs only in `settle`.
struct Origin {
    stream: EventStream,
    posts: Posts,
    timer: ManualTimer,
    pool: Pool,
}

impl Origin {
    fn new(
        history: History,
        limits: Limits,
        reply: impl FnMut(&Post) -> Reply + Send + 'static,
    ) -> Self {
        let (timer, pool) = (ManualTimer::new(), Pool::new());
        let (transport, posts) = scripted(&timer, reply);
        let builder = EventStream::builder().history(history).limits(limits).grip_prefix("p-");
        let builder = builder.executor(pool.tasks()).timer(timer.clone()).transport(transport);
        Self { stream: builder.grip("http://localhost/").build().unwrap(), posts, timer, pool }
    }

    /// Answers 503 until `healthy`, counted from the start.
    fn down_for(healthy: Duration) -> Self {
        let mut start = None;
        Self::new(History::default(), Limits::default(), move |post| {
            let start = *start.get_or_insert(post.at);
            Reply::Status(if post.at - start < healthy { 503 } else { 200 })
        })
    }

    fn publish(&self, channel: &str, data: &str) -> EventId {
        self.stream.try_publish(channel, Event::default().data(data)).unwrap()
    }

    fn settle(&mut self) {
        self.pool.settle();
    }

    fn advance(&mut self, by: Duration) {
        self.timer.advance(by);
        self.settle();
    }

    /// The items that were sent since the last call.
    fn sent(&self, from: usize) -> Vec<Vec<(String, String, String)>> {
        self.posts.all()[from..].iter().map(items).collect()
    }

    fn resets(&self) -> u64 {
        self.stream.stats().grip[0].resets
    }
}

/// The channel, id and content of each item.
fn items(post: &Post) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    let item = |item: serde_json::Value| {
        let content = &item["formats"]["http-stream"]["content"];
        (text(&item["channel"]), text(&item["id"]), text(content))
    };
    post.items().into_iter().map(item).collect()
}

fn event(channel: &str, id: &EventId, data: &str) -> (String, String, String) {
    (format!("p-{channel}"), id.to_string(), format!("id: {id}\ndata: {data}\n\n"))
}

fn reset(channel: &str, id: &EventId) -> (String, String, String) {
    let data = format!(r#"{{"channels":["{channel}"],"reason":"lost"}}"#);
    let content = format!("id: {id}\nevent: stream-reset\ndata: {data}\n\n");
    (format!("p-{channel}"), format!("{id}-lost"), content)
}

#[test]
fn an_endpoint_that_is_down_for_some_seconds_loses_nothing() {
    let mut origin = Origin::down_for(20 * SECOND);
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(origin.publish("a", &number.to_string()));
        origin.advance(150 * MS);
    }
    let stats = &origin.stream.stats().grip[0];
    assert_eq!((stats.accepted, stats.failed, stats.resets), (200, 0, 0));
    let mut accepted: Vec<_> = origin.sent(0).concat();
    accepted.dedup();
    let mut seen = accepted.into_iter().map(|(_, id, _)| id).collect::<Vec<_>>();
    // What was tried in vain is sent again, in the same order.
    seen.dedup();
    let last = seen.split_off(seen.len() - 40);
    assert_eq!(last, ids[160..].iter().map(EventId::to_string).collect::<Vec<_>>());
}

#[test]
fn clients_learn_of_what_was_lost_before_anything_newer() {
    let mut origin = Origin::down_for(40 * SECOND);
    let a = origin.publish("a", "1");
    let b = origin.publish("b\"", "2");
    origin.settle();
    let later = origin.publish("a", "3");
    origin.advance(30 * SECOND);
    assert_eq!(origin.stream.stats().grip[0].failed, 3);
    let kept = origin.publish("a", "4");
    assert_ne!(a, later);
    let mut tries = origin.posts.len();
    while origin.resets() == 0 {
        tries = origin.posts.len();
        origin.advance(10 * MS);
    }
    let encoded = ("p-b%22", format!("{b}-lost"));
    let mut of_b = reset("b\\\"", &b);
    (of_b.0, of_b.1) = (encoded.0.into(), encoded.1);
    let expected = vec![vec![reset("a", &later), of_b, event("a", &kept, "4")]];
    assert_eq!(origin.sent(tries), expected);
    // Each is told once.
    let newer = origin.publish("a", "5");
    let tries = origin.posts.len();
    origin.advance(SECOND);
    assert_eq!(origin.sent(tries), [[event("a", &newer, "5")]]);
    assert_eq!(origin.resets(), 2);
}

#[test]
fn clients_learn_of_a_loss_though_nothing_newer_is_published() {
    let mut origin = Origin::down_for(300 * SECOND);
    let id = origin.publish("a", "1");
    origin.settle();
    for _ in 0..(299 * 5) {
        origin.advance(200 * MS);
    }
    assert_eq!(origin.resets(), 0);
    // A dead endpoint is not bothered all the time.
    assert!(origin.posts.len() < 120, "{}", origin.posts.len());
    for _ in 0..(31 * 5) {
        origin.advance(200 * MS);
    }
    assert_eq!(origin.resets(), 1);
    assert_eq!(origin.sent(origin.posts.len() - 1), [[reset("a", &id)]]);
}

#[test]
fn an_item_that_is_refused_is_followed_by_a_reset_before_anything_newer() {
    let refused = |post: &Post| post.contents().iter().any(|content| content.contains("bad"));
    let mut origin = Origin::new(History::default(), Limits::default(), move |post| {
        Reply::Status(if refused(post) { 400 } else { 200 })
    });
    let published: Vec<_> =
        ["1", "bad", "3", "4"].map(|data| (origin.publish("a", data), data)).into();
    origin.settle();
    let accepted: Vec<_> = origin.posts.all().into_iter().filter(|post| !refused(post)).collect();
    let accepted = accepted.iter().flat_map(items).collect::<Vec<_>>();
    let [first, bad, third, fourth] = &published[..] else { panic!() };
    let expected = [
        event("a", &first.0, first.1),
        reset("a", &bad.0),
        event("a", &third.0, third.1),
        event("a", &fourth.0, fourth.1),
    ];
    assert_eq!(accepted, expected);
    assert_eq!(origin.resets(), 1);
}

#[test]
fn what_a_full_queue_does_not_take_is_told_of_where_it_would_have_come() {
    let limits = Limits::default().grip_queue(2);
    let mut origin = Origin::new(History::default(), limits, |_| Reply::Status(200));
    let ids = [1, 2, 3, 4].map(|number| origin.publish("a", &number.to_string()));
    origin.settle();
    let newer = origin.publish("a", "5");
    origin.settle();
    let expected = [
        event("a", &ids[0], "1"),
        event("a", &ids[1], "2"),
        reset("a", &ids[3]),
        event("a", &newer, "5"),
    ];
    assert_eq!(origin.sent(0).concat(), expected);
}

#[test]
fn an_endpoint_that_takes_no_resets_takes_everything_else() {
    let mut first = true;
    let is_reset = |content: &String| content.contains("stream-reset");
    let mut origin = Origin::new(History::default(), Limits::default(), move |post| {
        let fails = std::mem::take(&mut first);
        let refuses = post.contents().iter().any(is_reset);
        Reply::Status(if fails {
            404
        } else if refuses {
            400
        } else {
            200
        })
    });
    for channel in ["a", "b", "c"] {
        origin.publish(channel, "1");
    }
    origin.settle();
    let ids = ["a", "b"].map(|channel| origin.publish(channel, "2"));
    for _ in 0..100 {
        origin.advance(SECOND);
    }
    let posts = origin.posts.all();
    let accepted: Vec<_> = posts[1..]
        .iter()
        .filter(|post| !post.contents().iter().any(is_reset))
        .flat_map(items)
        .collect();
    assert_eq!(accepted, [event("a", &ids[0], "2"), event("b", &ids[1], "2")]);
    assert_eq!(origin.resets(), 0);
    assert!(posts.len() < 15, "{}", posts.len());
}

#[test]
fn an_endpoint_that_refuses_everything_for_good_fails_newer_items_at_once() {
    let mut origin = Origin::new(History::default(), Limits::default(), |_| Reply::Status(404));
    for number in 1..20 {
        let mut published = origin.stream.publish("a", Event::default().data("x"));
        origin.settle();
        assert!((&mut published).now_or_never().unwrap().is_err());
        assert_eq!(origin.stream.stats().grip[0].failed, number);
    }
    let tries = origin.posts.len();
    for _ in 0..600 {
        origin.advance(SECOND);
    }
    // Every half a minute at least, and never in a row.
    let posts = origin.posts.len() - tries;
    assert!((20..90).contains(&posts), "{posts}");
}

#[test]
fn without_history_a_reset_has_no_id() {
    let mut failed = false;
    let mut origin = Origin::new(History::none(), Limits::default(), move |_| {
        Reply::Status(if std::mem::replace(&mut failed, true) { 200 } else { 404 })
    });
    origin.publish("a", "1");
    origin.settle();
    origin.advance(SECOND);
    let sent = origin.sent(1).concat();
    let content = "event: stream-reset\ndata: {\"channels\":[\"a\"],\"reason\":\"lost\"}\n\n";
    assert_eq!((&*sent[0].0, &*sent[0].2), ("p-a", content));
    assert_eq!(sent.len(), 1);
}

#[test]
fn losses_on_more_channels_than_can_be_remembered_are_told_on_all_known_channels() {
    let mut start = None;
    let limits = Limits::default().grip_queue(50_000);
    let mut origin = Origin::new(History::default(), limits, move |post| {
        let start = *start.get_or_insert(post.at);
        Reply::Status(if post.at - start < 40 * SECOND { 503 } else { 200 })
    });
    const CHANNELS: usize = 20_000;
    for channel in 0..CHANNELS {
        origin.publish(&channel.to_string(), "x");
    }
    origin.settle();
    for _ in 0..35 {
        origin.advance(SECOND);
    }
    assert_eq!(origin.stream.stats().grip[0].failed as usize, CHANNELS);
    let newer = origin.publish("7", "newer");
    let before = origin.posts.len();
    for _ in 0..40 {
        origin.advance(SECOND);
    }
    let posts = origin.posts.all().split_off(before);
    // The last try of each batch is the one that was accepted.
    let sent: Vec<_> = posts.iter().flat_map(items).collect();
    let place = sent.iter().position(|item| *item == event("7", &newer, "newer")).unwrap();
    assert_eq!(place, sent.len() - 1, "nothing came after it");
    let mut told: Vec<_> = sent[..place].iter().map(|(channel, ..)| channel.clone()).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), CHANNELS);
    // Those whose names were noted are told by name and with the others.
    assert!((CHANNELS..CHANNELS + 10_000).contains(&(origin.resets() as usize)));
    let content = r#"data: {"channels":["19999"],"reason":"lost"}"#;
    assert!(sent.iter().any(|(_, _, sent)| *sent == format!("event: stream-reset\n{content}\n\n")));
}

#[test]
fn closing_waits_until_clients_were_told_of_a_loss() {
    let mut first = true;
    let mut origin = Origin::new(History::default(), Limits::default(), move |_| {
        Reply::Status(if std::mem::take(&mut first) { 404 } else { 200 })
    });
    let id = origin.publish("a", "1");
    let mut closed = Box::pin(origin.stream.close());
    assert!(closed.as_mut().now_or_never().is_none());
    origin.settle();
    assert!(closed.as_mut().now_or_never().is_some());
    assert_eq!(origin.sent(1), [[reset("a", &id)]]);
}

#[test]
fn closing_tries_what_is_owed_after_a_long_outage_too() {
    // Pauses are drawn, and some of them are short anyway.
    for _ in 0..5 {
        let healthy = Arc::new(AtomicBool::new(false));
        let is_healthy = healthy.clone();
        let mut origin = Origin::new(History::default(), Limits::default(), move |_| {
            Reply::Status(if is_healthy.load(Ordering::Relaxed) { 200 } else { 503 })
        });
        let id = origin.publish("a", "1");
        origin.settle();
        for _ in 0..200 {
            origin.advance(SECOND);
        }
        // Just after a try: the next one would come within half a minute.
        let tries = origin.posts.len();
        while origin.posts.len() == tries {
            origin.advance(100 * MS);
        }
        healthy.store(true, Ordering::Relaxed);
        let mut closed = Box::pin(origin.stream.close());
        for _ in 0..20 {
            origin.advance(100 * MS);
        }
        assert!(closed.as_mut().now_or_never().is_some());
        assert_eq!(origin.sent(tries + 1), [[reset("a", &id)]]);
    }
}

#[test]
fn losses_are_told_by_name_though_the_stream_has_forgotten_the_channels() {
    let mut start = None;
    let mut origin = Origin::new(History::none(), Limits::default(), move |post| {
        let start = *start.get_or_insert(post.at);
        Reply::Status(if post.at - start < 40 * SECOND { 503 } else { 200 })
    });
    // Nobody subscribes here, and nothing is kept.
    const CHANNELS: usize = 10_000;
    for channel in 0..CHANNELS {
        origin.publish(&channel.to_string(), "x");
    }
    origin.settle();
    for _ in 0..90 {
        origin.advance(SECOND);
    }
    // As many names as are remembered.
    assert!(origin.resets() > 7_000, "{}", origin.resets());
}
