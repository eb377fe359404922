//! Publishers and readers on all cores for a bounded time: every event is accounted for by its
//! number.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstream::{Event, EventId, EventStream, History, Limits};
use futures::future::{join_all, BoxFuture};
use futures::stream::StreamExt;
use futures::FutureExt;

/// How long each test publishes.
const TIME: Duration = Duration::from_millis(800);
const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// Runs tasks on several threads and waits for all.
type Run = fn(Vec<BoxFuture<'static, ()>>);

fn on_tokio(tasks: Vec<BoxFuture<'static, ()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
    });
}

fn on_smol(tasks: Vec<BoxFuture<'static, ()>>) {
    let executor = smol::Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| smol::block_on(executor.run(stopped.recv())).unwrap_err());
        }
        let tasks: Vec<_> = tasks.into_iter().map(|task| executor.spawn(task)).collect();
        smol::block_on(join_all(tasks));
        drop(stop);
    });
}

/// Publishes until the time is up or the stream is closed, and returns the last number published.
async fn publish(stream: EventStream, channel: &'static str) -> u64 {
    let until = Instant::now() + TIME;
    let mut number = 0;
    while Instant::now() < until {
        let batch = number % 7 == 0;
        let done = if batch {
            let events = (number + 1..=number + 3).map(|number| numbered(channel, number));
            stream.publish_all(channel, events).await.map(|ids| ids.len() as u64)
        } else {
            stream.publish(channel, numbered(channel, number + 1)).await.map(|_| 1)
        };
        match done {
            Ok(events) => number += events,
            Err(_) => break,
        }
        // The history is so large here that publishing itself hardly ever yields.
        smol::future::yield_now().await;
    }
    number
}

fn numbered(channel: &str, number: u64) -> Event {
    Event::new(channel).data(number.to_string())
}

/// What a reader has seen: the newest number of each channel, and the last seq of all.
#[derive(Default)]
struct Account {
    newest: [u64; CHANNELS.len()],
    last_seq: u64,
    resets: u64,
}

impl Account {
    /// Reads an item. The numbers of a channel must go up by one, except after a reset of that
    /// channel, and the seqs of all channels must go up.
    fn read(&mut self, item: &[u8]) {
        for frame in std::str::from_utf8(item).unwrap().split_terminator("\n\n") {
            let field =
                |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let seq: u64 = field("id: ").split_once('-').unwrap().1.parse().unwrap();
            let name = field("event: ");
            if name == "stream-reset" {
                self.resets += 1;
                for (index, channel) in CHANNELS.iter().enumerate() {
                    if field("data: ").contains(&format!("{channel:?}")) {
                        // The next event of this channel may have any number that is new.
                        self.newest[index] |= 1 << 63;
                    }
                }
                continue;
            }
            assert!(seq > self.last_seq, "{seq} after {}", self.last_seq);
            self.last_seq = seq;
            let index = CHANNELS.iter().position(|channel| *channel == name).unwrap();
            let (number, newest): (u64, _) =
                (field("data: ").parse().unwrap(), &mut self.newest[index]);
            match *newest >> 63 {
                0 => assert_eq!(number, *newest + 1, "on channel {name}"),
                _ => assert!(number > *newest & !(1 << 63)),
            }
            *newest = number;
        }
    }
}

fn ample() -> EventStream {
    EventStream::builder()
        .history(History::default().events(1 << 22).bytes(1 << 30))
        .build()
        .unwrap()
}

/// Reads these channels to the end, which must come right after the last number published.
fn reader(
    stream: &EventStream,
    channels: &'static [&'static str],
    totals: &Arc<[std::sync::OnceLock<u64>; CHANNELS.len()]>,
) -> BoxFuture<'static, ()> {
    let (mut subscription, totals) = (stream.subscribe(channels), Arc::clone(totals));
    Box::pin(async move {
        let mut account = Account::default();
        while let Some(item) = subscription.next().await {
            account.read(&item);
            smol::future::yield_now().await;
        }
        assert_eq!(account.resets, 0);
        for channel in channels {
            let index = CHANNELS.iter().position(|known| known == channel).unwrap();
            // The publisher may set its total after the end.
            let total = loop {
                match totals[index].get() {
                    Some(total) => break *total,
                    None => futures_timer::Delay::new(Duration::from_millis(1)).await,
                }
            };
            assert_eq!(account.newest[index], total, "on channel {channel}");
        }
    })
}

fn publishers(
    stream: &EventStream,
    totals: &Arc<[std::sync::OnceLock<u64>; CHANNELS.len()]>,
) -> Vec<BoxFuture<'static, u64>> {
    let task = |(index, channel): (usize, &'static &'static str)| {
        let (stream, totals) = (stream.clone(), Arc::clone(totals));
        Box::pin(async move {
            let total = publish(stream, channel).await;
            totals[index].set(total).unwrap();
            total
        }) as BoxFuture<'static, u64>
    };
    CHANNELS.iter().enumerate().map(task).collect()
}

fn every_event_is_accounted_for(run: Run) {
    let (stream, totals) = (ample(), Arc::default());
    let mut tasks = Vec::new();
    for channels in [&CHANNELS[..], &CHANNELS[..1], &CHANNELS[1..]] {
        tasks.extend((0..3).map(|_| reader(&stream, channels, &totals)));
    }
    let publishers = publishers(&stream, &totals);
    let closing = stream.clone();
    tasks.push(Box::pin(async move {
        let published = join_all(publishers).await.iter().sum::<u64>();
        println!("{published} events");
        closing.close().await;
    }));
    run(tasks);
    assert_eq!(stream.stats().subscriptions, 0);
}

#[test]
fn every_event_is_accounted_for_on_tokio() {
    every_event_is_accounted_for(on_tokio);
}

#[test]
fn every_event_is_accounted_for_on_smol() {
    every_event_is_accounted_for(on_smol);
}

/// The stream closes while publishers are at work: what was accepted is still handed out.
fn close_races_the_drain(run: Run) {
    for _ in 0..20 {
        let (stream, totals) = (ample(), Arc::default());
        let mut tasks: Vec<_> = (0..4).map(|_| reader(&stream, &CHANNELS, &totals)).collect();
        tasks.extend((0..2).map(|_| reader(&stream, &CHANNELS[..1], &totals)));
        for publisher in publishers(&stream, &totals) {
            tasks.push(Box::pin(publisher.map(drop)));
        }
        let closing = stream.clone();
        tasks.push(Box::pin(async move {
            futures_timer::Delay::new(Duration::from_millis(10)).await;
            closing.close().await;
        }));
        run(tasks);
        assert_eq!(stream.stats().subscriptions, 0);
    }
}

#[test]
fn what_was_accepted_before_close_is_handed_out_on_tokio() {
    close_races_the_drain(on_tokio);
}

#[test]
fn what_was_accepted_before_close_is_handed_out_on_smol() {
    close_races_the_drain(on_smol);
}

/// The history is small, and readers leave at odd times and come back where they were: a reset
/// announces every gap. With small items, events go while several channels are being merged.
fn readers_come_and_go(run: Run, item: usize) {
    let stream = EventStream::builder()
        .history(History::default().events(200))
        .limits(Limits::default().item(item))
        .build()
        .unwrap();
    let (totals, done) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
    for turn in 0..6u64 {
        let (stream, done) = (stream.clone(), Arc::clone(&done));
        tasks.push(Box::pin(async move {
            let channels = if turn % 2 == 0 { &CHANNELS[..] } else { &CHANNELS[1..2] };
            let (mut account, mut at): (_, Option<EventId>) = (Account::default(), None);
            let mut patience = turn;
            let mut subscription = stream.subscribe(channels);
            // The first round is not checked: the reader may have come after the first events.
            let mut started = false;
            while !done.load(Ordering::Relaxed) {
                patience = (patience * 31 + 7) % 50;
                for _ in 0..patience {
                    let Some(item) = subscription.next().await else { return };
                    if started {
                        account.read(&item);
                    }
                }
                if !started {
                    // From here on the next number of each channel may be any.
                    account.newest = [1 << 63; CHANNELS.len()];
                    started = true;
                }
                at = Some(subscription.last_event_id());
                drop(subscription);
                subscription =
                    stream.subscribe_after(channels, at.as_ref().map_or("", AsRef::as_ref));
            }
            drop(at);
        }));
    }
    let publishers = publishers(&stream, &totals);
    let closing = stream.clone();
    tasks.push(Box::pin(async move {
        join_all(publishers).await;
        done.store(true, Ordering::Relaxed);
        closing.close().await;
    }));
    run(tasks);
    assert_eq!(stream.stats().subscriptions, 0);
}

#[test]
fn readers_that_come_and_go_get_a_reset_for_every_gap_on_tokio() {
    readers_come_and_go(on_tokio, 64 << 10);
    readers_come_and_go(on_tokio, 500);
}

#[test]
fn readers_that_come_and_go_get_a_reset_for_every_gap_on_smol() {
    readers_come_and_go(on_smol, 64 << 10);
    readers_come_and_go(on_smol, 500);
}
