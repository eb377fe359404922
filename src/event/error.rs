//! What can be wrong with an event or a batch, or with the name of its channel.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::RETRY_MAX;

/// Why an event cannot be published. Nothing happened: no subscriber got any part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent {
    index: Option<usize>,
    /// Boxed, because every publication returns one of these or an id.
    mistake: Box<Mistake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    Name { name: String, found: &'static str },
    ReservedName(String),
    Id { id: String, why: &'static str },
    Json(String),
    Retry(Duration),
    TooLarge { what: &'static str, size: usize, limit: usize },
    Batch { limit: usize, of: &'static str },
    EmptyChannel,
}

impl InvalidEvent {
    /// Whether something is merely too large: a frame, a batch or a channel's name over a limit.
    pub fn is_too_large(&self) -> bool {
        matches!(*self.mistake, Mistake::TooLarge { .. } | Mistake::Batch { .. })
    }

    /// The index of the event in its batch, from 0; `None` if the mistake is not in one event of a
    /// batch.
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    pub(crate) fn at(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }
}

impl From<Mistake> for InvalidEvent {
    fn from(mistake: Mistake) -> Self {
        Self { index: None, mistake: Box::new(mistake) }
    }
}

/// The start of a text that may be too long for a message.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.char_indices();
        match chars.nth(64) {
            Some((at, _)) => write!(f, "{:?}...", &self.0[..at]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "event {index} of the batch: ")?;
        }
        match &*self.mistake {
            Mistake::Name { name, found } => {
                write!(f, "event name {} contains {found}", Excerpt(name))
            }
            Mistake::ReservedName(name) => write!(
                f,
                "event name {} is reserved for events that the stream itself sends",
                Excerpt(name)
            ),
            Mistake::Id { id, why } => write!(f, "event id {} {why}", Excerpt(id)),
            Mistake::Json(why) => write!(f, "data cannot be written as JSON: {why}"),
            Mistake::Retry(after) => {
                write!(f, "retry of {after:?} is not between 1 ms and {RETRY_MAX} ms")
            }
            Mistake::TooLarge { what, size, limit } => {
                write!(f, "{what} of {size} bytes is over the limit of {limit}")
            }
            Mistake::Batch { limit, of } => {
                write!(f, "batch exceeds the {limit} {of} that a channel keeps")
            }
            Mistake::EmptyChannel => f.write_str("channel name is empty or whitespace-only"),
        }
    }
}

impl Error for InvalidEvent {}
