//! hyper on smol, for the examples.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use futures::future::{select, Either};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::channel::{bounded, Receiver};
use smol::net::{TcpListener, TcpStream};
use smol::{block_on, future, Executor, Timer};
use smol_hyper::rt::FuturesIo;

use crate::app::App;

/// How long streams may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves the app at `LISTEN` on all cores, beside a task of the program's, until Ctrl-C.
pub(crate) fn run(app: Arc<App>, task: impl Future<Output = ()> + Send + 'static) -> Result<(), Box<dyn Error>> {
    let executor = Arc::new(Executor::new());
    for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
        let executor = executor.clone();
        thread::spawn(move || block_on(executor.run(future::pending::<()>())));
    }
    executor.spawn(task).detach();
    block_on(executor.run(serve(&executor, app)))
}

async fn serve(executor: &Executor<'static>, app: Arc<App>) -> Result<(), Box<dyn Error>> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("LISTEN: {address}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;

    let interrupted = ctrl_c()?;
    // Nothing is sent over these: connections see that `closing` is closed, and main that the last `open` is gone.
    let (stop, closing) = bounded::<()>(1);
    let (open, closed) = bounded::<()>(1);
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let (app, closing, open) = (app.clone(), closing.clone(), open.clone());
                    executor.spawn(async move { drop((connection(app, socket, closing).await, open)) }).detach();
                }
                Err(error) => {
                    // Most likely too many open files: those there go on.
                    eprintln!("accept: {error}");
                    Timer::after(Duration::from_millis(100)).await;
                }
            }
        }
    };
    let stopped = async {
        let _ = interrupted.recv().await;
        interrupted.close();
    };
    future::or(accepting, stopped).await;

    println!("closing");
    app.stream.close().await;
    drop((stop, open));
    let drained = async {
        let _ = closed.recv().await;
    };
    let overdue = async {
        Timer::after(DRAIN).await;
    };
    future::or(drained, overdue).await;
    Ok(())
}

/// Receives something on the first Ctrl-C; a second one ends the process at once.
fn ctrl_c() -> Result<Receiver<()>, ctrlc::Error> {
    let (sender, receiver) = bounded(1);
    ctrlc::set_handler(move || {
        if sender.try_send(()).is_err() {
            std::process::exit(130);
        }
    })?;
    Ok(receiver)
}

async fn connection(app: Arc<App>, socket: TcpStream, closing: Receiver<()>) -> Result<(), Box<dyn Error>> {
    socket.set_nodelay(true)?;
    let service = service_fn(move |req| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.respond(req).await) }
    });
    let connection = pin!(http1::Builder::new().serve_connection(FuturesIo::new(socket), service));
    match select(connection, pin!(closing.recv())).await {
        Either::Left((done, _)) => done?,
        Either::Right((_, mut connection)) => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}
