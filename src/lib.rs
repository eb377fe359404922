//! Server-Sent Events from channels: a whole endpoint in one call, replay after a lost connection,
//! and no event that goes missing without the client being told.
//!
//! ```
//! use eventstream::{Event, EventStream};
//! use futures::{executor::block_on, StreamExt};
//! use http::{Request, Response};
//!
//! block_on(async {
//!     let stream = EventStream::new();
//!
//!     // In a server's handler: any `http` request in, a finished response out.
//!     let request = Request::builder().header("accept", "text/event-stream").body(()).unwrap();
//!     let response = stream.run(&request, Response::new(()), ["news"]).await;
//!     assert_eq!(response.headers()["content-type"], "text/event-stream");
//!
//!     // Anywhere else: every subscriber of the channel has the event before this returns.
//!     let id = stream.publish("news", Event::new("headline").json("It works")).await?;
//!
//!     let mut body = response.into_body();
//!     let open = body.next().await.unwrap().unwrap();
//!     assert!(open.ends_with(b"event: stream-open\ndata: \n\n"));
//!     let event = body.next().await.unwrap().unwrap();
//!     assert_eq!(event, format!("id: {id}\nevent: headline\ndata: \"It works\"\n\n"));
//! # Ok::<(), eventstream::PublishError>(())
//! })?;
//! # Ok::<(), eventstream::PublishError>(())
//! ```
//!
//! # Ways in
//!
//! - [`EventStream::run`] answers a request on channels that the program names.
//! - [`EventStream::handler`] makes an endpoint from templates such as `room-{id}`, with or without
//!   a path pattern. It is also a [`tower_service::Service`]. [`Handler::draining`] is for requests
//!   with a body.
//! - [`EventStream::subscribe`] and [`subscribe_after`](EventStream::subscribe_after) return the
//!   bare stream of frames, and [`Subscription::into_body`] turns it into a body.
//! - [`EventStream::publish`], [`publish_all`](EventStream::publish_all),
//!   [`try_publish`](EventStream::try_publish), [`publisher`](EventStream::publisher) and
//!   [`sink`](EventStream::sink) publish.
//!
//! The [wiring guide](guide::wiring) shows the lines for hyper, axum, tower, warp, actix-web, tide
//! and bare sockets, and those for CORS. [Scale](guide::scale) does the arithmetic: how many
//! clients a process holds, and when to put a proxy in front.
//!
//! # How it works
//!
//! A channel is a log, and a subscription is a cursor into it. An event is encoded once, gets the
//! next number of a sequence that all channels share, and is appended to its channel's log.
//! Subscribers are woken, and each takes everything after its cursor as one
//! [`Bytes`](bytes::Bytes), shared with all others at the same place. Because there is one
//! sequence, one number is an exact position in any set of channels. That number is the event's id,
//! and replay after `Last-Event-ID` is a subscription that starts further back.
//!
//! The number of the newest event that a log no longer keeps ([`History`]) is remembered, so a gap
//! is never silent. The client gets an event `stream-reset` with
//! `{"channels":[...],"reason":"..."}`. The reasons are
//!
//! - `evicted`: the position that the client came back with is older than the history;
//! - `lagged`: the client read too slowly;
//! - `unknown`: the client's id cannot be placed, for example because the server was restarted. The
//!   stream goes on from now;
//! - `lost`: a GRIP proxy did not get some events, so the clients that it holds missed them.
//!
//! There is no task, channel or buffer per subscriber, and no framework or runtime underneath: the
//! hub is plain `futures`, and only keep-alives sleep ([`runtime`]).
//!
//! # Runtimes
//!
//! You don't have to pick a runtime: everything works under any executor, including a bare
//! `block_on` as above. If your program runs on one of these, its timers and threads can be used
//! instead of those that this crate would start.
//!
//! ```
//! # use eventstream::EventStream;
//! use eventstream::runtime::Tokio; // with the feature `tokio`
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), eventstream::BuildError> {
//! let stream = EventStream::builder().runtime(Tokio::current()).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! # use eventstream::EventStream;
//! use eventstream::runtime::Smol; // with the feature `smol`
//!
//! # fn main() -> Result<(), eventstream::BuildError> {
//! let stream = EventStream::builder().runtime(Smol).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! # #[cfg(feature = "async-std")] {
//! # use eventstream::EventStream;
//! use eventstream::runtime::AsyncStd; // with the feature `async-std`
//!
//! let stream = EventStream::builder().runtime(AsyncStd).build()?;
//! # }
//! # Ok::<(), eventstream::BuildError>(())
//! ```
//!
//! For any other runtime, implement two traits: [`runtime::Executor`] and [`runtime::Timer`].
//!
//! # Behind a proxy
//!
//! When one machine is not enough, a GRIP proxy (Pushpin, Fastly Fanout, Fanout Cloud) can hold the
//! clients. With `Builder::grip` the same [`run`](EventStream::run) answers requests that came
//! through the proxy with a hold, so that the proxy keeps the client, and the same
//! [`publish`](EventStream::publish) also sends each event to the proxy's control port. Behind a
//! proxy, order holds within a channel. A client that comes back through the proxy gets a
//! `stream-reset` with the reason `unknown`, because its position cannot be known here. Clients
//! learn of events that the proxy did not get. A loss between the proxy and a client is not
//! noticed.
//!
//! # Features
//!
//! - `hyper` (default): GRIP with the transport `grip::transport::Hyper`, which works under any
//!   runtime. Implies `grip`.
//! - `grip`: GRIP with a transport that the program provides.
//! - `rustls`: https control URIs.
//! - `jwt-simple`: proxies that sign with ES256 or RS256. Needs Rust 1.89.
//! - `fastly`: everything that Fastly Fanout needs: `hyper`, `rustls` and `jwt-simple`.
//! - `surf`: the transport `grip::transport::Surf`. surf is unmaintained.
//! - `tokio`, `smol`, `async-std`: `runtime::Tokio`, `Smol` and `AsyncStd`, for programs that want
//!   keep-alives and publishing on their own runtime. None is needed to run under one. async-std is
//!   discontinued.
//! - `tracing`: spans and events with the targets `eventstream::connect`, `hold`, `publish`,
//!   `grip`, `reset` and `close`. They contain channel names, paths and clients' last ids, but no
//!   data, queries or keys. A layer that publishes what it hears through this crate must leave
//!   these targets out.
//! - `test-util`: `test_util`, for testing code that streams forever.
//!
//! # What it is not
//!
//! It stores nothing: events live in memory and end with the process. It has no transport of its
//! own between processes.

mod core;
mod draining;
mod error;
mod event;
mod event_stream;
#[cfg(feature = "grip")]
pub mod grip;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handler;
mod hub;
mod limits;
mod percent;
mod proxy;
mod publishing;
mod run;
pub mod runtime;
mod serve;
mod stats;
mod subscription;
mod sync;
#[cfg(feature = "test-util")]
pub mod test_util;
mod trace;
mod wake;

pub use draining::Draining;
pub use error::{BuildError, BuildErrorKind, PublishError};
pub use event::{Event, EventId, InvalidEvent};
pub use event_stream::{Builder, ChannelPublisher, ChannelSink, EventStream};
pub use handler::Handler;
pub use hub::SubscribeError;
pub use limits::{History, Limits};
pub use publishing::Publishing;
pub use run::Run;
pub use serve::{Body, Channels, Params};
pub use stats::Stats;
pub use subscription::Subscription;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
