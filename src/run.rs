//! From a request to an answer: the steps in their order. The first that objects decides.

use std::future::{ready, Future, Ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::event_stream::EventStream;
use crate::hub::SubscribeError;
use crate::serve::{
    accepts_events, ask, clear_framing, options_headers, stream_headers, Ask, Body, Channels, LastEventId, Refusal,
};

/// What [`EventStream::run`] returns: the answer to a request, as a future that borrows nothing.
#[derive(Debug)]
#[must_use = "an answer must be awaited and sent"]
pub struct Run(Ready<Response<Body>>);

impl Run {
    pub(crate) fn new(response: Response<Body>) -> Self {
        Self(ready(response))
    }
}

impl Future for Run {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Finishes `res` as the answer. What was not routed is refused first; `channels` is asked when all before it is well.
pub(crate) fn answer<Q, S, R>(
    stream: &EventStream,
    req: &Request<Q>,
    res: Response<S>,
    routed: Result<R, Refusal>,
    channels: impl FnOnce(R) -> Result<Channels, Refusal>,
) -> Response<Body> {
    let (mut parts, _) = res.into_parts();
    clear_framing(&mut parts.headers);
    let (method, headers, uri) = (req.method(), req.headers(), req.uri());
    let (status, body) = match routed.and_then(|route| steps(stream, method, headers, uri, || channels(route))) {
        Ok(Answer::Options) => {
            options_headers(&mut parts.headers);
            (StatusCode::NO_CONTENT, Body::empty())
        }
        Ok(Answer::Stream(body)) => {
            stream_headers(&mut parts.headers);
            (StatusCode::OK, body)
        }
        Err(refusal) => {
            let (status, body) = refusal.into_parts(&mut parts.headers);
            (status, if *method == Method::HEAD { Body::empty() } else { body })
        }
    };
    parts.status = status;
    Response::from_parts(parts, body)
}

enum Answer {
    Options,
    Stream(Body),
}

fn steps(
    stream: &EventStream,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    channels: impl FnOnce() -> Result<Channels, Refusal>,
) -> Result<Answer, Refusal> {
    let ask = ask(method)?;
    if ask == Ask::Options {
        return Ok(Answer::Options);
    }
    if !accepts_events(headers) {
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "Not Acceptable"));
    }
    let last_event_id = LastEventId::of(headers, uri)?;
    let channels = channels()?;
    let body = match stream.cursor(&channels, last_event_id.start()) {
        Ok(cursor) => stream.body(cursor),
        Err(SubscribeError::Closed | SubscribeError::Full) => come_back_later(stream)?,
        Err(refused) => return Err(Refusal::bad_request(&refused.to_string())),
    };
    // For HEAD the subscription ends here, so that the answer is exactly what a GET would have got.
    Ok(Answer::Stream(if ask == Ask::Head { Body::empty() } else { body }))
}

/// An answer after which a browser tries again: at any other status than 200 its EventSource gives up for good.
fn come_back_later(stream: &EventStream) -> Result<Body, Refusal> {
    if stream.limits().refuse_with_503 {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
    }
    let after = Duration::from_secs(4) + stream.pace().jitter(Duration::from_secs(2));
    Ok(Body::text(format!("retry: {}\n\n", after.as_millis())))
}
