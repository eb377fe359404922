//! The demo's routes on tokio, over HTTP/1 and HTTP/2: hyper over tokio's sockets, keep-alives on
//! tokio's timers.
//!
//! There is no TLS here, so a client must choose HTTP/2 itself: `curl --http2-prior-knowledge`.

mod app;
mod server;

use std::error::Error;

use eventstream::runtime::Tokio;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use server::joined::Joined;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.runtime(Tokio::current()).build()?;
    let app = app::App::new(stream.clone());
    let interrupted = server::ctrl_c()?;
    let listener = TcpListener::from_std(server::listen()?)?;
    let connections = GracefulShutdown::new();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    let http = auto::Builder::new(TokioExecutor::new());
                    let socket = Joined(TokioIo::new(socket));
                    let connection =
                        http.serve_connection(socket, server::service(&app)).into_owned();
                    tokio::spawn(connections.watch(connection));
                }
                Err(error) => server::not_accepted(error).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = server::closed(interrupted) => {}
    }
    server::close(&stream, connections.shutdown()).await;
    Ok(())
}
