//! What the endpoints say of a publication.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use async_channel::Receiver;
use futures::stream::Stream;

use crate::error::PublishError;
use crate::event::EventId;
use crate::grip::{Failure, Report};

/// The outcome of one publication at all endpoints.
pub(crate) struct Outcome<T> {
    reports: Pin<Box<Receiver<Report>>>,
    failed: Option<FirstFailure>,
    /// Makes the id to report, of the publication's ids and the id of the first item that failed.
    id: fn(&T, &str) -> EventId,
}

impl<T> Outcome<T> {
    pub(super) fn new(reports: Receiver<Report>, id: fn(&T, &str) -> EventId) -> Self {
        Self { reports: Box::pin(reports), failed: None, id }
    }

    /// `Ready` when each endpoint has accepted or failed.
    pub(crate) fn poll(&mut self, ids: &T, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        while let Some(report) = ready!(self.reports.as_mut().poll_next(cx)) {
            FirstFailure::add(&mut self.failed, report);
        }
        let id = self.id;
        Poll::Ready(FirstFailure::into_result(self.failed.take(), |item| id(ids, item)))
    }
}

/// The first item that failed, and what went wrong at each endpoint.
pub(super) struct FirstFailure {
    id: Arc<str>,
    failures: Vec<Failure>,
}

impl FirstFailure {
    pub(super) fn add(failed: &mut Option<Self>, (id, failure): Report) {
        let failed = failed.get_or_insert_with(|| Self { id: id.clone(), failures: Vec::new() });
        // Endpoints report in their own order. The ids of one stream differ only in the number at
        // their end.
        if (id.len(), &id) < (failed.id.len(), &failed.id) {
            failed.id = id;
        }
        if failed.failures.iter().all(|known| known.endpoint() != failure.endpoint()) {
            failed.failures.push(failure);
        }
    }

    pub(super) fn into_result(
        failed: Option<Self>,
        id: impl FnOnce(&str) -> EventId,
    ) -> Result<(), PublishError> {
        match failed {
            None => Ok(()),
            Some(Self { id: item, failures }) => {
                Err(PublishError::Grip { id: id(&item), failures })
            }
        }
    }
}
