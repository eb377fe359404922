//! Publishing through proxies: per endpoint a bounded queue, and one worker that sends batches in
//! its order.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_channel::{Receiver, Sender};
use async_lock::{Semaphore, SemaphoreGuardArc};
use bytes::Bytes;
use futures::future::{select, Either};
use http::header::{HeaderValue, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::rendered::Rendered;
use super::{Config, Endpoint, Item, Transport};
use crate::runtime::{Executor, Timer};
use crate::trace;

/// The most items of one POST.
const BATCH_ITEMS: usize = 100;
/// The most bytes of one POST: Pushpin refuses a body over 1 000 000.
pub(crate) const BATCH_BYTES: usize = 900_000;
/// The default of `Limits::grip_queue`.
pub(crate) const QUEUE_ITEMS: usize = 10_000;
/// How long an item may wait in the queue.
const QUEUE_TIME: Duration = Duration::from_secs(10);
/// How often, and for how long in all, a batch is tried.
const TRIES: u32 = 5;
const TRY_TIME: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A token is good for ten minutes and used for five.
const TOKEN_USE: Duration = Duration::from_secs(300);
/// Why an item fails whose worker is gone.
const STOPPED: &str = "publisher stopped";
const OPEN: &[u8] = br#"{"items":["#;
const CLOSE: &[u8] = b"]}";

/// Publishes items through the control ports of all endpoints of a configuration.
///
/// Each endpoint has a bounded queue and a worker of its own, so a slow or dead one delays neither
/// the others nor the caller. Items of a queue are sent in its order, up to 100 in one POST. What
/// fails for a passing reason (no answer, 429, 5xx) is tried five times within 30 s; a POST that is
/// refused with 400 is taken apart, so that one bad item costs only itself. An item that finds the
/// queue full, or waits in it for 10 s, has failed at that endpoint.
///
/// A handle: clones are cheap and mean the same queues. When the last is dropped, workers send what
/// is queued and end.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    lines: Vec<Line>,
    timer: Arc<dyn Timer>,
}

/// The publisher's end of one endpoint's queue. The worker sleeps until there is something in
/// `wake`, and ends when it is closed.
struct Line {
    queue: Arc<Queue>,
    wake: Sender<()>,
}

struct Queue {
    endpoint: Endpoint,
    name: Arc<str>,
    waiting: Mutex<Waiting>,
    room: Arc<Semaphore>,
    /// Of the items that were taken last, settled or not: who closes settles them too.
    in_flight: Mutex<Vec<Arc<Verdict>>>,
    accepted: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// The worker is gone: nothing will be taken any more.
    stopped: bool,
}

enum Entry {
    Item(Queued),
    /// Dropped when everything before it is settled.
    Marker(Sender<()>),
}

struct Queued {
    json: Rendered,
    id: Arc<str>,
    since: Instant,
    verdict: Arc<Verdict>,
    /// Given back when the item leaves the queue.
    place: Option<Place>,
}

impl Queued {
    fn len(&self) -> usize {
        self.json.len(self.id.len())
    }
}

/// Room for one item in one queue.
pub(crate) type Place = SemaphoreGuardArc;

/// What went wrong with an item at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    endpoint: Arc<str>,
    reason: Arc<str>,
}

impl Failure {
    /// The endpoint's control URI, without anything secret.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.reason)
    }
}

/// The id of an item that failed at an endpoint, and why.
pub(crate) type Report = (Arc<str>, Failure);

/// Settles one item at one endpoint. Dropped unsettled it is a failure: an outcome always resolves.
struct Verdict {
    queue: Arc<Queue>,
    /// To whom failures are reported. Accepted is who says nothing and hangs up.
    report: Mutex<Option<Sender<Report>>>,
    id: Arc<str>,
    settled: AtomicBool,
}

impl Verdict {
    fn accept(&self) {
        drop(self.settle(&self.queue.accepted));
    }

    fn fail(&self, reason: &Arc<str>) {
        if let Some(report) = self.settle(&self.queue.failed) {
            let failure = Failure { endpoint: self.queue.name.clone(), reason: reason.clone() };
            // Unbounded, and closed only where nobody wants to know any more.
            let _ = report.try_send((self.id.clone(), failure));
        }
    }

    /// The first time counts.
    fn settle(&self, counter: &AtomicU64) -> Option<Sender<Report>> {
        if self.settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        self.report.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if !self.is_settled() {
            self.fail(&STOPPED.into());
        }
    }
}

/// An item that could not even be queued.
pub(crate) struct Rejected {
    verdict: Arc<Verdict>,
    reason: &'static str,
    place: Option<Place>,
}

/// Counters of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// The control URI, without anything secret.
    pub endpoint: String,
    /// Items that wait or are on their way.
    pub queued: u64,
    /// Items that the endpoint took.
    pub accepted: u64,
    /// Items that it did not get: refused, given up, or never queued for want of room.
    pub failed: u64,
    /// POSTs that were sent again.
    pub retried: u64,
}

impl Serialize for EndpointStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut stats = serializer.serialize_struct("EndpointStats", 5)?;
        stats.serialize_field("endpoint", &self.endpoint)?;
        stats.serialize_field("queued", &self.queued)?;
        stats.serialize_field("accepted", &self.accepted)?;
        stats.serialize_field("failed", &self.failed)?;
        stats.serialize_field("retried", &self.retried)?;
        stats.end()
    }
}

impl Publisher {
    /// Starts a worker for each endpoint of `config` on `executor`.
    pub fn new(
        config: Config,
        transport: impl Transport,
        executor: impl Executor,
        timer: impl Timer,
    ) -> Self {
        Self::with(config, Arc::new(transport), &executor, Arc::new(timer), QUEUE_ITEMS)
    }

    pub(crate) fn with(
        config: Config,
        transport: Arc<dyn Transport>,
        executor: &dyn Executor,
        timer: Arc<dyn Timer>,
        places: usize,
    ) -> Self {
        let start = |endpoint: &Endpoint| {
            // One place: a worker that has been told need not be told again.
            let (wake, woken) = async_channel::bounded(1);
            let queue = Arc::new(Queue {
                name: endpoint.display_name().into(),
                endpoint: endpoint.clone(),
                waiting: Mutex::default(),
                room: Arc::new(Semaphore::new(places)),
                in_flight: Mutex::default(),
                accepted: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                retried: AtomicU64::new(0),
            });
            let worker = Worker {
                queue: Arc::clone(&queue),
                transport: Arc::clone(&transport),
                timer: Arc::clone(&timer),
                token: None,
                random: RandomState::new(),
            };
            executor.spawn(Box::pin(worker.run(woken)));
            Line { queue, wake }
        };
        let lines = config.endpoints().iter().map(start).collect();
        Self { shared: Arc::new(Shared { lines, config, timer }) }
    }

    /// Queues an item for all endpoints. The future tells when each has accepted or failed.
    ///
    /// # Errors
    ///
    /// The endpoints at which it failed, and why. What the others have stays published.
    ///
    /// # Cancel safety
    ///
    /// The item is queued before this returns; dropping the future undoes nothing.
    pub fn publish(
        &self,
        item: Item,
    ) -> impl Future<Output = Result<(), Vec<Failure>>> + Send + 'static {
        let (report, reports) = async_channel::unbounded();
        let rejected =
            self.queue(&Rendered::whole(item.to_json()), "", Some(&report), &mut Vec::new());
        self.settle(rejected);
        drop(report);
        async move {
            let failures = failures(&reports).await;
            if failures.is_empty() {
                Ok(())
            } else {
                Err(failures.into_iter().map(|(_, failure)| failure).collect())
            }
        }
    }

    /// Resolves when all that is queued now was accepted or has failed, which takes as long as the
    /// slowest endpoint.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + 'static {
        let (marker, settled) = async_channel::bounded(1);
        for line in &self.shared.lines {
            let mut waiting = line.queue.lock();
            if !waiting.stopped {
                waiting.entries.push_back(Entry::Marker(marker.clone()));
            }
        }
        drop(marker);
        self.settle(Vec::new());
        async move {
            // Nothing is ever sent: it is closed when the last marker is gone.
            let _ = settled.recv().await;
        }
    }

    /// Flushes for as long as `patience`, then gives up what is still queued: each item of it has
    /// failed.
    pub(crate) fn close(&self, patience: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (flushed, deadline) = (self.flush(), self.shared.timer.sleep(patience));
        let shared = Arc::clone(&self.shared);
        async move {
            if let Either::Right(_) = select(pin!(flushed), deadline).await {
                for line in &shared.lines {
                    line.queue.give_up(&"closed before it could be sent".into());
                }
            }
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Queues a rendered item for all endpoints, with the places that were reserved for it, if any.
    /// Wakes nobody, so that it may be called under a lock; [`settle`](Self::settle) must follow,
    /// with what it gives back.
    #[must_use]
    pub(crate) fn queue(
        &self,
        json: &Rendered,
        id: &str,
        report: Option<&Sender<Report>>,
        places: &mut Vec<Place>,
    ) -> Vec<Rejected> {
        let id: Arc<str> = id.into();
        let since = self.shared.timer.now();
        let mut rejected = Vec::new();
        for line in &self.shared.lines {
            let queue = &line.queue;
            let verdict = Arc::new(Verdict {
                queue: Arc::clone(queue),
                report: Mutex::new(report.cloned()),
                id: id.clone(),
                settled: AtomicBool::new(false),
            });
            // Places were reserved in the order of the lines.
            let place = if places.is_empty() {
                queue.room.try_acquire_arc()
            } else {
                Some(places.remove(0))
            };
            if place.is_none() {
                rejected.push(Rejected { verdict, reason: "queue is full", place });
                continue;
            }
            let item = Queued { json: json.clone(), id: id.clone(), since, verdict, place };
            let mut waiting = queue.lock();
            if waiting.stopped {
                rejected.push(Rejected {
                    verdict: item.verdict,
                    reason: STOPPED,
                    place: item.place,
                });
            } else {
                waiting.entries.push_back(Entry::Item(item));
            }
        }
        rejected
    }

    /// Sets the workers going, and settles what was not queued.
    pub(crate) fn settle(&self, rejected: Vec<Rejected>) {
        for line in &self.shared.lines {
            // Full: it has been told already.
            let _ = line.wake.try_send(());
        }
        let told = rejected.first().map(|first| (Arc::clone(&first.verdict.queue), first.reason));
        let items = rejected.len();
        for Rejected { verdict, reason, place } in rejected {
            // Whoever waits for room is woken by this.
            drop(place);
            verdict.fail(&reason.into());
        }
        if let Some((queue, reason)) = told {
            queue.tell(items, reason);
        }
    }

    /// Waits until every queue has room, and reserves a place in each.
    pub(crate) fn reserve(&self) -> impl Future<Output = Vec<Place>> + Send + 'static {
        let rooms: Vec<_> =
            self.shared.lines.iter().map(|line| Arc::clone(&line.queue.room)).collect();
        async move {
            let mut places = Vec::with_capacity(rooms.len());
            for room in rooms {
                places.push(room.acquire_arc().await);
            }
            places
        }
    }

    /// Counters of each endpoint.
    pub fn stats(&self) -> Vec<EndpointStats> {
        let of = |line: &Line| {
            let queue = &line.queue;
            let waiting =
                queue.lock().entries.iter().filter(|entry| matches!(entry, Entry::Item(_))).count()
                    as u64;
            EndpointStats {
                endpoint: queue.name.to_string(),
                queued: waiting + queue.unsettled(),
                accepted: queue.accepted.load(Ordering::Relaxed),
                failed: queue.failed.load(Ordering::Relaxed),
                retried: queue.retried.load(Ordering::Relaxed),
            }
        };
        self.shared.lines.iter().map(of).collect()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.shared.lines.iter().map(|line| &line.queue.name).collect();
        f.debug_struct("Publisher").field("endpoints", &endpoints).finish()
    }
}

/// All failures of a publication, once every endpoint has settled it.
pub(crate) async fn failures(reports: &Receiver<Report>) -> Vec<Report> {
    let mut failures = Vec::new();
    while let Ok(report) = reports.recv().await {
        failures.push(report);
    }
    failures
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The items of the next POST; `None` when there is nothing left. Reaching a marker drops it.
    fn next_batch(&self, now: Instant) -> Option<Vec<Queued>> {
        let (mut batch, mut late, mut bytes) = (Vec::new(), Vec::new(), OPEN.len() + CLOSE.len());
        let (mut markers, mut places) = (Vec::new(), Vec::new());
        let mut waiting = self.lock();
        while let Some(entry) = waiting.entries.pop_front() {
            match entry {
                Entry::Marker(marker) if batch.is_empty() => markers.push(marker),
                Entry::Item(item) if now.saturating_duration_since(item.since) >= QUEUE_TIME => {
                    late.push(item)
                }
                Entry::Item(mut item)
                    if batch.is_empty()
                        || (batch.len() < BATCH_ITEMS && bytes + item.len() < BATCH_BYTES) =>
                {
                    bytes += item.len() + ",".len();
                    places.extend(item.place.take());
                    batch.push(item);
                }
                next => {
                    waiting.entries.push_front(next);
                    break;
                }
            }
        }
        self.set_in_flight(batch.iter().map(|item| Arc::clone(&item.verdict)).collect());
        // Places, verdicts and markers wake those who wait for them.
        drop((waiting, places));
        fail(late, "waited too long in the queue");
        drop(markers);
        (!batch.is_empty()).then_some(batch)
    }

    /// Fails what waits and what is on its way.
    fn give_up(&self, reason: &Arc<str>) {
        let entries = std::mem::take(&mut self.lock().entries);
        let (in_flight, failed_before) =
            (self.set_in_flight(Vec::new()), self.failed.load(Ordering::Relaxed));
        for verdict in in_flight {
            verdict.fail(reason);
        }
        for entry in entries {
            if let Entry::Item(item) = entry {
                item.verdict.fail(reason);
            }
        }
        self.tell((self.failed.load(Ordering::Relaxed) - failed_before) as usize, reason);
    }

    /// Tells of items that failed. What hears of it is a user's code: call it with no lock held,
    /// when all is settled.
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, clippy::unused_self, reason = "nothing is told")
    )]
    fn tell(&self, items: usize, reason: &str) {
        if items > 0 {
            trace::warn!(target: "eventstream::grip", endpoint = &*self.name, items, "failed: {reason}");
        }
    }

    fn set_in_flight(&self, verdicts: Vec<Arc<Verdict>>) -> Vec<Arc<Verdict>> {
        std::mem::replace(
            &mut *self.in_flight.lock().unwrap_or_else(PoisonError::into_inner),
            verdicts,
        )
    }

    fn unsettled(&self) -> u64 {
        let in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.iter().filter(|verdict| !verdict.is_settled()).count() as u64
    }
}

fn fail(items: Vec<Queued>, reason: &str) {
    let Some(queue) = items.first().map(|first| Arc::clone(&first.verdict.queue)) else { return };
    let (count, shared) = (items.len(), reason.into());
    for item in items {
        item.verdict.fail(&shared);
    }
    queue.tell(count, reason);
}

/// Sends one endpoint's batches, one after the other.
struct Worker {
    queue: Arc<Queue>,
    transport: Arc<dyn Transport>,
    timer: Arc<dyn Timer>,
    token: Option<(Instant, HeaderValue)>,
    random: RandomState,
}

impl Drop for Worker {
    /// Also where the executor drops it, or the transport panics: every outcome resolves.
    fn drop(&mut self) {
        self.queue.lock().stopped = true;
        self.queue.give_up(&STOPPED.into());
    }
}

/// What an endpoint said to a POST, in the end.
enum Outcome {
    Accepted,
    /// It refused the POST for what is in it: one bad item is enough.
    Refused(String),
    Failed(String),
}

impl Worker {
    async fn run(mut self, woken: Receiver<()>) {
        loop {
            let told = woken.recv().await;
            while let Some(batch) = self.queue.next_batch(self.timer.now()) {
                self.send_batch(batch).await;
            }
            if told.is_err() {
                return;
            }
        }
    }

    /// Sends a batch; one that is refused is halved until the bad items are alone.
    async fn send_batch(&mut self, batch: Vec<Queued>) {
        // Front first: the order of the queue stays.
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let name = Arc::clone(&self.queue.name);
            let outcome = trace::grip(&name, part.len(), self.post(&part)).await;
            match outcome {
                Outcome::Accepted => part.drain(..).for_each(|item| item.verdict.accept()),
                Outcome::Refused(_) if part.len() > 1 => {
                    let back = part.split_off(part.len() / 2);
                    parts.push(back);
                    parts.push(part);
                    continue;
                }
                Outcome::Refused(reason) | Outcome::Failed(reason) => fail(part, &reason),
            }
        }
    }

    /// Posts items until the endpoint has decided, or it has been tried often and long enough.
    async fn post(&mut self, items: &[Queued]) -> Outcome {
        let mut body = OPEN.to_vec();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            item.json.write(&item.id, &mut body);
        }
        body.extend_from_slice(CLOSE);
        let body = Bytes::from(body);
        let start = self.timer.now();
        let mut tries = 0;
        loop {
            tries += 1;
            let reason = match self.post_once(body.clone()).await {
                Ok(status) if status.is_success() => {
                    trace::debug!(target: "eventstream::grip", tries, "accepted");
                    return Outcome::Accepted;
                }
                Ok(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) => {
                    return Outcome::Refused("refused as a bad request".into());
                }
                Ok(status)
                    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() =>
                {
                    format!("answered {status}")
                }
                Ok(status) => return Outcome::Failed(format!("answered {status}")),
                Err(reason) => reason,
            };
            let pause = self.pause(tries);
            let given_up = items.iter().all(|item| item.verdict.is_settled());
            if given_up
                || tries == TRIES
                || self.timer.now().saturating_duration_since(start) + pause > TRY_TIME
            {
                return Outcome::Failed(format!("{reason}, after {tries} tries"));
            }
            self.queue.retried.fetch_add(1, Ordering::Relaxed);
            trace::debug!(target: "eventstream::grip", tries, ?pause, "{reason}, trying again");
            self.timer.sleep(pause).await;
        }
    }

    async fn post_once(&mut self, body: Bytes) -> Result<StatusCode, String> {
        let endpoint = &self.queue.endpoint;
        let mut req = Request::new(body);
        *req.method_mut() = Method::POST;
        *req.uri_mut() = endpoint.publish_uri();
        let len = req.body().len();
        req.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        req.headers_mut().insert(CONTENT_LENGTH, len.into());
        let timeout = endpoint.post_timeout();
        if let Some(authorization) = self.authorization() {
            req.headers_mut().insert(AUTHORIZATION, authorization);
        }
        match select(self.transport.send(req), self.timer.sleep(timeout)).await {
            Either::Left((Ok(answer), _)) => Ok(answer.status()),
            Either::Left((Err(error), _)) => Err(format!("no answer: {error}")),
            Either::Right(_) => Err(format!("no answer in {timeout:?}")),
        }
    }

    fn authorization(&mut self) -> Option<HeaderValue> {
        let now = self.timer.now();
        if let Some((made, token)) = &self.token {
            if now.saturating_duration_since(*made) < TOKEN_USE {
                return Some(token.clone());
            }
        }
        let token = self.queue.endpoint.authorization(SystemTime::now())?;
        self.token = Some((now, token.clone()));
        Some(token)
    }

    /// A pause before the next try: anything up to a bound that doubles, so that a crowd does not
    /// come back as one.
    fn pause(&self, tries: u32) -> Duration {
        let bound = FIRST_PAUSE * 2u32.pow(tries - 1);
        bound.mul_f64(self.random.hash_one((tries, self.timer.now())) as f64 / u64::MAX as f64)
    }
}
