//! Channels of the Rust peers: tokio's broadcast of a struct, by name.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use eventstream_benches::contenders::CAPACITY;
use tokio::sync::broadcast::{channel, Sender};
use tokio_stream::wrappers::BroadcastStream;

use crate::order::Order;

#[derive(Clone, Debug)]
pub(super) struct Message {
    seq: u64,
    pub(super) name: String,
    pub(super) data: String,
}

impl Message {
    /// As long as eventstream's.
    pub(super) fn id(&self) -> String {
        let mut digits = itoa::Buffer::new();
        ["0123456789abc-", digits.format(self.seq)].concat()
    }
}

#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<String, Sender<Message>>>);

impl Channels {
    pub(super) fn subscribe(&self, channel: &str) -> BroadcastStream<Message> {
        BroadcastStream::new(self.sender(channel).subscribe())
    }

    /// Publishes, and returns the nanoseconds that it took.
    pub(super) fn publish(&self, order: &Order) -> u64 {
        let start = Instant::now();
        for (seq, data) in order.events() {
            // Refused only if nobody listens.
            let _ = self.sender(&order.channel).send(Message { seq, name: "message".into(), data });
        }
        start.elapsed().as_nanos() as u64
    }

    fn sender(&self, name: &str) -> Sender<Message> {
        let mut channels = self.0.lock().expect("nobody panics here");
        if let Some(sender) = channels.get(name) {
            return sender.clone();
        }
        channels.entry(name.to_owned()).or_insert_with(|| channel(CAPACITY).0).clone()
    }
}
