//! Nanoseconds per publication while no reader sleeps: there is none, or none is ever polled.

use std::time::Instant;

use eventstream::EventStream;
use eventstream_benches::contenders::{ByName, Contender, EncodedBroadcast, Log};
use eventstream_benches::load::{Crowd, Load};
use eventstream_benches::message::event;
use eventstream_benches::report::Report;
use eventstream_benches::samples::{Pass, Samples};

use crate::Effort;

pub(crate) fn measure(report: &mut Report, effort: Effort) {
    let events = effort.deliveries / 4;
    report.section(
        "ns per publication, nobody asleep (the event is built, and D1's is encoded, each time)",
    );
    for subscribers in [0, 1, 1000] {
        let what = format!("publish, {subscribers} subscribers not polled");
        report.progress(&what);
        let samples = Samples::take(
            effort.turns,
            &[
                publish::<Log>(subscribers, events),
                publish::<ByName>(subscribers, events),
                publish::<EncodedBroadcast>(subscribers, events),
            ],
        );
        report.row(&what, &samples.medians());
        // Without subscribers D1 refuses the event and keeps nothing, so there is no comparison.
        if subscribers > 0 {
            let ratio = samples.ratio(Log::NAME, EncodedBroadcast::NAME);
            report.target(format!("ns, {what}, LOG / D1"), ratio, 1.1);
        }
    }
    flat(report, effort, "subscribers", |n| publish::<Log>(n, events).1);
    flat(report, effort, "other channels", |n| Box::new(move || among_channels(n, events)));
}

/// Measures with few and with many of something, by turns.
fn flat(
    report: &mut Report,
    effort: Effort,
    of: &str,
    pass: impl Fn(usize) -> Box<dyn Fn() -> f64>,
) {
    let what = format!("LOG, by number of {of}");
    report.progress(&what);
    let passes: [Pass<'_>; 3] =
        [("1:", pass(1)), ("10 000:", pass(10_000)), ("100 000:", pass(100_000))];
    let samples = Samples::take(effort.turns, &passes);
    report.row(&what, &samples.medians());
    report.target(format!("ns, publish, 10 000 {of} / 1"), samples.ratio("10 000:", "1:"), 1.25);
}

fn publish<C: Contender>(subscribers: usize, events: usize) -> Pass<'static> {
    let pass = move || {
        let (crowd, _subscribers) = Crowd::<C>::gather(Load::one_channel(subscribers, 1));
        nanos_each(events, || crowd.contender.publish(0))
    };
    (C::NAME, Box::new(pass))
}

fn among_channels(others: usize, events: usize) -> f64 {
    let stream = EventStream::new();
    let _others: Vec<_> = (0..others).map(|n| stream.subscribe(format!("other {n}"))).collect();
    let _own = stream.subscribe("own");
    let publish = || drop(stream.try_publish("own", event()).expect("valid"));
    (0..1100).for_each(|_| publish());
    nanos_each(events, publish)
}

fn nanos_each(times: usize, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| f());
    start.elapsed().as_nanos() as f64 / times as f64
}
