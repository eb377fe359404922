//! Why the hub refuses to publish or to subscribe.

use std::error::Error;
use std::fmt;

use crate::event::InvalidEvent;

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Invalid(InvalidEvent),
    Closed,
}

impl From<InvalidEvent> for Refused {
    fn from(invalid: InvalidEvent) -> Self {
        Self::Invalid(invalid)
    }
}

/// Why [`try_subscribe`](crate::EventStream::try_subscribe) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No channel was named, or only names of white space.
    NoChannels,
    /// More channels than [`Limits::channels`](crate::Limits::channels).
    TooManyChannels {
        /// How many were named.
        channels: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A name longer than [`Limits::channel_name`](crate::Limits::channel_name).
    ChannelName {
        /// The name's length in bytes.
        size: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// [`Limits::subscriptions`](crate::Limits::subscriptions) or
    /// [`Limits::hub_channels`](crate::Limits::hub_channels) is reached.
    Full,
    /// The stream was closed.
    Closed,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChannels => f.write_str("no specified channels"),
            Self::TooManyChannels { channels, limit } => {
                write!(f, "{channels} channels are over the limit of {limit}")
            }
            Self::ChannelName { size, limit } => {
                write!(f, "channel name of {size} bytes is over the limit of {limit}")
            }
            Self::Full => f.write_str("limit of subscriptions or channels reached"),
            Self::Closed => f.write_str("subscribing to a closed event stream"),
        }
    }
}

impl Error for SubscribeError {}
