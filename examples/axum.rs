//! The demo's routes in axum: a [`Handler`](eventstream::Handler) as a service of the router, and
//! `run` in a function.

mod app;
mod server;

use std::error::Error;
use std::future::IntoFuture;
use std::sync::Arc;

use app::App;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, get_service};
use axum::serve::ListenerExt;
use axum::Router;
use eventstream::runtime::Tokio;
use futures::FutureExt;
use tokio::net::TcpListener;

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

    let interrupted = server::ctrl_c()?;
    let listener = TcpListener::from_std(server::listen()?)?.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(server::closed(interrupted.clone()));
    let serving = tokio::spawn(serving.into_future());
    server::closed(interrupted).await;
    // axum accepts no more connections, and is done when the streams are.
    server::close(&stream, serving.map(drop)).await;
    Ok(())
}

/// The whole endpoint in a function, in which the program decides on channels and headers.
async fn many_channels(State(app): State<Arc<App>>, req: Request) -> Response<eventstream::Body> {
    app.stream.run(&req, Response::new(()), app::channels(req.uri())).await
}

/// The page, publishing, the counters, and any other request.
async fn others(State(app): State<Arc<App>>, req: Request) -> impl IntoResponse {
    app.respond(req).await
}
