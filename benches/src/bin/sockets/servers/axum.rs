//! axum: its own `Sse` over a broadcast, and eventstream in its router.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::Router;
use futures::StreamExt;
use tokio::runtime::Runtime;

use super::broadcast::Channels;
use super::ours::publish;
use super::tokio::{runtime, stream};
use crate::order::{Order, TOOK};

pub(super) fn theirs(listener: TcpListener) -> io::Result<()> {
    let channels = Arc::new(Channels::default());
    let publishing = channels.clone();
    let events = move |Path(channel): Path<String>| {
        let events = channels.subscribe(&channel).map(|message| {
            let message = message.expect("no lag");
            Ok::<_, Infallible>(
                Event::default().id(message.id()).event(&message.name).data(&message.data),
            )
        });
        async { Sse::new(events) }
    };
    let publish = move |uri: Uri| {
        let took = order(&uri).map(|order| publishing.publish(&order));
        async move { answer(took) }
    };
    let router = Router::new()
        .route("/events/{channel}", get(events))
        .route("/publish/{channel}", post(publish));
    serve(&runtime()?, listener, router)
}

pub(super) fn ours(listener: TcpListener) -> io::Result<()> {
    let runtime = runtime()?;
    let stream = stream(&runtime)?;
    let events = stream.handler("{channel}").path("/events/{channel}");
    let publish = move |uri: Uri| {
        let (stream, order) = (stream.clone(), order(&uri));
        async move {
            match order {
                Some(order) => answer(Some(publish(&stream, &order).await)),
                None => answer(None),
            }
        }
    };
    let router = Router::new()
        .route_service("/events/{channel}", events)
        .route("/publish/{channel}", post(publish));
    serve(&runtime, listener, router)
}

fn order(uri: &Uri) -> Option<Order> {
    Order::parse(uri.path_and_query()?.as_str())
}

fn answer(took: Option<u64>) -> (StatusCode, HeaderMap) {
    match took {
        Some(took) => (
            StatusCode::NO_CONTENT,
            HeaderMap::from_iter([(TOOK.parse().expect("a name"), took.into())]),
        ),
        None => (StatusCode::NOT_FOUND, HeaderMap::new()),
    }
}

fn serve(runtime: &Runtime, listener: TcpListener, router: Router) -> io::Result<()> {
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|socket| {
            socket.set_nodelay(true).expect("a socket that was just accepted");
        });
        axum::serve(listener, router).await
    })
}
