//! A small origin behind Pushpin that serves any number of clients: the proxy holds the
//! connections, and this process publishes one tick per second.
//!
//! Start Pushpin with a route to this origin (`* 127.0.0.1:3000` in its `routes` file), then
//!
//! ```sh
//! cargo run --example grip
//! curl -N http://127.0.0.1:7999/events/ticks
//! ```
//!
//! `GRIP_URL` names another proxy; the default fits Pushpin's own sample configuration. A request
//! straight to port 3000 gets a direct stream.

mod app;
mod server;

use std::env;
use std::error::Error;
use std::time::Duration;

use eventstream::{Event, EventStream, PublishError};
use smol::Timer;

const PUSHPIN: &str = "http://127.0.0.1:5561/?verify-iss=pushpin&verify-key=changeme";

fn main() -> Result<(), Box<dyn Error>> {
    let grip_url = env::var("GRIP_URL").unwrap_or_else(|_| PUSHPIN.into());
    let stream = app::config::from_env()?.grip(grip_url).build()?;
    server::smol::run(app::App::new(stream.clone()), tick(stream))
}

async fn tick(stream: EventStream) {
    for n in 1u64.. {
        Timer::after(Duration::from_secs(1)).await;
        match stream.publish("ticks", Event::new("tick").json(&n)).await {
            Ok(id) => println!("tick {n} is {id}"),
            // Direct clients got the tick nevertheless.
            Err(error @ PublishError::Grip { .. }) => eprintln!("{error}"),
            Err(_) => return,
        }
    }
}
