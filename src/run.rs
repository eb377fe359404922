//! From a request to an answer: the steps in their order. The first that objects decides.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::event_stream::EventStream;
use crate::hub::SubscribeError;
#[cfg(feature = "grip")]
use crate::proxy::{Proxy, Way};
use crate::serve::{
    accepts_events, ask, clear_framing, options_headers, stream_headers, Ask, Body, Channels,
    LastEventId, Refusal,
};
#[cfg(feature = "grip")]
use crate::serve::{open_frame, KEEP_ALIVE};
use crate::trace;

/// What [`EventStream::run`] returns: the answer to a request, as a future that borrows nothing.
///
/// It is ready at once.
#[derive(Debug)]
#[must_use = "an answer must be awaited and sent"]
pub struct Run(Option<Box<Response<Body>>>);

impl Run {
    /// In a box until it is awaited: a server keeps room for a handler's future as long as the
    /// connection lasts.
    pub(crate) fn new(response: Response<Body>) -> Self {
        Self(Some(Box::new(response)))
    }
}

impl Future for Run {
    type Output = Response<Body>;

    /// # Panics
    ///
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Response<Body>> {
        Poll::Ready(*self.0.take().expect("`Run` polled after it was ready"))
    }
}

/// Finishes `res` as the answer. What was not routed is refused first; `channels` is asked when all
/// before it is well.
pub(crate) fn answer<Q, S, R>(
    stream: &EventStream,
    req: &Request<Q>,
    res: Response<S>,
    routed: Result<R, Refusal>,
    channels: impl FnOnce(R) -> Result<Channels, Refusal>,
) -> Response<Body> {
    // Without its query: a token may stand there.
    let _span = trace::entered!(
        target: "eventstream::connect", "connect", method = %req.method(), path = req.uri().path()
    );
    let (mut parts, _) = res.into_parts();
    clear_framing(&mut parts.headers);
    let (method, headers, uri) = (req.method(), req.headers(), req.uri());
    let (status, body) = match routed
        .and_then(|route| steps(stream, method, headers, uri, || channels(route)))
    {
        Ok(Answer::Options) => {
            options_headers(&mut parts.headers);
            (StatusCode::NO_CONTENT, Body::empty())
        }
        Ok(Answer::Stream(body)) => {
            stream_headers(&mut parts.headers);
            (StatusCode::OK, body)
        }
        #[cfg(feature = "grip")]
        Ok(Answer::Hold(hold, body)) => {
            stream_headers(&mut parts.headers);
            parts.headers.extend(hold);
            (StatusCode::OK, body)
        }
        Err(refusal) => {
            trace::debug!(
                target: "eventstream::connect", status = refusal.status.as_u16(), "refused: {}", refusal.text.trim_end()
            );
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
    /// For a proxy: it keeps the client, and the body is only the beginning.
    #[cfg(feature = "grip")]
    Hold(HeaderMap, Body),
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
    #[cfg(feature = "grip")]
    let proxy = behind(stream, headers)?;
    let last_event_id = LastEventId::of(headers, uri)?;
    let channels = channels()?;
    #[cfg(feature = "grip")]
    if let Some(proxy) = proxy {
        return hold(stream, proxy, channels.as_slice(), &last_event_id, ask);
    }
    let body = match stream.cursor(&channels, last_event_id.start()) {
        Ok(cursor) => {
            trace::debug!(target: "eventstream::connect", channels = ?channels.as_slice(), ?last_event_id, "connected");
            stream.body(cursor)
        }
        Err(SubscribeError::Closed | SubscribeError::Full) => come_back_later(stream)?,
        Err(refused) => return Err(Refusal::bad_request(&refused.to_string())),
    };
    // For HEAD the subscription ends here, so that the answer is exactly what a GET would have got.
    Ok(Answer::Stream(if ask == Ask::Head { Body::head() } else { body }))
}

/// The proxy that this request came through, if it did.
#[cfg(feature = "grip")]
fn behind<'a>(stream: &'a EventStream, headers: &HeaderMap) -> Result<Option<&'a Proxy>, Refusal> {
    let Some(proxy) = stream.proxy() else { return Ok(None) };
    match proxy.way(headers) {
        Ok(Way::Proxied) => Ok(Some(proxy)),
        Ok(Way::Direct) if proxy.required => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "Not Implemented"))
        }
        Ok(Way::Direct) => Ok(None),
        Err(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "GRIP Signature Invalid")),
    }
}

/// Tells the proxy to keep the client. It begins with what a direct stream would begin with; where
/// the client was before cannot be known here, and it is told so.
#[cfg(feature = "grip")]
fn hold(
    stream: &EventStream,
    proxy: &Proxy,
    channels: &[String],
    last_event_id: &LastEventId,
    ask: Ask,
) -> Result<Answer, Refusal> {
    let hub = stream.hub();
    hub.check_names(channels).map_err(|refused| Refusal::bad_request(&refused.to_string()))?;
    let limit = hub.limits().hold_channels;
    if channels.len() > limit {
        let count = channels.len();
        return Err(Refusal::bad_request(&format!(
            "{count} channels are over the limit of {limit} behind a proxy"
        )));
    }
    let closed = if stream.is_closed() { Some(come_back_later(stream)?) } else { None };
    if ask == Ask::Head {
        return Ok(Answer::Stream(Body::head()));
    }
    if let Some(body) = closed {
        return Ok(Answer::Stream(body));
    }
    trace::debug!(target: "eventstream::hold", ?channels, ?last_event_id, "held by the proxy");
    let pace = stream.pace();
    let body = match last_event_id {
        _ if !hub.replays() => open_frame(None, pace),
        LastEventId::None => open_frame(Some(hub.newest_id()), pace),
        LastEventId::Id(_) | LastEventId::NotUtf8 => {
            [open_frame(None, pace), hub.unknown_reset(channels).into()].concat().into()
        }
    };
    let keep_alive = pace.keep_alive.map(|every| (every, KEEP_ALIVE));
    Ok(Answer::Hold(proxy.hold(channels, keep_alive), Body::text(body)))
}

/// An answer after which a browser tries again: at any other status than 200 its EventSource gives
/// up for good.
fn come_back_later(stream: &EventStream) -> Result<Body, Refusal> {
    if stream.limits().refuse_with_503 {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
    }
    let after = Duration::from_secs(4) + stream.pace().jitter(Duration::from_secs(2));
    Ok(Body::text(format!("retry: {}\n\n", after.as_millis())))
}
