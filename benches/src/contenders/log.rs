//! eventstream, through its public API.

use std::future::Future;

use eventstream::{ChannelPublisher, EventStream};
use futures::{FutureExt, StreamExt};

use super::Contender;
use crate::message::event;
use crate::meter::Count;

#[derive(Debug)]
pub struct Log {
    stream: EventStream,
    names: Vec<String>,
    /// Handles to the channels, like the peers' senders.
    publishers: Vec<ChannelPublisher>,
}

impl Contender for Log {
    const NAME: &'static str = "LOG";

    fn new(channels: usize) -> Self {
        let stream = EventStream::new();
        let names: Vec<_> = (0..channels).map(|n| format!("channel {n}")).collect();
        Self {
            publishers: names.iter().map(|name| stream.publisher(name)).collect(),
            names,
            stream,
        }
    }

    fn publish(&self, channel: usize) {
        self.publishers[channel].try_publish(event()).expect("valid");
    }

    fn subscribe(
        &self,
        channels: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
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

/// The same by `publish` with the channel's name; its future is polled once.
#[derive(Debug)]
pub struct ByName(Log);

impl Contender for ByName {
    const NAME: &'static str = "by name";

    fn new(channels: usize) -> Self {
        Self(Log::new(channels))
    }

    fn publish(&self, channel: usize) {
        // Not ready if it yields to readers: the event is delivered nevertheless.
        if let Some(outcome) = self.0.stream.publish(&self.0.names[channel], event()).now_or_never()
        {
            outcome.expect("valid");
        }
    }

    fn subscribe(
        &self,
        channels: &[usize],
        count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.0.subscribe(channels, count)
    }

    fn check(&self) {
        self.0.check();
    }
}
