//! From a request to an answer: the steps in their order. The first step that objects decides.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::core::Core;
use crate::hub::SubscribeError;
use crate::proxy::Via;
use crate::serve::{
    accepts_events, clear_framing, come_back_later, options_headers, stream_headers, Body,
    Channels, LastEventId, Refusal,
};
use crate::trace;

/// What [`EventStream::run`](crate::EventStream::run) returns: a future of the answer, which
/// borrows nothing.
///
/// It is ready immediately.
#[derive(Debug)]
#[must_use = "an answer must be awaited and sent"]
pub struct Run(Option<Box<Response<Body>>>);

impl Run {
    /// Boxed until it is awaited, because a server keeps room for a handler's future as long as the
    /// connection lasts.
    pub(crate) fn new(response: Response<Body>) -> Self {
        Self(Some(Box::new(response)))
    }
}

impl Future for Run {
    type Output = Response<Body>;

    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Response<Body>> {
        Poll::Ready(*self.0.take().expect("`Run` polled after it was ready"))
    }
}

/// What a method asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    Stream,
    /// Only the headers of a stream.
    Head,
    Options,
}

impl RequestKind {
    /// Clients based on fetch send POST.
    fn of(method: &Method) -> Result<Self, Refusal> {
        match *method {
            Method::GET | Method::POST => Ok(Self::Stream),
            Method::HEAD => Ok(Self::Head),
            Method::OPTIONS => Ok(Self::Options),
            _ => Err(Refusal::method_not_allowed()),
        }
    }
}

/// An answer that is not a refusal.
enum Content {
    Options,
    Stream(Body),
    /// Makes a proxy keep the client: the body is only the beginning of the stream.
    Hold(HeaderMap, Body),
}

/// Finishes `res` as the answer. An error in `routed` is the refusal; `channels` is called once all
/// steps before it have passed.
pub(crate) fn answer<Q, S, R>(
    core: &Core,
    req: &Request<Q>,
    res: Response<S>,
    routed: Result<R, Refusal>,
    channels: impl FnOnce(R) -> Result<Channels, Refusal>,
) -> Response<Body> {
    // Without the query, which may contain a token.
    let _span = trace::entered!(
        target: "eventstream::connect",
        "connect",
        method = %req.method(),
        path = req.uri().path()
    );
    let (mut parts, _) = res.into_parts();
    clear_framing(&mut parts.headers);
    let (method, headers, uri) = (req.method(), req.headers(), req.uri());
    let content = routed.and_then(|route| steps(core, method, headers, uri, || channels(route)));
    let (status, body) = match content {
        Ok(Content::Options) => {
            options_headers(&mut parts.headers);
            (StatusCode::NO_CONTENT, Body::empty())
        }
        Ok(Content::Stream(body)) => {
            stream_headers(&mut parts.headers);
            (StatusCode::OK, body)
        }
        Ok(Content::Hold(hold, body)) => {
            stream_headers(&mut parts.headers);
            parts.headers.extend(hold);
            (StatusCode::OK, body)
        }
        Err(refusal) => {
            trace::debug!(
                target: "eventstream::connect",
                status = refusal.status.as_u16(),
                "refused: {}.",
                refusal.sentence
            );
            let (status, body) = refusal.into_parts(&mut parts.headers);
            (status, if *method == Method::HEAD { Body::empty() } else { body })
        }
    };
    parts.status = status;
    Response::from_parts(parts, body)
}

fn steps(
    core: &Core,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    channels: impl FnOnce() -> Result<Channels, Refusal>,
) -> Result<Content, Refusal> {
    let kind = RequestKind::of(method)?;
    if kind == RequestKind::Options {
        return Ok(Content::Options);
    }
    if !accepts_events(headers) {
        return Err(Refusal::not_acceptable());
    }
    let proxy = match core.proxy() {
        Some(proxy) if proxy.admit(headers)? == Via::Proxy => Some(proxy),
        _ => None,
    };
    let last_event_id = LastEventId::of(headers, uri)?;
    let channels = channels()?;
    let Some(proxy) = proxy else {
        let body = open(core, &channels, &last_event_id)?;
        // A HEAD subscribes like a GET, so that it gets exactly the answer that a GET would get.
        // Its subscription ends here.
        return Ok(Content::Stream(if kind == RequestKind::Head { Body::head() } else { body }));
    };
    let names = channels.as_slice();
    proxy.check(core.hub(), names)?;
    let closed = match core.hub().is_closed() {
        true => Some(refuse_for_now(core)?),
        false => None,
    };
    if kind == RequestKind::Head {
        return Ok(Content::Stream(Body::head()));
    }
    if let Some(body) = closed {
        return Ok(Content::Stream(body));
    }
    trace::debug!(
        target: "eventstream::hold", channels = ?names, ?last_event_id, "held by the proxy"
    );
    let (hold, body) = proxy.hold(core.hub(), core.bodies(), names, last_event_id.start());
    Ok(Content::Hold(hold, body))
}

/// A direct stream.
fn open(core: &Core, channels: &Channels, last_event_id: &LastEventId) -> Result<Body, Refusal> {
    match core.subscribe(channels, last_event_id.start()) {
        Ok((cursor, settings)) => {
            trace::debug!(
                target: "eventstream::connect",
                channels = ?channels.as_slice(),
                ?last_event_id,
                "connected"
            );
            Ok(Body::live(cursor, settings))
        }
        Err(SubscribeError::Closed | SubscribeError::Full) => refuse_for_now(core),
        Err(refused) => Err(Refusal::bad_request(&refused.to_string())),
    }
}

fn refuse_for_now(core: &Core) -> Result<Body, Refusal> {
    come_back_later(core.bodies(), core.hub().limits().refuse_with_503)
}
