//! The demo: a page that publishes and shows events.
//!
//! `cargo run --example demo`, then open the address it prints. `LISTEN`, `KEEP_ALIVE` (seconds),
//! `HISTORY` (events kept per channel) and `GRIP_URL` are read from the environment.

mod app;
mod server;

use std::error::Error;
use std::future::ready;

fn main() -> Result<(), Box<dyn Error>> {
    let stream = app::config::from_env()?.build()?;
    server::smol::run(app::App::new(stream), ready(()))
}
