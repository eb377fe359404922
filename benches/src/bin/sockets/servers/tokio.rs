//! hyper on tokio.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;

use eventstream::EventStream;
use futures::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::{Builder, Runtime};

use super::joined::Joined;
use super::ours::Ours;
use super::{Respond, Silent, WORKERS};

pub(super) fn ours(listener: TcpListener) -> io::Result<()> {
    let runtime = runtime()?;
    let stream = stream(&runtime)?;
    runtime.block_on(serve(listener, Ours(stream)))
}

/// Subscribes nobody, to measure what the connections alone cost.
pub(super) fn silent(listener: TcpListener) -> io::Result<()> {
    runtime()?.block_on(serve(listener, Silent))
}

pub(super) fn stream(runtime: &Runtime) -> io::Result<EventStream> {
    let adapter = eventstream::runtime::Tokio::from(runtime.handle().clone());
    EventStream::builder().runtime(adapter).build().map_err(io::Error::other)
}

pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()
}

async fn serve(listener: TcpListener, respond: impl Respond + Sync) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let respond = respond.clone();
        tokio::spawn(async move {
            let service =
                service_fn(move |request| respond.respond(request).map(Ok::<_, Infallible>));
            // It fails when the client resets, as all of them do at the end.
            let _ =
                http1::Builder::new().serve_connection(Joined(TokioIo::new(socket)), service).await;
        });
    }
}
