//! D0x: the body of axum's own `Sse` over a broadcast channel.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::sse::{Event, Sse};
use axum::response::IntoResponse;
use futures::StreamExt;
use http_body_util::BodyExt;
use tokio::sync::broadcast::{channel, Sender};
use tokio_stream::wrappers::BroadcastStream;

use super::{Contender, CAPACITY};
use crate::message::Message;
use crate::meter::Count;

#[derive(Debug)]
pub struct AxumSse {
    seq: AtomicU64,
    sender: Sender<Message>,
}

impl Contender for AxumSse {
    const NAME: &'static str = "D0x";

    fn new(channels: usize) -> Self {
        assert_eq!(channels, 1, "compared on one channel only");
        Self { seq: AtomicU64::new(1), sender: channel(CAPACITY).0 }
    }

    fn publish(&self, _: usize) {
        // Refused only if nobody listens.
        let _ = self.sender.send(Message::new(self.seq.fetch_add(1, Ordering::Relaxed)));
    }

    fn subscribe(
        &self,
        _: &[usize],
        mut count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let events = BroadcastStream::new(self.sender.subscribe()).map(|message| {
            let message = message.expect("no lag");
            Ok::<_, Infallible>(
                Event::default().id(message.id()).event(message.name()).data(message.data()),
            )
        });
        let mut body = Sse::new(events).into_response().into_body();
        async move {
            while let Some(frame) = body.frame().await {
                count.add(frame.expect("infallible").into_data().expect("data").len());
            }
        }
    }
}
