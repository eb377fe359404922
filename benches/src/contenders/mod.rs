//! eventstream and its peers behind one interface.

mod async_broadcast;
mod axum_sse;
mod executor;
mod log;
mod tokio_broadcast;

use std::future::Future;

pub use async_broadcast::AsyncBroadcast;
pub use axum_sse::AxumSse;
pub use executor::{ExecutorAndReArm, ExecutorOnly};
pub use log::{ByName, Log};
pub use tokio_broadcast::{EncodedBroadcast, ReceiveLoop, StructBroadcast};

use crate::meter::Count;

/// How many events a peer's channel holds: as many as eventstream's default history.
pub const CAPACITY: usize = 1024;

pub const LEGEND: &str = "\
LOG    eventstream: publisher().try_publish            \
by name  eventstream: publish by name, polled once
D1     tokio broadcast of encoded Bytes, as a stream   D1r  the same by `recv` in a loop
D0     tokio broadcast of a struct, each subscriber encodes   D0x  axum's Sse over that
D2     async-broadcast of encoded Bytes                EXEC the executor alone: wake and count
                                                       EXECr  the same, and re-arm the waker";

/// A way to get events to many subscribers. Each publication builds a new event.
pub trait Contender: Send + Sync + 'static {
    const NAME: &'static str;

    fn new(channels: usize) -> Self;

    fn publish(&self, channel: usize);

    /// Subscribes now; the future reads forever and counts.
    fn subscribe(
        &self,
        channels: &[usize],
        count: Count,
    ) -> impl Future<Output = ()> + Send + 'static + use<Self>;

    /// Checks at the end of a pass that nothing was lost.
    fn check(&self) {}
}
