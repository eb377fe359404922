//! The demo's routes on smol: hyper over smol's sockets, keep-alives on smol's timers. The server
//! is in `server/smol.rs`.

mod app;
mod server;

use std::error::Error;
use std::future::ready;

use eventstream::runtime::Smol;

fn main() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.runtime(Smol).build()?;
    server::smol::run(app::App::new(stream), ready(()))
}
