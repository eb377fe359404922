//! The id with which a client comes back.

use http::{HeaderMap, HeaderValue, Uri};

use super::refusal::Refusal;
use super::template::query_values;
use crate::hub::Start;

/// The id that a client received last, or several: clients exist that add a new id to one they had
/// saved. It is read from the headers, else from the query, because a page cannot set headers. An
/// empty id counts as absent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LastEventId {
    None,
    /// All ids, joined with commas as header lines are (RFC 9110, section 5.3).
    Ids(String),
}

impl LastEventId {
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Result<Self, Refusal> {
        let lines = headers.get_all("last-event-id").iter().map(HeaderValue::as_bytes);
        // No event has an id with such characters, so it is enough that they stay unknown.
        let mut ids: Vec<_> = lines.map(String::from_utf8_lossy).map(String::from).collect();
        ids.retain(|id| !id.is_empty());
        if ids.is_empty() {
            ids = query_values(uri, "lastEventId")
                .map(|id| id.unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.into()))
                .filter(|id| !id.is_empty())
                .collect();
        }
        if ids.is_empty() {
            return Ok(Self::None);
        }
        let ids = ids.join(", ");
        match ids.split(',').any(|id| id.trim_matches([' ', '\t']) == "error") {
            true => Err(Refusal::reserved_last_event_id()),
            false => Ok(Self::Ids(ids)),
        }
    }

    pub(crate) fn start(&self) -> Start<'_> {
        match self {
            Self::None => Start::Now,
            Self::Ids(ids) => Start::After(ids),
        }
    }
}
