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
mod hold;
mod invalid;
mod item;
mod key;
mod publisher;
mod rendered;
mod signature;
pub mod transport;
mod url;

pub use config::Config;
pub use endpoint::Endpoint;
pub(crate) use hold::encode_channel;
pub use hold::Hold;
pub use invalid::InvalidConfig;
pub use item::Item;
pub use publisher::{EndpointStats, Failure, Publisher};
pub(crate) use publisher::{Place, Rejected, Report, BATCH_BYTES};
pub(crate) use rendered::Rendered;
pub use signature::{InvalidSignature, InvalidSignaturePolicy, Proxied};
pub use transport::{Transport, TransportError};
