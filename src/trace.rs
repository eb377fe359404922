//! What is told to `tracing`, with the feature of that name. Without it nothing is, and nothing is
//! computed for it.
//!
//! Targets are `eventstream::connect`, `hold`, `publish`, `grip`, `reset` and `close`. What
//! subscribers do with it is a user's code: never call these under a lock. Data, keys and tokens
//! are not told.

#[cfg(all(feature = "grip", feature = "tracing"))]
pub(crate) use tracing::warn;
#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, trace};

#[cfg(not(feature = "tracing"))]
macro_rules! nothing {
    ($($told:tt)*) => {{}};
}
#[cfg(all(feature = "grip", not(feature = "tracing")))]
pub(crate) use nothing as warn;
#[cfg(not(feature = "tracing"))]
pub(crate) use {nothing as debug, nothing as trace};

/// Enters a span that is left when what this gives is dropped.
macro_rules! entered {
    ($($span:tt)*) => {
        $crate::trace::Entered {
            #[cfg(feature = "tracing")]
            _span: tracing::debug_span!($($span)*).entered(),
        }
    };
}
pub(crate) use entered;

#[derive(Debug)]
pub(crate) struct Entered {
    #[cfg(feature = "tracing")]
    pub(crate) _span: tracing::span::EnteredSpan,
}

/// Runs a POST to an endpoint's control port in a span of its own.
#[cfg(feature = "grip")]
pub(crate) fn grip<F: std::future::Future>(
    endpoint: &str,
    items: usize,
    post: F,
) -> impl std::future::Future<Output = F::Output> {
    #[cfg(feature = "tracing")]
    return tracing::Instrument::instrument(
        post,
        tracing::debug_span!(target: "eventstream::grip", "grip", endpoint, items),
    );
    #[cfg(not(feature = "tracing"))]
    {
        let _ = (endpoint, items);
        post
    }
}
