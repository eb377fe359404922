//! The headers of an answer.

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The methods that an endpoint answers.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");

/// Removes what is the server's business: it frames the body, and knows whether the connection
/// stays.
pub(crate) fn clear_framing(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(name);
    }
}

/// Sets the headers of a stream. `no-transform` keeps compressing proxies from holding events back;
/// `X-Accel-Buffering` does so for nginx.
pub(crate) fn stream_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    add_vary(headers);
}

/// Sets the headers of the answer to OPTIONS.
pub(crate) fn options_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_TYPE);
    headers.insert(ALLOW, METHODS);
}

/// Says that the answer depends on `Accept`.
pub(super) fn add_vary(headers: &mut HeaderMap) {
    let names_accept = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept"))
    };
    if !headers.get_all(VARY).iter().any(names_accept) {
        headers.append(VARY, HeaderValue::from_static("Accept"));
    }
}
