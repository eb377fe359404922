//! Behind a GRIP proxy: Pushpin, Fastly Fanout, Fanout Cloud.
//!
//! The proxy keeps the clients' connections. A request that it forwards is answered with a
//! [`Hold`], which names channels; what is to reach the clients is published to the proxy as an
//! [`Item`] for a channel. The proxy signs what it forwards, and [`Config::proxied`] tells its
//! requests from those of clients that came directly.
//!
//! [`EventStream`](crate::EventStream) does all of this by itself once its [`Builder`](crate::Builder) knows the
//! proxy. The parts are here for whoever answers other requests through the same proxy.

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
pub(crate) use publisher::{Permit, Rejected, Report, BATCH_BYTES};
pub use signature::{InvalidSignature, InvalidSignaturePolicy, Proxied};
pub use transport::{Transport, TransportError};
