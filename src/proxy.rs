//! How an event stream stands behind GRIP proxies: it answers their requests with holds, and
//! publishes through them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use async_channel::{unbounded, Receiver, Sender};
use futures::future::BoxFuture;
use futures::stream::Stream;
use http::HeaderMap;

use crate::event::{EventId, InvalidEvent, Mistake, OWN_ID_MAX};
use crate::grip::BATCH_BYTES;
use crate::grip::{
    Failure, Hold, InvalidSignature, InvalidSignaturePolicy, Item, Place, Proxied, Publisher,
    Rejected, Rendered, Report,
};
use crate::hub::Tap;
use crate::publisher::PublishError;
use crate::trace;

/// How long `close` waits for what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Proxy {
    pub(crate) publisher: Publisher,
    prefix: String,
    /// Direct requests are refused.
    pub(crate) required: bool,
    policy: InvalidSignaturePolicy,
    pub(crate) bad_signatures: AtomicU64,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Proxied,
}

impl Proxy {
    pub(crate) fn new(
        publisher: Publisher,
        prefix: String,
        required: bool,
        policy: InvalidSignaturePolicy,
    ) -> Self {
        if !publisher.config().verifies() {
            trace::warn!(
                target: "eventstream::connect",
                "no endpoint has a key to verify Grip-Sig with: anyone can pretend to be the proxy"
            );
        }
        Self { publisher, prefix, required, policy, bad_signatures: AtomicU64::new(0) }
    }

    /// Whether a proxy sent this request.
    pub(crate) fn way(&self, headers: &HeaderMap) -> Result<Way, InvalidSignature> {
        match self.publisher.config().proxied(headers) {
            Ok(Proxied::No) => Ok(Way::Direct),
            Ok(Proxied::Unsigned | Proxied::Signed) => Ok(Way::Proxied),
            Err(invalid) => {
                trace::debug!(target: "eventstream::connect", "Grip-Sig does not verify");
                self.bad_signatures.fetch_add(1, Ordering::Relaxed);
                match self.policy {
                    InvalidSignaturePolicy::Refuse => Err(invalid),
                    InvalidSignaturePolicy::Direct => Ok(Way::Direct),
                }
            }
        }
    }

    /// The headers that make the proxy keep the client, with a keep-alive if there is to be one.
    pub(crate) fn hold(
        &self,
        channels: &[String],
        keep_alive: Option<(Duration, &'static [u8])>,
    ) -> HeaderMap {
        let hold = Hold::stream(channels.iter().map(|channel| format!("{}{channel}", self.prefix)));
        match keep_alive {
            Some((every, frame)) => hold.keep_alive(frame, every).headers(),
            None => hold.headers(),
        }
    }

    /// Tells the proxies to end the streams of a channel.
    pub(crate) fn close_channel(&self, channel: &str) {
        // Nobody waits for the outcome; the endpoints count it.
        drop(self.publisher.publish(Item::close(format!("{}{channel}", self.prefix))));
    }

    /// Resolves when all is sent, or the patience is at its end.
    pub(crate) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.publisher.close(CLOSE_PATIENCE)
    }

    /// Follows a publication on `channel` into the queues.
    pub(crate) fn tap<'a>(
        &'a self,
        channel: &str,
        report: Option<&'a Sender<Report>>,
    ) -> ProxyTap<'a> {
        ProxyTap {
            publisher: &self.publisher,
            channel: format!("{}{channel}", self.prefix),
            report,
            frames: Vec::new(),
            next: 0,
            places: Vec::new(),
            rejected: Vec::new(),
        }
    }

    pub(crate) fn window(&self) -> Window {
        let (report, reports) = unbounded();
        Window {
            publisher: self.publisher.clone(),
            reserving: None,
            places: None,
            flushing: None,
            report,
            reports: Box::pin(reports),
            failed: None,
        }
    }
}

/// Puts events into the queues of all endpoints, in the order in which the hub numbers them.
pub(crate) struct ProxyTap<'a> {
    publisher: &'a Publisher,
    channel: String,
    report: Option<&'a Sender<Report>>,
    frames: Vec<Rendered>,
    next: usize,
    places: Vec<Place>,
    rejected: Vec<Rejected>,
}

impl Tap for ProxyTap<'_> {
    fn encoded(
        &mut self,
        before_id: &[u8],
        after_id: &[u8],
        own_id: bool,
    ) -> Result<(), InvalidEvent> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let frame = Rendered::frame(&self.channel, text(before_id), text(after_id), own_id);
        let (size, limit) = (frame.len(OWN_ID_MAX), BATCH_BYTES - 64);
        if size > limit {
            return Err(Mistake::Item { size, limit }.into());
        }
        self.frames.push(frame);
        Ok(())
    }

    fn numbered(&mut self, id: impl FnOnce() -> EventId) {
        if let Some(frame) = self.frames.get(self.next) {
            self.rejected.extend(self.publisher.queue(
                frame,
                id().as_ref(),
                self.report,
                &mut self.places,
            ));
            self.next += 1;
        }
    }
}

impl Drop for ProxyTap<'_> {
    /// By now no lock is held.
    fn drop(&mut self) {
        if self.next > 0 {
            self.publisher.settle(std::mem::take(&mut self.rejected));
        }
    }
}

/// What the endpoints say of one publication.
pub(crate) struct Outcome<T> {
    reports: Pin<Box<Receiver<Report>>>,
    failed: Option<Failed>,
    /// The id to report, of those that were given out and the one that failed first.
    id: fn(&T, &str) -> EventId,
}

/// The first event that failed, and all that went wrong with it.
struct Failed {
    id: Arc<str>,
    failures: Vec<Failure>,
}

impl Failed {
    fn add(failed: &mut Option<Self>, (id, failure): Report) {
        let failed = failed.get_or_insert_with(|| Self { id: id.clone(), failures: Vec::new() });
        // Endpoints report in their own order. Ids of one stream differ in the number at their end.
        if (id.len(), &id) < (failed.id.len(), &failed.id) {
            failed.id = id;
        }
        if failed.failures.iter().all(|known| known.endpoint() != failure.endpoint()) {
            failed.failures.push(failure);
        }
    }
}

impl<T> Outcome<T> {
    pub(crate) fn new(reports: Receiver<Report>, id: fn(&T, &str) -> EventId) -> Self {
        Self { reports: Box::pin(reports), failed: None, id }
    }

    /// Ready when each endpoint has accepted or failed.
    pub(crate) fn poll(&mut self, ids: &T, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        while let Some(report) = ready!(self.reports.as_mut().poll_next(cx)) {
            Failed::add(&mut self.failed, report);
        }
        Poll::Ready(match self.failed.take() {
            None => Ok(()),
            Some(Failed { id, failures }) => {
                Err(PublishError::Grip { id: (self.id)(ids, &id), failures })
            }
        })
    }
}

/// A future that is reached through `&mut` alone: the lock is never taken, it only makes the future
/// `Sync`.
struct Unshared<T>(Mutex<BoxFuture<'static, T>>);

impl<T> Unshared<T> {
    fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(future)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}

/// A sink's share of the queues: it reserves room in all of them before it sends.
pub(crate) struct Window {
    publisher: Publisher,
    reserving: Option<Unshared<Vec<Place>>>,
    places: Option<Vec<Place>>,
    flushing: Option<Unshared<()>>,
    report: Sender<Report>,
    reports: Pin<Box<Receiver<Report>>>,
    /// What the next flush reports.
    failed: Option<Failed>,
}

impl Window {
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        // No error here: the event that is to be sent next would be lost to local subscribers.
        self.collect(cx);
        if self.places.is_none() {
            let publisher = &self.publisher;
            let reserving =
                self.reserving.get_or_insert_with(|| Unshared::new(publisher.reserve()));
            self.places = Some(ready!(reserving.poll(cx)));
            self.reserving = None;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn tap<'a>(&'a mut self, proxy: &'a Proxy, channel: &str) -> ProxyTap<'a> {
        let places = self.places.take().unwrap_or_default();
        let mut tap = proxy.tap(channel, Some(&self.report));
        tap.places = places;
        tap
    }

    /// Ready when all that was sent was accepted or has failed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let publisher = &self.publisher;
        ready!(self.flushing.get_or_insert_with(|| Unshared::new(publisher.flush())).poll(cx));
        self.flushing = None;
        self.collect(cx);
        Poll::Ready(match self.failed.take() {
            None => Ok(()),
            Some(Failed { id, failures }) => {
                Err(PublishError::Grip { id: EventId::given(id), failures })
            }
        })
    }

    /// Takes what has failed since the last time. `report` is ours, so there is no end of it.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(report)) = self.reports.as_mut().poll_next(cx) {
            Failed::add(&mut self.failed, report);
        }
    }
}
