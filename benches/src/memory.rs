//! Bytes and allocations, counted by the allocator. The counts are exact, so once is enough.

use allocation_counter::measure as count;
use eventstream::{Event, EventStream};
use eventstream_benches::contenders::{
    Contender, EncodedBroadcast, Log, StructBroadcast, CAPACITY,
};
use eventstream_benches::load::{Crowd, Load};
use eventstream_benches::message::{event, Message};
use eventstream_benches::report::Report;
use futures::{FutureExt, StreamExt};
use tokio::sync::broadcast;

use crate::by_hand::poll_by_hand;

const IDLE: usize = 10_000;

pub(crate) fn measure(report: &mut Report) {
    report.section("memory");
    report.progress("memory");
    let what = "bytes per idle subscriber, 10 000 on a channel";
    let bytes = idle_subscriber();
    report.row(what, &[("LOG", bytes), ("D1", idle_receiver())]);
    report.target(what, bytes, 128.0);

    let what = "bytes per idle channel with one subscriber";
    let bytes = idle_channel();
    report.row(what, &[("LOG", bytes), ("D1", idle_broadcast())]);
    report.target(what, bytes, 640.0);

    for subscribers in [1, 100] {
        let what = format!("allocations per event, N={subscribers}, building it not counted");
        report.progress(&what);
        let ours = allocations::<Log>(subscribers, || drop(event()));
        let peers = || drop(Message::new(1));
        let d1 = allocations::<EncodedBroadcast>(subscribers, peers);
        let d0 = allocations::<StructBroadcast>(subscribers, peers);
        report.row(&what, &[("LOG", ours), ("D1", d1), ("D0", d0)]);
        report.target(what, ours, 0.1);
    }

    for (size, event) in
        [("138 B", event()), ("2 KB", Event::new("message").data("x".repeat(2000)))]
    {
        let what = format!("peak KiB, never polled, 200 000 events of {size}");
        report.progress(&what);
        let kib = never_polled(&event) / 1024.0;
        report.row(&what, &[("LOG", kib)]);
        // The log's limit, a chunk, and 64 KiB.
        report.target(what, kib, 1024.0 + 16.0 + 64.0);
    }
}

/// The bytes that `f` leaves allocated, per idle subscriber or channel.
fn left_by<T>(f: impl FnOnce() -> T) -> f64 {
    let mut kept = None;
    let info = count(|| kept = Some(f()));
    info.bytes_current as f64 / IDLE as f64
}

fn idle_subscriber() -> f64 {
    let stream = EventStream::new();
    left_by(|| {
        let mut subscriptions: Vec<_> = (0..IDLE).map(|_| stream.subscribe("a")).collect();
        subscriptions
            .iter_mut()
            .for_each(|subscription| assert!(subscription.next().now_or_never().is_none()));
        subscriptions
    })
}

fn idle_receiver() -> f64 {
    let (sender, _) = broadcast::channel::<()>(CAPACITY);
    left_by(|| {
        let mut receivers: Vec<_> = (0..IDLE).map(|_| Box::pin(wait(sender.subscribe()))).collect();
        receivers.iter_mut().for_each(poll_by_hand);
        receivers
    })
}

fn idle_channel() -> f64 {
    let stream = EventStream::new();
    let names: Vec<_> = (0..IDLE).map(|n| format!("channel {n}")).collect();
    left_by(|| {
        let mut subscriptions: Vec<_> = names.iter().map(|name| stream.subscribe(name)).collect();
        subscriptions
            .iter_mut()
            .for_each(|subscription| assert!(subscription.next().now_or_never().is_none()));
        subscriptions
    })
}

fn idle_broadcast() -> f64 {
    left_by(|| {
        let mut channels: Vec<_> = (0..IDLE)
            .map(|_| {
                let (sender, receiver) = broadcast::channel::<bytes::Bytes>(CAPACITY);
                (sender, Box::pin(wait(receiver)))
            })
            .collect();
        channels.iter_mut().for_each(|(_, receiver)| poll_by_hand(receiver));
        channels
    })
}

async fn wait<T: Clone>(mut receiver: broadcast::Receiver<T>) {
    let _ = receiver.recv().await;
}

/// Allocations of publishing and draining, less those of building the event.
fn allocations<C: Contender>(subscribers: usize, build: impl Fn()) -> f64 {
    const EVENTS: usize = 10_000;
    let (crowd, subscribers) = Crowd::<C>::gather(Load::one_channel(subscribers, 1));
    let mut subscribers: Vec<_> = subscribers.into_iter().map(Box::pin).collect();
    let mut drain = |events: usize| {
        crowd.meter.expect(events as u64, subscribers.len());
        for _ in 0..events {
            crowd.contender.publish(0);
            subscribers.iter_mut().for_each(poll_by_hand);
        }
        assert!(crowd.meter.is_done());
    };
    drain(100);
    let all = count(|| drain(EVENTS)).count_total;
    let built = count(|| (0..EVENTS).for_each(|_| build())).count_total;
    crowd.contender.check();
    (all - built) as f64 / EVENTS as f64
}

/// The most bytes that were allocated at any time.
fn never_polled(event: &Event) -> f64 {
    let stream = EventStream::new();
    let _reader = stream.subscribe("a");
    let publish =
        || (0..200_000).for_each(|_| drop(stream.try_publish("a", event.clone()).expect("valid")));
    count(publish).bytes_max as f64
}
