//! The hub's memory, counted by the allocator: it is bounded, small, and given back.

mod common;

use std::time::Duration;

use allocation_counter::{measure, AllocationInfo};
use bytes::Bytes;
use common::ready;
use eventstream::test_util::ManualTimer;
use eventstream::{Event, EventStream, History, Limits, Subscription};
use futures::{FutureExt, StreamExt};

const KIB: usize = 1 << 10;
/// The default of `History::bytes`.
const LOG: usize = KIB * KIB;
const CHUNK: usize = 16 * KIB;

/// The bytes that a closure leaves allocated, the most it had at once, and how often it allocated.
struct Cost {
    left: usize,
    most: usize,
    times: u64,
}

/// Measures `f`, after everything that is allocated once per thread has been allocated.
fn cost<T>(f: impl FnOnce() -> T) -> (Cost, T) {
    warm_up();
    let mut kept = None;
    let AllocationInfo { count_total: times, bytes_current, bytes_max, .. } =
        measure(|| kept = Some(f()));
    let left = usize::try_from(bytes_current).unwrap_or(0);
    (Cost { left, most: bytes_max as usize, times }, kept.unwrap())
}

fn warm_up() {
    let stream = EventStream::new();
    let mut subscriptions = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    for _ in 0..10 {
        stream.try_publish("a", event()).unwrap();
        stream.try_publish("b", event()).unwrap();
        subscriptions.iter_mut().for_each(|subscription| drop(ready(subscription)));
    }
}

/// 138 bytes on the wire, with an id of two digits.
fn event() -> Event {
    Event::new("message").data("x".repeat(97))
}

fn next(subscription: &mut Subscription) -> Bytes {
    let (mut items, _) = ready(subscription);
    assert_eq!(items.len(), 1);
    items.remove(0)
}

#[test]
fn an_idle_subscriber_costs_at_most_128_bytes() {
    const N: usize = 10_000;
    let stream = EventStream::new();
    let (cost, subscriptions) = cost(|| {
        let mut subscriptions = Vec::with_capacity(N);
        subscriptions.extend((0..N).map(|_| stream.subscribe("a")));
        subscriptions.iter_mut().for_each(|subscription| assert!(ready(subscription).0.is_empty()));
        subscriptions
    });
    println!("{} bytes per idle subscriber", cost.left / N);
    assert!(cost.left / N <= 128);
    drop(subscriptions);
}

#[test]
fn an_idle_channel_with_one_subscriber_costs_at_most_640_bytes() {
    const N: usize = 10_000;
    for history in [History::default(), History::default().events(1 << 20).bytes(1 << 30)] {
        let stream = EventStream::builder().history(history).build().unwrap();
        let names: Vec<String> = (0..N).map(|n| format!("channel {n}")).collect();
        let (cost, subscriptions) = cost(|| {
            let mut subscriptions = Vec::with_capacity(N);
            subscriptions.extend(names.iter().map(|name| stream.subscribe(name)));
            subscriptions
                .iter_mut()
                .for_each(|subscription| assert!(ready(subscription).0.is_empty()));
            subscriptions
        });
        println!("{} bytes per idle channel with one subscriber", cost.left / N);
        assert!(cost.left / N <= 640);
        drop(subscriptions);
    }
}

#[test]
fn publishing_and_reading_allocate_next_to_nothing() {
    const EVENTS: u64 = 10_000;
    for readers in [0, 1, 100] {
        let stream = EventStream::new();
        let mut subscriptions: Vec<_> = (0..readers).map(|_| stream.subscribe("a")).collect();
        let events: Vec<Event> = (0..2 * EVENTS).map(|_| event()).collect();
        let mut events = events.into_iter();
        let mut pass = |events: &mut dyn Iterator<Item = Event>| {
            for event in events {
                stream.try_publish("a", event).unwrap();
                for subscription in &mut subscriptions {
                    drop(next_item(subscription));
                }
            }
        };
        pass(&mut events.by_ref().take(EVENTS as usize));
        let (cost, ()) = cost(|| pass(&mut events));
        println!(
            "{} allocations per event at {readers} readers",
            cost.times as f64 / EVENTS as f64
        );
        assert!(cost.times <= EVENTS / 10);
    }
}

/// Without a `Vec` of items, which would be counted.
fn next_item(subscription: &mut Subscription) -> Option<Bytes> {
    use futures::{FutureExt, StreamExt};
    let item = subscription.next().now_or_never().flatten();
    assert!(subscription.next().now_or_never().is_none());
    item
}

#[test]
fn a_reader_that_never_polls_costs_no_more_than_the_log() {
    let stream = EventStream::new();
    let subscription = stream.subscribe("a");
    let (cost, ()) = cost(|| {
        for _ in 0..200_000 {
            stream.try_publish("a", event()).unwrap();
        }
    });
    println!("{} KiB at most", cost.most / KIB);
    assert!(cost.most <= LOG + CHUNK + 64 * KIB);
    drop(subscription);
}

/// As when readers are woken one by one while a burst is published, so that each has read a
/// different part of it.
#[test]
fn readers_at_different_places_share_one_copy_of_what_is_left() {
    const FRAMES: usize = 100;
    let stream = EventStream::new();
    let mut readers = Vec::new();
    for _ in 0..FRAMES {
        readers.push(stream.subscribe("a"));
        stream.try_publish("a", event()).unwrap();
    }
    let first = next(&mut readers[0]);
    for (at, reader) in readers.iter_mut().enumerate().skip(1) {
        let item = next(reader);
        assert!(first.ends_with(&item), "{at}");
        assert_eq!(item.windows(2).filter(|bytes| bytes == b"\n\n").count(), FRAMES - at);
        // A slice keeps the whole first item alive; a slice of less than an eighth is copied.
        let shared = first.as_ptr_range().contains(&item.as_ptr());
        assert_eq!(shared, item.len() >= first.len() / 8, "{at}");
    }
    assert_eq!(stream.stats().delivered, (1..=FRAMES as u64).sum::<u64>());
}

#[test]
fn what_all_readers_have_taken_is_kept_by_the_log_alone() {
    const SIZE: usize = 60 * KIB;
    let stream = EventStream::new();
    let mut readers: Vec<_> = (0..3).map(|_| stream.subscribe("a")).collect();
    let publish =
        |channel| stream.try_publish(channel, Event::default().data("x".repeat(SIZE))).unwrap();
    // From here on the buffer in which this thread encodes is large enough.
    publish("nobody's");
    let (cost, ()) = cost(|| {
        publish("a");
        readers.iter_mut().for_each(|reader| drop(next(reader)));
    });
    println!("{} KiB left", cost.left / KIB);
    assert!(cost.left <= SIZE + KIB);
}

/// An item keeps the bytes of its frames alive, but never more than one chunk.
#[test]
fn readers_that_hold_a_small_item_each_pin_a_chunk_at_most() {
    const READERS: usize = 2_000;
    let stream = EventStream::new();
    // These readers are up to date: their items are at the tail of the log.
    let (at_tail, held) = cost(|| {
        let mut held = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let mut reader = stream.subscribe("a");
            stream.try_publish("a", event()).unwrap();
            held.push((next(&mut reader), reader));
            for _ in 0..CHUNK / 138 {
                stream.try_publish("a", event()).unwrap();
            }
        }
        held
    });
    println!("{} bytes per reader at the tail", at_tail.left / READERS);
    assert!(at_tail.left <= LOG + READERS * (CHUNK + 512));
    drop(held);
    // These readers are behind: an item is either a copy of its own bytes, or a good part of the
    // chunk that it keeps alive.
    let stream =
        EventStream::builder().limits(eventstream::Limits::default().item(100)).build().unwrap();
    let (behind, held) = cost(|| {
        let mut held = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let mut reader = stream.subscribe("a");
            for _ in 0..CHUNK / 138 {
                stream.try_publish("a", event()).unwrap();
            }
            held.push((next_one(&mut reader), reader));
        }
        held
    });
    println!("{} bytes per reader behind", behind.left / READERS);
    assert!(behind.left <= LOG + READERS * 1024);
    drop(held);
}

fn next_one(subscription: &mut Subscription) -> Bytes {
    use futures::{FutureExt, StreamExt};
    subscription.next().now_or_never().flatten().unwrap()
}

#[test]
fn abandoned_channels_are_all_collected() {
    const N: usize = 100_000;
    for history in [History::default(), History::none()] {
        let timer = ManualTimer::new();
        let stream = EventStream::builder().history(history).timer(timer.clone()).build().unwrap();
        let (cost, ()) = cost(|| {
            for n in 0..N {
                let name = n.to_string();
                let mut subscription = stream.subscribe(&name);
                assert!(ready(&mut subscription).0.is_empty());
                if n % 2 == 0 {
                    stream.try_publish(&name, Event::default()).unwrap();
                }
            }
            timer.advance(Duration::from_secs(301));
            // Each of these calls collects up to two channels.
            for _ in 0..N / 2 {
                drop(stream.subscribe("still here"));
            }
        });
        let stats = stream.stats();
        println!("{} KiB left of {} KiB", cost.left / KIB, cost.most / KIB);
        assert_eq!(stats.channels, 0);
        assert_eq!(stats.subscriptions, 0);
        assert_eq!(stats.retained_bytes, 0);
        // The table of tombstones, and the buffers of the emptied maps.
        assert!(cost.left <= 128 * N);
    }
}

/// A closed channel used to wait in the hub until its events would have been too old.
#[test]
fn channels_that_are_closed_leave_nothing_though_their_events_would_never_be_too_old() {
    for limits in [Limits::default(), Limits::default().hub_channels(1 << 20)] {
        for history in [History::default(), History::none()] {
            let history = history.age(Duration::MAX);
            let stream =
                EventStream::builder().history(history).limits(limits.clone()).build().unwrap();
            let stays = stream.subscribe("stays");
            stream.try_publish("stays", Event::default()).unwrap();
            let come_and_go = |times: usize| {
                for _ in 0..times {
                    let reader = stream.subscribe("a");
                    stream.try_publish("a", Event::default()).unwrap();
                    drop(reader);
                    stream.close_channel("a");
                }
            };
            // The table of tombstones fills up first.
            come_and_go(10_000);
            let (cost, ()) = cost(|| come_and_go(250_000));
            println!("{} bytes left, {} at most", cost.left, cost.most);
            assert!(cost.most <= 128 * KIB);
            drop(stays);
        }
    }
}

#[test]
fn many_channels_that_are_closed_at_once_are_all_freed() {
    const N: usize = 10_000;
    for limits in [Limits::default(), Limits::default().hub_channels(N)] {
        let history = History::default().age(Duration::MAX);
        let stream = EventStream::builder().history(history).limits(limits).build().unwrap();
        let names: Vec<String> = (0..N).map(|n| format!("channel {n}")).collect();
        let publish_and_close = || {
            names.iter().for_each(|name| drop(stream.try_publish(name, event()).unwrap()));
            names.iter().for_each(|name| stream.close_channel(name));
        };
        // The table of tombstones and the buffer of the emptied map stay.
        publish_and_close();
        let (cost, ()) = cost(publish_and_close);
        println!("{} KiB left of {} KiB", cost.left / KIB, cost.most / KIB);
        assert!(cost.most > N * 256 && cost.left <= 64 * KIB);
    }
}

/// A channel with a reader used to keep its last events for ever.
#[test]
fn channels_that_are_read_keep_nothing_that_is_too_old() {
    const N: usize = 100;
    let event = || Event::default().data("x".repeat(10 * KIB));
    for (publish_elsewhere, keep_alive) in [(true, false), (false, true)] {
        let timer = ManualTimer::new();
        let builder = EventStream::builder().timer(timer.clone());
        let stream = builder.keep_alive(Duration::from_secs(30)).build().unwrap();
        let names: Vec<String> = (0..N).map(|n| format!("channel {n}")).collect();
        let mut bodies: Vec<_> =
            names.iter().map(|name| stream.subscribe(name).into_body()).collect();
        let mut read = || {
            for body in &mut bodies {
                while body.next().now_or_never().is_some() {}
            }
        };
        read();
        stream.try_publish("elsewhere", event()).unwrap();
        let (cost, ()) = cost(|| {
            names.iter().for_each(|name| drop(stream.try_publish(name, event()).unwrap()));
            read();
            timer.advance(Duration::from_secs(300));
            if keep_alive {
                // Each of these bodies hands out a keep-alive, which looks at up to two channels.
                read();
            }
            if publish_elsewhere {
                for _ in 0..N / 2 + 1 {
                    stream.try_publish("elsewhere", Event::default()).unwrap();
                }
            }
        });
        println!("{} bytes left per channel", cost.left / N);
        assert!(cost.most > N * 10 * KIB && cost.left <= N * 512);
    }
}

#[test]
fn a_million_subscriptions_that_come_and_go_leave_nothing() {
    let stream = EventStream::new();
    let mut stays = [stream.subscribe("a"), stream.subscribe(["a", "b"])];
    stays.iter_mut().for_each(|stays| assert!(ready(stays).0.is_empty()));
    let (cost, ()) = cost(|| {
        for n in 0..1_000_000 {
            let mut subscription =
                if n % 2 == 0 { stream.subscribe("a") } else { stream.subscribe(["a", "b"]) };
            assert!(next_item(&mut subscription).is_none());
        }
    });
    println!("{} bytes left, {} at most", cost.left, cost.most);
    assert!(cost.left <= KIB);
    assert!(cost.most <= 4 * KIB);
    assert_eq!(stream.stats().subscriptions, 2);
}

#[test]
fn bodies_that_come_and_go_over_time_leave_no_timer_behind() {
    const N: u32 = 10_000;
    let timer = ManualTimer::new();
    let stream = EventStream::builder().timer(timer.clone()).build().unwrap();
    // This body stays all the time and is never polled again: its sleep ends before all those of
    // the others.
    let mut stuck = stream.subscribe("a").into_body();
    while stuck.next().now_or_never().is_some() {}
    let (cost, ()) = cost(|| {
        for _ in 0..N {
            let mut body = stream.subscribe("a").into_body();
            while body.next().now_or_never().is_some() {}
            timer.advance(Duration::from_secs(1));
        }
    });
    println!("{} bytes left", cost.left);
    assert!(cost.left < 16 * KIB);
    assert_eq!(timer.sleeping(), 0, "the sleep of the body that stays ended long ago");
    drop(stuck);
}
