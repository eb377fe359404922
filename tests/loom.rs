//! Every interleaving of a few threads, explored by loom: no wake-up and no event is lost, and no
//! event comes twice.
//!
//! `RUSTFLAGS="--cfg eventstream_loom" cargo test --release --target-dir target/loom --test loom`
#![cfg(eventstream_loom)]

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use eventstream::runtime::Timer;
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Event, EventId, EventStream, Subscription};
use futures::future::{BoxFuture, Either};
use futures::stream::StreamExt;
use futures::task::noop_waker_ref;
use loom::future::block_on;
use loom::thread;

/// Deep enough for each of the hub's known traps, shallow enough to end.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(f);
}

fn publish(stream: &EventStream, channel: &str) -> EventId {
    stream.try_publish(channel, Event::default()).unwrap()
}

/// Publishes on another thread.
fn publisher(stream: &EventStream, channel: &'static str) -> thread::JoinHandle<EventId> {
    let stream = stream.clone();
    thread::spawn(move || publish(&stream, channel))
}

/// The ids of the frames in an item.
fn ids(item: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(item).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
}

/// Waits until this many events have come, and returns their ids.
fn receive(subscription: &mut Subscription, events: usize) -> Vec<String> {
    block_on(next_events(subscription, events))
}

/// Like a single task, with the same waker for all events: what one event leaves behind matters for
/// the next.
async fn next_events(subscription: &mut Subscription, events: usize) -> Vec<String> {
    let mut got = Vec::new();
    while got.len() < events {
        got.extend(ids(&subscription.next().await.unwrap()));
    }
    got
}

fn poll(subscription: &mut Subscription) -> Poll<Option<bytes::Bytes>> {
    subscription.poll_next_unpin(&mut Context::from_waker(noop_waker_ref()))
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[test]
fn a_reader_is_woken_by_every_publisher() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe("a");
        let publishers = [publisher(&stream, "a"), publisher(&stream, "a")];
        let got = receive(&mut subscription, 2);
        let published = publishers.map(|thread| thread.join().unwrap().to_string());
        assert_eq!(got, sorted(published.into()));
    });
}

#[test]
fn an_armed_reader_that_is_polled_for_nothing_is_still_woken() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe("a");
        let thread = publisher(&stream, "a");
        let mut got = Vec::new();
        block_on(futures::future::poll_fn(|cx| {
            // A spurious poll in between, with the same waker.
            for _ in 0..2 {
                if let Poll::Ready(Some(item)) = subscription.poll_next_unpin(cx) {
                    got = ids(&item);
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }));
        assert_eq!(got, [thread.join().unwrap().to_string()]);
    });
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    model(|| {
        let stream = EventStream::new();
        let (mut one, mut many) = (stream.subscribe("a"), stream.subscribe(["a", "b"]));
        assert!(poll(&mut one).is_pending());
        assert!(poll(&mut many).is_pending());
        let thread = publisher(&stream, "a");
        let got = [receive(&mut one, 1), receive(&mut many, 1)].concat();
        let id = thread.join().unwrap().to_string();
        assert_eq!(got, [id.clone(), id]);
    });
}

#[test]
fn a_reader_learns_of_the_end() {
    for channels in [&["a"][..], &["a", "b"]] {
        model(move || {
            let stream = EventStream::new();
            let mut subscription = stream.subscribe(channels);
            let closer = stream.clone();
            let thread = thread::spawn(move || closer.close_channel("a"));
            assert_eq!(block_on(subscription.next()), None);
            thread.join().unwrap();
            let mut subscription = stream.subscribe("c");
            let closer = stream.clone();
            let thread = thread::spawn(move || drop(closer.close()));
            assert_eq!(block_on(subscription.next()), None);
            thread.join().unwrap();
        });
    }
}

#[test]
fn what_was_accepted_before_the_end_is_handed_out() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe("a");
        let other = stream.clone();
        let thread = thread::spawn(move || other.try_publish("a", Event::default()).ok());
        drop(stream.close());
        let mut got = Vec::new();
        while let Some(item) = block_on(subscription.next()) {
            got.extend(ids(&item));
        }
        let accepted: Vec<_> = thread.join().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(got, accepted);
    });
}

#[test]
fn dropping_one_reader_does_not_touch_another() {
    for channels in [&["a"][..], &["a", "b"]] {
        model(move || {
            let stream = EventStream::new();
            let mut leaves = stream.subscribe(channels);
            let mut stays = stream.subscribe(channels);
            assert!(poll(&mut leaves).is_pending());
            let thread = publisher(&stream, "a");
            let other = thread::spawn(move || drop(leaves));
            let got = receive(&mut stays, 1);
            assert_eq!(got, [thread.join().unwrap().to_string()]);
            other.join().unwrap();
            drop(stays);
            assert_eq!(stream.stats().subscriptions, 0);
        });
    }
}

/// The cut: the cursor must not pass a publisher that has drawn its seq and not yet stored its
/// event.
#[test]
fn no_event_of_another_channel_is_passed_over_when_the_cursor_moves() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe(["a", "b"]);
        let publishers = [publisher(&stream, "a"), publisher(&stream, "b")];
        let got = receive(&mut subscription, 2);
        let published = publishers.map(|thread| thread.join().unwrap().to_string());
        assert_eq!(got, sorted(published.into()), "in the order of their seqs, each once");
        assert!(poll(&mut subscription).is_pending());
    });
}

/// As above for a reader whose legs already sleep: one publisher wakes it while the other is still
/// publishing.
#[test]
fn a_leg_that_slept_is_not_passed_over() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe(["a", "b"]);
        assert!(poll(&mut subscription).is_pending());
        let publishers = [publisher(&stream, "a"), publisher(&stream, "b")];
        let got = receive(&mut subscription, 2);
        let published = publishers.map(|thread| thread.join().unwrap().to_string());
        assert_eq!(got, sorted(published.into()));
    });
}

/// Trap: whether a reader sleeps is judged by the wait list's generation, not by what the log has.
#[test]
fn a_reader_that_took_an_event_without_sleeping_is_armed_again() {
    for channels in [&["a"][..], &["a", "b"]] {
        model(move || {
            let stream = EventStream::new();
            let mut subscription = stream.subscribe(channels);
            assert!(poll(&mut subscription).is_pending());
            let first = publish(&stream, "a");
            assert_eq!(receive(&mut subscription, 1), [first.to_string()]);
            let thread = publisher(&stream, "a");
            let got = receive(&mut subscription, 1);
            assert_eq!(got, [thread.join().unwrap().to_string()]);
        });
    }
}

/// Trap: a reader must not be armed and forgotten while it has something to read, or when its
/// channel is closed.
#[test]
fn a_reader_with_something_left_does_not_sleep() {
    for channels in [&["a"][..], &["a", "b"]] {
        model(move || {
            let stream = EventStream::builder()
                .limits(eventstream::Limits::default().item(1))
                .build()
                .unwrap();
            let mut subscription = stream.subscribe(channels);
            let (first, second) = (publish(&stream, "a"), publish(&stream, "a"));
            // Nothing would wake the reader for the second event.
            assert_eq!(receive(&mut subscription, 2), [first.to_string(), second.to_string()]);
            let last = publish(&stream, "a");
            let other = stream.clone();
            let thread = thread::spawn(move || {
                other.close_channel("a");
                publish(&other, "b");
            });
            block_on(async {
                assert_eq!(next_events(&mut subscription, 1).await, [last.to_string()]);
                assert_eq!(
                    subscription.next().await,
                    None,
                    "the rest was published after the channel was closed"
                );
            });
            thread.join().unwrap();
        });
    }
}

#[test]
fn a_channel_that_is_collected_loses_nothing() {
    model(|| {
        let stream = EventStream::new();
        let origin = stream.subscribe("b").last_event_id();
        let last = stream.subscribe("a");
        let thread = publisher(&stream, "a");
        let collector = thread::spawn(move || drop(last));
        let other = stream.clone();
        let newcomer = thread::spawn(move || drop(other.subscribe("a")));
        let id = thread.join().unwrap().to_string();
        collector.join().unwrap();
        newcomer.join().unwrap();
        let mut returning = stream.subscribe_after("a", origin.as_ref());
        assert_eq!(receive(&mut returning, 1), [id]);
    });
}

#[test]
fn a_reader_that_joins_while_the_channel_is_collected_gets_what_comes() {
    model(|| {
        let stream = EventStream::new();
        let last = stream.subscribe("a");
        let collector = thread::spawn(move || drop(last));
        let mut subscription = stream.subscribe("a");
        let id = publish(&stream, "a").to_string();
        assert_eq!(receive(&mut subscription, 1), [id]);
        collector.join().unwrap();
    });
}

/// The sweep of one publisher finds a channel empty and takes it out of the map, while another
/// publishes to it.
#[test]
fn an_event_that_comes_while_its_channel_expires_is_kept() {
    model(|| {
        let timer = ManualTimer::new();
        let stream = EventStream::builder().timer(timer.clone()).build().unwrap();
        let old = publish(&stream, "a");
        timer.advance(Duration::from_secs(300));
        let thread = publisher(&stream, "a");
        publish(&stream, "b");
        let id = thread.join().unwrap().to_string();
        let mut returning = stream.subscribe_after("a", old.as_ref());
        assert_eq!(receive(&mut returning, 1), [id]);
    });
}

/// Another reader takes a channel that was to make room, after it was counted.
#[test]
fn a_subscription_that_is_refused_while_another_comes_has_evicted_nothing() {
    model(|| {
        let limits = eventstream::Limits::default().hub_channels(2);
        let stream = EventStream::builder().limits(limits).build().unwrap();
        let origin = stream.subscribe("a").last_event_id();
        let [id, _] = ["a", "b"].map(|channel| publish(&stream, channel).to_string());
        let other = stream.clone();
        let thread = thread::spawn(move || other.try_subscribe("b", None).ok());
        let both = stream.try_subscribe(["x", "y"], None).ok();
        let b = thread.join().unwrap();
        assert_ne!(both.is_some(), b.is_some());
        if both.is_none() {
            let mut returning = stream.subscribe_after("a", origin.as_ref());
            assert_eq!(receive(&mut returning, 1), [id]);
        }
    });
}

/// A read that is dropped in favour of another future leaves nothing behind that makes the next
/// read miss an event.
#[test]
fn a_read_that_was_given_up_loses_nothing() {
    model(|| {
        let stream = EventStream::new();
        let mut subscription = stream.subscribe("a");
        let thread = publisher(&stream, "a");
        let given_up = block_on(async {
            match futures::future::select(subscription.next(), pin!(async {})).await {
                Either::Left((item, _)) => item,
                Either::Right(_) => None,
            }
        });
        let got = given_up.map_or_else(|| receive(&mut subscription, 1), |item| ids(&item));
        assert_eq!(got, [thread.join().unwrap().to_string()]);
    });
}

const KEEP_ALIVE: Duration = Duration::from_millis(10);

/// Two bodies that wait for their keep-alive in the same sleep, because there is no jitter here.
fn silent_bodies(timer: impl Timer) -> [Body; 2] {
    let stream = EventStream::builder().timer(timer).keep_alive(KEEP_ALIVE).build().unwrap();
    ["a", "b"].map(|channel| {
        let mut body = stream.subscribe(channel).into_body();
        let mut poll = || body.poll_next_unpin(&mut Context::from_waker(noop_waker_ref()));
        assert!(poll().is_ready());
        assert!(poll().is_pending());
        body
    })
}

fn is_kept_alive(body: &mut Body) -> bool {
    let item = block_on(body.next()).unwrap().unwrap();
    item.starts_with(b"event: keep-alive\n")
}

#[test]
fn a_body_is_woken_by_its_sleep_though_another_that_shares_it_leaves() {
    model(|| {
        let timer = ManualTimer::new();
        let [first, mut second] = silent_bodies(timer.clone());
        assert_eq!(timer.sleeping(), 1);
        let advances = thread::spawn(move || timer.advance(KEEP_ALIVE));
        let leaves = thread::spawn(move || drop(first));
        assert!(is_kept_alive(&mut second));
        advances.join().unwrap();
        leaves.join().unwrap();
    });
}

/// A timer whose sleeps take two steps, and so must be polled in between.
struct TwoSteps(ManualTimer);

impl Timer for TwoSteps {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (first, second) = (self.0.sleep(duration / 2), self.0.sleep(duration));
        Box::pin(async move {
            first.await;
            second.await;
        })
    }
}

#[test]
fn a_sleep_that_needs_to_be_polled_wakes_all_that_share_it() {
    model(|| {
        let timer = ManualTimer::new();
        let [mut first, mut second] = silent_bodies(TwoSteps(timer.clone()));
        assert_eq!(timer.sleeping(), 2, "one sleep, of two steps");
        let waits = thread::spawn(move || assert!(is_kept_alive(&mut first)));
        let advances = thread::spawn(move || {
            timer.advance(KEEP_ALIVE / 2);
            timer.advance(KEEP_ALIVE / 2);
        });
        assert!(is_kept_alive(&mut second));
        waits.join().unwrap();
        advances.join().unwrap();
    });
}
