//! Server-Sent Events from channels.

mod builder;
mod event;
mod event_stream;
mod handler;
mod hub;
mod named;
mod publisher;
mod run;
pub mod runtime;
mod serve;
mod subscription;

pub use builder::{BuildError, Builder};
pub use event::{Event, EventId, InvalidEvent};
pub use event_stream::{EventStream, Stats};
pub use handler::Handler;
pub use hub::{History, Limits, PublishError, SubscribeError};
pub use publisher::{ChannelPublisher, ChannelSink, Publishing};
pub use run::Run;
pub use serve::{Body, Channels, Params};
pub use subscription::Subscription;
