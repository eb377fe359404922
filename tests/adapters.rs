//! The runtime adapters: a stream is served by each runtime's own timers and tasks.
//!
//! The async-std adapter needs its feature: `cargo test --features async-std --test adapters`.
#![cfg(feature = "grip")]

use std::pin::pin;
use std::time::Duration;

#[cfg(feature = "async-std")]
use eventstream::runtime::AsyncStd;
use eventstream::runtime::{Executor, Smol, Timer, Tokio};
use eventstream::test_util::{Client, RecordingTransport};
use eventstream::{Event, EventStream, PublishError};
use futures::executor::block_on;
use futures::future::{select, BoxFuture, Either};
use futures_timer::Delay;

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keep-alives need the runtime's timer, and publishing to a proxy needs its tasks.
fn a_runtime_serves_a_stream<R>(runtime: R, block_on: impl Fn(BoxFuture<'_, ()>))
where
    R: Executor + Timer,
{
    let transport = RecordingTransport::new();
    let stream = EventStream::builder()
        .runtime(runtime)
        .keep_alive(Duration::from_millis(20))
        .grip("http://proxy.example:5561/")
        .transport(transport.clone())
        .build()
        .unwrap();
    let mut client = Client::from(stream.subscribe("a").into_body());
    let served = async {
        stream.publish("a", Event::new("first").data("1")).await.unwrap();
        for name in ["stream-open", "first", "keep-alive", "keep-alive"] {
            assert_eq!(client.next().await.unwrap().name, name);
        }
        stream.close().await;
        while client.next().await.is_some() {}
    };
    block_on(Box::pin(async {
        let in_time = matches!(select(pin!(served), Delay::new(PATIENCE)).await, Either::Left(_));
        assert!(in_time, "not done within {PATIENCE:?}");
    }));
    assert_eq!(transport.items().len(), 1);
    assert_eq!(stream.stats().subscriptions, 0);
}

#[test]
fn smol_serves_a_stream() {
    a_runtime_serves_a_stream(Smol, |future| smol::block_on(future));
    a_runtime_serves_a_stream(Smol, |future| block_on(future));
}

#[cfg(feature = "async-std")]
#[test]
fn async_std_serves_a_stream() {
    a_runtime_serves_a_stream(AsyncStd, |future| async_std::task::block_on(future));
    a_runtime_serves_a_stream(AsyncStd, |future| block_on(future));
}

#[test]
fn tokio_serves_a_stream_within_the_runtime_and_from_outside() {
    for mut builder in
        [tokio::runtime::Builder::new_multi_thread(), tokio::runtime::Builder::new_current_thread()]
    {
        let runtime = builder.enable_time().build().unwrap();
        let inside = runtime.block_on(async { Tokio::current() });
        a_runtime_serves_a_stream(inside, |future| runtime.block_on(future));
    }
    // Built, published to and read on a thread outside the runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    a_runtime_serves_a_stream(Tokio::from(runtime.handle().clone()), |future| block_on(future));
}

/// If the stream's clock were not paused too, it would ask for the same sleep again and again.
#[tokio::test(start_paused = true)]
async fn a_clock_that_tokio_has_paused_is_the_streams_clock_too() {
    let stream = EventStream::builder().runtime(Tokio::current()).build().unwrap();
    let mut client = Client::from(stream.subscribe("a").into_body());
    assert_eq!(client.next().await.unwrap().name, "stream-open");
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(client.next().await.unwrap().name, "keep-alive");
    }
    let silence = start.elapsed();
    assert!((Duration::from_secs(54)..=Duration::from_secs(61)).contains(&silence), "{silence:?}");
}

#[test]
fn a_tokio_runtime_that_is_gone_costs_the_proxies_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let built = || {
        let grip = EventStream::builder()
            .runtime(Tokio::from(handle.clone()))
            .grip("http://proxy.example:5561/");
        grip.transport(RecordingTransport::new()).build().unwrap()
    };
    let before = built();
    drop(runtime);
    for stream in [before, built()] {
        let mut subscription = Client::from(stream.subscribe("a"));
        let failed = block_on(stream.publish("a", Event::default().data("1")));
        assert!(matches!(failed, Err(PublishError::Grip { .. })), "{failed:?}");
        assert_eq!(subscription.ready()[0].data, "1");
    }
}

/// In a task that has used up its cooperative budget, tokio's sleeps make no progress: they only
/// wake the task again.
#[tokio::test(start_paused = true)]
async fn a_keep_alive_comes_though_the_task_had_no_budget_left() {
    let stream = EventStream::builder().runtime(Tokio::current()).build().unwrap();
    let mut client = Client::from(stream.subscribe("a").into_body());
    let reader = tokio::spawn(async move {
        for _ in 0..128 {
            tokio::task::consume_budget().await;
        }
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "keep-alive") {
            names.push(client.next().await.unwrap().name);
        }
        names
    });
    let publishing = tokio::spawn(async move {
        tokio::task::yield_now().await;
        stream.publish("a", Event::new("e")).await.unwrap();
        stream
    });
    let _stream = publishing.await.unwrap();
    let names = tokio::time::timeout(Duration::from_secs(3600), reader)
        .await
        .expect("no keep-alive came")
        .unwrap();
    assert_eq!(names, ["stream-open", "e", "keep-alive"]);
}
