//! D2: async-broadcast of encoded bytes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use async_broadcast::{broadcast, InactiveReceiver, Sender, TrySendError};
use bytes::Bytes;
use futures::StreamExt;

use super::{Contender, CAPACITY};
use crate::message::Message;
use crate::meter::Count;

#[derive(Debug)]
pub struct AsyncBroadcast {
    seq: AtomicU64,
    sender: Sender<Bytes>,
    receivers: InactiveReceiver<Bytes>,
}

impl Contender for AsyncBroadcast {
    const NAME: &'static str = "D2";

    fn new(channels: usize) -> Self {
        assert_eq!(channels, 1, "compared on one channel only");
        let (sender, receiver) = broadcast(CAPACITY);
        Self { seq: AtomicU64::new(1), sender, receivers: receiver.deactivate() }
    }

    fn publish(&self, _: usize) {
        let message = Message::new(self.seq.fetch_add(1, Ordering::Relaxed));
        match self.sender.try_broadcast(message.encode()) {
            Ok(_) | Err(TrySendError::Inactive(_)) => {}
            Err(refused) => panic!("{refused}"),
        }
    }

    fn subscribe(
        &self,
        _: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut receiver = self.receivers.activate_cloned();
        async move {
            while let Some(frame) = receiver.next().await {
                count.add(frame.len());
            }
        }
    }
}
