//! Endpoints that are made once and answer many requests.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{FutureExt, Map};
use http::{Request, Response};
use matchit::Router;
use tower_service::Service;

use crate::core::Core;
use crate::percent::decode;
use crate::run::{answer, Run};
use crate::runtime::Clock;
use crate::serve::{Body, Channels, Params, Refusal, Template, Value};

/// An SSE endpoint, made once and called for each request.
///
/// [`EventStream::handler`](crate::EventStream::handler) and
/// [`handler_fn`](crate::EventStream::handler_fn) make one. It is also a
/// [`tower_service::Service`], for axum's `route_service` and other routers. Clones are cheap.
///
/// ```
/// use eventstream::EventStream;
/// use futures::executor::block_on;
/// use http::Request;
///
/// let handler = EventStream::new().handler("room-{id}").path("/rooms/{id}/events");
/// let request = |path| Request::builder().uri(path).body(()).unwrap();
/// assert_eq!(block_on(handler.call(request("/rooms/7/events"))).status(), 200);
/// assert_eq!(block_on(handler.call(request("/rooms"))).status(), 404);
/// ```
#[derive(Clone)]
pub struct Handler {
    core: Arc<Core>,
    channels: ChannelSource,
    path: Option<Pattern>,
}

/// Where the names of the channels come from.
#[derive(Clone)]
enum ChannelSource {
    Templates(Arc<Result<Vec<Template>, String>>),
    Function(Arc<Lookup>),
}

/// matchit panics at more parameters, because it has a letter for each, and takes some literal
/// braces for parameters.
const MOST_BRACES: usize = 25;

type Lookup = dyn Fn(&Request<()>) -> Channels + Send + Sync;
type Pattern = Arc<Result<Router<()>, String>>;

impl Handler {
    pub(crate) fn templates(core: Arc<Core>, templates: &Channels) -> Self {
        let templates =
            templates.as_slice().iter().map(|template| Template::parse(template)).collect();
        Self { core, channels: ChannelSource::Templates(Arc::new(templates)), path: None }
    }

    pub(crate) fn function(
        core: Arc<Core>,
        f: impl Fn(&Request<()>) -> Channels + Send + Sync + 'static,
    ) -> Self {
        Self { core, channels: ChannelSource::Function(Arc::new(f)), path: None }
    }

    /// Answers only paths of this pattern, such as `/rooms/{id}/events`, and takes parameters from
    /// them. Any other path gets 404.
    ///
    /// The pattern is matched against the URI as it arrives; captured values are percent-decoded
    /// afterwards. `{*rest}` captures the rest of a path. A pattern may have up to 25
    /// opening braces, so as many parameters. [`Params`] in the request's extensions take
    /// precedence.
    pub fn path(mut self, pattern: &str) -> Self {
        let mut router = Router::new();
        let router = if pattern.matches('{').count() > MOST_BRACES {
            Err(format!("path pattern {pattern:?} has more than {MOST_BRACES} opening braces"))
        } else {
            match router.insert(pattern, ()) {
                Ok(()) => Ok(router),
                Err(error) => Err(format!("path pattern {pattern:?} does not parse: {error}")),
            }
        };
        self.path = Some(Arc::new(router));
        self
    }

    /// Answers a request.
    ///
    /// It looks only at the head: the body is dropped unread. Where clients send one and neither
    /// server nor framework has read it, use [`draining`](Handler::draining), or a browser's
    /// `fetch` may wait for ever (see [`Draining`](crate::Draining)). The same holds for the
    /// [`Service`].
    ///
    /// A parameter that is missing, empty or not UTF-8 is answered with 400. A template or pattern
    /// that does not parse is answered with 500, whatever the request. The text names what is
    /// wrong.
    pub fn call<Q>(&self, req: Request<Q>) -> Run {
        let (parts, _) = req.into_parts();
        Run::new(self.answer(&Request::from_parts(parts, ()), Ok(())))
    }

    /// Answers a request whose body is dealt with; an error in `read` is the refusal.
    pub(crate) fn answer(&self, req: &Request<()>, read: Result<(), Refusal>) -> Response<Body> {
        let routed = read.and_then(|()| self.captures(req.uri().path()));
        answer(&self.core, req, Response::new(()), routed, |captures| match &self.channels {
            ChannelSource::Function(f) => Ok(f(req)),
            ChannelSource::Templates(templates) => expand(templates, req, &captures),
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.core.bodies().clock
    }

    /// The values that the path pattern captures, still percent-encoded.
    fn captures<'p>(&self, path: &'p str) -> Result<Vec<(String, &'p str)>, Refusal> {
        if let ChannelSource::Templates(templates) = &self.channels {
            templates.as_ref().as_ref().map_err(|why| Refusal::misconfigured(why))?;
        }
        let Some(pattern) = &self.path else { return Ok(Vec::new()) };
        match &**pattern {
            Err(why) => Err(Refusal::misconfigured(why)),
            Ok(router) => match router.at(path) {
                Ok(found) => {
                    Ok(found.params.iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }
                Err(_) => Err(Refusal::not_found()),
            },
        }
    }
}

fn expand(
    templates: &Result<Vec<Template>, String>,
    req: &Request<()>,
    captures: &[(String, &str)],
) -> Result<Channels, Refusal> {
    let params = req.extensions().get::<Params>();
    let route = |name: &str| -> Option<Value> {
        match params.and_then(|params| params.get(name)) {
            Some(value) => Some(Ok(value.to_owned())),
            None => captures
                .iter()
                .find(|(captured, _)| captured == name)
                .map(|(_, value)| decode(value)),
        }
    };
    let templates = templates.as_ref().map_err(|why| Refusal::misconfigured(why))?;
    let channels: Result<Vec<_>, _> =
        templates.iter().map(|template| template.expand(route, req.uri())).collect();
    channels.map(Channels::from).map_err(|why| Refusal::bad_request(&why))
}

impl<Q> Service<Request<Q>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Map<Run, fn(Response<Body>) -> Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: Request<Q>) -> Self::Future {
        Handler::call(self, req).map(Ok)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut handler = f.debug_struct("Handler");
        match &self.channels {
            ChannelSource::Templates(templates) => handler.field("channels", templates),
            ChannelSource::Function(_) => handler.field("channels", &"fn"),
        };
        handler.finish_non_exhaustive()
    }
}
