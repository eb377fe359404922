//! The future of a publication.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use crate::error::PublishError;
use crate::hub::{Channel, Refused};
use crate::proxy::Outcome;

/// What `publish` and `publish_all` return: the outcome of something that has already happened.
///
/// Subscribers in this process have the event before this future exists. Without a proxy it is
/// ready immediately, except that it occasionally yields once so that a publisher looping on one
/// thread does not starve its readers. Behind a GRIP proxy it is ready when every endpoint has
/// accepted the event or failed.
///
/// # Cancel safety
///
/// Dropping it undoes nothing and loses nothing.
#[must_use = "the event is already delivered, but only the outcome says whether it was valid: \
              await it, or use `try_publish`"]
pub struct Publishing<T> {
    accepted: Option<Result<T, PublishError>>,
    give_way: Option<Arc<Channel>>,
    outcome: Option<Outcome<T>>,
}

impl<T> Publishing<T> {
    /// Made of the ids and the channel to give way to, if there is one, or of the refusal.
    pub(crate) fn new(
        accepted: Result<(T, Option<Arc<Channel>>), Refused>,
        outcome: Option<Outcome<T>>,
    ) -> Self {
        match accepted {
            Ok((ids, give_way)) => Self { accepted: Some(Ok(ids)), give_way, outcome },
            Err(refused) => {
                Self { accepted: Some(Err(refused.into())), give_way: None, outcome: None }
            }
        }
    }
}

impl<T: Unpin> Future for Publishing<T> {
    type Output = Result<T, PublishError>;

    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(channel) = this.give_way.take() {
            return give_way(&channel, cx);
        }
        if let (Some(Ok(ids)), Some(outcome)) = (&this.accepted, &mut this.outcome) {
            ready!(outcome.poll(ids, cx))?;
        }
        Poll::Ready(this.accepted.take().expect("`Publishing` polled after it was ready"))
    }
}

/// Lets the readers of this channel run first.
pub(crate) fn give_way<T>(channel: &Channel, cx: &Context<'_>) -> Poll<T> {
    channel.yielded();
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<T: fmt::Debug> fmt::Debug for Publishing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publishing").field(&self.accepted).finish()
    }
}
