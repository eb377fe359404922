//! The body of an answer: what it yields and when, in each of its three forms, and what it frees.

mod common;

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{body_text, ready};
use eventstream::runtime::Timer;
use eventstream::test_util::ManualTimer;
use eventstream::{Body, Builder, Event, EventStream, History, Limits};
use futures::executor::block_on;
use futures::future::{poll_fn, BoxFuture, FutureExt};
use futures::io::{AsyncBufReadExt, AsyncReadExt};
use futures::stream::{FusedStream, StreamExt};
use http::{Request, Response};
use http_body_util::BodyExt;

const OPEN: &str = "event: stream-open\ndata: \n\n";
const KEEP_ALIVE: &str = "event: keep-alive\ndata: \n\n";
const SECOND: Duration = Duration::from_secs(1);

fn event(data: &str) -> Event {
    Event::default().data(data)
}

fn publish(stream: &EventStream, channel: &str, data: &str) -> String {
    stream.try_publish(channel, event(data)).unwrap().to_string()
}

fn body(stream: &EventStream, channel: &str) -> Body {
    stream.subscribe(channel).into_body()
}

fn without_history() -> Builder {
    EventStream::builder().history(History::none())
}

// What comes first.

#[test]
fn stream_open_comes_first_and_carries_the_position() {
    let stream = EventStream::new();
    let at = stream.subscribe("a").last_event_id();
    assert_eq!(body_text(&mut body(&stream, "a")), format!("id: {at}\n{OPEN}"));
    let one = publish(&stream, "a", "1");
    let mut live = body(&stream, "a");
    let two = publish(&stream, "a", "2");
    // The second event has not been yielded yet, so the position is before it.
    assert_eq!(body_text(&mut live), format!("id: {one}\n{OPEN}id: {two}\ndata: 2\n\n"));
}

#[test]
fn stream_open_repeats_the_position_of_a_client_that_returns() {
    let stream = EventStream::new();
    let ids: Vec<_> = (0..3).map(|n| publish(&stream, "a", &n.to_string())).collect();
    let mut returning = stream.subscribe_after("a", &ids[1]).into_body();
    assert_eq!(
        body_text(&mut returning),
        format!("id: {}\n{OPEN}id: {}\ndata: 2\n\n", ids[1], ids[2])
    );
    let mut subscription = stream.subscribe_after("a", &ids[0]);
    block_on(subscription.next()).unwrap();
    assert_eq!(body_text(&mut subscription.into_body()), format!("id: {}\n{OPEN}", ids[2]));
}

#[test]
fn stream_open_never_carries_a_position_past_a_reset() {
    let stream = EventStream::builder().history(History::default().events(1)).build().unwrap();
    let ids: Vec<_> = (0..3).map(|n| publish(&stream, "a", &n.to_string())).collect();
    let reset = |reason| {
        format!("event: stream-reset\ndata: {{\"channels\":[\"a\"],\"reason\":\"{reason}\"}}\n\n")
    };
    let mut evicted = stream.subscribe_after("a", &ids[0]).into_body();
    let first = &ids[0];
    let expected =
        format!("id: {first}\n{OPEN}id: {first}\n{}id: {}\ndata: 2\n\n", reset("evicted"), ids[2]);
    assert_eq!(body_text(&mut evicted), expected);
    // The client's position is unknown. An id would hide that if the stream broke before the reset.
    let mut unknown = stream.subscribe_after("a", "a foreign id").into_body();
    assert_eq!(body_text(&mut unknown), format!("{OPEN}id: {}\n{}", ids[2], reset("unknown")));
}

#[test]
fn retry_comes_with_stream_open_between_the_event_and_its_data() {
    let retry = Duration::from_micros(2_500_900);
    let stream = EventStream::builder().retry(retry).build().unwrap();
    let at = stream.subscribe("a").last_event_id();
    let expected = format!("id: {at}\nevent: stream-open\nretry: 2500\ndata: \n\n");
    assert_eq!(body_text(&mut body(&stream, "a")), expected);
    // Less than a millisecond is not "at once".
    let stream = without_history().retry(Duration::from_nanos(1)).build().unwrap();
    assert_eq!(body_text(&mut body(&stream, "a")), "event: stream-open\nretry: 1\ndata: \n\n");
}

#[test]
fn fields_of_an_event_come_in_a_fixed_order() {
    let stream = EventStream::new();
    let mut body = body(&stream, "a");
    body_text(&mut body);
    let full = || Event::new("e").data("d1\nd2").retry(SECOND).comment("c1\rc2");
    let id = stream.try_publish("a", full()).unwrap();
    stream.try_publish("a", full().id("own")).unwrap();
    let frame =
        |id: &str| format!(": c1\n: c2\nid: {id}\nevent: e\nretry: 1000\ndata: d1\ndata: d2\n\n");
    assert_eq!(body_text(&mut body), frame(id.as_ref()) + &frame("own"));
}

// One body, three forms.

/// Bodies of a closed stream that all yield the same: `stream-open`, some frames, the end. Also
/// returns these bytes.
fn alike(count: usize) -> (Vec<Body>, Vec<u8>) {
    let stream = EventStream::builder().limits(Limits::default().item(16)).build().unwrap();
    let bodies: Vec<_> = (0..count).map(|_| body(&stream, "a")).collect();
    let mut reference = body(&stream, "a");
    for data in ["one", "", "línea\r\n\n", &"x".repeat(20_000), "last"] {
        publish(&stream, "a", data);
    }
    block_on(stream.close());
    (bodies, body_text(&mut reference).into_bytes())
}

#[test]
fn as_a_stream_each_item_is_whole_frames() {
    let (mut bodies, bytes) = alike(1);
    let (items, ended) = ready(&mut bodies[0]);
    assert!(ended);
    assert!(bodies[0].is_terminated());
    let items: Vec<Bytes> = items.into_iter().map(Result::unwrap).collect();
    assert_eq!(items.len(), 6, "`stream-open`, then frames that each exceed the limit of an item");
    assert!(items.iter().all(|item| item.ends_with(b"\n\n")));
    assert_eq!(items.concat(), bytes);
    assert_eq!(ready(&mut bodies[0]), (vec![], true), "it stays ended");
}

#[test]
fn as_an_http_body_it_is_the_same_bytes_in_data_frames() {
    let (mut bodies, bytes) = alike(2);
    let mut body = bodies.pop().unwrap();
    let hint = http_body::Body::size_hint(&body);
    assert_eq!((hint.lower(), hint.upper()), (0, None), "the length of a live body is not known");
    let mut received = Vec::new();
    while let Some(frame) = block_on(body.frame()) {
        received.extend_from_slice(&frame.unwrap().into_data().expect("not a data frame"));
    }
    assert_eq!(received, bytes);
    assert!(http_body::Body::is_end_stream(&body));
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(0));
    assert_eq!(block_on(BodyExt::collect(bodies.pop().unwrap())).unwrap().to_bytes(), bytes);
}

#[test]
fn as_a_reader_it_is_the_same_bytes_in_pieces_of_any_size() {
    let sizes = [1, 2, 7, 64, 16 << 10, 1 << 20];
    let (bodies, bytes) = alike(sizes.len());
    for (body, size) in bodies.into_iter().zip(sizes) {
        let mut reader = body.into_async_read();
        let (mut received, mut piece) = (Vec::new(), vec![0; size]);
        loop {
            match block_on(reader.read(&mut piece)).unwrap() {
                0 => break,
                n => received.extend_from_slice(&piece[..n]),
            }
        }
        assert_eq!(received, bytes, "{size}");
        assert_eq!(block_on(reader.read(&mut piece)).unwrap(), 0, "it stays ended");
    }
}

#[test]
fn as_a_buffered_reader_it_is_the_same_lines_and_keeps_what_was_not_consumed() {
    let (mut bodies, bytes) = alike(2);
    let lines: Vec<_> =
        block_on(bodies.pop().unwrap().into_async_read().lines().map(Result::unwrap).collect());
    assert_eq!(lines, String::from_utf8(bytes.clone()).unwrap().lines().collect::<Vec<_>>());
    let mut reader = bodies.pop().unwrap().into_async_read();
    let mut received = Vec::new();
    loop {
        let seen = block_on(reader.fill_buf()).unwrap().to_vec();
        assert_eq!(block_on(reader.fill_buf()).unwrap(), seen, "`fill_buf` consumes nothing");
        let Some(byte) = seen.first() else { break };
        received.push(*byte);
        reader.consume_unpin(1);
    }
    assert_eq!(received, bytes);
}

// Keep-alive.

/// A body that has yielded `stream-open`, and its clock.
fn quiet_body(builder: Builder) -> (EventStream, Body, ManualTimer) {
    let timer = ManualTimer::new();
    let stream = builder.timer(timer.clone()).build().unwrap();
    let mut body = body(&stream, "a");
    assert!(body_text(&mut body).ends_with(OPEN));
    (stream, body, timer)
}

/// Advances the clock by quarter seconds until the body yields something. Returns how long that
/// took and what came; `None` if nothing comes within a minute.
fn silence(body: &mut Body, timer: &ManualTimer) -> Option<(Duration, String)> {
    (1..=240).find_map(|quarters| {
        timer.advance(SECOND / 4);
        Some((SECOND / 4 * quarters, body_text(body))).filter(|(_, text)| !text.is_empty())
    })
}

#[test]
fn a_keep_alive_is_due_after_18_to_20_seconds_of_silence_each_time() {
    let (_stream, mut body, timer) = quiet_body(EventStream::builder());
    for _ in 0..20 {
        let (after, text) = silence(&mut body, &timer).unwrap();
        assert!((18 * SECOND..=20 * SECOND).contains(&after), "{after:?}");
        assert_eq!(text, KEEP_ALIVE, "exact bytes, without an id");
    }
}

#[test]
fn keep_alives_of_a_crowd_are_spread_and_only_ever_early() {
    let timer = ManualTimer::new();
    let stream = EventStream::builder().timer(timer.clone()).build().unwrap();
    let mut bodies: Vec<_> = (0..200).map(|_| body(&stream, "a")).collect();
    let mut count = |by: Duration| {
        timer.advance(by);
        bodies.iter_mut().map(body_text).filter(|text| text.ends_with(KEEP_ALIVE)).count()
    };
    assert_eq!(count(Duration::ZERO), 0);
    assert_eq!(count(18 * SECOND - Duration::from_nanos(1)), 0);
    let parts: Vec<_> = (0..4).map(|_| count(SECOND / 2 + Duration::from_nanos(1))).collect();
    assert_eq!(parts.iter().sum::<usize>(), 200);
    assert!(
        parts.iter().all(|part| (1..100).contains(part)),
        "each half second has some of them, and none has most: {parts:?}"
    );
}

/// Counts how often it is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_keep_alive_wakes_the_task_that_waits() {
    let (_stream, mut body, timer) = quiet_body(EventStream::builder());
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut poll = || body.poll_next_unpin(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    timer.advance(20 * SECOND);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(), Poll::Ready(Some(Ok(Bytes::from_static(KEEP_ALIVE.as_bytes())))));
    // So does the next one.
    assert!(poll().is_pending());
    timer.advance(20 * SECOND);
    assert!(count.0.load(Ordering::Relaxed) > 1);
    assert!(poll().is_ready());
}

/// A body that is polled only after it was woken, as an executor does, and that can move to another
/// task.
struct Task {
    body: Body,
    woken: Arc<Count>,
}

impl Task {
    /// What the body yields if it was woken; nothing if it was not.
    fn run(&mut self) -> String {
        if self.woken.0.swap(0, Ordering::Relaxed) == 0 {
            return String::new();
        }
        self.poll()
    }

    fn poll(&mut self) -> String {
        let waker = Waker::from(self.woken.clone());
        let mut text = Vec::new();
        while let Poll::Ready(Some(item)) =
            self.body.poll_next_unpin(&mut Context::from_waker(&waker))
        {
            text.extend_from_slice(&item.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    fn move_on(&mut self) {
        self.woken = Arc::new(Count(AtomicUsize::new(0)));
    }
}

#[test]
fn a_keep_alive_comes_whatever_is_written_when_its_time_is_near_and_whoever_polls() {
    for event_after in [1, 9, 17, 18, 19, 20, 21] {
        for moves in [false, true] {
            let (stream, body, timer) = quiet_body(without_history());
            let mut task = Task { body, woken: Arc::new(Count(AtomicUsize::new(0))) };
            assert_eq!(task.poll(), "");
            // The sleep may end while the event is written.
            timer.advance(event_after * SECOND);
            publish(&stream, "a", "1");
            if moves {
                task.move_on();
                assert_eq!(task.poll(), "data: 1\n\n");
            } else {
                assert_eq!(task.run(), "data: 1\n\n");
            }
            for keep_alive in 0..3 {
                let quiet = 18 * SECOND - Duration::from_nanos(1);
                timer.advance(quiet);
                assert_eq!(task.run(), "", "{keep_alive}, {event_after} s, {moves}");
                timer.advance(20 * SECOND - quiet);
                assert_eq!(task.run(), KEEP_ALIVE, "{keep_alive}, {event_after} s, {moves}");
            }
        }
    }
}

/// A timer whose sleeps take two steps, and so must be polled in between.
struct TwoSteps(ManualTimer);

impl Timer for TwoSteps {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (timer, first) = (self.0.clone(), self.0.sleep(duration / 2));
        Box::pin(async move {
            first.await;
            timer.sleep(duration - duration / 2).await;
        })
    }
}

#[test]
fn a_sleep_is_polled_when_it_asks_for_it_though_an_event_comes_at_the_same_time() {
    let timer = ManualTimer::new();
    let stream = without_history().timer(TwoSteps(timer.clone())).build().unwrap();
    let mut task = Task { body: body(&stream, "a"), woken: Arc::new(Count(AtomicUsize::new(0))) };
    assert_eq!(task.poll(), OPEN);
    timer.advance(10 * SECOND);
    publish(&stream, "a", "1");
    assert_eq!(task.run(), "data: 1\n\n");
    for _ in 0..8 {
        timer.advance(5 * SECOND);
        if task.run() == KEEP_ALIVE {
            return;
        }
    }
    panic!("no keep-alive in 40 s of silence");
}

/// A timer whose sleeps last only half as long as requested.
struct Hasty(ManualTimer);

impl Timer for Hasty {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration / 2)
    }
}

/// Enough bodies that each of them shares its sleep with others.
fn crowd(stream: &EventStream) -> Vec<Task> {
    let mut crowd: Vec<_> = (0..500)
        .map(|_| Task { body: body(stream, "a"), woken: Arc::new(Count(AtomicUsize::new(0))) })
        .collect();
    assert!(crowd.iter_mut().all(|task| task.poll() == OPEN));
    crowd
}

/// Asserts that each body gets its keep-alive in time, at least `periods` times, though it is only
/// polled when it is woken.
fn all_are_kept_alive(crowd: &mut [Task], timer: &ManualTimer, periods: usize) {
    let mut silences = vec![0; crowd.len()];
    let mut counts = vec![0; crowd.len()];
    for quarter in 1..=80 * periods {
        timer.advance(SECOND / 4);
        for ((task, silence), count) in crowd.iter_mut().zip(&mut silences).zip(&mut counts) {
            *silence += 1;
            // As often as its executor would.
            while task.woken.0.load(Ordering::Relaxed) > 0 {
                let text = task.run();
                if !text.is_empty() {
                    assert_eq!(text, KEEP_ALIVE);
                    assert!(
                        (72..=80).contains(silence),
                        "after {silence} quarters of a second, at {quarter}"
                    );
                    (*silence, *count) = (0, *count + 1);
                }
            }
            assert!(*silence < 80, "nothing for {silence} quarters of a second, at {quarter}");
        }
    }
    assert!(counts.iter().all(|count| *count >= periods), "{counts:?}");
}

#[test]
fn a_crowd_shares_its_sleeps() {
    let timer = ManualTimer::new();
    let stream = without_history().timer(timer.clone()).build().unwrap();
    let mut crowd = crowd(&stream);
    // One sleep for each 64th of the two seconds by which keep-alives may be early.
    assert!((32..=65).contains(&timer.sleeping()), "{}", timer.sleeping());
    all_are_kept_alive(&mut crowd, &timer, 3);
    // The crowd has spread out by then.
    assert!((32..=250).contains(&timer.sleeping()), "{}", timer.sleeping());
    drop(crowd);
    assert_eq!(timer.sleeping(), 0);
}

#[test]
fn a_body_that_shares_a_sleep_does_not_depend_on_the_others() {
    let timer = ManualTimer::new();
    let stream = without_history().timer(timer.clone()).build().unwrap();
    // A third have a client that reads nothing, so the server does not poll them. A third leave,
    // the first body among them. The rest move to another task.
    let (mut stuck, mut others) = (Vec::new(), Vec::new());
    for (index, mut task) in crowd(&stream).into_iter().enumerate() {
        match index % 3 {
            0 => drop(task),
            1 => stuck.push(task),
            _ => {
                task.move_on();
                assert_eq!(task.poll(), "");
                others.push(task);
            }
        }
    }
    all_are_kept_alive(&mut others, &timer, 5);
    // Those that were not polled go on where they were.
    timer.advance(20 * SECOND);
    assert!(stuck.iter_mut().all(|task| task.run() == KEEP_ALIVE));
}

#[test]
fn a_crowd_is_kept_alive_whatever_its_sleeps_are_like() {
    let timer = ManualTimer::new();
    let timers: [Box<dyn Fn(Builder) -> Builder>; 2] = [
        Box::new(|builder| builder.timer(TwoSteps(timer.clone()))),
        Box::new(|builder| builder.timer(Hasty(timer.clone()))),
    ];
    for with_timer in timers {
        let stream = with_timer(without_history()).build().unwrap();
        all_are_kept_alive(&mut crowd(&stream), &timer, 4);
    }
}

/// A timer whose sleeps last only half as long as requested, and wake no one.
struct Mute(ManualTimer);

impl Timer for Mute {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut sleep = self.0.sleep(duration / 2);
        Box::pin(poll_fn(move |_| sleep.poll_unpin(&mut Context::from_waker(Waker::noop()))))
    }
}

/// Counts the sleeps that a timer is asked for.
struct Counted<T>(T, Arc<AtomicUsize>);

impl<T: Timer> Timer for Counted<T> {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sleep(duration)
    }
}

/// The shortest period that there is.
const SHORT: Duration = Duration::from_millis(10);

/// Two bodies that share a sleep.
fn pair(timer: impl Timer) -> [Task; 2] {
    let sleeps = Arc::new(AtomicUsize::new(0));
    let timer = Counted(timer, sleeps.clone());
    let stream = without_history().timer(timer).keep_alive(SHORT).build().unwrap();
    let silent = || {
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let mut task = Task { body: body(&stream, "a"), woken };
        assert_eq!(task.poll(), OPEN);
        task
    };
    let first = silent();
    // There are 64 sleeps to choose from: bodies come and go until one needs no sleep of its own.
    let mut sharing = (0..10_000).filter_map(|_| {
        sleeps.store(0, Ordering::Relaxed);
        Some(silent()).filter(|_| sleeps.load(Ordering::Relaxed) == 0)
    });
    let second = sharing.next().expect("a body that shares the first one's sleep");
    [first, second]
}

#[test]
fn a_body_that_finds_a_sleep_ended_wakes_the_others_that_share_it() {
    let timer = ManualTimer::new();
    let [mut first, second] = pair(Mute(timer.clone()));
    timer.advance(SHORT / 2);
    assert_eq!(second.woken.0.load(Ordering::Relaxed), 0);
    first.move_on();
    assert_eq!(first.poll(), "");
    assert_eq!(second.woken.0.load(Ordering::Relaxed), 1);
}

/// A timer whose sleeps end at once. It counts them, and a poll that asks for a thousand fails
/// where it would hang.
struct Restless(ManualTimer, Arc<AtomicUsize>);

impl Timer for Restless {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        let asked = self.1.fetch_add(1, Ordering::Relaxed);
        assert!(asked < 1000, "a poll that does not end");
        Box::pin(async {})
    }
}

fn restless_body() -> (Task, ManualTimer, Arc<AtomicUsize>) {
    let (timer, asked) = (ManualTimer::new(), Arc::new(AtomicUsize::new(0)));
    let stream = without_history().timer(Restless(timer.clone(), asked.clone())).build().unwrap();
    let body = body(&stream, "a");
    (Task { body, woken: Arc::new(Count(AtomicUsize::new(0))) }, timer, asked)
}

/// A poll used to ask for sleep after sleep until its keep-alive was due, for ever if the clock
/// stood still.
#[test]
fn a_poll_gives_way_to_other_tasks_after_four_sleeps_that_ended_at_once() {
    let (mut task, _timer, asked) = restless_body();
    assert_eq!(task.poll(), OPEN);
    for _ in 0..1000 {
        assert_eq!(asked.swap(0, Ordering::Relaxed), 4);
        assert!(task.woken.0.load(Ordering::Relaxed) > 0, "it comes back by itself");
        assert_eq!(task.run(), "");
    }
}

#[test]
fn keep_alives_come_in_time_though_all_sleeps_end_at_once() {
    let (mut task, timer, asked) = restless_body();
    assert_eq!(task.poll(), OPEN);
    for _ in 0..5 {
        timer.advance(18 * SECOND - Duration::from_nanos(1));
        assert_eq!(task.run(), "");
        timer.advance(Duration::from_nanos(1));
        assert_eq!(task.run(), KEEP_ALIVE);
        asked.store(0, Ordering::Relaxed);
    }
}

/// A timer whose sleeps run a hook when they are polled, and never end.
struct Hooked(ManualTimer, Hook);

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl Timer for Hooked {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        let hook = self.1.clone();
        Box::pin(poll_fn(move |_| {
            let hook = hook.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
            Poll::Pending
        }))
    }
}

#[test]
fn a_body_that_joins_a_sleep_while_another_polls_it_is_woken_to_try_again() {
    let hook = Hook::default();
    let [mut first, mut second] = pair(Hooked(ManualTimer::new(), hook.clone()));
    second.move_on();
    let woken = second.woken.clone();
    // The first body's poll may have looked at the sleep before the second one joined.
    let second = Arc::new(Mutex::new(second));
    let comes = second.clone();
    *hook.lock().unwrap() = Some(Box::new(move || assert_eq!(comes.lock().unwrap().poll(), "")));
    first.move_on();
    assert_eq!(first.poll(), "");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

/// tokio's sleeps panic when their runtime is gone.
#[test]
fn a_sleep_that_panics_when_it_is_polled_ends_for_all_that_share_it() {
    let hook = Hook::default();
    let [mut first, mut second] = pair(Hooked(ManualTimer::new(), hook.clone()));
    *hook.lock().unwrap() = Some(Box::new(|| resume_unwind(Box::new(()))));
    first.move_on();
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err());
    assert_eq!(second.woken.0.load(Ordering::Relaxed), 1);
    // The second body gets a new sleep, and polls it.
    let polled = Arc::new(AtomicUsize::new(0));
    let count = polled.clone();
    *hook.lock().unwrap() = Some(Box::new(move || count.store(1, Ordering::Relaxed)));
    assert_eq!(second.poll(), "");
    assert_eq!(polled.load(Ordering::Relaxed), 1);
    assert_eq!(second.woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_body_that_left_a_shared_sleep_is_not_woken_by_it() {
    let timer = ManualTimer::new();
    let [first, second] = pair(timer.clone());
    let woken = first.woken.clone();
    drop(first);
    timer.advance(SECOND);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn each_frame_restarts_the_silence() {
    let (stream, mut body, timer) = quiet_body(EventStream::builder());
    for data in ["1", "2", "3"] {
        // The last moment before the earliest possible keep-alive.
        timer.advance(18 * SECOND - Duration::from_nanos(1));
        publish(&stream, "a", data);
        assert!(body_text(&mut body).ends_with(&format!("\ndata: {data}\n\n")));
    }
    timer.advance(18 * SECOND - Duration::from_nanos(1));
    assert_eq!(body_text(&mut body), "");
    timer.advance(2 * SECOND + Duration::from_nanos(1));
    assert_eq!(body_text(&mut body), KEEP_ALIVE);
}

#[test]
fn a_reset_is_a_frame_too() {
    let (stream, mut body, timer) =
        quiet_body(EventStream::builder().history(History::default().events(1)));
    timer.advance(17 * SECOND);
    publish(&stream, "a", "1");
    publish(&stream, "a", "2");
    assert!(body_text(&mut body).contains("lagged"));
    timer.advance(17 * SECOND);
    assert_eq!(body_text(&mut body), "");
    timer.advance(3 * SECOND);
    assert_eq!(body_text(&mut body), KEEP_ALIVE);
}

#[test]
fn a_busy_body_has_no_keep_alive_and_one_that_was_not_polled_has_one() {
    let (stream, mut body, timer) = quiet_body(EventStream::builder());
    for _ in 0..100 {
        timer.advance(SECOND);
        publish(&stream, "a", "tick");
        assert!(!body_text(&mut body).contains("keep-alive"));
    }
    timer.advance(1000 * SECOND);
    assert_eq!(body_text(&mut body), KEEP_ALIVE, "it does not make up for those that it missed");
}

#[test]
fn an_event_goes_before_a_keep_alive_that_is_due_at_the_same_time() {
    let (stream, mut body, timer) = quiet_body(without_history());
    timer.advance(20 * SECOND);
    publish(&stream, "a", "1");
    assert_eq!(body_text(&mut body), "data: 1\n\n");
}

#[test]
fn the_period_can_be_set_and_zero_means_never() {
    let (_stream, mut body, timer) = quiet_body(EventStream::builder().keep_alive(5 * SECOND));
    let (after, text) = silence(&mut body, &timer).unwrap();
    assert!((Duration::from_millis(4500)..=5 * SECOND).contains(&after), "{after:?}");
    assert_eq!(text, KEEP_ALIVE);
    let (stream, mut body, timer) = quiet_body(EventStream::builder().keep_alive(Duration::ZERO));
    assert_eq!(silence(&mut body, &timer), None);
    timer.advance(1_000_000 * SECOND);
    assert_eq!(body_text(&mut body), "");
    publish(&stream, "a", "still there");
    assert!(body_text(&mut body).ends_with("data: still there\n\n"));
}

#[test]
fn the_longest_period_means_never_and_does_not_panic() {
    let stream = EventStream::builder().keep_alive(Duration::MAX).build().unwrap();
    assert!(body_text(&mut body(&stream, "a")).ends_with(OPEN));
}

// The end, and what a dropped body frees.

#[test]
fn after_close_a_body_hands_out_what_is_left_and_ends() {
    for builder in [EventStream::builder(), without_history()] {
        let (stream, mut polled, timer) = quiet_body(builder);
        let mut unpolled = body(&stream, "a");
        let mut several = stream.subscribe(["a", "b"]).into_body();
        publish(&stream, "a", "1");
        publish(&stream, "b", "2");
        publish(&stream, "a", "3");
        block_on(stream.close());
        timer.advance(20 * SECOND);
        for (body, expected) in [
            (&mut polled, &["data: 1", "data: 3"][..]),
            (&mut unpolled, &["data: ", "data: 1", "data: 3"]),
            (&mut several, &["data: ", "data: 1", "data: 2", "data: 3"]),
        ] {
            let text = body_text(body);
            assert!(body.is_terminated());
            assert_eq!(
                text.lines().filter(|line| line.starts_with("data:")).collect::<Vec<_>>(),
                expected
            );
            assert!(!text.contains("keep-alive"), "{text}");
            assert!(text.ends_with("\n\n"), "{text}");
        }
        assert_eq!(
            stream.stats().subscriptions,
            0,
            "a body that has ended holds nothing even before it is dropped"
        );
    }
}

#[test]
fn a_closed_channel_ends_its_bodies_after_what_is_kept() {
    let (stream, mut body, _) = quiet_body(without_history());
    publish(&stream, "a", "1");
    stream.close_channel("a");
    publish(&stream, "a", "of the next channel of this name");
    assert_eq!(body_text(&mut body), "data: 1\n\n");
    assert!(body.is_terminated());
}

#[test]
fn a_subscription_that_has_ended_makes_an_empty_body() {
    let stream = EventStream::new();
    block_on(stream.close());
    let mut body = body(&stream, "a");
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(0));
    assert_eq!(ready(&mut body), (vec![], true));
}

#[test]
fn a_dropped_body_frees_its_subscription_however_far_it_was_read() {
    let stream = EventStream::builder().limits(Limits::default().item(1)).build().unwrap();
    let subscriptions = || stream.stats().subscriptions;
    let answer = |channels: &[&str]| {
        let response = block_on(stream.run(&Request::new(()), Response::new(()), channels));
        publish(&stream, "a", "1");
        publish(&stream, "a", "2");
        assert_eq!(subscriptions(), 1);
        response.into_body()
    };
    for channels in [&["a"][..], &["a", "b"]] {
        drop(answer(channels));
        assert_eq!(subscriptions(), 0, "not polled");
        let mut body = answer(channels);
        block_on(body.next()).unwrap().unwrap();
        drop(body);
        assert_eq!(subscriptions(), 0, "after stream-open");
        let mut body = answer(channels);
        let items = [block_on(body.next()), block_on(body.next())];
        drop(body);
        assert_eq!(subscriptions(), 0, "before the last event");
        let items = items.into_iter().flatten().flatten();
        assert_eq!(items.count(), 2, "the items outlive their body");
        let mut body = answer(channels);
        body_text(&mut body);
        drop(body);
        assert_eq!(subscriptions(), 0, "asleep");
        let mut reader = answer(channels).into_async_read();
        block_on(reader.read_exact(&mut [0; 50])).unwrap();
        drop(reader);
        assert_eq!(subscriptions(), 0, "in the middle of an item");
        drop(stream.run(&Request::new(()), Response::new(()), channels));
        assert_eq!(subscriptions(), 0, "an answer that was not awaited");
    }
}

#[test]
fn a_dropped_body_frees_its_timer() {
    let timer = ManualTimer::new();
    let stream = EventStream::builder().timer(timer.clone()).build().unwrap();
    let mut bodies: Vec<_> = (0..3).map(|_| body(&stream, "a")).collect();
    bodies.iter_mut().take(2).for_each(|body| drop(body_text(body)));
    // A body whose sleep has ended gets a new one.
    timer.advance(20 * SECOND);
    assert_eq!(body_text(&mut bodies[0]), KEEP_ALIVE);
    timer.advance(Duration::ZERO);
    drop(bodies.split_off(1));
    assert_eq!(timer.sleeping(), 1);
    drop(bodies);
    assert_eq!(timer.sleeping(), 0);
}

#[test]
fn a_body_dropped_asleep_is_not_woken() {
    for channels in [&["a"][..], &["a", "b"]] {
        let stream = EventStream::new();
        let mut body = stream.subscribe(channels).into_body();
        body_text(&mut body);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        assert!(body.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(body);
        publish(&stream, "a", "1");
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(stream.stats().delivered, 0);
    }
}

// History off.

#[test]
fn without_history_the_only_ids_are_those_given_by_the_program() {
    let stream = without_history().build().unwrap();
    let mut one = body(&stream, "a");
    let mut several = stream.subscribe(["a", "b"]).into_body();
    stream.try_publish("a", Event::new("e").data("1")).unwrap();
    stream.try_publish("a", event("2").id("own")).unwrap();
    drop(stream.publish_all("a", [event("3"), event("4")]));
    let expected = format!("{OPEN}event: e\ndata: 1\n\nid: own\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");
    assert_eq!(body_text(&mut one), expected);
    assert_eq!(body_text(&mut several), expected);
}

#[test]
fn without_history_a_last_event_id_is_ignored() {
    let stream = without_history().build().unwrap();
    let _listener = stream.subscribe("a");
    let own = publish(&stream, "a", "1");
    stream.try_publish("a", event("2").id("given")).unwrap();
    let elsewhere = publish(&EventStream::new(), "a", "1");
    for id in [&*own, "given", &elsewhere, "a foreign id", "\u{e9}"] {
        let mut returning = stream.subscribe_after("a", id).into_body();
        assert_eq!(body_text(&mut returning), OPEN, "{id}");
        let req = Request::get("/").header("last-event-id", id.as_bytes()).body(()).unwrap();
        let mut answer = block_on(stream.run(&req, Response::new(()), ["a", "b"])).into_body();
        assert_eq!(body_text(&mut answer), OPEN, "{id}");
    }
    let req = Request::get("/?lastEventId=%FF").body(()).unwrap();
    assert_eq!(
        body_text(&mut block_on(stream.run(&req, Response::new(()), "a")).into_body()),
        OPEN
    );
}

#[test]
fn without_history_the_reset_of_a_lagging_reader_has_no_id() {
    let stream = without_history().build().unwrap();
    let mut slow = body(&stream, "a");
    (0..257).for_each(|n| drop(publish(&stream, "a", &n.to_string())));
    let text = body_text(&mut slow);
    let reset = "event: stream-reset\ndata: {\"channels\":[\"a\"],\"reason\":\"lagged\"}\n\n";
    assert!(text.starts_with(&format!("{OPEN}{reset}data: 1\n\n")), "{text}");
    assert!(text.ends_with("\ndata: 256\n\n"), "{text}");
    assert!(!text.contains("id:"));
}
