//! Tools for testing code whose streams never end: no sleeps, no sockets, and no test that hangs.
//!
//! - [`ManualTimer`] is a clock that stands still until the test moves it.
//! - [`Client`] reads decoded events from a [`Body`](crate::Body) or a
//!   [`Subscription`](crate::Subscription): those that are available now, or the next one. It stops
//!   when the test says so.
//! - `RecordingTransport` (with the feature `grip`) records what would be sent to a proxy.
//!
//! ```toml
//! [dev-dependencies]
//! eventstream = { version = "0.1", features = ["test-util"] }
//! ```
//!
//! ```
//! use std::time::Duration;
//! use eventstream::test_util::{Client, ManualTimer};
//! use eventstream::{Event, EventStream};
//! use futures::executor::block_on;
//! use http::{Request, Response};
//!
//! let timer = ManualTimer::new();
//! let stream = EventStream::builder().timer(timer.clone()).build()?;
//!
//! // The program answers a request; the client reads the response.
//! let response = block_on(stream.run(&Request::new(()), Response::new(()), "news"));
//! let mut client = Client::from(response.into_body());
//! assert_eq!(client.ready()[0].name, "stream-open");
//!
//! stream.try_publish("news", Event::new("headline").json("It works"))?;
//! let headline = client.ready().remove(0);
//! assert_eq!(headline.name, "headline");
//! assert_eq!(headline.json::<String>()?, "It works");
//!
//! // Twenty seconds of silence take no real time.
//! timer.advance(Duration::from_secs(20));
//! assert_eq!(client.ready()[0].name, "keep-alive");
//!
//! // The client disconnects, and later resumes where it left off.
//! let last_event_id = client.stop();
//! stream.try_publish("news", Event::new("missed"))?;
//! let mut client = Client::from(stream.subscribe_after("news", &last_event_id));
//! assert_eq!(client.ready()[0].name, "missed");
//! assert_eq!(stream.stats().subscriptions, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An async test can use [`Client::next`], which waits for an event; `None` is the end of the
//! stream.

mod client;
mod decoder;
mod timer;
#[cfg(feature = "grip")]
mod transport;

pub use client::Client;
pub use decoder::Received;
pub use timer::ManualTimer;
#[cfg(feature = "grip")]
pub use transport::{RecordedItem, RecordingTransport};
