//! The demo's settings from the environment: `KEEP_ALIVE` (seconds), `HISTORY` (events kept per
//! channel, 0 = none) and `GRIP_URL`.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use eventstream::{Builder, EventStream, History, Limits};

/// A builder with these settings, for the program to complete.
pub(crate) fn from_env() -> Result<Builder, String> {
    let limits = Limits::default().hub_channels(100_000).subscriptions(100_000);
    let mut builder = EventStream::builder().limits(limits);
    if let Some(seconds) = var("KEEP_ALIVE")? {
        builder = builder.keep_alive(
            Duration::try_from_secs_f64(seconds).map_err(|why| format!("KEEP_ALIVE: {why}"))?,
        );
    }
    builder = match var("HISTORY")? {
        None => builder,
        Some(0) => builder.history(History::none()),
        Some(events) => builder.history(History::default().events(events)),
    };
    #[cfg(feature = "grip")]
    let builder = builder.grip_env();
    Ok(builder)
}

fn var<T: FromStr>(name: &str) -> Result<Option<T>, String> {
    match env::var(name) {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| format!("{name}: {text:?} is not a number")),
    }
}
