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
use crate::grip::{Publisher, Report};

/// A sink's turn at the queues: it waits until all of them have room before it sends. A sink that
/// is ready holds no place, so that one which never sends stands in nobody's way.
pub(crate) struct SinkTurn {
    publisher: Publisher,
    waiting: Option<SyncFuture<()>>,
    ready: bool,
    flushing: Option<SyncFuture<()>>,
    report: Sender<Report>,
    reports: Pin<Box<Receiver<Report>>>,
    /// What the next flush reports.
    failed: Option<FirstFailure>,
}

impl Proxy {
    pub(crate) fn sink_turn(&self) -> SinkTurn {
        let (report, reports) = unbounded();
        SinkTurn {
            publisher: self.publisher.clone(),
            waiting: None,
            ready: false,
            flushing: None,
            report,
            reports: Box::pin(reports),
            failed: None,
        }
    }
}

impl SinkTurn {
    /// `Ready` when every queue has had room for one more item.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        // A failure waits for the next flush: reported here, it would cost local subscribers the
        // event that is about to be sent.
        self.collect(cx);
        if !self.ready {
            let publisher = &self.publisher;
            let waiting = self.waiting.get_or_insert_with(|| SyncFuture::new(publisher.room()));
            ready!(waiting.poll(cx));
            (self.waiting, self.ready) = (None, true);
        }
        Poll::Ready(Ok(()))
    }

    /// A tap that uses the turn, if it has come.
    pub(crate) fn tap<'a>(&mut self, proxy: &'a Proxy, channel: &str) -> ProxyTap<'a> {
        let mut tap = proxy.tap(channel, Some(self.report.clone()));
        tap.publication.expected = std::mem::take(&mut self.ready);
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
