//! Publishing through proxies: per endpoint a bounded queue, and one worker that sends batches in
//! its order.

mod losses;
mod queue;
mod verdict;
mod worker;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use futures::future::{select, Either};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::item_json::ItemJson;
use super::{Config, Endpoint, Item, Transport};
use crate::limits::Limits;
use crate::runtime::quiet::{quietly, woken_quietly};
use crate::runtime::{Executor, Timer};
pub(crate) use losses::Origin;
pub(crate) use queue::Bounds;
use queue::{Queue, Queued};
pub use verdict::Failure;
use verdict::Verdict;
pub(crate) use verdict::{Rejected, Report};
use worker::Worker;

/// The most bytes of one POST: Pushpin refuses a body over 1 000 000.
pub(crate) const BATCH_BYTES: usize = 900_000;

/// Publishes items through the control ports of all endpoints of a configuration.
///
/// Each endpoint has a bounded queue and a worker of its own, so a slow or dead endpoint delays
/// neither the others nor the caller. The items of a queue are sent in order, up to 100 in one
/// POST. A POST that fails for a transient reason (no answer, 429, 5xx) is sent again, after a
/// pause that grows up to 2 s, or that the endpoint asks for with `Retry-After` in seconds. A POST
/// that is answered with 400 or 413 is split, so that one bad item costs only itself. Any other
/// status fails its items at once, except that a signed token is replaced once after 401 or 403. An
/// item has
/// failed at an endpoint if it finds the queue full, or if the endpoint has not accepted it 30 s
/// after its publication, waiting included.
///
/// Clients learn of events of a stream that failed at their endpoint: as soon as it accepts
/// something again, it first gets a `stream-reset` with the reason `lost` for each channel of which
/// it missed events.
///
/// A cheap-to-clone handle; all clones share the same queues. When the last one is dropped, the
/// workers send what is queued and end.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    outlets: Vec<Outlet>,
    timer: Arc<dyn Timer>,
}

/// The publisher's end of one endpoint's queue. The worker sleeps until there is something in
/// `wake`, and ends when that is closed.
struct Outlet {
    queue: Arc<Queue>,
    wake: Sender<()>,
}

/// What the items of one publication have in common.
pub(crate) struct Publication {
    /// When it began.
    pub(crate) since: Instant,
    /// The stream and the channel whose clients miss something if it fails.
    pub(crate) from: Option<(Arc<dyn Origin>, Arc<str>)>,
    /// Whether the publisher has waited for room.
    pub(crate) expected: bool,
}

/// Counters of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// The control URI, without anything secret.
    pub endpoint: String,
    /// Items that wait or are being sent. Resets that are owed to clients do not count.
    pub queued: u64,
    /// Items that the endpoint accepted.
    pub accepted: u64,
    /// Items that the endpoint did not get: it refused them, the publisher gave up, or the queue
    /// was full.
    pub failed: u64,
    /// POSTs of items that were sent again, also with a new token.
    pub retried: u64,
    /// `stream-reset` items that the endpoint accepted, each of which tells the clients of one
    /// channel that items of it had failed.
    pub resets: u64,
}

impl Serialize for EndpointStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stats = serializer.serialize_struct("EndpointStats", 6)?;
        stats.serialize_field("endpoint", &self.endpoint)?;
        stats.serialize_field("queued", &self.queued)?;
        stats.serialize_field("accepted", &self.accepted)?;
        stats.serialize_field("failed", &self.failed)?;
        stats.serialize_field("retried", &self.retried)?;
        stats.serialize_field("resets", &self.resets)?;
        stats.end()
    }
}

impl Publisher {
    /// Starts a worker for each endpoint of `config` on `executor`. Each queue takes 10 000 items
    /// and 64 MiB.
    pub fn new(
        config: Config,
        transport: impl Transport,
        executor: impl Executor,
        timer: impl Timer,
    ) -> Self {
        let limits = Limits::default();
        Self::with(config, Arc::new(transport), &executor, Arc::new(timer), &limits)
    }

    pub(crate) fn with(
        config: Config,
        transport: Arc<dyn Transport>,
        executor: &dyn Executor,
        timer: Arc<dyn Timer>,
        limits: &Limits,
    ) -> Self {
        let bounds = Bounds { items: limits.grip_queue, bytes: limits.grip_queue_bytes };
        let start = |endpoint: &Endpoint| {
            // One place is enough: a worker that will wake up need not be woken twice.
            let (wake, woken) = async_channel::bounded(1);
            let queue = Arc::new(Queue::new(endpoint.clone(), bounds));
            let worker = Worker::new(queue.clone(), transport.clone(), timer.clone());
            executor.spawn(Box::pin(worker.run(woken)));
            Outlet { queue, wake }
        };
        let outlets = config.endpoints().iter().map(start).collect();
        Self { shared: Arc::new(Shared { config, outlets, timer }) }
    }

    /// Queues an item for all endpoints. The future resolves when each has accepted it or failed.
    ///
    /// # Errors
    ///
    /// The endpoints at which the item failed, and why. It stays published at the others.
    ///
    /// # Cancel safety
    ///
    /// The item is queued before this returns; dropping the future undoes nothing.
    pub fn publish(
        &self,
        item: Item,
    ) -> impl Future<Output = Result<(), Vec<Failure>>> + Send + 'static {
        let (report, reports) = async_channel::unbounded();
        let json = ItemJson::whole(&item);
        let publication = Publication { since: self.now(), from: None, expected: false };
        let rejected = self.enqueue(&json, "", &publication, Some(&report));
        self.dispatch(rejected);
        drop(report);
        async move {
            let mut failures = Vec::new();
            while let Ok((_, failure)) = reports.recv().await {
                failures.push(failure);
            }
            if failures.is_empty() {
                Ok(())
            } else {
                Err(failures)
            }
        }
    }

    /// Resolves when everything that is queued now was accepted or has failed, which takes as long
    /// as the slowest endpoint.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + 'static {
        let (marker, settled) = async_channel::bounded(1);
        for outlet in &self.shared.outlets {
            outlet.queue.push_marker(&marker);
        }
        drop(marker);
        self.dispatch(Vec::new());
        async move {
            // Nothing is ever sent. The channel closes when the last marker is dropped.
            let _ = settled.recv().await;
        }
    }

    /// Flushes for as long as `patience`, then gives up: each item that is still queued has failed.
    pub(crate) fn close(&self, patience: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (flushed, deadline) = (self.flush(), self.shared.timer.sleep(patience));
        let shared = Arc::clone(&self.shared);
        async move {
            if let Either::Right(_) = select(pin!(flushed), deadline).await {
                for outlet in &shared.outlets {
                    outlet.queue.give_up("closed before it could be sent");
                }
            }
        }
    }

    /// The time for [`enqueue`](Self::enqueue). Timers are user code: never call this under a lock.
    pub(crate) fn now(&self) -> Instant {
        self.shared.timer.now()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Queues an item for all endpoints. Wakes nobody, so it may be called under a lock. Call
    /// [`dispatch`](Self::dispatch) afterwards with what this returns.
    #[must_use]
    pub(crate) fn enqueue(
        &self,
        json: &ItemJson,
        id: &str,
        publication: &Publication,
        report: Option<&Sender<Report>>,
    ) -> Vec<Rejected> {
        let id: Arc<str> = id.into();
        let Publication { since, from, expected } = publication;
        let mut rejected = Vec::new();
        for Outlet { queue, .. } in &self.shared.outlets {
            let tally = queue.tally.clone();
            let verdict = Verdict::new(tally, *since, id.clone(), from.clone(), report.cloned());
            let item = Queued { json: json.clone(), verdict: Arc::new(verdict) };
            rejected.extend(queue.push(item, *expected).err());
        }
        rejected
    }

    /// Wakes the workers, and fails the items that were not queued.
    pub(crate) fn dispatch(&self, rejected: Vec<Rejected>) {
        for outlet in &self.shared.outlets {
            // If it is full, the worker will wake up anyway.
            quietly(|| {
                let _ = outlet.wake.try_send(());
            });
        }
        let log = rejected.first().map(|first| (first.verdict.tally.clone(), first.reason));
        let items = rejected.len();
        for Rejected { verdict, reason } in rejected {
            verdict.fail(&reason.into());
        }
        if let Some((tally, reason)) = log {
            tally.log_failed(items, reason);
        }
    }

    /// Waits until every queue has had room, which is not reserved: see [`Queue::room`].
    pub(crate) fn room(&self) -> impl Future<Output = ()> + Send + 'static {
        let queues: Vec<_> =
            self.shared.outlets.iter().map(|outlet| outlet.queue.clone()).collect();
        async move {
            for queue in queues {
                woken_quietly(queue.room()).await;
            }
        }
    }

    /// Counters of each endpoint.
    pub fn stats(&self) -> Vec<EndpointStats> {
        let stats = |Outlet { queue, .. }: &Outlet| EndpointStats {
            endpoint: queue.tally.name.to_string(),
            queued: queue.len(),
            accepted: queue.tally.accepted.load(Ordering::Relaxed),
            failed: queue.tally.failed.load(Ordering::Relaxed),
            retried: queue.tally.retried.load(Ordering::Relaxed),
            resets: queue.tally.resets.load(Ordering::Relaxed),
        };
        self.shared.outlets.iter().map(stats).collect()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outlets = self.shared.outlets.iter();
        let endpoints: Vec<_> = outlets.map(|outlet| &outlet.queue.tally.name).collect();
        f.debug_struct("Publisher").field("endpoints", &endpoints).finish()
    }
}
