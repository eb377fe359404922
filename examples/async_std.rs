//! The demo's routes on async-std: hyper over its sockets and, with `--features async-std`,
//! keep-alives on its timers.
//!
//! async-std is discontinued; this is for programs that already use it.

mod app;
mod server;

use std::error::Error;
use std::pin::pin;

use async_std::net::TcpListener;
use async_std::task;
#[cfg(feature = "async-std")]
use eventstream::runtime::AsyncStd;
use futures::future::select;
use hyper_util::server::graceful::GracefulShutdown;
use server::joined::Joined;
use smol_hyper::rt::FuturesIo;

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let builder = app::config::from_env()?;
    #[cfg(feature = "async-std")]
    let builder = builder.runtime(AsyncStd);
    let stream = builder.build()?;
    let app = app::App::new(stream.clone());
    let interrupted = server::ctrl_c()?;
    let listener = TcpListener::from(server::listen()?);
    let connections = GracefulShutdown::new();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    // Any socket that implements the `futures` traits will do; async-std's does.
                    let socket = Joined(FuturesIo::new(socket));
                    let connection =
                        server::http1().serve_connection(socket, server::service(&app));
                    task::spawn(connections.watch(connection));
                }
                Err(error) => server::not_accepted(error).await,
            }
        }
    };
    select(pin!(accepting), pin!(server::closed(interrupted))).await;
    server::close(&stream, connections.shutdown()).await;
    Ok(())
}
