//! Wakers are the user's code: whatever they do when woken or dropped, the hub stays usable.

mod common;

use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{body_text, ready, text};
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Event, EventStream, PublishError, Subscription};
use futures::stream::StreamExt;

type Action = Box<dyn Fn() + Send + Sync>;

/// A waker that runs one action when it is woken, and another when its last handle is dropped.
struct Busybody {
    woken: Action,
    dropped: Action,
    wakes: Arc<AtomicUsize>,
}

impl Wake for Busybody {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        (self.woken)();
    }
}

impl Drop for Busybody {
    fn drop(&mut self) {
        (self.dropped)();
    }
}

fn nothing() -> Action {
    Box::new(|| {})
}

fn busybody(woken: Action, dropped: Action) -> (Waker, Arc<AtomicUsize>) {
    let wakes = Arc::default();
    (Arc::new(Busybody { woken, dropped, wakes: Arc::clone(&wakes) }).into(), wakes)
}

/// Leaves this waker with the subscription's channels.
fn sleep(subscription: &mut Subscription, waker: Waker) {
    assert!(subscription.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
}

/// Everything a waker could do to the stream that it is called from.
fn meddle(stream: &EventStream, victims: &Arc<Mutex<Vec<Subscription>>>) -> Action {
    let (stream, victims) = (stream.clone(), Arc::clone(victims));
    Box::new(move || {
        stream.try_publish("a", Event::default().data("nested")).unwrap();
        drop(stream.publish_all("b", [Event::default(), Event::default()]));
        text(&mut stream.subscribe_after(["a", "b"], "a foreign id"));
        sleep(&mut stream.subscribe(["a", "b"]), busybody(nothing(), nothing()).0);
        let victims = std::mem::take(&mut *victims.lock().unwrap());
        drop(victims);
        stream.close_channel("c");
        stream.stats();
    })
}

/// Subscriptions to one channel and to several, asleep on the same channels.
fn sleepers(stream: &EventStream) -> Arc<Mutex<Vec<Subscription>>> {
    let mut sleepers = vec![stream.subscribe("a"), stream.subscribe(["a", "b", "c"])];
    sleepers.iter_mut().for_each(|sleeper| sleep(sleeper, busybody(nothing(), nothing()).0));
    Arc::new(Mutex::new(sleepers))
}

#[test]
fn a_waker_may_use_the_stream_when_it_is_woken() {
    for channels in [&["a"][..], &["a", "b"]] {
        let stream = EventStream::new();
        let victims = sleepers(&stream);
        let mut subscription = stream.subscribe(channels);
        let (waker, wakes) = busybody(meddle(&stream, &victims), nothing());
        sleep(&mut subscription, waker);
        stream.try_publish("a", Event::default().data("first")).unwrap();
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        let seen = text(&mut subscription);
        assert!(seen.contains("data: first"), "{seen}");
        assert!(seen.contains("data: nested"), "{seen}");
        assert_eq!(stream.stats().subscriptions, 1);
    }
}

#[test]
fn a_waker_may_use_the_stream_when_it_is_dropped() {
    for channels in [&["a"][..], &["a", "b"]] {
        let stream = EventStream::new();
        let by = |leave: &dyn Fn(Subscription)| {
            let victims = sleepers(&stream);
            let mut subscription = stream.subscribe(channels);
            sleep(&mut subscription, busybody(nothing(), meddle(&stream, &victims)).0);
            leave(subscription);
            assert!(victims.lock().unwrap().is_empty(), "the waker was dropped");
            assert_eq!(stream.stats().subscriptions, 0);
        };
        by(&drop);
        by(&|mut subscription| {
            // Another waker takes its place.
            sleep(&mut subscription, busybody(nothing(), nothing()).0);
            assert!(!ready(&mut subscription).0.is_empty());
        });
        by(&|subscription| {
            stream.try_publish("a", Event::default()).unwrap();
            drop(subscription);
        });
    }
}

#[test]
fn a_waker_may_use_the_stream_while_it_closes() {
    let stream = EventStream::new();
    let mut subscription = stream.subscribe("c");
    let (other, waker_stream) = (stream.subscribe("a"), stream.clone());
    let other = Mutex::new(Some(other));
    let woken = Box::new(move || {
        drop(other.lock().unwrap().take());
        let published = waker_stream.try_publish("c", Event::default());
        assert_eq!(published, Err(PublishError::Closed));
        assert_eq!(waker_stream.stats().channels, 0);
        drop(waker_stream.close());
    });
    sleep(&mut subscription, busybody(woken, nothing()).0);
    drop(stream.close());
    assert_eq!(ready(&mut subscription), (Vec::new(), true));
}

#[test]
fn a_waker_that_panics_stops_no_other() {
    for channels in [&["a"][..], &["a", "b"]] {
        let stream = EventStream::new();
        let mut subscriptions: Vec<_> = (0..5).map(|_| stream.subscribe(channels)).collect();
        let mut wakes = Vec::new();
        for (index, subscription) in subscriptions.iter_mut().enumerate() {
            let panics: Action = Box::new(move || std::panic::resume_unwind(Box::new(index)));
            let (waker, count) =
                busybody(if index % 2 == 1 { panics } else { nothing() }, nothing());
            sleep(subscription, waker);
            wakes.push(count);
        }
        let panicked =
            catch_unwind(AssertUnwindSafe(|| stream.try_publish("a", Event::default().data("1"))));
        assert_eq!(
            *panicked.unwrap_err().downcast::<usize>().unwrap(),
            1,
            "the first panic is passed on"
        );
        assert!(wakes.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        stream.try_publish("a", Event::default().data("2")).unwrap();
        for subscription in &mut subscriptions {
            let seen = text(subscription);
            assert!(seen.contains("data: 1\n"), "{seen}");
            assert!(seen.contains("data: 2\n"), "{seen}");
        }
        drop(subscriptions);
        assert_eq!(stream.stats().subscriptions, 0);
    }
}

#[test]
fn a_future_that_publishes_from_its_own_waker_still_gets_its_outcome() {
    let stream =
        EventStream::builder().history(eventstream::History::default().events(2)).build().unwrap();
    let mut subscription = stream.subscribe("a");
    let (waker, wakes) = busybody(meddle(&stream, &Arc::default()), nothing());
    let mut publishing = std::pin::pin!(stream.publish("a", Event::default()));
    // The history is so small that the publisher must yield, which wakes its own task.
    assert!(publishing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    assert!(matches!(publishing.poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(_))));
    assert!(text(&mut subscription).contains("nested"));
}

/// A waker that notes its own address when it is woken.
struct Noted(Arc<Mutex<Vec<usize>>>);

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(Arc::as_ptr(&self) as usize);
    }
}

#[test]
fn a_crowd_is_woken_once_each_and_every_eighth_time_in_the_order_of_its_memory() {
    let stream = EventStream::new();
    let woken: Arc<Mutex<Vec<usize>>> = Arc::default();
    let mut crowd: Vec<_> =
        (0..2_000).map(|_| (stream.subscribe("a"), Arc::new(Noted(woken.clone())))).collect();
    // Out of the order in which they were made.
    crowd.sort_by_key(|(_, waker)| {
        (Arc::as_ptr(waker) as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let mut in_order = 0;
    for _ in 0..16 {
        crowd
            .iter_mut()
            .for_each(|(subscription, waker)| sleep(subscription, waker.clone().into()));
        stream.try_publish("a", Event::default()).unwrap();
        let mut woken = std::mem::take(&mut *woken.lock().unwrap());
        // All but the first, which the wait list stores apart from the rest.
        in_order += usize::from(woken[1..].is_sorted());
        woken.sort_unstable();
        woken.dedup();
        assert_eq!(woken.len(), crowd.len());
        crowd.iter_mut().for_each(|(subscription, _)| assert_eq!(ready(subscription).0.len(), 1));
    }
    assert_eq!(in_order, 2);
}

const KEEP_ALIVE: Duration = Duration::from_millis(10);

fn with_keep_alives() -> (EventStream, ManualTimer) {
    let timer = ManualTimer::new();
    (EventStream::builder().timer(timer.clone()).keep_alive(KEEP_ALIVE).build().unwrap(), timer)
}

fn silent(stream: &EventStream, waker: Waker) -> Body {
    let mut body = stream.subscribe("a").into_body();
    assert!(body_text(&mut body).contains("stream-open"));
    assert!(body.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    body
}

/// A silent body in the only sleep that there is.
fn sharing(stream: &EventStream, timer: &ManualTimer, waker: Waker) -> Body {
    // There are 64 sleeps to choose from: bodies come and go until one needs no sleep of its own.
    let bodies = (0..10_000).map(|_| silent(stream, waker.clone()));
    let mut sharing = bodies.filter(|_| timer.sleeping() == 1);
    sharing.next().expect("a body that shares the sleep")
}

#[test]
fn a_waker_may_use_the_bodies_that_share_its_sleep() {
    let (stream, timer) = with_keep_alives();
    let (quiet, wakes) = busybody(nothing(), nothing());
    let pair = [quiet.clone(), quiet].map(|waker| sharing(&stream, &timer, waker));
    let bodies = Arc::new(Mutex::new(Vec::from(pair)));
    let (shared, waker_stream) = (bodies.clone(), stream.clone());
    let meddle = Box::new(move || {
        let victims = std::mem::take(&mut *shared.lock().unwrap());
        assert!(victims.into_iter().all(|mut body| body_text(&mut body).contains("keep-alive")));
        // One more body, for which a new sleep is made.
        shared.lock().unwrap().push(silent(&waker_stream, busybody(nothing(), nothing()).0));
    });
    let (waker, meddled) = busybody(meddle, nothing());
    let mut body = sharing(&stream, &timer, waker);
    timer.advance(KEEP_ALIVE);
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    assert_eq!(meddled.load(Ordering::Relaxed), 1);
    assert!(body_text(&mut body).contains("keep-alive"));
    drop(body);
    assert_eq!(bodies.lock().unwrap().len(), 1);
    assert_eq!(timer.sleeping(), 1);
}

#[test]
fn a_waker_may_leave_a_shared_sleep_when_it_is_dropped() {
    let (stream, timer) = with_keep_alives();
    let victim = Mutex::new(Some(silent(&stream, busybody(nothing(), nothing()).0)));
    let (waker, _) = busybody(nothing(), Box::new(move || drop(victim.lock().unwrap().take())));
    drop(sharing(&stream, &timer, waker));
    assert_eq!(stream.stats().subscriptions, 0);
    assert_eq!(timer.sleeping(), 0);
}

#[test]
fn a_waker_that_panics_stops_no_other_at_its_sleep() {
    let (stream, timer) = with_keep_alives();
    let panics: Action = Box::new(|| std::panic::resume_unwind(Box::new(())));
    let (wakers, wakes): (Vec<_>, Vec<_>) = [nothing(), panics, nothing()]
        .map(|action| busybody(action, nothing()))
        .into_iter()
        .unzip();
    let mut bodies: Vec<_> =
        wakers.into_iter().map(|waker| sharing(&stream, &timer, waker)).collect();
    // The panic stays here: a timer's thread would end with it, and all sleeps of the process.
    timer.advance(KEEP_ALIVE);
    assert!(wakes.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    assert!(bodies.iter_mut().all(|body| body_text(body).contains("keep-alive")));
}
