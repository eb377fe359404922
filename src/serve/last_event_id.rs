//! The id with which a client comes back.

use http::{HeaderMap, HeaderValue, Uri};

use super::refusal::Refusal;
use super::template::query_value;
use crate::hub::Start;

/// The id that a client received last. It is read as bytes from the header, where browsers send raw
/// UTF-8, else from the query, because a page cannot set headers. An empty one counts as absent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LastEventId {
    None,
    Id(String),
    NotUtf8,
}

impl LastEventId {
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Result<Self, Refusal> {
        let header = headers.get("last-event-id").map(HeaderValue::as_bytes);
        let id = match header.filter(|id| !id.is_empty()) {
            Some(id) => String::from_utf8(id.to_vec()).map_or(Self::NotUtf8, Self::Id),
            None => match query_value(uri, "lastEventId") {
                Some(Ok(id)) if !id.is_empty() => Self::Id(id),
                Some(Err(_)) => Self::NotUtf8,
                _ => Self::None,
            },
        };
        match id {
            Self::Id(id) if id == "error" => Err(Refusal::reserved_last_event_id()),
            id => Ok(id),
        }
    }

    pub(crate) fn start(&self) -> Start<'_> {
        match self {
            Self::None => Start::Now,
            Self::Id(id) => Start::After(id),
            Self::NotUtf8 => Start::Unknown,
        }
    }
}
