//! Nanoseconds per delivery under tokio with two workers: wake, schedule, poll, re-arm.

use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

use eventstream_benches::contenders::{
    AsyncBroadcast, AxumSse, ByName, Contender, EncodedBroadcast, ExecutorAndReArm, ExecutorOnly,
    Log, ReceiveLoop, StructBroadcast,
};
use eventstream_benches::load::{Crowd, Load, Spread, WARM_UP};
use eventstream_benches::report::Report;
use eventstream_benches::samples::{Pass, Samples};
use tokio::runtime::{Builder, Runtime};

use crate::Effort;

pub(crate) fn measure(report: &mut Report, effort: Effort) {
    report.section("ns per delivery, tokio, 2 workers: one channel");
    for burst in [1, 16, 256] {
        for subscribers in [1, 100, 1000, 10_000, 100_000] {
            if subscribers <= effort.largest_crowd {
                one_channel(report, effort, burst, subscribers);
            }
        }
    }
    report.section("ns per delivery, tokio, 2 workers: several channels each, N=1000");
    several_channels(report, effort, "3 channels, 1 event in each", 3, 3, Spread::Each);
    several_channels(report, effort, "3 channels, 16 in one", 3, 16, Spread::One);
    several_channels(report, effort, "50 channels, 1 event in one", 50, 1, Spread::One);
    report.section("ns per delivery, tokio, 2 workers: two publishers on two threads");
    let passes: [Pass<'_>; 3] = [
        (Log::NAME, Box::new(|| two_publishers::<Log>(effort))),
        (ByName::NAME, Box::new(|| two_publishers::<ByName>(effort))),
        (EncodedBroadcast::NAME, Box::new(|| two_publishers::<EncodedBroadcast>(effort))),
    ];
    row(report, effort, "bursts of 32 from each, N=100", &passes);
}

fn one_channel(report: &mut Report, effort: Effort, burst: usize, subscribers: usize) {
    let load = Load::one_channel(subscribers, burst);
    let what = if burst == 1 { "single events".into() } else { format!("bursts of {burst}") };
    let what = format!("{what}, N={subscribers}");
    let mut passes = vec![
        pass::<Log>(load, effort),
        pass::<EncodedBroadcast>(load, effort),
        pass::<ExecutorOnly>(load, effort),
        pass::<ExecutorAndReArm>(load, effort),
        pass::<ByName>(load, effort),
    ];
    if subscribers < 10_000 {
        passes.extend([
            pass::<ReceiveLoop>(load, effort),
            pass::<AsyncBroadcast>(load, effort),
            pass::<StructBroadcast>(load, effort),
            pass::<AxumSse>(load, effort),
        ]);
    }
    let samples = row(report, effort, &what, &passes);
    if matches!(subscribers, 100 | 1000) {
        let at_most = match burst {
            1 => 0.70,
            16 => 0.20,
            _ => 0.06,
        };
        report.target(
            format!("ns, {what}, LOG / D1"),
            samples.ratio(Log::NAME, EncodedBroadcast::NAME),
            at_most,
        );
        if burst == 1 {
            report.target(
                format!("ns, {what}, LOG / EXEC"),
                samples.ratio(Log::NAME, ExecutorOnly::NAME),
                1.3,
            );
        }
    }
}

fn several_channels(
    report: &Report,
    effort: Effort,
    what: &str,
    channels: usize,
    burst: usize,
    spread: Spread,
) {
    let load = Load { subscribers: 1000, channels, burst, spread };
    row(report, effort, what, &[pass::<Log>(load, effort), pass::<EncodedBroadcast>(load, effort)]);
}

fn row(report: &Report, effort: Effort, what: &str, passes: &[Pass<'_>]) -> Samples {
    report.progress(what);
    let samples = Samples::take(effort.turns, passes);
    report.row(what, &samples.medians());
    samples
}

fn pass<C: Contender>(load: Load, effort: Effort) -> Pass<'static> {
    (C::NAME, Box::new(move || one_publisher::<C>(load, effort.deliveries)))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

/// The publisher is a task among the subscribers' tasks, as in a server.
fn one_publisher<C: Contender>(load: Load, deliveries: usize) -> f64 {
    let (crowd, subscribers) = Crowd::<C>::gather(load);
    // In the largest crowds one round has as many deliveries as a whole pass elsewhere.
    let rounds = (deliveries / load.deliveries(1)).max(2);
    let warm_up = rounds.min(WARM_UP);
    let runtime = runtime();
    subscribers.into_iter().for_each(|subscriber| drop(runtime.spawn(subscriber)));
    let publisher = runtime.spawn(async move {
        crowd.rounds(warm_up).await;
        let start = Instant::now();
        crowd.rounds(rounds).await;
        let took = start.elapsed();
        crowd.contender.check();
        took
    });
    per_delivery(runtime.block_on(publisher).expect("no panic"), load.deliveries(rounds))
}

fn two_publishers<C: Contender>(effort: Effort) -> f64 {
    const EACH: usize = 32;
    let load = Load::one_channel(100, 2 * EACH);
    let rounds = effort.deliveries / load.deliveries(1);
    let (crowd, subscribers) = Crowd::<C>::gather(load);
    let crowd = Arc::new(crowd);
    let runtime = runtime();
    subscribers.into_iter().for_each(|subscriber| drop(runtime.spawn(subscriber)));
    let (go, turns) = mpsc::channel();
    let other = crowd.clone();
    let thread = thread::spawn(move || {
        for () in turns {
            (0..EACH).for_each(|_| other.contender.publish(0));
        }
    });
    let round = || {
        crowd.meter.expect(2 * EACH as u64, load.subscribers);
        go.send(()).expect("the other thread is there");
        (0..EACH).for_each(|_| crowd.contender.publish(0));
        futures::executor::block_on(crowd.meter.done());
    };
    (0..WARM_UP).for_each(|_| round());
    let start = Instant::now();
    (0..rounds).for_each(|_| round());
    let took = start.elapsed();
    drop(go);
    thread.join().expect("no panic");
    crowd.contender.check();
    per_delivery(took, load.deliveries(rounds))
}

fn per_delivery(took: Duration, deliveries: usize) -> f64 {
    took.as_nanos() as f64 / deliveries as f64
}
