//! Without an executor: subscribers are polled by hand, on one thread.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use eventstream::EventStream;
use eventstream_benches::contenders::{
    AsyncBroadcast, ByName, Contender, EncodedBroadcast, Log, ReceiveLoop,
};
use eventstream_benches::load::{Crowd, Load};
use eventstream_benches::message::{event, wire_len};
use eventstream_benches::report::Report;
use eventstream_benches::samples::{Pass, Samples};
use futures::task::noop_waker_ref;
use futures::{FutureExt, StreamExt};

use crate::Effort;

pub(crate) fn measure(report: &mut Report, effort: Effort) {
    report.section("ns, by hand, no executor");
    let alone = "publish and drain, N=1";
    report.progress(alone);
    let events = effort.deliveries / 4;
    let samples = Samples::take(
        effort.turns,
        &[
            publish_and_drain::<Log>(events),
            publish_and_drain::<ByName>(events),
            publish_and_drain::<EncodedBroadcast>(events),
            publish_and_drain::<ReceiveLoop>(events),
            publish_and_drain::<AsyncBroadcast>(events),
        ],
    );
    report.row(alone, &samples.medians());
    report.target(
        format!("ns, {alone}, LOG / D1"),
        samples.ratio(Log::NAME, EncodedBroadcast::NAME),
        0.95,
    );

    let laggards = "1000 laggards, each polls every 1..16 events";
    report.progress(laggards);
    let samples = Samples::take(
        effort.turns,
        &[
            lag::<Log>(effort.deliveries),
            lag::<ByName>(effort.deliveries),
            lag::<EncodedBroadcast>(effort.deliveries),
            lag::<ReceiveLoop>(effort.deliveries),
        ],
    );
    report.row(laggards, &samples.medians());
    report.target(
        format!("ns, {laggards}, LOG / D1"),
        samples.ratio(Log::NAME, EncodedBroadcast::NAME),
        0.4,
    );

    for back in [16, 1000] {
        let what = format!("replay by id, {back} events back of 1024");
        report.progress(&what);
        let times = effort.deliveries / 16;
        let samples =
            Samples::take(effort.turns, &[("LOG", Box::new(move || replay(back, times)))]);
        report.row(&what, &samples.medians());
    }

    let many = "replay of all events, ns a byte, by channels";
    report.progress(many);
    let rounds = effort.deliveries / 60_000;
    let samples = Samples::take(
        effort.turns,
        &[
            ("1", Box::new(move || replay_all(1, rounds))),
            ("10", Box::new(move || replay_all(10, rounds))),
            ("100", Box::new(move || replay_all(100, rounds))),
        ],
    );
    report.row(many, &samples.medians());
}

pub(crate) fn poll_by_hand<F: Future<Output = ()>>(subscriber: &mut Pin<Box<F>>) {
    assert!(subscriber.as_mut().poll(&mut Context::from_waker(noop_waker_ref())).is_pending());
}

fn publish_and_drain<C: Contender>(events: usize) -> Pass<'static> {
    let pass = move || {
        let (crowd, subscribers) = Crowd::<C>::gather(Load::one_channel(1, 1));
        let mut subscriber = subscribers.into_iter().map(Box::pin).next().expect("one");
        poll_by_hand(&mut subscriber);
        crowd.meter.expect(events as u64, 1);
        let start = Instant::now();
        for _ in 0..events {
            crowd.contender.publish(0);
            poll_by_hand(&mut subscriber);
        }
        let took = start.elapsed();
        assert!(crowd.meter.is_done());
        crowd.contender.check();
        took.as_nanos() as f64 / events as f64
    };
    (C::NAME, Box::new(pass))
}

/// The first reader polls after every event, the second after every other, and so on to every 16th.
fn lag<C: Contender>(deliveries: usize) -> Pass<'static> {
    let pass = move || {
        let load = Load::one_channel(1000, 1);
        let events = deliveries / load.deliveries(1);
        let (crowd, subscribers) = Crowd::<C>::gather(load);
        let mut subscribers: Vec<_> = subscribers.into_iter().map(Box::pin).collect();
        subscribers.iter_mut().for_each(poll_by_hand);
        crowd.meter.expect(events as u64, load.subscribers);
        let start = Instant::now();
        for event in 1..=events {
            crowd.contender.publish(0);
            for (index, subscriber) in subscribers.iter_mut().enumerate() {
                if event % (index % 16 + 1) == 0 {
                    poll_by_hand(subscriber);
                }
            }
        }
        subscribers.iter_mut().for_each(poll_by_hand);
        let took = start.elapsed();
        assert!(crowd.meter.is_done());
        crowd.contender.check();
        took.as_nanos() as f64 / load.deliveries(events) as f64
    };
    (C::NAME, Box::new(pass))
}

/// Subscribes after an id, reads all there is, and drops the subscription.
fn replay(back: usize, times: usize) -> f64 {
    const KEPT: usize = 1024;
    let stream = EventStream::new();
    let ids: Vec<_> = (0..KEPT).map(|_| stream.try_publish("a", event()).expect("valid")).collect();
    let after = ids[KEPT - 1 - back].as_ref();
    let due: u64 = (KEPT - back + 1..=KEPT).map(|seq| wire_len(seq as u64)).sum();
    let start = Instant::now();
    for _ in 0..times {
        let mut subscription = stream.subscribe_after("a", after);
        let mut bytes = 0;
        while let Some(item) = subscription.next().now_or_never() {
            bytes += item.expect("not closed").len() as u64;
        }
        assert_eq!(bytes, due);
    }
    let took = start.elapsed();
    assert_eq!(stream.stats().resets, 0);
    took.as_nanos() as f64 / times as f64
}

/// Subscribes to all channels before their first event, reads everything and copies it once, as a
/// socket does. The channels took turns, so each event is followed by one of another channel.
fn replay_all(channels: usize, rounds: usize) -> f64 {
    const KEPT: usize = 1000;
    let stream = EventStream::new();
    let names: Vec<_> = (0..channels).map(|n| n.to_string()).collect();
    let first = stream.try_publish("another", event()).expect("valid");
    let turns = (0..KEPT).flat_map(|_| &names);
    turns.for_each(|name| drop(stream.try_publish(name, event()).expect("valid")));
    let seqs = 2..=(KEPT * channels) as u64 + 1;
    let due: u64 = seqs.map(wire_len).sum();
    let mut socket = Vec::new();
    let start = Instant::now();
    for _ in 0..rounds {
        let mut subscription = stream.subscribe_after(&names, first.as_ref());
        let mut bytes = 0;
        while let Some(item) = subscription.next().now_or_never() {
            let item = item.expect("not closed");
            bytes += item.len() as u64;
            socket.clear();
            socket.extend_from_slice(&item);
            black_box(&socket);
        }
        assert_eq!(bytes, due);
    }
    let took = start.elapsed();
    assert_eq!(stream.stats().resets, 0);
    took.as_nanos() as f64 / (rounds as u64 * due) as f64
}
