//! Publishing through proxies: order, batches, retries, failures and how they are reported. The
//! endpoints are scripted and the clock is moved by hand; `pushpin.rs` has the tests with a real
//! proxy.
#![cfg(feature = "grip")]

mod common;
#[path = "common/control_port.rs"]
mod control_port;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use common::text;
use control_port::{scripted, Pool, Post, Posts, Reply};
use eventstream::grip::{Config, Endpoint, Item, Publisher};
use eventstream::runtime::Executor;
use eventstream::test_util::ManualTimer;
use eventstream::{Builder, ChannelSink, Event, EventStream, History, Limits, PublishError};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt};
use futures::sink::Sink;
use futures::task::noop_waker_ref;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A stream behind scripted endpoints, whose workers run only in `settle`.
struct Origin {
    stream: EventStream,
    posts: Posts,
    timer: ManualTimer,
    pool: Pool,
}

impl Origin {
    fn new(reply: impl FnMut(&Post) -> Reply + Send + 'static) -> Self {
        Self::with(endpoints(&["a"]), |builder| builder, reply)
    }

    fn with(
        endpoints: Vec<Endpoint>,
        configure: impl FnOnce(Builder) -> Builder,
        reply: impl FnMut(&Post) -> Reply + Send + 'static,
    ) -> Self {
        let (timer, pool) = (ManualTimer::new(), Pool::new());
        let (transport, posts) = scripted(&timer, reply);
        let builder =
            EventStream::builder().executor(pool.tasks()).timer(timer.clone()).transport(transport);
        Self { stream: configure(builder.grip(endpoints)).build().unwrap(), posts, timer, pool }
    }

    fn settle(&mut self) {
        self.pool.settle();
    }

    fn advance(&mut self, by: Duration) {
        self.timer.advance(by);
        self.settle();
    }

    /// Lets enough time pass for everything that still fails to be given up.
    fn give_up(&mut self) {
        self.settle();
        for _ in 0..80 {
            self.advance(SECOND);
        }
    }

    /// `accepted`, `failed` and `queued` of each endpoint.
    fn counts(&self) -> Vec<[u64; 3]> {
        self.stream
            .stats()
            .grip
            .iter()
            .map(|stats| [stats.accepted, stats.failed, stats.queued])
            .collect()
    }

    fn sink(&self) -> Pin<Box<ChannelSink>> {
        Box::pin(self.stream.sink("c"))
    }
}

/// The endpoint `http://HOST/` for each host.
fn endpoints(hosts: &[&str]) -> Vec<Endpoint> {
    hosts.iter().map(|host| Endpoint::new(format!("http://{host}/")).unwrap()).collect()
}

fn ok(_: &Post) -> Reply {
    Reply::Status(200)
}

fn numbered(number: usize) -> Event {
    Event::default().data(format!("{number}"))
}

/// The outcome, if the future is ready.
fn outcome<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    future.now_or_never()
}

/// The id and the endpoints of a failure, with the reasons.
fn failure<T: std::fmt::Debug>(
    outcome: Option<Result<T, PublishError>>,
) -> (String, Vec<(String, String)>) {
    let Some(Err(PublishError::Grip { id, failures })) = outcome else {
        panic!("not a failure at a proxy: {outcome:?}")
    };
    let text = |text: &str| text.to_owned();
    (
        id.to_string(),
        failures.iter().map(|failure| (text(failure.endpoint()), text(failure.reason()))).collect(),
    )
}

fn seq(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn is_reset(content: &str) -> bool {
    content.contains("event: stream-reset\n")
}

/// The requests that bring events, and not only word of a loss.
fn with_events(posts: Vec<Post>) -> Vec<Post> {
    let has_events = |post: &Post| !post.contents().iter().all(|content| is_reset(content));
    posts.into_iter().filter(has_events).collect()
}

/// The data of each published event in the items of these requests.
fn data(posts: &[Post]) -> Vec<String> {
    let of = |content: String| {
        content.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap()
    };
    let contents = posts.iter().flat_map(Post::contents);
    contents.filter(|content| !is_reset(content)).map(of).collect()
}

#[test]
fn a_publication_is_a_post_of_items_with_a_length() {
    let mut origin = Origin::new(ok);
    let mut published = origin.stream.publish("a b", Event::new("n").data("1"));
    assert!(outcome(&mut published).is_none(), "no endpoint has accepted it yet");
    origin.settle();
    let id = outcome(&mut published).unwrap().unwrap();

    let [post] = &origin.posts.all()[..] else { panic!() };
    assert_eq!(post.method, "POST");
    assert_eq!(post.uri.to_string(), "http://a/publish/");
    assert_eq!(post.headers["content-type"], "application/json");
    assert_eq!(post.headers["content-length"], post.body.len().to_string());
    assert!(!post.headers.contains_key("transfer-encoding"));
    assert!(!post.headers.contains_key("authorization"));
    let content = format!("id: {id}\nevent: n\ndata: 1\n\n");
    let item = serde_json::json!({
        "channel": "events-a%20b",
        "id": id.to_string(),
        "formats": { "http-stream": { "content": content } },
    });
    assert_eq!(post.items(), [item]);
    assert_eq!(origin.counts(), [[1, 0, 0]]);
}

#[test]
fn items_are_sent_in_the_order_of_their_seqs_with_eight_publishers_on_one_channel() {
    const EACH: usize = 400;
    let (transport, posts) = scripted(&ManualTimer::new(), ok);
    let stream =
        EventStream::builder().grip(endpoints(&["a", "b"])).transport(transport).build().unwrap();
    thread::scope(|scope| {
        for publisher in 0..8 {
            let stream = &stream;
            scope.spawn(move || {
                for number in 0..EACH / 4 {
                    drop(stream.publish("c", numbered(number)));
                    stream.try_publish("c", numbered(number)).unwrap();
                    let batch = stream.publish_all("c", [numbered(number), numbered(number)]);
                    if publisher == 0 {
                        block_on(batch).unwrap();
                    }
                }
            });
        }
    });
    block_on(stream.close());
    for host in ["a", "b"] {
        let posts = posts.to(host);
        assert!(posts.iter().all(|post| (1..=100).contains(&post.ids().len())));
        let seqs = posts.iter().flat_map(Post::ids).map(|id| seq(&id));
        assert!(seqs.eq(1..=8 * EACH as u64), "{host}");
    }
}

#[test]
fn batches_are_as_large_as_they_may_be_and_keep_the_order() {
    // Bytes of data of each event, and how many events; how many each POST takes.
    let table: [(&str, usize, usize, &[usize]); 6] = [
        ("x", 1, 1, &[1]),
        ("x", 10, 250, &[100, 100, 50]),
        ("x", 300_000, 3, &[2, 1]),
        ("x", 100_000, 9, &[8, 1]),
        ("x", 800_000, 3, &[1, 1, 1]),
        // JSON doubles a quotation mark.
        ("\"", 300_000, 2, &[1, 1]),
    ];
    for (letter, size, count, expected) in table {
        let mut origin = Origin::new(ok);
        let ids: Vec<_> = (0..count)
            .map(|_| {
                origin
                    .stream
                    .try_publish("c", Event::default().data(letter.repeat(size)))
                    .unwrap()
                    .to_string()
            })
            .collect();
        origin.settle();
        let posts = origin.posts.all();
        let sizes: Vec<_> = posts.iter().map(|post| post.ids().len()).collect();
        assert_eq!(sizes, expected, "{letter} {size}");
        assert!(posts.iter().all(|post| post.body.len() < 900_000));
        assert_eq!(posts.iter().flat_map(Post::ids).collect::<Vec<_>>(), ids);
    }
}

#[test]
fn an_event_that_no_post_can_hold_is_invalid_before_anyone_gets_it() {
    let mut origin = Origin::new(ok);
    let mut subscription = origin.stream.subscribe("c");
    let event = |size| Event::default().data("x".repeat(size));
    let (mut fits, mut too_large) = (890_000, 900_000);
    while fits + 1 < too_large {
        let middle = (fits + too_large) / 2;
        match origin.stream.try_publish("c", event(middle)) {
            Ok(_) => fits = middle,
            Err(PublishError::Invalid(_)) => too_large = middle,
            other => panic!("{other:?}"),
        }
    }
    origin.settle();
    let largest = origin.posts.all().iter().map(|post| post.body.len()).max().unwrap();
    assert!((899_000..900_000).contains(&largest), "{largest}");
    text(&mut subscription);

    let (posts, before) = (origin.posts.len(), origin.stream.stats());
    let all = [numbered(1), event(too_large), numbered(2)];
    assert!(matches!(
        outcome(&mut origin.stream.publish("c", event(too_large))),
        Some(Err(PublishError::Invalid(_)))
    ));
    assert!(matches!(
        outcome(&mut origin.stream.publish_all("c", all)),
        Some(Err(PublishError::Invalid(_)))
    ));
    let mut sink = origin.sink();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    assert!(matches!(sink.as_mut().start_send(event(too_large)), Err(PublishError::Invalid(_))));
    origin.settle();
    assert_eq!(text(&mut subscription), "");
    assert_eq!(origin.posts.len(), posts);
    assert_eq!(origin.stream.stats().published, before.published);
}

#[test]
fn what_fails_for_a_passing_reason_is_sent_again_unchanged() {
    let reasons: [fn() -> Reply; 6] = [
        || Reply::NoAnswer,
        || Reply::Status(429),
        || Reply::Status(500),
        || Reply::Status(502),
        || Reply::Status(503),
        || Reply::Status(504),
    ];
    for (index, reason) in reasons.into_iter().enumerate() {
        for failures in [1, 4, 12] {
            let mut tries = 0;
            let mut origin = Origin::new(move |_| {
                tries += 1;
                if tries <= failures {
                    reason()
                } else {
                    Reply::Status(200)
                }
            });
            let mut published = origin.stream.publish_all("c", [numbered(1), numbered(2)]);
            origin.give_up();
            let posts = origin.posts.all();
            assert_eq!(posts.len(), failures + 1, "reason {index}, {failures} failures");
            for post in &posts {
                assert_eq!(post.body, posts[0].body);
                assert_eq!(post.headers, posts[0].headers);
            }
            assert!(outcome(&mut published).unwrap().is_ok());
            assert_eq!(origin.counts(), [[2, 0, 0]]);
            assert_eq!(origin.stream.stats().grip[0].retried, failures as u64);
        }
    }
}

#[test]
fn what_fails_for_good_is_sent_once() {
    for status in [300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 406, 410, 411, 415, 422] {
        let mut origin = Origin::new(move |_| Reply::Status(status));
        let mut published = origin.stream.publish_all("c", [numbered(1), numbered(2)]);
        origin.settle();
        let (_, failures) = failure(outcome(&mut published));
        assert!(failures[0].1.contains(&status.to_string()), "{failures:?}");
        origin.give_up();
        assert_eq!(with_events(origin.posts.all()).len(), 1, "{status}");
        assert_eq!(origin.counts(), [[0, 2, 0]], "{status}");
    }
}

#[test]
fn any_2xx_is_accepted() {
    for status in [200, 201, 202, 204, 299] {
        let mut origin = Origin::new(move |_| Reply::Status(status));
        let mut published = origin.stream.publish("c", numbered(1));
        origin.settle();
        assert!(outcome(&mut published).unwrap().is_ok());
    }
}

#[test]
fn pauses_between_tries_are_anything_up_to_a_bound_that_doubles_up_to_two_seconds() {
    let (mut short, mut long) = (0, 0);
    for number in 0..20 {
        let mut origin = Origin::new(|_| Reply::Status(503));
        origin.stream.try_publish("c", numbered(number)).unwrap();
        origin.settle();
        while origin.counts()[0][2] > 0 {
            origin.advance(5 * MS);
        }
        let posts = origin.posts.all();
        for (index, pair) in posts.windows(2).enumerate() {
            let bound = Duration::from_millis(200 << index.min(10)).min(2 * SECOND);
            let pause = pair[1].at - pair[0].at;
            assert!(pause <= bound + 5 * MS, "pause {index}: {pause:?}");
            *(if pause < bound / 2 { &mut short } else { &mut long }) += 1;
        }
    }
    assert!(short > 100, "not spread out: {short} short, {long} long");
    assert!(long > 100, "not spread out: {short} short, {long} long");
}

#[test]
fn a_post_has_ten_seconds_or_what_the_endpoint_says_and_an_item_thirty() {
    for (timeout, given) in
        [(10 * SECOND, None), (2 * SECOND, Some(2 * SECOND)), (25 * SECOND, Some(25 * SECOND))]
    {
        let mut endpoint = endpoints(&["a"]).remove(0);
        if let Some(given) = given {
            endpoint = endpoint.timeout(given);
        }
        let mut origin = Origin::with(vec![endpoint], |builder| builder, |_| Reply::Hang);
        let mut published = origin.stream.publish("c", numbered(1));
        origin.settle();
        origin.advance(timeout - MS);
        assert_eq!(origin.posts.len(), 1);
        assert_eq!(origin.posts.open(), 1);
        origin.advance(MS);
        assert_eq!(origin.posts.open(), 0, "the request has been dropped");
        let mut passed = timeout;
        while passed < 30 * SECOND {
            assert!(outcome(&mut published).is_none(), "{passed:?}");
            origin.advance(10 * MS);
            passed += 10 * MS;
        }
        let (_, failures) = failure(outcome(&mut published));
        let reason = format!("no answer in {timeout:?}, after ");
        assert!(failures[0].1.starts_with(&reason), "{failures:?}");
        let posts = with_events(origin.posts.all());
        assert!(posts.len() >= 2);
        for post in &posts {
            assert!(post.at - posts[0].at <= 30 * SECOND);
            assert_eq!(post.body, posts[0].body);
        }
    }
}

#[test]
fn retry_after_is_waited_for_by_all_that_is_queued() {
    for (status, asked, waits) in [
        (429, "7", 7 * SECOND),
        (503, " 7 ", 7 * SECOND),
        (429, "0", Duration::ZERO),
        (429, "Fri, 31 Dec 1999 23:59:59 GMT", Duration::ZERO),
        (429, "-1", Duration::ZERO),
        // Longer than anything waits.
        (429, "18446744073709551615", 30 * SECOND),
        (429, "18446744073709551616", Duration::ZERO),
    ] {
        let mut first = true;
        let reply = move |_: &Post| match std::mem::take(&mut first) {
            true => Reply::RetryAfter(status, asked),
            false => Reply::Status(200),
        };
        let mut origin = Origin::new(reply);
        let mut published = origin.stream.publish("c", numbered(1));
        origin.settle();
        let mut later = origin.stream.publish("c", numbered(2));
        // Without being asked, the pause has up to 200 ms.
        let (some, rest) = (waits.saturating_sub(MS), MS + 200 * MS);
        origin.advance(some);
        assert_eq!(origin.posts.len(), if waits.is_zero() { origin.posts.len() } else { 1 });
        origin.advance(rest);
        origin.settle();
        let late = waits == 30 * SECOND;
        assert_eq!(outcome(&mut published).unwrap().is_err(), late, "{status} {asked}");
        // The second was published in the same moment.
        assert_eq!(outcome(&mut later).unwrap().is_err(), late, "{status} {asked}");
    }
}

#[test]
fn a_batch_that_is_refused_costs_only_its_bad_items_and_keeps_the_order() {
    let table: [(u16, &[usize]); 6] =
        [(400, &[0]), (400, &[57]), (400, &[99]), (400, &[3, 4, 90]), (413, &[57]), (400, &[])];
    for (status, bad) in table {
        let refused = |content: &String| content.contains("bad");
        let mut origin = Origin::new(move |post| {
            Reply::Status(if post.contents().iter().any(refused) { status } else { 200 })
        });
        let event = |number| match bad.contains(&number) {
            true => Event::new("bad").data(format!("{number}")),
            false => numbered(number),
        };
        let mut published: Vec<_> =
            (0..100).map(|number| origin.stream.publish("c", event(number))).collect();
        origin.settle();
        let posts = origin.posts.all();
        let taken: Vec<_> =
            posts.into_iter().filter(|post| !post.contents().iter().any(refused)).collect();
        let good: Vec<_> = (0..100)
            .filter(|number| !bad.contains(number))
            .map(|number| number.to_string())
            .collect();
        assert_eq!(data(&taken), good);
        for (number, published) in published.iter_mut().enumerate() {
            assert_eq!(outcome(published).unwrap().is_err(), bad.contains(&number), "{number}");
        }
        assert_eq!(origin.counts(), [[100 - bad.len() as u64, bad.len() as u64, 0]]);
        // Halving: about two POSTs for each of the seven levels over a bad item.
        assert!(origin.posts.len() <= 1 + 16 * bad.len(), "{}", origin.posts.len());
        assert_eq!(origin.stream.stats().grip[0].retried, 0);
    }
}

#[test]
fn an_item_that_has_waited_thirty_seconds_in_the_queue_fails_at_once() {
    for (waited, sent) in [(30 * SECOND - MS, true), (30 * SECOND, false)] {
        let (answer, answered) = oneshot::channel();
        let mut answered = Some(answered);
        let patient = endpoints(&["a"]).remove(0).timeout(60 * SECOND);
        let mut origin = Origin::with(
            vec![patient],
            |builder| builder,
            move |_| answered.take().map_or(Reply::Status(200), Reply::Later),
        );
        origin.settle();
        let mut first = origin.stream.publish("c", numbered(1));
        origin.settle();
        origin.timer.advance(SECOND);
        let mut second = origin.stream.publish("c", numbered(2));
        origin.settle();
        origin.advance(waited);
        // The POST of the first still hangs.
        let (_, failures) = failure(outcome(&mut first));
        assert_eq!(failures[0].1, "not accepted in 30 s");
        if !sent {
            let (_, failures) = failure(outcome(&mut second));
            assert_eq!(failures[0].1, "waited 30 s in the queue");
        }
        let mut third = origin.stream.publish("c", numbered(3));
        answer.send(200).unwrap();
        origin.settle();
        if sent {
            assert!(outcome(&mut second).unwrap().is_ok());
        }
        assert!(outcome(&mut third).unwrap().is_ok());
        assert_eq!(data(&origin.posts.all()).concat(), if sent { "123" } else { "13" });
    }
}

#[test]
fn a_full_queue_is_that_endpoints_failure_for_that_item_and_no_local_loss() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(3));
    let mut origin = Origin::with(endpoints(&["a"]), limits, ok);
    let mut subscription = origin.stream.subscribe("c");
    let mut published: Vec<_> =
        (0..5).map(|number| origin.stream.publish("c", numbered(number))).collect();
    for published in &mut published[3..] {
        let (_, failures) = failure(outcome(published));
        assert_eq!(failures, [("http://a/".to_owned(), "queue is full".to_owned())]);
    }
    assert_eq!(text(&mut subscription).matches("data: ").count(), 5);
    assert_eq!(origin.counts(), [[0, 2, 3]]);
    origin.settle();
    assert!(published[..3].iter_mut().all(|published| outcome(published).unwrap().is_ok()));
    assert_eq!(origin.counts(), [[3, 2, 0]]);
    assert_eq!(data(&origin.posts.all()).concat(), "012");
}

#[test]
fn an_endpoint_that_fails_costs_the_other_and_local_subscribers_nothing() {
    let kinds: [fn() -> Reply; 4] =
        [|| Reply::NoAnswer, || Reply::Hang, || Reply::Status(503), || Reply::Status(404)];
    for kind in kinds {
        for hosts in [["good", "bad"], ["bad", "good"]] {
            let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(150));
            let reply = move |post: &Post| {
                if post.uri.host() == Some("bad") {
                    kind()
                } else {
                    Reply::Status(200)
                }
            };
            let mut origin = Origin::with(endpoints(&hosts), limits, reply);
            let mut subscription = origin.stream.subscribe("c");
            let mut published = Vec::new();
            for number in 0..400 {
                published.push(origin.stream.publish("c", numbered(number)));
                assert_eq!(text(&mut subscription).matches("data: ").count(), 1, "at once");
                origin.settle();
            }
            // No time has passed.
            let good: Vec<_> = (0..400).map(|number| number.to_string()).collect();
            assert_eq!(data(&origin.posts.to("good")), good);
            origin.give_up();
            for published in &mut published {
                let (_, failures) = failure(outcome(published));
                assert!(
                    matches!(&failures[..], [(endpoint, _)] if endpoint == "http://bad/"),
                    "{failures:?}"
                );
            }
            let mut counts = origin.counts();
            counts.sort_unstable();
            assert_eq!(counts, [[0, 400, 0], [400, 0, 0]]);
        }
    }
}

#[test]
fn an_error_names_the_event_and_each_endpoint_and_shows_no_secret() {
    let urls = [
        "http://user:hunter2@127.0.0.1:1/",
        "http://b.test/?iss=me&key=hunter2",
        "http://localhost:1/base/?key=hunter2&zone=hunter2",
    ];
    let endpoints = urls.map(|url| Endpoint::new(url).unwrap());
    let mut origin = Origin::with(endpoints.to_vec(), |builder| builder, |_| Reply::NoAnswer);
    let mut published = origin.stream.publish("c", numbered(1));
    origin.give_up();
    let outcome = outcome(&mut published);
    let error = outcome.clone().unwrap().unwrap_err();
    let (id, failures) = failure(outcome);
    assert_eq!(id, origin.posts.all()[0].ids()[0]);
    let mut names: Vec<_> = failures.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["http://127.0.0.1:1/", "http://b.test/", "http://localhost:1/base"]);
    let message = error.to_string();
    assert!(names.iter().all(|name| message.contains(name)), "{message}");
    assert!(message.contains(&id), "{message}");
    let (stats, sink) = (origin.stream.stats(), origin.sink());
    let json = serde_json::to_string(&stats).unwrap();
    for shown in [message, format!("{error:?} {stats:?} {:?} {sink:?}", origin.stream), json] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn dropping_the_future_of_a_publication_loses_nothing() {
    let mut origin = Origin::new(ok);
    drop(origin.stream.publish("c", numbered(1)));
    let mut polled = origin.stream.publish_all("c", [numbered(2), numbered(3)]);
    assert!(outcome(&mut polled).is_none());
    drop(polled);
    origin.settle();
    assert_eq!(data(&origin.posts.all()).concat(), "123");
    assert_eq!(origin.counts(), [[3, 0, 0]]);
}

#[test]
fn publish_all_returns_one_error_about_the_first_event_that_failed() {
    // Each endpoint refuses events that have its name in their data.
    let by_name = |post: &Post| {
        let name = format!("{} ", post.uri.host().unwrap());
        Reply::Status(if post.contents().iter().any(|content| content.contains(&name)) {
            400
        } else {
            200
        })
    };
    // Five events, the index of the one that is reported, and how many endpoints the error names.
    let table: [([&str; 5], usize, usize); 4] = [
        (["", "", "", "x ", ""], 3, 1),
        (["", "", "x ", "x ", "y "], 2, 2),
        // The first endpoint refuses the later event.
        (["", "y ", "", "x ", ""], 1, 2),
        (["x y ", "", "", "", "y "], 0, 2),
    ];
    for (events, first, endpoints_that_failed) in table {
        let mut origin = Origin::with(endpoints(&["x", "y"]), |builder| builder, by_name);
        let mut published = origin
            .stream
            .publish_all("c", events.map(|data| Event::default().data(format!("{data}."))));
        origin.settle();
        let (id, failures) = failure(outcome(&mut published));
        assert_eq!(seq(&id), first as u64 + 1, "{events:?}");
        assert_eq!(failures.len(), endpoints_that_failed, "{events:?}");
    }
}

#[test]
fn of_a_batch_that_finds_too_little_room_the_first_event_that_failed_is_reported() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(2));
    for (status, first) in [(200, 3), (404, 1)] {
        let mut origin = Origin::with(endpoints(&["a"]), limits, move |_| Reply::Status(status));
        let mut published = origin.stream.publish_all("c", (0..4).map(numbered));
        origin.settle();
        assert_eq!(seq(&failure(outcome(&mut published)).0), first, "{status}");
    }
}

#[test]
fn closing_a_channel_leaves_failures_to_the_counters() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(1));
    let origin = Origin::with(endpoints(&["a"]), limits, ok);
    for channel in ["a", "b", "c"] {
        origin.stream.close_channel(channel);
    }
    assert_eq!(origin.counts(), [[0, 2, 1]]);
}

#[test]
fn try_publish_leaves_failures_to_the_counters() {
    let mut origin = Origin::new(|_| Reply::Status(404));
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(1));
    let full = Origin::with(endpoints(&["a"]), limits, ok);
    for origin in [&origin, &full] {
        assert!((0..3).all(|number| origin.stream.try_publish("c", numbered(number)).is_ok()));
    }
    origin.settle();
    assert_eq!(origin.counts(), [[0, 3, 0]]);
    assert_eq!(full.counts(), [[0, 2, 1]]);
}

fn cx() -> Context<'static> {
    Context::from_waker(noop_waker_ref())
}

#[test]
fn a_sink_is_ready_when_the_slowest_endpoint_has_room() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(2));
    let answers = Arc::new(Mutex::new(VecDeque::new()));
    let script = answers.clone();
    let reply = move |post: &Post| {
        if post.uri.host() == Some("fast") {
            return Reply::Status(200);
        }
        let (answer, answered) = oneshot::channel();
        script.lock().unwrap().push_back(answer);
        Reply::Later(answered)
    };
    let mut origin = Origin::with(endpoints(&["fast", "slow"]), limits, reply);
    let (mut sink, mut subscription) = (origin.sink(), origin.stream.subscribe("c"));
    let send = |sink: &mut Pin<Box<ChannelSink>>, number| {
        assert_eq!(sink.as_mut().poll_ready(&mut cx()), Poll::Ready(Ok(())), "{number}");
        sink.as_mut().start_send(numbered(number)).unwrap();
    };
    send(&mut sink, 1);
    origin.settle();
    // One event is on its way to the slow endpoint, two are in its queue.
    send(&mut sink, 2);
    send(&mut sink, 3);
    assert!(sink.as_mut().poll_ready(&mut cx()).is_pending());
    origin.settle();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_pending(), "only the fast endpoint has room");
    assert_eq!(data(&origin.posts.to("fast")).concat(), "123");
    assert_eq!(text(&mut subscription).matches("data: ").count(), 3);

    let answer = answers.lock().unwrap().pop_front().unwrap();
    answer.send(200).unwrap();
    origin.settle();
    send(&mut sink, 4);
    assert!(sink.as_mut().poll_flush(&mut cx()).is_pending());
    let mut flushed = Poll::Pending;
    for _ in 0..3 {
        let answer = answers.lock().unwrap().pop_front();
        answer.into_iter().for_each(|answer| answer.send(200).unwrap());
        origin.settle();
        flushed = if flushed.is_pending() { sink.as_mut().poll_flush(&mut cx()) } else { flushed };
    }
    assert_eq!(flushed, Poll::Ready(Ok(())));
    assert_eq!(data(&origin.posts.to("slow")).concat(), "1234");
    assert_eq!(origin.counts(), [[4, 0, 0], [4, 0, 0]]);
}

#[test]
fn a_sink_that_is_ready_holds_no_place() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(1));
    let mut origin = Origin::with(endpoints(&["a", "b"]), limits, ok);
    let mut idle = [origin.sink(), origin.sink()];
    for sink in &mut idle {
        assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    }
    let mut sink = origin.sink();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    sink.as_mut().start_send(numbered(1)).unwrap();
    // What is ready stays ready, if only for one event.
    idle[0].as_mut().start_send(numbered(2)).unwrap();
    let mut pending = origin.sink();
    assert!(pending.as_mut().poll_ready(&mut cx()).is_pending());
    assert!(idle[0].as_mut().poll_ready(&mut cx()).is_pending());
    origin.settle();
    assert!(pending.as_mut().poll_ready(&mut cx()).is_ready());
    assert!(idle[0].as_mut().poll_ready(&mut cx()).is_ready());
    assert_eq!(origin.counts(), [[2, 0, 0], [2, 0, 0]]);
}

#[test]
fn sinks_that_wait_for_room_all_get_it() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(2));
    let mut origin = Origin::with(endpoints(&["a"]), limits, ok);
    let mut sent = 0;
    let mut sinks: Vec<_> = (0..20).map(|_| origin.sink()).collect();
    for _ in 0..4 {
        for sink in &mut sinks {
            while sink.as_mut().poll_ready(&mut cx()).is_ready() && sent < 200 {
                sink.as_mut().start_send(numbered(sent)).unwrap();
                sent += 1;
            }
        }
        // Two fit, and one for each sink that was ready before it was full.
        assert!(origin.counts()[0][2] <= 22, "{:?}", origin.counts());
        origin.settle();
    }
    assert_eq!(origin.counts(), [[sent as u64, 0, 0]]);
    assert_eq!(data(&origin.posts.all()).len(), sent);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue_bytes(5_000));
    let mut origin = Origin::with(endpoints(&["a"]), limits, ok);
    let event = |size| Event::default().data("x".repeat(size));
    let mut published: Vec<_> =
        [2_000, 2_000, 2_000, 10].map(|size| origin.stream.publish("c", event(size))).into();
    let (_, failures) = failure(outcome(&mut published[2]));
    assert_eq!(failures, [("http://a/".to_owned(), "queue is full".to_owned())]);
    assert_eq!(origin.counts(), [[0, 1, 3]]);
    let mut sink = origin.sink();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    sink.as_mut().start_send(event(2_000)).unwrap();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_pending());
    origin.settle();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    assert_eq!(origin.counts(), [[4, 1, 0]]);
    // An empty queue takes what a POST can hold.
    let mut large = origin.stream.publish("c", event(100_000));
    let mut small = origin.stream.publish("c", event(1));
    assert!(outcome(&mut small).unwrap().is_err());
    origin.settle();
    assert!(outcome(&mut large).unwrap().is_ok());
}

#[test]
fn a_sinks_flush_waits_for_outcomes_and_reports_a_failure_and_the_sink_goes_on() {
    for close in [false, true] {
        let mut status = 404;
        let mut origin = Origin::with(
            endpoints(&["a"]),
            |builder| builder,
            move |_| Reply::Status(std::mem::replace(&mut status, 200)),
        );
        let (mut sink, mut subscription) = (origin.sink(), origin.stream.subscribe("c"));
        let flush = |sink: &mut Pin<Box<ChannelSink>>| match close {
            true => sink.as_mut().poll_close(&mut cx()),
            false => sink.as_mut().poll_flush(&mut cx()),
        };
        for number in 1..=2 {
            assert_eq!(sink.as_mut().poll_ready(&mut cx()), Poll::Ready(Ok(())));
            sink.as_mut().start_send(numbered(number)).unwrap();
            assert!(flush(&mut sink).is_pending());
            origin.settle();
            let outcome = flush(&mut sink);
            match number {
                1 => assert!(
                    matches!(outcome, Poll::Ready(Err(PublishError::Grip { .. }))),
                    "{outcome:?}"
                ),
                _ => assert_eq!(outcome, Poll::Ready(Ok(()))),
            }
        }
        assert_eq!(text(&mut subscription).matches("data: ").count(), 2);
        assert_eq!(origin.counts(), [[1, 1, 0]]);
    }
}

#[test]
fn events_sent_one_by_one_into_a_sink_reach_local_subscribers_though_every_endpoint_fails() {
    let mut origin =
        Origin::with(endpoints(&["a", "b"]), |builder| builder, |_| Reply::Status(404));
    let (mut sink, mut subscription) = (origin.sink(), origin.stream.subscribe("c"));
    for number in 0..4 {
        // As with `SinkExt::send`, by a caller who takes each error to be the previous event's.
        if let Poll::Ready(Ok(())) = sink.as_mut().poll_ready(&mut cx()) {
            sink.as_mut().start_send(numbered(number)).unwrap();
            let _ = sink.as_mut().poll_flush(&mut cx());
            origin.settle();
            assert!(matches!(sink.as_mut().poll_flush(&mut cx()), Poll::Ready(Err(_))));
        }
    }
    assert_eq!(text(&mut subscription).matches("data: ").count(), 4);
}

#[test]
fn close_waits_until_all_is_sent() {
    let mut origin = Origin::new(ok);
    (0..250).for_each(|number| drop(origin.stream.try_publish("c", numbered(number)).unwrap()));
    let mut closed = Box::pin(origin.stream.close());
    assert!(outcome(&mut closed).is_none());
    origin.settle();
    assert!(outcome(&mut closed).is_some());
    assert_eq!(origin.counts(), [[250, 0, 0]]);

    let posts = origin.posts.len();
    assert_eq!(
        outcome(&mut origin.stream.publish("c", numbered(1))),
        Some(Err(PublishError::Closed))
    );
    assert_eq!(
        outcome(&mut origin.stream.publish_all("c", [numbered(1)])),
        Some(Err(PublishError::Closed))
    );
    assert_eq!(origin.stream.try_publish("c", numbered(1)), Err(PublishError::Closed));
    let mut sink = origin.sink();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    assert_eq!(sink.as_mut().start_send(numbered(1)), Err(PublishError::Closed));
    origin.settle();
    assert_eq!(origin.posts.len(), posts);
}

#[test]
fn what_close_cannot_send_in_ten_seconds_has_failed_and_is_counted() {
    for (name, reply) in
        [("hangs", (|_| Reply::Hang) as fn(&Post) -> Reply), ("503", |_| Reply::Status(503))]
    {
        let slow = endpoints(&["a"]).remove(0).timeout(25 * SECOND);
        let mut origin = Origin::with(vec![slow], |builder| builder, reply);
        let mut on_its_way = origin.stream.publish("c", numbered(1));
        origin.settle();
        let mut waiting: Vec<_> =
            (2..5).map(|number| origin.stream.publish("c", numbered(number))).collect();
        let mut closed = Box::pin(origin.stream.close());
        let mut passed = Duration::ZERO;
        while outcome(&mut closed).is_none() {
            assert!(passed <= 10 * SECOND, "{name}");
            origin.advance(100 * MS);
            passed += 100 * MS;
        }
        assert_eq!(origin.counts(), [[0, 4, 0]], "{name}: all are counted once it is closed");
        origin.settle();
        assert!(waiting.iter_mut().all(|waiting| outcome(waiting).unwrap().is_err()));
        assert!(outcome(&mut on_its_way).unwrap().is_err(), "{name}");
        let posts = with_events(origin.posts.all()).len();
        origin.give_up();
        let after = with_events(origin.posts.all()).len();
        assert_eq!(after, posts, "{name}: it was not tried again");
    }
}

#[test]
fn a_token_that_is_not_accepted_is_replaced_once() {
    let signed = || Endpoint::new("http://a/").unwrap().iss("me").key("changeme").unwrap();
    let literal = || Endpoint::new("http://localhost/").unwrap().bearer("token");
    let table: [(Endpoint, u16, usize, usize, bool); 5] = [
        (signed(), 401, 1, 2, true),
        (signed(), 403, 1, 2, true),
        (signed(), 401, 2, 2, false),
        (signed(), 404, 1, 1, false),
        (literal(), 401, 1, 1, false),
    ];
    for (endpoint, status, failures, tries, accepted) in table {
        let mut posts = 0;
        let reply = move |_: &Post| {
            posts += 1;
            Reply::Status(if posts <= failures { status } else { 200 })
        };
        let mut origin = Origin::with(vec![endpoint], |builder| builder, reply);
        let mut published = origin.stream.publish("c", numbered(1));
        origin.settle();
        assert_eq!(outcome(&mut published).unwrap().is_ok(), accepted, "{status}");
        assert_eq!(with_events(origin.posts.all()).len(), tries, "{status}");
        for post in origin.posts.all() {
            assert!(post.authorization().starts_with("Bearer "));
        }
    }
}

#[test]
fn each_kind_of_authorization_is_sent() {
    let table = [
        ("http://a/", None),
        ("http://us%40er:p%3Ass@a/", Some("Basic dXNAZXI6cDpzcw==")),
        ("http://127.0.0.1/?key=token", Some("Bearer token")),
    ];
    for (url, expected) in table {
        let mut origin = Origin::with(vec![Endpoint::new(url).unwrap()], |builder| builder, ok);
        origin.stream.try_publish("c", numbered(1)).unwrap();
        origin.settle();
        let post = origin.posts.all().remove(0);
        assert_eq!(
            post.headers.get("authorization").map(|value| value.to_str().unwrap()),
            expected
        );
    }
}

#[test]
fn without_history_items_have_ids_and_contents_have_none() {
    let table = [
        (History::default(), Event::default().data("1"), "id: ID\ndata: 1\n\n"),
        (History::none(), Event::default().data("1"), "data: 1\n\n"),
        (History::default(), Event::default().data("1").id("mine"), "id: mine\ndata: 1\n\n"),
        (History::none(), Event::default().data("1").id("mine"), "id: mine\ndata: 1\n\n"),
    ];
    for (history, event, content) in table {
        let mut origin = Origin::with(endpoints(&["a"]), |builder| builder.history(history), ok);
        drop(origin.stream.publish_all("c", [event.clone(), event]));
        origin.settle();
        let post = origin.posts.all().remove(0);
        let ids = post.ids();
        let (epoch, _) = ids[0].split_once('-').unwrap();
        assert_eq!(
            ids,
            [1, 2].map(|seq| format!("{epoch}-{seq}")),
            "the stream's own ids, even if an event has an id"
        );
        assert_eq!(epoch.len(), 13, "{epoch}");
        assert!(epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{epoch}");
        let expected: Vec<_> = ids.iter().map(|id| content.replace("ID", id)).collect();
        assert_eq!(post.contents(), expected);
    }
}

#[test]
fn closing_a_channel_publishes_a_close_item_after_its_events() {
    let mut origin = Origin::new(ok);
    origin.stream.try_publish("a b", numbered(1)).unwrap();
    origin.stream.close_channel("a b");
    origin.settle();
    let items = origin.posts.all().remove(0).items();
    assert_eq!(items.len(), 2);
    let close = serde_json::json!({
        "channel": "events-a%20b",
        "formats": { "http-stream": { "action": "close" } },
    });
    assert_eq!(items[1], close);
}

/// A publisher without a stream, as a program may use it for other requests.
fn publisher(hosts: &[&str], reply: fn(&Post) -> Reply) -> (Publisher, Posts, ManualTimer, Pool) {
    let (timer, pool) = (ManualTimer::new(), Pool::new());
    let (transport, posts) = scripted(&timer, reply);
    let publisher =
        Publisher::new(Config::from(endpoints(hosts)), transport, pool.tasks(), timer.clone());
    (publisher, posts, timer, pool)
}

#[test]
fn a_publisher_publishes_items_unchanged() {
    let (publisher, posts, _, mut pool) = publisher(&["a", "b"], ok);
    let items =
        [Item::new("x", "1").id("i"), Item::new("x", b"\xff"), Item::close("x"), Item::hint("x")];
    let mut published: Vec<_> =
        items.iter().map(|item| Box::pin(publisher.publish(item.clone()))).collect();
    let mut flushed = Box::pin(publisher.flush());
    assert!(outcome(&mut flushed).is_none());
    assert!(outcome(&mut published[0]).is_none());
    pool.settle();
    assert!(outcome(&mut flushed).is_some());
    assert!(published.iter_mut().all(|published| outcome(published) == Some(Ok(()))));
    for host in ["a", "b"] {
        let expected: Vec<_> =
            items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
        assert_eq!(posts.to(host).iter().flat_map(Post::items).collect::<Vec<_>>(), expected);
    }
    let mut nothing_to_do = Box::pin(publisher.flush());
    pool.settle();
    assert!(outcome(&mut nothing_to_do).is_some());
}

#[test]
fn a_publisher_reports_each_endpoint_that_failed_and_a_flush_waits_for_failures_too() {
    let by_host =
        |post: &Post| Reply::Status(if post.uri.host() == Some("bad") { 503 } else { 200 });
    let (publisher, _, timer, mut pool) = publisher(&["bad", "good"], by_host);
    let mut published = Box::pin(publisher.publish(Item::new("x", "1")));
    let mut flushed = Box::pin(publisher.flush());
    pool.settle();
    assert!(outcome(&mut published).is_none());
    assert!(outcome(&mut flushed).is_none());
    for _ in 0..30 {
        assert!(outcome(&mut published).is_none());
        timer.advance(SECOND);
        pool.settle();
    }
    let failures = outcome(&mut published).unwrap().unwrap_err();
    assert!(
        matches!(&failures[..], [failure] if failure.endpoint() == "http://bad/"),
        "{failures:?}"
    );
    assert!(outcome(&mut flushed).is_some());
    let counts: Vec<_> = publisher
        .stats()
        .iter()
        .map(|stats| (stats.accepted, stats.failed, stats.resets))
        .collect();
    // Nobody knows what an item without a stream was about.
    assert_eq!(counts, [(0, 1, 0), (1, 0, 0)]);
}

#[test]
fn a_flush_does_not_wait_for_what_is_queued_behind_it() {
    let mut posts = 0;
    let reply = move |_: &Post| {
        posts += 1;
        if posts == 1 {
            Reply::Status(200)
        } else {
            Reply::Hang
        }
    };
    let mut origin = Origin::new(reply);
    let mut sink = origin.sink();
    assert!(sink.as_mut().poll_ready(&mut cx()).is_ready());
    sink.as_mut().start_send(numbered(1)).unwrap();
    origin.settle();
    assert!(sink.as_mut().poll_flush(&mut cx()).is_pending());
    let mut later = origin.stream.publish("c", numbered(2));
    origin.settle();
    assert_eq!(sink.as_mut().poll_flush(&mut cx()), Poll::Ready(Ok(())));
    assert!(outcome(&mut later).is_none());
}

#[test]
fn a_ready_made_publisher_is_used_with_the_streams_prefix() {
    let (publisher, posts, timer, mut pool) = publisher(&["a"], ok);
    let builder =
        EventStream::builder().timer(timer).grip_prefix("p/").grip_publisher(publisher.clone());
    let stream = builder.build().unwrap();
    stream.try_publish("c", numbered(1)).unwrap();
    drop(publisher.publish(Item::new("other", "")));
    pool.settle();
    let channels: Vec<_> =
        posts.all().iter().flat_map(Post::items).map(|item| item["channel"].clone()).collect();
    assert_eq!(channels, ["p/c", "other"]);
}

#[test]
fn workers_end_when_the_last_publisher_is_dropped_after_they_have_sent_what_is_queued() {
    let (publisher, posts, _, mut pool) = publisher(&["a", "b"], ok);
    pool.settle();
    let clone = publisher.clone();
    drop(publisher);
    pool.settle();
    assert_eq!(pool.alive(), 2);
    let published: Vec<_> =
        (0..250).map(|_| Box::pin(clone.publish(Item::new("x", "1")))).collect();
    drop(clone);
    pool.settle();
    assert_eq!(pool.alive(), 0);
    assert_eq!(posts.len(), 6);
    assert!(published.into_iter().all(|mut published| outcome(&mut published) == Some(Ok(()))));
}

/// An executor that drops every task.
struct Nobody;

impl Executor for Nobody {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }
}

#[test]
fn a_panic_of_the_transport_costs_one_batch_and_the_worker_goes_on() {
    let mut posts = 0;
    let mut origin = Origin::new(move |_| {
        posts += 1;
        if posts == 1 {
            Reply::Panic
        } else {
            Reply::Status(200)
        }
    });
    let mut panicked = origin.stream.publish("c", numbered(1));
    origin.settle();
    let (_, failures) = failure(outcome(&mut panicked));
    assert_eq!(failures, [("http://a/".to_owned(), "sending it panicked".to_owned())]);
    let mut later = origin.stream.publish("c", numbered(2));
    origin.advance(SECOND);
    assert_eq!(outcome(&mut later).map(|later| later.is_ok()), Some(true));
    assert_eq!(origin.counts(), [[1, 1, 0]]);
    assert_eq!(data(&origin.posts.all()).concat(), "12");
    assert_eq!(origin.stream.stats().grip[0].resets, 1);
}

/// A log whose every line panics.
struct BadLog;

impl tracing::Subscriber for BadLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "eventstream::grip"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        std::panic::resume_unwind(Box::new("a log"));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_log_that_panics_does_not_end_the_worker() {
    for status in [200, 400, 404] {
        let mut origin = Origin::new(move |post| {
            let is_bad = post.contents().iter().any(|content| content.contains("data: bad"));
            Reply::Status(if is_bad { status } else { 200 })
        });
        tracing::subscriber::with_default(BadLog, || {
            for number in 0..5 {
                let mut bad = origin.stream.publish("c", Event::default().data("bad"));
                origin.advance(SECOND);
                assert_eq!(outcome(&mut bad).unwrap().is_ok(), status == 200, "{status}");
                let mut good = origin.stream.publish("c", numbered(number));
                origin.advance(SECOND);
                assert!(outcome(&mut good).unwrap().is_ok(), "{status} {number}");
            }
        });
        assert_eq!(origin.pool.alive(), 1);
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_else_anything() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a waker"));
        }
    }
    let limits = |builder: Builder| builder.limits(Limits::default().grip_queue(3));
    let mut origin = Origin::with(endpoints(&["a"]), limits, ok);
    let waker = std::task::Waker::from(Arc::new(Panics));
    let mut cx = Context::from_waker(&waker);
    let mut published: Vec<_> =
        (0..3).map(|number| origin.stream.publish("c", numbered(number))).collect();
    assert!(Pin::new(&mut published[1]).poll(&mut cx).is_pending());
    let (mut sink, mut other) = (origin.sink(), origin.sink());
    assert!(sink.as_mut().poll_ready(&mut cx).is_pending());
    let mut flush = origin.sink();
    assert!(flush.as_mut().poll_flush(&mut cx).is_pending());
    let mut cx = self::cx();
    assert!(other.as_mut().poll_ready(&mut cx).is_pending());
    origin.settle();
    assert!(outcome(&mut published[0]).unwrap().is_ok());
    assert!(outcome(&mut published[2]).unwrap().is_ok());
    assert_eq!(origin.counts(), [[3, 0, 0]]);
    assert_eq!(origin.posts.len(), 1);
    assert!(sink.as_mut().poll_ready(&mut cx).is_ready());
    assert!(other.as_mut().poll_ready(&mut cx).is_ready());
    // What a task with such a waker waited on itself may be beyond repair.
    std::mem::forget((published.swap_remove(1), flush));
}

#[test]
fn an_outcome_resolves_though_there_is_no_worker() {
    let (transport, _) = scripted(&ManualTimer::new(), ok);
    let idle = EventStream::builder()
        .executor(Nobody)
        .transport(transport)
        .grip(endpoints(&["a"]))
        .build()
        .unwrap();
    let mut subscription = idle.subscribe("c");
    let mut later = idle.publish("c", numbered(2));
    assert_eq!(text(&mut subscription).matches("data: ").count(), 1);
    assert!(matches!(outcome(&mut later), Some(Err(PublishError::Grip { .. }))));
    assert!(outcome(&mut Box::pin(idle.close())).is_some());
    assert_eq!(idle.stats().grip[0].queued, 0);
}

fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(
            prop::sample::select(vec![
                "\n",
                "\r",
                "\r\n",
                "\"",
                "\\",
                "\\u0000",
                "\u{0}",
                "\u{1f}",
                "\u{7f}",
                "\u{2028}",
                "\u{feff}",
                "\u{10ffff}",
                "é",
                ":",
                " ",
                "id: x",
                "data:",
                "</script>",
                "{",
                "%0A"
            ]),
            0..12,
        )
        .prop_map(|parts| parts.concat()),
    ]
}

fn odd_event() -> impl Strategy<Value = Event> {
    let id = prop::option::of(odd_text());
    let comment = prop::option::of(odd_text());
    let retry = prop::option::of(0..1_000_000_u64);
    (odd_text(), odd_text(), id, comment, retry).prop_map(|(name, data, id, comment, retry)| {
        let event = Event::new(name.replace(['\r', '\n', '\0'], "")).data(data);
        let event = id
            .map(|id| id.replace(['\r', '\n', '\0'], ""))
            .into_iter()
            .fold(event, |event, id| event.id(id));
        let event = comment.into_iter().fold(event, |event, comment| event.comment(comment));
        retry.into_iter().fold(event, |event, retry| event.retry(Duration::from_millis(retry)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_items_content_is_the_frame_that_local_subscribers_get(
        events in prop::collection::vec(odd_event(), 1..6),
        replay in any::<bool>(),
    ) {
        let history = if replay { History::default() } else { History::none() };
        let mut origin = Origin::with(endpoints(&["a"]), |builder| builder.history(history), ok);
        let mut subscription = origin.stream.subscribe("c");
        let mut frames = Vec::new();
        for event in events {
            if origin.stream.try_publish("c", event).is_ok() {
                frames.push(text(&mut subscription));
            }
        }
        origin.settle();
        let contents: Vec<_> = origin.posts.all().iter().flat_map(Post::contents).collect();
        prop_assert_eq!(contents, frames);
    }
}
