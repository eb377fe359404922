//! The demo's routes, for any server that speaks `http`.

pub(crate) mod config;
mod publish;
pub(crate) mod stats;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use eventstream::{Body, Channels, EventStream, Handler};
use futures::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use stats::Counters;

const PAGE: &str = include_str!("page.html");

/// What the demo answers with: a stream, or something short.
pub(crate) type Answer = Response<Either<Body, Full<Bytes>>>;

pub(crate) struct App {
    pub(crate) stream: EventStream,
    pub(crate) one_channel: Handler,
    many_channels: Handler,
    counters: Counters,
}

impl App {
    pub(crate) fn new(stream: EventStream) -> Arc<Self> {
        Arc::new(Self {
            one_channel: stream.handler("{channel}").path("/events/{channel}"),
            many_channels: stream.handler_fn(|req| channels(req.uri())),
            counters: Counters::default(),
            stream,
        })
    }

    /// Answers a request. The future for a stream is small, and the larger one for everything else
    /// is boxed: a server keeps room for this future as long as the connection lasts.
    pub(crate) fn respond<B>(
        self: &Arc<Self>,
        req: Request<B>,
    ) -> impl Future<Output = Answer> + Send + 'static + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.handler(req.uri().path()).filter(|_| reads(req.method())) {
            Some(handler) => handler.call(req).map(|answer| answer.map(Either::Left)).left_future(),
            None => self.clone().short(req).boxed().right_future(),
        }
    }

    /// The handler of the streams at this path, if there are any.
    fn handler(&self, path: &str) -> Option<&Handler> {
        match path {
            "/events" => Some(&self.many_channels),
            _ => path.starts_with("/events/").then_some(&self.one_channel),
        }
    }

    async fn short<B>(self: Arc<Self>, req: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = req.uri().path();
        if let Some(channel) = path
            .strip_prefix("/publish/")
            .filter(|channel| !channel.is_empty() && !channel.contains('/'))
        {
            if req.method() != Method::POST {
                return wrong_method("POST");
            }
            let channel = channel.to_owned();
            return publish::publish(&self.stream, &channel, req).await;
        }
        let known = matches!(path, "/" | "/stats") || self.handler(path).is_some();
        match path {
            _ if known && !reads(req.method()) => wrong_method("GET, HEAD"),
            "/" => short(StatusCode::OK, "text/html; charset=utf-8", PAGE),
            "/stats" => json(StatusCode::OK, self.counters.json(&self.stream, Instant::now())),
            _ => text(StatusCode::NOT_FOUND, "Not Found."),
        }
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The channels that a query names; none if one of them is not UTF-8.
pub(crate) fn channels(uri: &Uri) -> Channels {
    publish::query_values(uri, "channel").unwrap_or_default().into()
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed.");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

pub(crate) fn text(status: StatusCode, sentence: &str) -> Answer {
    short(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn json(status: StatusCode, json: serde_json::Result<impl Into<Bytes>>) -> Answer {
    match json {
        Ok(json) => short(status, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn short(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Right(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
