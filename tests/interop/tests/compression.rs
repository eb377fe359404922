//! What the guide says about compressing middleware.

use std::convert::Infallible;

use actix_web::http::header::ContentEncoding;
use actix_web::middleware::Compress;
use actix_web::{test, web, App, HttpResponse, HttpResponseBuilder};
use eventstream::EventStream;
use http::Request;
use tower::{Layer, Service};
use tower_http::compression::CompressionLayer;

#[tokio::test]
async fn tower_http_leaves_event_streams_alone() {
    let mut events = CompressionLayer::new().layer(EventStream::new().handler("lobby"));
    let req = Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
    let res = events.call(req).await.unwrap_or_else(|never: Infallible| match never {});
    assert_eq!(res.headers()["content-type"], "text/event-stream");
    assert!(!res.headers().contains_key("content-encoding"));
}

/// The encoding of the event stream with which an app under `Compress` answers.
async fn encoding(
    finish: fn(&mut HttpResponseBuilder) -> &mut HttpResponseBuilder,
) -> Option<String> {
    let events = web::to(move || async move {
        let mut res = HttpResponse::Ok();
        finish(res.content_type("text/event-stream"));
        res.streaming(EventStream::new().subscribe("lobby").into_body())
    });
    let app = test::init_service(App::new().wrap(Compress::default()).route("/", events)).await;
    let req = test::TestRequest::get().insert_header(("accept-encoding", "gzip")).to_request();
    let res = test::call_service(&app, req).await;
    Some(res.headers().get("content-encoding")?.to_str().unwrap().to_owned())
}

#[actix_web::test]
async fn actix_web_compresses_event_streams_unless_their_encoding_is_set() {
    assert_eq!(encoding(|res| res).await.as_deref(), Some("gzip"));
    assert_eq!(
        encoding(|res| res.insert_header(ContentEncoding::Identity)).await.as_deref(),
        Some("identity")
    );
}
