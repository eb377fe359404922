//! The demo's routes in axum: a [`Handler`](eventstream::Handler) as a service of the router, and
//! `run` in a function.

mod app;
mod server;

use std::error::Error;
use std::sync::Arc;

use app::App;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, get_service};
use axum::Router;
use eventstream::runtime::Tokio;
use futures::FutureExt;
use hyper::body::Incoming;
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.runtime(Tokio::current()).build()?;
    let app = App::new(stream.clone());
    // The service itself would also answer a POST: `get_service` leaves that to `others`.
    let one_channel = get_service(app.one_channel.clone()).fallback(others).with_state(app.clone());
    let router = Router::new()
        .route_service("/events/{channel}", one_channel)
        .route("/events", get(many_channels))
        .fallback(others)
        .method_not_allowed_fallback(others)
        .with_state(app);

    // `axum::serve` would do, but it does not limit how long the head of a request may take.
    let answer = move |req: Request<Incoming>| {
        router.clone().call(req).map(|answer| answer.unwrap_or_else(|never| match never {}))
    };
    server::tokio::run(stream, answer).await
}

/// The whole endpoint in a function, in which the program decides on channels and headers.
async fn many_channels(State(app): State<Arc<App>>, req: Request) -> Response<eventstream::Body> {
    app.stream.run(&req, Response::new(()), app::channels(req.uri())).await
}

/// The page, publishing, the counters, and any other request.
async fn others(State(app): State<Arc<App>>, req: Request) -> impl IntoResponse {
    app.respond(req).await
}
