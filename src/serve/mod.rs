//! The front door's single steps: each looks at a request, or makes a part of an answer.
//! [`run`](crate::run) has their order.

mod accept;
mod alarm;
mod body;
mod channels;
mod keep_alive;
mod template;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

pub(crate) use accept::accepts_events;
#[cfg(feature = "grip")]
pub(crate) use body::open_frame;
pub use body::Body;
pub use channels::Channels;
pub(crate) use keep_alive::Pace;
#[cfg(feature = "grip")]
pub(crate) use keep_alive::FRAME as KEEP_ALIVE;
pub use template::Params;
pub(crate) use template::{decode, Template, Value};

use crate::hub::Start;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");

/// An answer that is no stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Refusal {
    /// `sentence` gets its capital and its full stop here.
    pub(crate) fn new(status: StatusCode, sentence: &str) -> Self {
        let mut chars = sentence.chars();
        let text = chars
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .chain(chars)
            .chain(".\n".chars())
            .collect();
        Self { status, text }
    }

    pub(crate) fn bad_request(sentence: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// Fills in the headers, and gives the status and the body.
    pub(crate) fn into_parts(self, headers: &mut HeaderMap) -> (StatusCode, Body) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, self.text.len().into());
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, METHODS);
            }
            StatusCode::NOT_ACCEPTABLE => add_vary(headers),
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        (self.status, Body::text(self.text))
    }
}

/// What a method asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Stream,
    /// The headers of a stream.
    Head,
    Options,
}

/// Fetch-based clients POST.
pub(crate) fn ask(method: &Method) -> Result<Ask, Refusal> {
    match *method {
        Method::GET | Method::POST => Ok(Ask::Stream),
        Method::HEAD => Ok(Ask::Head),
        Method::OPTIONS => Ok(Ask::Options),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
    }
}

/// The id that a client got last: as bytes from the header, for it is raw UTF-8 there, else from
/// the query, for a page cannot set headers. An empty one is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LastEventId {
    None,
    Id(String),
    NotUtf8,
}

impl LastEventId {
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Result<Self, Refusal> {
        let header =
            headers.get("last-event-id").map(HeaderValue::as_bytes).filter(|id| !id.is_empty());
        let id = match header {
            Some(id) => String::from_utf8(id.to_vec()).map_or(Self::NotUtf8, Self::Id),
            None => match template::query_value(uri, "lastEventId") {
                Some(Ok(id)) if !id.is_empty() => Self::Id(id),
                Some(Err(_)) => Self::NotUtf8,
                _ => Self::None,
            },
        };
        match id {
            Self::Id(id) if id == "error" => {
                let text = "last-event-id header may not be 'error'.\n".to_owned();
                Err(Refusal { status: StatusCode::BAD_REQUEST, text })
            }
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

/// Takes away what is the server's business: it frames the body, and knows whether the connection
/// stays.
pub(crate) fn clear_framing(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(name);
    }
}

/// The headers of a stream. `no-transform` keeps compressing proxies from holding events back,
/// `X-Accel-Buffering` does for nginx.
pub(crate) fn stream_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    add_vary(headers);
}

pub(crate) fn options_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_TYPE);
    headers.insert(ALLOW, METHODS);
}

/// The answer depends on `Accept`.
fn add_vary(headers: &mut HeaderMap) {
    let named = |value: &HeaderValue| {
        value.as_bytes().split(|&byte| byte == b',').any(|name| {
            matches!(name.trim_ascii(), b"*") || name.trim_ascii().eq_ignore_ascii_case(b"accept")
        })
    };
    if !headers.get_all(VARY).iter().any(named) {
        headers.append(VARY, HeaderValue::from_static("Accept"));
    }
}
