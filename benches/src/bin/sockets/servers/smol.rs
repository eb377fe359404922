//! hyper on smol.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use eventstream::EventStream;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::{Async, Executor};
use smol_hyper::rt::FuturesIo;

use super::joined::Joined;
use super::ours::Ours;
use super::{Respond, WORKERS};

pub(super) fn ours(listener: TcpListener) -> io::Result<()> {
    let stream = EventStream::builder()
        .runtime(eventstream::runtime::Smol)
        .build()
        .map_err(io::Error::other)?;
    let executor = Arc::new(Executor::new());
    for _ in 1..WORKERS {
        let executor = executor.clone();
        thread::spawn(move || smol::block_on(executor.run(std::future::pending::<()>())));
    }
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.get_ref().set_nodelay(true)?;
            executor.spawn(connection(socket, Ours(stream.clone()))).detach();
        }
    }))
}

pub(super) async fn connection(socket: impl AsyncRead + AsyncWrite + Unpin, respond: impl Respond) {
    let service = service_fn(move |request| respond.respond(request).map(Ok::<_, Infallible>));
    // It fails when the client resets, as all of them do at the end.
    let _ = http1::Builder::new().serve_connection(Joined(FuturesIo::new(socket)), service).await;
}
