//! The front door's single steps: each looks at a request or makes a part of an answer.
//! [`run`](crate::run) puts them in their order.

mod accept;
mod body;
mod channels;
mod drain;
mod headers;
mod keep_alive;
mod last_event_id;
mod refusal;
mod template;

pub(crate) use accept::accepts_events;
pub use body::Body;
pub(crate) use body::BodySettings;
pub use channels::Channels;
pub(crate) use drain::drain;
pub(crate) use headers::{clear_framing, options_headers, stream_headers};
pub(crate) use last_event_id::LastEventId;
pub(crate) use refusal::{come_back_later, Refusal};
pub use template::Params;
pub(crate) use template::{Template, Value};
