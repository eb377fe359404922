//! Server-Sent Events from channels: an endpoint in one call, replay after a lost connection, and
//! no event that goes missing without a word.
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
//!     // Anywhere else: every subscriber of the channel has it before this returns.
//!     let id = stream.publish("news", Event::new("headline").json("It works")).await?;
//!
//!     let mut body = response.into_body();
//!     let (open, event) = (body.next().await.unwrap().unwrap(), body.next().await.unwrap().unwrap());
//!     assert!(open.ends_with(b"event: stream-open\ndata: \n\n"));
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
//!   a path pattern. It is also a [`tower_service::Service`].
//! - [`EventStream::subscribe`] and [`subscribe_after`](EventStream::subscribe_after) give the bare
//!   stream of frames, and [`Subscription::into_body`] makes a body of it.
//! - [`EventStream::publish`], [`publish_all`](EventStream::publish_all),
//!   [`try_publish`](EventStream::try_publish), [`publisher`](EventStream::publisher) and
//!   [`sink`](EventStream::sink) publish.
//!
//! The [wiring guide](guide::wiring) has the lines for hyper, axum, tower, warp, actix-web, tide
//! and bare sockets, and those for CORS. [Scale](guide::scale) has the arithmetic: how many clients
//! a process holds, and when to put a proxy in front.
//!
//! # How it works
//!
//! A channel is a log, a subscription is a cursor. An event is encoded once, gets the next number
//! of one clock that all channels share, and is appended to its channel's log; subscribers are
//! woken and each takes everything behind its cursor as one [`Bytes`](bytes::Bytes), which it
//! shares with all others at the same place. As there is one clock, one number is an exact position
//! in any set of channels: that number is the event's id, and replay after `Last-Event-ID` is a
//! subscription that starts further back. What a log no longer keeps ([`History`]) is known by a
//! number too, so a gap is never silent: the client gets an event `stream-reset` with
//! `{"channels":[...],"reason":"..."}`, where the reason is
//!
//! - `evicted`: the position it came back with is older than what is kept;
//! - `lagged`: it read too slowly;
//! - `unknown`: its id cannot be placed, because the server was restarted, say. The stream goes on
//!   from now.
//!
//! There is no task, channel or buffer per subscriber, and no framework or runtime underneath: the
//! hub is plain `futures`, and the only thing that sleeps is the keep-alive ([`runtime`]).
//!
//! # Runtimes
//!
//! Nothing is to be done for one: all of this works under any, and under a bare `block_on` as
//! above. What there is for each lets a stream use the timers and the threads that the program has
//! already.
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
//! Any other is two traits: [`runtime::Executor`] and [`runtime::Timer`].
//!
//! # Behind a proxy
//!
//! Where one machine is not enough, clients belong behind a GRIP proxy: Pushpin, Fastly Fanout,
//! Fanout Cloud. With `Builder::grip` the same [`run`](EventStream::run) answers requests that came
//! through it with a hold, so that the proxy keeps the client, and the same
//! [`publish`](EventStream::publish) also sends the event to the proxy's control port. Order holds
//! within a channel there. A client that comes back through the proxy gets a `stream-reset`
//! `unknown`, for its place cannot be known here; a loss between proxy and client is not seen.
//!
//! # Features
//!
//! - `hyper` (default): GRIP with the transport `grip::transport::Hyper`, which works under any
//!   runtime. Implies `grip`.
//! - `grip`: GRIP with a transport that the program brings.
//! - `rustls`: https control URIs.
//! - `jwt-simple`: proxies that sign with ES256 or RS256. Needs Rust 1.89.
//! - `fastly`: `hyper`, `rustls` and `jwt-simple`, which is all that Fastly Fanout needs.
//! - `surf`: the transport `grip::transport::Surf`, unmaintained.
//! - `tokio`, `smol`, `async-std`: `runtime::Tokio`, `Smol` and `AsyncStd`, for programs that want
//!   keep-alives and publishing on the runtime that they have. None is needed to run under one.
//!   async-std is discontinued.
//! - `tracing`: spans and events with the targets `eventstream::connect`, `hold`, `publish`,
//!   `grip`, `reset` and `close`. Names of channels, paths and clients' last ids are in them, data,
//!   queries and keys are not. A layer that publishes what it hears must leave these targets out.
//! - `test-util`: `test_util`, for testing code that streams for ever.
//!
//! # What it is not
//!
//! No storage: events live in memory and end with the process. No transport of its own between
//! processes.

mod core;
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
