//! Ours, through the public API.

use std::future::Future;

use eventstream::{ChannelPublisher, EventStream};
use futures::{FutureExt, StreamExt};

use super::Contender;
use crate::message::event;
use crate::meter::Count;

#[derive(Debug)]
pub struct Log {
    pub stream: EventStream,
    pub names: Vec<String>,
}

impl Contender for Log {
    const NAME: &'static str = "LOG";

    fn new(channels: usize) -> Self {
        Self { stream: EventStream::new(), names: (0..channels).map(|n| format!("channel {n}")).collect() }
    }

    fn publish(&self, channel: usize) {
        self.stream.try_publish(&self.names[channel], event()).expect("valid");
    }

    fn subscribe(&self, channels: &[usize], mut count: Count) -> impl Future<Output = ()> + Send + 'static + use<> {
        let names: Vec<_> = channels.iter().map(|&channel| &*self.names[channel]).collect();
        let mut subscription = self.stream.subscribe(names);
        async move {
            while let Some(item) = subscription.next().await {
                count.add(item.len());
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.stream.stats().resets, 0);
    }
}

/// The same by `publisher().publish()`, whose future is polled once.
#[derive(Debug)]
pub struct ByPublisher {
    log: Log,
    publishers: Vec<ChannelPublisher>,
}

impl Contender for ByPublisher {
    const NAME: &'static str = "by pub.";

    fn new(channels: usize) -> Self {
        let log = Log::new(channels);
        let publishers = log.names.iter().map(|name| log.stream.publisher(name)).collect();
        Self { log, publishers }
    }

    fn publish(&self, channel: usize) {
        // Not ready where it gives way to readers: the event is delivered all the same.
        if let Some(outcome) = self.publishers[channel].publish(event()).now_or_never() {
            outcome.expect("valid");
        }
    }

    fn subscribe(&self, channels: &[usize], count: Count) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.log.subscribe(channels, count)
    }

    fn check(&self) {
        self.log.check();
    }
}
