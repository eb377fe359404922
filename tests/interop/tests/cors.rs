//! The guide's CORS, as a browser sees it: a page of another origin follows a stream.

#[path = "../../common/process.rs"]
mod process;
mod stage;
#[path = "../../common/webdriver.rs"]
mod webdriver;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::any;
use axum::Router;
use eventstream::{Event, EventStream};
use http::header::HeaderName;
use http::{Method, Response};
use serde_json::json;
use stage::{Relay, Server};
use tower::{Layer, ServiceBuilder};
use tower_http::cors::CorsLayer;
use webdriver::Page;

/// A page follows the stream that `app` serves to its origin, and comes back when the connection
/// breaks.
fn a_page_elsewhere_follows(app: impl FnOnce(EventStream, &str) -> Router) {
    let page = Server::start("demo");
    let origin = format!("http://{}", page.address);
    let Some(page) = Page::open(&origin) else { return };

    let stream = EventStream::new();
    let preflights = Arc::new(AtomicUsize::new(0));
    let counted = preflights.clone();
    let count = ServiceBuilder::new().map_request(move |req: Request| {
        counted.fetch_add(usize::from(req.method() == Method::OPTIONS), SeqCst);
        req
    });
    let app = Router::new().fallback_service(count.service(app(stream.clone(), &origin)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await
        })
    });

    let relay = Relay::to(&address);
    page.run(&format!(
        "window.witnessed = [];
         window.witness = new EventSource('{}/', {{ withCredentials: true }});
         for (const name of ['stream-open', 'message'])
             witness.addEventListener(name, e => witnessed.push([e.type, e.data]));",
        relay.url,
    ));
    let sees = |name: &str, data: &str| {
        assert_eq!(page.wait_for("witnessed.shift() || null"), json!([name, data]));
    };
    sees("stream-open", "");
    let message = |data: &str| Event::default().data(data).retry(Duration::from_millis(50));
    let breaks_off = |missed: &str| {
        relay.cut();
        stream.try_publish("lobby", message(missed)).unwrap();
        relay.mend(&address);
        sees("stream-open", "");
        sees("message", missed);
    };
    stream.try_publish("lobby", message("1")).unwrap();
    sees("message", "1");
    breaks_off("2");
    assert_eq!(preflights.load(SeqCst), 0);

    // If a script set this id as a header, it would need a preflight.
    stream.try_publish("lobby", message("3").id("(e)".repeat(50))).unwrap();
    sees("message", "3");
    breaks_off("4");

    // Here a script sets the header.
    page.run(&format!(
        "const ask = {{ credentials: 'include', headers: {{ 'Last-Event-ID': 'x' }} }};
         fetch('{}/', ask).then(answer => window.fetched = answer.headers.get('content-type'));",
        relay.url,
    ));
    assert_eq!(page.wait_for("window.fetched"), "text/event-stream");
    assert_ne!(preflights.load(SeqCst), 0);
}

#[test]
fn run_with_headers_on_its_answer() {
    a_page_elsewhere_follows(|stream, origin| {
        let origin = origin.to_owned();
        Router::new().fallback(any(move |req: Request| async move {
            let mut res = Response::builder()
                .header("access-control-allow-origin", origin)
                .header("access-control-allow-credentials", "true")
                .header("vary", "origin");
            if req.method() == Method::OPTIONS {
                res = res.header("access-control-allow-headers", "last-event-id");
            }
            stream.run(&req, res.body(()).unwrap(), ["lobby"]).await
        }))
    });
}

#[test]
fn a_handler_under_the_layer_of_tower_http() {
    a_page_elsewhere_follows(|stream, origin| {
        let cors = CorsLayer::new()
            .allow_origin([origin.parse().unwrap()])
            .allow_methods([Method::GET])
            .allow_headers([HeaderName::from_static("last-event-id")])
            .allow_credentials(true);
        Router::new().fallback_service(cors.layer(stream.handler("lobby")))
    });
}
