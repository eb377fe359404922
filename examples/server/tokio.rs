//! hyper on tokio, over HTTP/1 and HTTP/2.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use eventstream::EventStream;
use futures::FutureExt;
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::joined::Joined;
use super::HEAD;

/// Answers requests until Ctrl-C, then ends the streams.
pub(crate) async fn run<A, F, B>(stream: EventStream, answer: A) -> Result<(), Box<dyn Error>>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let interrupted = super::ctrl_c()?;
    let listener = TcpListener::from_std(super::listen()?)?;
    let connections = GracefulShutdown::new();
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    let (asked, answer) = (Arc::new(AtomicBool::new(false)), answer.clone());
                    let first = asked.clone();
                    let service = service_fn(move |req| {
                        first.store(true, Ordering::Relaxed);
                        answer(req).map(Ok::<_, Infallible>)
                    });
                    let socket = Joined(TokioIo::new(socket));
                    let connection = http.serve_connection(socket, service).into_owned();
                    let connection = connections.watch(connection);
                    tokio::spawn(async move {
                        let mut connection = pin!(connection);
                        // hyper's own limit begins when it is clear which HTTP this is.
                        let served = timeout(HEAD, &mut connection).await;
                        if served.is_err() && asked.load(Ordering::Relaxed) {
                            let _ = connection.await;
                        }
                    });
                }
                Err(error) => super::not_accepted(error).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = super::closed(interrupted) => {}
    }
    super::close(&stream, connections.shutdown()).await;
    Ok(())
}
