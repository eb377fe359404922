//! The bounded queue of one endpoint.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_lock::Semaphore;

use super::verdict::{fail_all, Rejected, Tally, Verdict, STOPPED};
use super::{Permit, BATCH_BYTES};
use crate::grip::item_json::ItemJson;
use crate::grip::Endpoint;
use crate::sync::StdMutex;

/// The most items of one POST.
const BATCH_ITEMS: usize = 100;
/// How long an item may wait in the queue.
const QUEUE_TIME: Duration = Duration::from_secs(10);
/// A POST's body, around its items.
pub(super) const OPEN: &[u8] = br#"{"items":["#;
pub(super) const CLOSE: &[u8] = b"]}";

pub(super) struct Queue {
    pub(super) endpoint: Endpoint,
    pub(super) tally: Arc<Tally>,
    pub(super) room: Arc<Semaphore>,
    waiting: StdMutex<Waiting>,
    /// The items that were taken last, settled or not: `close` settles them too.
    in_flight: StdMutex<Vec<Arc<Verdict>>>,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// The worker is gone: nothing is taken anymore.
    stopped: bool,
}

enum Entry {
    Item(Queued),
    /// Dropped when everything before it is settled.
    Marker(Sender<()>),
}

pub(super) struct Queued {
    pub(super) json: ItemJson,
    pub(super) id: Arc<str>,
    pub(super) since: Instant,
    pub(super) verdict: Arc<Verdict>,
    /// Given back when the item leaves the queue.
    pub(super) permit: Option<Permit>,
}

impl Queued {
    fn len(&self) -> usize {
        self.json.len(self.id.len())
    }
}

impl Queue {
    pub(super) fn new(endpoint: Endpoint, places: usize) -> Self {
        Self {
            tally: Arc::new(Tally::new(endpoint.display_name())),
            endpoint,
            room: Arc::new(Semaphore::new(places)),
            waiting: StdMutex::default(),
            in_flight: StdMutex::default(),
        }
    }

    /// Adds an item at the end. Wakes nobody.
    pub(super) fn push(&self, item: Queued) -> Result<(), Rejected> {
        let Queued { verdict, permit, .. } = {
            let mut waiting = self.waiting.lock();
            if !waiting.stopped {
                waiting.entries.push_back(Entry::Item(item));
                return Ok(());
            }
            item
        };
        Err(Rejected { verdict, reason: STOPPED, permit })
    }

    /// Adds a marker, which is dropped when everything before it is settled.
    pub(super) fn push_marker(&self, marker: &Sender<()>) {
        let mut waiting = self.waiting.lock();
        if !waiting.stopped {
            waiting.entries.push_back(Entry::Marker(marker.clone()));
        }
    }

    /// The items of the next POST; `None` when nothing is left. A marker that is reached is
    /// dropped.
    pub(super) fn next_batch(&self, now: Instant) -> Option<Vec<Queued>> {
        let (mut batch, mut late, mut bytes) = (Vec::new(), Vec::new(), OPEN.len() + CLOSE.len());
        let (mut markers, mut permits) = (Vec::new(), Vec::new());
        let mut waiting = self.waiting.lock();
        while let Some(entry) = waiting.entries.pop_front() {
            match entry {
                Entry::Marker(marker) if batch.is_empty() => markers.push(marker),
                Entry::Item(item) if now.saturating_duration_since(item.since) >= QUEUE_TIME => {
                    late.push(item);
                }
                Entry::Item(mut item)
                    if batch.is_empty()
                        || (batch.len() < BATCH_ITEMS && bytes + item.len() < BATCH_BYTES) =>
                {
                    bytes += item.len() + ",".len();
                    permits.extend(item.permit.take());
                    batch.push(item);
                }
                next => {
                    waiting.entries.push_front(next);
                    break;
                }
            }
        }
        self.set_in_flight(batch.iter().map(|item| Arc::clone(&item.verdict)).collect());
        // Permits, verdicts and markers wake the tasks that wait for them, so the lock goes first.
        drop((waiting, permits));
        fail_all(late.iter().map(|item| item.verdict.clone()), "waited too long in the queue");
        drop((late, markers));
        (!batch.is_empty()).then_some(batch)
    }

    /// Takes no more items, and fails those that wait or are on their way.
    pub(super) fn stop(&self) {
        self.waiting.lock().stopped = true;
        self.give_up(STOPPED);
    }

    /// Fails the items that wait or are on their way.
    pub(super) fn give_up(&self, reason: &str) {
        let entries = std::mem::take(&mut self.waiting.lock().entries);
        let in_flight = self.set_in_flight(Vec::new());
        let failed_before = self.tally.failed.load(Ordering::Relaxed);
        let shared = reason.into();
        for verdict in in_flight {
            verdict.fail(&shared);
        }
        for entry in entries {
            if let Entry::Item(item) = entry {
                item.verdict.fail(&shared);
            }
        }
        let failed = self.tally.failed.load(Ordering::Relaxed) - failed_before;
        self.tally.log_failed(failed as usize, reason);
    }

    /// Items that wait or are on their way. The locks are taken in the order of `next_batch`, so
    /// that no item is counted twice or missed.
    pub(super) fn len(&self) -> u64 {
        let waiting = self.waiting.lock();
        let waiting =
            waiting.entries.iter().filter(|entry| matches!(entry, Entry::Item(_))).count();
        let in_flight = self.in_flight.lock();
        let in_flight = in_flight.iter().filter(|verdict| !verdict.is_settled()).count();
        (waiting + in_flight) as u64
    }

    fn set_in_flight(&self, verdicts: Vec<Arc<Verdict>>) -> Vec<Arc<Verdict>> {
        std::mem::replace(&mut *self.in_flight.lock(), verdicts)
    }
}
