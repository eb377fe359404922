//! eventstream with its defaults: history and keep-alive are on.

use std::future::Future;
use std::time::Instant;

use eventstream::{Body, Event, EventStream};
use futures::future::Either;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::Respond;
use crate::order::{subscribed, Order, TOOK};

#[derive(Clone, Debug)]
pub(super) struct Ours(pub(super) EventStream);

impl Respond for Ours {
    type Body = Body;

    fn respond(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        match subscribed(request.uri().path()) {
            Some(channel) => Either::Left(self.0.run(&request, Response::new(()), channel)),
            None => Either::Right(Box::pin(obey(self.0.clone(), request))),
        }
    }
}

async fn obey(stream: EventStream, request: Request<Incoming>) -> Response<Body> {
    let order = request.uri().path_and_query().and_then(|target| Order::parse(target.as_str()));
    let mut answer = Response::new(Body::default());
    match order {
        Some(order) => {
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer.headers_mut().insert(TOOK, publish(&stream, &order).await.into());
        }
        None => *answer.status_mut() = StatusCode::NOT_FOUND,
    }
    answer
}

/// Publishes, and returns the nanoseconds that it took.
pub(super) async fn publish(stream: &EventStream, order: &Order) -> u64 {
    let publisher = stream.publisher(&order.channel);
    let event = |data| Event::new("message").data(data);
    let start = Instant::now();
    if order.as_batch {
        publisher
            .publish_all(order.events().map(|(_, data)| event(data)))
            .await
            .expect("valid events");
    } else {
        for (_, data) in order.events() {
            publisher.publish(event(data)).await.expect("a valid event");
        }
    }
    start.elapsed().as_nanos() as u64
}
