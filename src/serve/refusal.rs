//! Every answer that is not a stream: a refusal with one plain sentence, and the answer that has a
//! client come back later. Clients may compare the fixed sentences, so these do not change.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::body::{Body, BodySettings};
use super::headers::{add_vary, METHODS};
use crate::event::control;

/// After how long a client should try again.
const COME_BACK: Duration = Duration::from_secs(5);
/// By how much more or less, so that a crowd does not come back as one.
const SPREAD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Without the full stop and the line feed that follow it on the wire.
    pub(crate) sentence: String,
    /// After how many seconds the client should try again.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), retry_after: None }
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
    }

    /// 406.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "Not Acceptable")
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 501: the program serves only clients behind a proxy.
    #[cfg(feature = "grip")]
    pub(crate) fn not_implemented() -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "Not Implemented")
    }

    /// 403.
    #[cfg(feature = "grip")]
    pub(crate) fn invalid_signature() -> Self {
        Self::new(StatusCode::FORBIDDEN, "GRIP Signature Invalid")
    }

    /// 400 for `Last-Event-ID: error`, a reserved id.
    pub(crate) fn reserved_last_event_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "last-event-id header may not be 'error'")
    }

    /// 400, with an error's text as the sentence.
    pub(crate) fn bad_request(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, capitalized(why))
    }

    /// 413: the request's body is too long to be read.
    pub(crate) fn payload_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
    }

    /// 408: the request's body took too long.
    pub(crate) fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Request timeout")
    }

    /// 400 for a body that ended with an error, which may be of a type that says nothing.
    pub(crate) fn broken_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The request's body broke off")
    }

    /// 500: a mistake of the program, not of the client.
    pub(crate) fn misconfigured(why: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, capitalized(why))
    }

    /// Sets the headers, and returns the status and the body.
    pub(crate) fn into_parts(self, headers: &mut HeaderMap) -> (StatusCode, Body) {
        let text = self.sentence + ".\n";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, text.len().into());
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, METHODS);
            }
            StatusCode::NOT_ACCEPTABLE => add_vary(headers),
            _ => {}
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        (self.status, Body::text(text))
    }
}

/// The answer of a stream that is closed or full. A browser tries again after a 200; at any other
/// status its `EventSource` gives up for good, so 503 is for those who ask for it.
pub(crate) fn come_back_later(settings: &BodySettings, with_503: bool) -> Result<Body, Refusal> {
    let after = COME_BACK - SPREAD + settings.clock.jitter(2 * SPREAD);
    if with_503 {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        return Err(Refusal { retry_after: Some(after.as_secs_f64().round() as u64), ..refusal });
    }
    Ok(Body::text(control::retry(after)))
}

fn capitalized(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
