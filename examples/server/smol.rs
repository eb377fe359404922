//! hyper on smol.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::thread;

use hyper_util::server::graceful::GracefulShutdown;
use smol::net::TcpListener;
use smol::{block_on, future, Executor};
use smol_hyper::rt::FuturesIo;

use super::joined::Joined;
use crate::app::App;

/// Serves the app on all cores, and runs a task beside it, until Ctrl-C.
pub(crate) fn run(
    app: Arc<App>,
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let executor = Arc::new(Executor::new());
    for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
        let executor = executor.clone();
        thread::spawn(move || block_on(executor.run(future::pending::<()>())));
    }
    executor.spawn(task).detach();
    block_on(executor.run(serve(&executor, app)))
}

async fn serve(executor: &Executor<'static>, app: Arc<App>) -> Result<(), Box<dyn Error>> {
    let interrupted = super::ctrl_c()?;
    let listener = TcpListener::try_from(super::listen()?)?;
    let connections = GracefulShutdown::new();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    // A delay would gain nothing: an event goes out in one write.
                    let _ = socket.set_nodelay(true);
                    let socket = Joined(FuturesIo::new(socket));
                    let connection = super::http1().serve_connection(socket, super::service(&app));
                    executor.spawn(connections.watch(connection)).detach();
                }
                Err(error) => super::not_accepted(error).await,
            }
        }
    };
    future::or(accepting, super::closed(interrupted)).await;
    super::close(&app.stream, connections.shutdown()).await;
    Ok(())
}
