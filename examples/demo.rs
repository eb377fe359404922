//! The demo: a page that publishes and shows events, served by hyper on smol.
//!
//! `cargo run --example demo`, then open the address it prints. `LISTEN`, `KEEP_ALIVE` (seconds), `HISTORY` (events kept
//! per channel) and `GRIP_URL` are read from the environment.

mod app;
mod server;

use std::error::Error;
use std::future::ready;

use eventstream::EventStream;

fn main() -> Result<(), Box<dyn Error>> {
    let builder = EventStream::builder();
    #[cfg(feature = "grip")]
    let builder = builder.grip_env();
    server::run(app::App::from_env(builder)?, ready(()))
}
