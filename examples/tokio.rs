//! The demo's routes on tokio, over HTTP/1 and HTTP/2: hyper over tokio's sockets, keep-alives on
//! tokio's timers. The server is in `server/tokio.rs`.
//!
//! There is no TLS here, so a client must choose HTTP/2 itself: `curl --http2-prior-knowledge`.

mod app;
mod server;

use std::error::Error;

use eventstream::runtime::Tokio;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.runtime(Tokio::current()).build()?;
    let app = app::App::new(stream.clone());
    server::tokio::run(stream, move |req| app.respond(req)).await
}
