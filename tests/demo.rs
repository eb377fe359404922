//! The demo's own code in this process: what its answers cost.

#[path = "../examples/app/mod.rs"]
#[allow(dead_code, reason = "the servers use the rest")]
mod app;

use std::convert::Infallible;
use std::iter::repeat_n;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use app::stats::Counters;
use app::App;
use bytes::Bytes;
use eventstream::{Event, EventStream};
use futures::executor::block_on;
use futures::stream::iter;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{json, Value};

/// 16 MiB of `1` and a line feed used to take 1.4 GB, as eight million events.
#[test]
fn a_batch_takes_the_memory_of_its_bytes_however_many_its_lines_and_frames() {
    const LENGTH: usize = 16 << 20;
    for frame in [16 << 10, 4] {
        let frames = repeat_n(Bytes::from("1\n".repeat(frame / 2)), LENGTH / frame);
        let body = StreamBody::new(iter(frames.map(|data| Ok::<_, Infallible>(Frame::data(data)))));
        let req = Request::post("/publish/a").header("content-type", "application/x-ndjson");
        let req = req.body(body).unwrap();
        let app = App::new(EventStream::new());
        let mut answer = None;
        let most = measure(|| answer = Some(block_on(app.respond(req)))).bytes_max as usize;
        // The bytes are moved when they outgrow their place, so there are up to twice as many.
        assert!(most < 2 * LENGTH, "{most} bytes in frames of {frame}");
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 413);
        let text = block_on(answer.into_body().collect()).unwrap().to_bytes();
        assert_eq!(text, "Not published: batch exceeds the 1024 events that a channel keeps.\n");
    }
}

/// Every request used to look at every channel: 14 ms at 100 000 of them.
#[test]
fn counters_are_counted_again_after_ten_microseconds_for_each_channel() {
    for channels in [1u32, 1000] {
        let stream = EventStream::new();
        let publish = |channel: u32| {
            stream.try_publish(&channel.to_string(), Event::new("a")).unwrap();
        };
        (0..channels).for_each(publish);
        let (counters, start) = (Counters::default(), Instant::now());
        let after = |passed: Duration| -> [Value; 2] {
            let json = counters.json(&stream, start + passed).unwrap();
            let mut stats: Value = serde_json::from_slice(&json).unwrap();
            ["channels", "published"].map(|field| stats[field].take())
        };
        assert_eq!(after(Duration::ZERO), [json!(channels), json!(channels)]);
        publish(0);
        let good_for = channels * Duration::from_micros(10);
        let just_before = good_for - Duration::from_nanos(1);
        assert_eq!(after(just_before), [json!(channels), json!(channels)]);
        assert_eq!(after(good_for), [json!(channels), json!(channels + 1)]);
        publish(channels);
        assert_eq!(after(good_for + just_before), [json!(channels), json!(channels + 1)]);
    }
}
