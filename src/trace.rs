//! Log events and spans, with the feature `tracing`. Without it nothing is logged, and nothing is
//! computed for it.
//!
//! Targets are `eventstream::connect`, `hold`, `publish`, `grip`, `reset` and `close`. Data, keys
//! and tokens are never logged. Subscribers of the log are user code: never call these under a
//! lock.

#[cfg(all(feature = "grip", feature = "tracing"))]
pub(crate) use tracing::warn;
#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, trace};

#[cfg(not(feature = "tracing"))]
macro_rules! nothing {
    ($($logged:tt)*) => {{}};
}
#[cfg(all(feature = "grip", not(feature = "tracing")))]
pub(crate) use nothing as warn;
#[cfg(not(feature = "tracing"))]
pub(crate) use {nothing as debug, nothing as trace};

/// Enters a span, which is left when the returned value is dropped.
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

/// Runs a POST to a control endpoint in a span of its own.
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
