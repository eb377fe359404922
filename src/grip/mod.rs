//! Support for GRIP proxies: Pushpin, Fastly Fanout and Fanout Cloud.
//!
//! The proxy keeps the clients' connections open. It forwards each request to this program, which
//! answers with a [`Hold`] naming the channels that the client subscribes to. To send something to
//! the held clients, the program publishes an [`Item`] for a channel to the proxy's control port.
//! The proxy signs the requests that it forwards, and [`Config::proxied`] tells them apart from the
//! requests of clients that connected directly.
//!
//! [`EventStream`](crate::EventStream) does all of this once its [`Builder`](crate::Builder) knows
//! the proxy. You need the parts in this module only to answer other requests through the same
//! proxy.

mod config;
mod endpoint;
mod error;
mod hold;
mod item;
mod item_json;
mod key;
mod publisher;
mod signature;
mod token;
pub mod transport;
mod url;

pub use config::Config;
pub use endpoint::Endpoint;
pub use error::InvalidConfig;
pub(crate) use hold::encode_channel;
pub use hold::Hold;
pub use item::Item;
pub(crate) use item_json::ItemJson;
pub use publisher::{EndpointStats, Failure, Publisher};
pub(crate) use publisher::{Origin, Publication, Rejected, Report, BATCH_BYTES};
pub use signature::{InvalidSignature, InvalidSignaturePolicy, Proxied};
pub use transport::{Transport, TransportError};
