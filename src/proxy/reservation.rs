//! How a sink waits for room in the proxies' queues.

use std::future::Future;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use async_channel::{unbounded, Receiver, Sender};
use async_lock::Mutex;
use futures::future::BoxFuture;
use futures::stream::Stream;

use super::outcome::FirstFailure;
use super::{Proxy, ProxyTap};
use crate::error::PublishError;
use crate::event::EventId;
use crate::grip::{Permit, Publisher, Report};

/// A sink's share of the queues: it reserves room in all of them before it sends.
pub(crate) struct Reservation {
    publisher: Publisher,
    reserving: Option<SyncFuture<Vec<Permit>>>,
    permits: Option<Vec<Permit>>,
    flushing: Option<SyncFuture<()>>,
    report: Sender<Report>,
    reports: Pin<Box<Receiver<Report>>>,
    /// What the next flush reports.
    failed: Option<FirstFailure>,
}

impl Proxy {
    pub(crate) fn reservation(&self) -> Reservation {
        let (report, reports) = unbounded();
        Reservation {
            publisher: self.publisher.clone(),
            reserving: None,
            permits: None,
            flushing: None,
            report,
            reports: Box::pin(reports),
            failed: None,
        }
    }
}

impl Reservation {
    /// `Ready` when every queue has room for one more item.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        // A failure waits for the next flush: reported here, it would cost local subscribers the
        // event that is about to be sent.
        self.collect(cx);
        if self.permits.is_none() {
            let publisher = &self.publisher;
            let reserving =
                self.reserving.get_or_insert_with(|| SyncFuture::new(publisher.reserve()));
            self.permits = Some(ready!(reserving.poll(cx)));
            self.reserving = None;
        }
        Poll::Ready(Ok(()))
    }

    /// A tap that uses what was reserved.
    pub(crate) fn tap<'a>(&mut self, proxy: &'a Proxy, channel: &str) -> ProxyTap<'a> {
        let mut tap = proxy.tap(channel, Some(self.report.clone()));
        tap.permits = self.permits.take().unwrap_or_default();
        tap
    }

    /// `Ready` when everything that was sent was accepted or has failed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let publisher = &self.publisher;
        let flushing = self.flushing.get_or_insert_with(|| SyncFuture::new(publisher.flush()));
        ready!(flushing.poll(cx));
        self.flushing = None;
        self.collect(cx);
        let own_id = |item: &str| EventId::given(item.into());
        Poll::Ready(FirstFailure::into_result(self.failed.take(), own_id))
    }

    /// Takes the failures since the last call. There is no end of them, because `report` is open.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(report)) = self.reports.as_mut().poll_next(cx) {
            FirstFailure::add(&mut self.failed, report);
        }
    }
}

/// A future that is only reached through `&mut`. The lock is never taken: it makes the future
/// `Sync`.
struct SyncFuture<T>(Mutex<BoxFuture<'static, T>>);

impl<T> SyncFuture<T> {
    fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(future)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.0.get_mut().as_mut().poll(cx)
    }
}
