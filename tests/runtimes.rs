//! The hub behaves the same under every executor: it needs no particular one, and no more than one
//! thread.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use eventstream::{Event, EventStream, History, PublishError};
use futures::executor::{block_on, LocalPool};
use futures::future::{join_all, BoxFuture};
use futures::stream::{self, StreamExt};
use futures::task::LocalSpawnExt;
use futures::{FutureExt, SinkExt};

const CHANNELS: [&str; 3] = ["a", "b", "c"];

type Channels = &'static [&'static str];
type Task = BoxFuture<'static, ()>;
type Published = BoxFuture<'static, Result<(), PublishError>>;

/// What each reader received, with the channels it read.
type Received = Arc<Mutex<Vec<(Channels, String)>>>;

/// A task that reads to the end.
fn reader(stream: &EventStream, channels: Channels, received: &Received) -> Task {
    let (mut subscription, received) = (stream.subscribe(channels), received.clone());
    Box::pin(async move {
        let mut text = String::new();
        while let Some(item) = subscription.next().await {
            text += std::str::from_utf8(&item).unwrap();
        }
        received.lock().unwrap().push((channels, text));
    })
}

fn fields<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.strip_prefix(name))
}

fn number(digits: &str) -> usize {
    digits.parse().unwrap()
}

const READERS: [Channels; 7] =
    [&CHANNELS, &["c", "b", "a"], &["c", "a"], &["a"], &["a"], &["b"], &["c"]];

/// How many events each publisher of `traffic` has.
const EACH: usize = 300;

/// Tasks: publishers that use every way to publish, and readers of one and of several channels. The
/// publisher that finishes last closes the stream.
fn traffic(stream: &EventStream) -> (Vec<Task>, Received) {
    let received = Received::default();
    let mut tasks = Vec::from(READERS.map(|channels| reader(stream, channels, &received)));
    let publishers =
        [one_by_one, in_batches, through_a_sink].map(|publish| publish(stream.clone()));
    let busy = Arc::new(AtomicUsize::new(publishers.len()));
    for publisher in publishers {
        let (stream, busy) = (stream.clone(), busy.clone());
        tasks.push(Box::pin(async move {
            publisher.await.unwrap();
            if busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                stream.close().await;
            }
        }));
    }
    (tasks, received)
}

fn one_by_one(stream: EventStream) -> Published {
    Box::pin(async move {
        for number in 0..EACH {
            let channel = CHANNELS[number % 3];
            stream
                .publish(channel, Event::new(channel).data(format!("one_by_one {number}")))
                .await?;
            smol::future::yield_now().await;
        }
        Ok(())
    })
}

fn in_batches(stream: EventStream) -> Published {
    Box::pin(async move {
        for first in (0..EACH).step_by(10) {
            let channel = CHANNELS[first / 10 % 3];
            let batch = (first..first + 10)
                .map(|number| Event::new(channel).data(format!("in_batches {number}")));
            stream.publisher(channel).publish_all(batch).await?;
            smol::future::yield_now().await;
        }
        Ok(())
    })
}

fn through_a_sink(stream: EventStream) -> Published {
    let events = stream::iter(0..EACH).then(|number| async move {
        smol::future::yield_now().await;
        Ok(Event::new("c").data(format!("through_a_sink {number}")))
    });
    Box::pin(async move { stream.sink("c").send_all(&mut pin!(events)).await })
}

fn every_event_is_accounted_for(run: fn(Vec<Task>)) {
    let stream = EventStream::new();
    let (tasks, received) = traffic(&stream);
    run(tasks);
    let received = received.lock().unwrap();
    assert_eq!(received.len(), READERS.len(), "every reader came to the end");

    let (_, all) = received.iter().find(|(channels, _)| *channels == CHANNELS).unwrap();
    let seqs = fields(all, "id: ").map(|id| number(id.split_once('-').unwrap().1));
    assert!(seqs.eq(1..=3 * EACH));
    for publisher in ["data: one_by_one ", "data: in_batches ", "data: through_a_sink "] {
        assert!(fields(all, publisher).map(number).eq(0..EACH), "{publisher}");
    }
    for (channels, text) in received.iter() {
        let of_these =
            |frame: &&str| fields(frame, "event: ").all(|channel| channels.contains(&channel));
        let expected: String = all.split_inclusive("\n\n").filter(of_these).collect();
        assert!(*text == expected, "{channels:?}");
    }
    let stats = stream.stats();
    assert_eq!(stats.resets, 0);
    assert_eq!(stats.subscriptions, 0);
}

#[test]
fn every_event_is_accounted_for_under_a_bare_block_on() {
    every_event_is_accounted_for(|tasks| drop(block_on(join_all(tasks))));
}

#[test]
fn every_event_is_accounted_for_under_smol() {
    every_event_is_accounted_for(|tasks| {
        drop(smol::block_on(join_all(tasks.into_iter().map(smol::spawn))))
    });
}

#[test]
fn every_event_is_accounted_for_under_async_std() {
    use async_std::task;
    every_event_is_accounted_for(|tasks| {
        drop(task::block_on(join_all(tasks.into_iter().map(task::spawn))))
    });
}

#[test]
fn every_event_is_accounted_for_under_tokio_with_threads() {
    every_event_is_accounted_for(|tasks| {
        on_tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2), nothing(), tasks);
    });
}

#[test]
fn every_event_is_accounted_for_under_tokio_on_one_thread() {
    every_event_is_accounted_for(|tasks| on_tokio_alone(nothing(), tasks));
}

fn nothing() -> Task {
    Box::pin(async {})
}

fn on_tokio(runtime: &mut tokio::runtime::Builder, main: Task, tasks: Vec<Task>) {
    runtime.build().unwrap().block_on(async {
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        main.await;
        join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
    });
}

fn on_tokio_alone(main: Task, tasks: Vec<Task>) {
    on_tokio(&mut tokio::runtime::Builder::new_current_thread(), main, tasks);
}

fn on_smol_alone(main: Task, tasks: Vec<Task>) {
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = tasks.into_iter().map(|task| executor.spawn(task)).collect();
    smol::block_on(executor.run(main.then(|()| join_all(tasks))));
}

fn on_local_pool(main: Task, tasks: Vec<Task>) {
    let mut pool = LocalPool::new();
    tasks.into_iter().for_each(|task| pool.spawner().spawn_local(task).unwrap());
    pool.run_until(main);
    pool.run();
}

/// Runs a main future, and tasks beside it.
type Run = fn(Task, Vec<Task>);

const ON_ONE_THREAD: [(&str, Run); 3] =
    [("LocalPool", on_local_pool), ("tokio", on_tokio_alone), ("smol", on_smol_alone)];

/// How many events a publisher in a loop publishes: several times what a channel keeps.
const MANY: usize = 5000;

type Publish = fn(EventStream, Channels, Vec<Event>) -> Published;

/// Readers on a publisher's thread get all that it publishes in a loop, whichever runs first.
fn healthy_readers_keep_up(history: &History, size: usize, channels: Channels, publish: Publish) {
    for (executor, run) in ON_ONE_THREAD {
        for place in ["main future", "first task", "last task"] {
            let stream = EventStream::builder().history(history.clone()).build().unwrap();
            let received = Received::default();
            let mut tasks = vec![
                reader(&stream, channels, &received),
                reader(&stream, &channels[..1], &received),
            ];
            let events =
                (0..MANY).map(|number| Event::default().data(format!("{number:0size$}"))).collect();
            let (published, closing) = (publish(stream.clone(), channels, events), stream.clone());
            let publisher: Task = Box::pin(async move {
                published.await.unwrap();
                closing.close().await;
            });
            let mut main = nothing();
            match place {
                "main future" => main = publisher,
                "first task" => tasks.insert(0, publisher),
                _ => tasks.push(publisher),
            }
            run(main, tasks);
            assert_eq!(stream.stats().resets, 0, "{executor}, publisher as {place}");
            let received = received.lock().unwrap();
            assert_eq!(received.len(), 2);
            for (read, text) in received.iter() {
                let expected =
                    (0..MANY).filter(|number| read.contains(&channels[number % channels.len()]));
                let numbers = fields(text, "data: ").map(number);
                assert!(
                    numbers.eq(expected),
                    "{executor}, publisher as {place}, reader of {read:?}"
                );
            }
        }
    }
}

fn publish(stream: EventStream, channels: Channels, events: Vec<Event>) -> Published {
    Box::pin(async move {
        for (event, channel) in events.into_iter().zip(channels.iter().cycle()) {
            stream.publish(channel, event).await?;
        }
        Ok(())
    })
}

fn feed(stream: EventStream, channels: Channels, events: Vec<Event>) -> Published {
    Box::pin(async move {
        let mut sinks: Vec<_> = channels.iter().map(|channel| stream.sink(channel)).collect();
        for (number, event) in events.into_iter().enumerate() {
            sinks[number % channels.len()].feed(event).await?;
        }
        Ok(())
    })
}

fn send_all(stream: EventStream, channels: Channels, events: Vec<Event>) -> Published {
    Box::pin(
        async move { stream.sink(channels[0]).send_all(&mut stream::iter(events).map(Ok)).await },
    )
}

#[test]
fn a_publisher_in_a_loop_leaves_no_reader_behind() {
    healthy_readers_keep_up(&History::default(), 0, &["a"], publish);
}

#[test]
fn a_publisher_in_a_loop_over_three_channels_leaves_no_reader_behind() {
    healthy_readers_keep_up(&History::default(), 0, &CHANNELS, publish);
}

#[test]
fn a_publisher_of_large_events_in_a_loop_leaves_no_reader_behind() {
    healthy_readers_keep_up(&History::default(), 1200, &["a"], publish);
}

/// Half the history used to be counted without the `id:` lines, which are most of the bytes of
/// small events.
#[test]
fn a_publisher_of_small_events_in_a_loop_leaves_no_reader_behind_where_bytes_are_the_limit() {
    healthy_readers_keep_up(&History::default().events(MANY).bytes(64 << 10), 0, &["a"], publish);
}

#[test]
fn a_sink_fed_in_a_loop_leaves_no_reader_behind() {
    healthy_readers_keep_up(&History::default(), 0, &["a"], feed);
    healthy_readers_keep_up(&History::default(), 0, &CHANNELS, feed);
}

#[test]
fn a_sink_that_sends_all_leaves_no_reader_behind() {
    healthy_readers_keep_up(&History::default(), 0, &["a"], send_all);
}

#[test]
fn several_publishers_in_loops_leave_no_reader_behind() {
    for run in [on_tokio_alone, on_smol_alone, on_local_pool] {
        let stream = EventStream::new();
        let received = Received::default();
        let publishers: Vec<Task> = (0..5)
            .map(|_| {
                let stream = stream.clone();
                let publish = async move {
                    for number in 0..2_000 {
                        stream.publish("a", Event::new("e").json(&number)).await.unwrap();
                    }
                };
                Box::pin(publish) as Task
            })
            .collect();
        let closing = stream.clone();
        let publishing = Box::pin(async move {
            join_all(publishers).await;
            closing.close().await;
        });
        run(
            nothing(),
            vec![
                reader(&stream, &["a"], &received),
                reader(&stream, &["a", "b"], &received),
                publishing,
            ],
        );
        assert_eq!(stream.stats().resets, 0);
        assert_eq!(stream.stats().delivered, 20_000);
    }
}
