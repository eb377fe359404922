//! tokio's broadcast channel, one for each channel.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::Either;
use futures::stream::{select_all, StreamExt};
use tokio::sync::broadcast::{channel, Sender};
use tokio_stream::wrappers::BroadcastStream;

use super::{Contender, CAPACITY};
use crate::message::Message;
use crate::meter::Count;

/// D1: the publisher encodes.
pub type EncodedBroadcast = Streams<Bytes>;
/// D0: every subscriber encodes.
pub type StructBroadcast = Streams<Message>;

/// What goes through the channel.
pub trait Payload: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    fn of(message: Message) -> Self;
    fn into_frame(self) -> Bytes;
}

impl Payload for Bytes {
    const NAME: &'static str = "D1";

    fn of(message: Message) -> Self {
        message.encode()
    }

    fn into_frame(self) -> Bytes {
        self
    }
}

impl Payload for Message {
    const NAME: &'static str = "D0";

    fn of(message: Message) -> Self {
        message
    }

    fn into_frame(self) -> Bytes {
        self.encode()
    }
}

/// Read as streams, from which an answer's body is made.
#[derive(Debug)]
pub struct Streams<T> {
    seq: AtomicU64,
    senders: Vec<Sender<T>>,
}

impl<T: Payload> Contender for Streams<T> {
    const NAME: &'static str = T::NAME;

    fn new(channels: usize) -> Self {
        Self {
            seq: AtomicU64::new(1),
            senders: (0..channels).map(|_| channel(CAPACITY).0).collect(),
        }
    }

    fn publish(&self, channel: usize) {
        let message = Message::new(self.seq.fetch_add(1, Ordering::Relaxed));
        // Refused only if nobody listens.
        let _ = self.senders[channel].send(T::of(message));
    }

    fn subscribe(
        &self,
        channels: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<T> {
        let mut receivers: Vec<_> = channels
            .iter()
            .map(|&channel| BroadcastStream::new(self.senders[channel].subscribe()))
            .collect();
        let mut events = match receivers.pop() {
            Some(only) if receivers.is_empty() => Either::Left(only),
            last => Either::Right(select_all(receivers.into_iter().chain(last))),
        };
        async move {
            while let Some(payload) = events.next().await {
                count.add(payload.expect("no lag").into_frame().len());
            }
        }
    }
}

/// D1r: D1 without the stream, `recv` in a loop. Leaner, but not a body that a server could send.
#[derive(Debug)]
pub struct ReceiveLoop(EncodedBroadcast);

impl Contender for ReceiveLoop {
    const NAME: &'static str = "D1r";

    fn new(channels: usize) -> Self {
        assert_eq!(channels, 1, "compared on one channel only");
        Self(Contender::new(channels))
    }

    fn publish(&self, channel: usize) {
        self.0.publish(channel);
    }

    fn subscribe(
        &self,
        channels: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut receiver = self.0.senders[channels[0]].subscribe();
        async move {
            while let Ok(frame) = receiver.recv().await {
                count.add(frame.len());
            }
        }
    }
}
