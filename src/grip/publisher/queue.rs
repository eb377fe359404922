//! The bounded queue of one endpoint, and what the endpoint's clients must be told.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_lock::{Semaphore, SemaphoreGuardArc};

use super::losses::{Loss, Losses};
use super::verdict::{Rejected, Tally, Verdict, STOPPED};
use super::BATCH_BYTES;
use crate::grip::item_json::ItemJson;
use crate::grip::Endpoint;
use crate::runtime::quiet::quietly;
use crate::sync::StdMutex;

/// The most items of one POST.
const BATCH_ITEMS: usize = 100;
/// How long an item has from its publication until the endpoint must have accepted it. A proxy's
/// restart takes some seconds, and costs nothing.
pub(super) const BUDGET: Duration = Duration::from_secs(30);
/// The most memory for the names of channels that lost something. Beyond it, a reset also goes to
/// all channels that the stream knows then.
const LOSSES_BYTES: usize = 1 << 20;
/// A POST's body, around its items.
pub(super) const OPEN: &[u8] = br#"{"items":["#;
pub(super) const CLOSE: &[u8] = b"]}";

pub(super) struct Queue {
    pub(super) endpoint: Endpoint,
    pub(super) tally: Arc<Tally>,
    limits: Bounds,
    /// Whoever waits for room passes through here. The queue holds the one permit while it is full.
    gate: Arc<Semaphore>,
    state: StdMutex<State>,
}

/// What may wait for one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// How many of the entries are items, and the bytes of these.
    items: usize,
    bytes: usize,
    /// The items that were taken last, settled or not.
    in_flight: Vec<Arc<Verdict>>,
    /// Losses of items that would have come before all entries.
    owed: Losses,
    /// About the memory of all losses, here and among the entries.
    losses_bytes: usize,
    /// The gate's permit, while the queue is full.
    full: Option<SemaphoreGuardArc>,
    /// The worker is gone: nothing is taken anymore.
    stopped: bool,
}

enum Entry {
    Item(Queued),
    /// Losses of items that would have come here.
    Lost(Losses),
    /// Dropped when everything before it is settled.
    Marker(Sender<()>),
}

pub(super) struct Queued {
    pub(super) json: ItemJson,
    pub(super) verdict: Arc<Verdict>,
}

/// What flushes wait for.
pub(super) struct Markers(Vec<Sender<()>>);

impl Markers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes the tasks that wait. False if there are none.
    pub(super) fn release(self) -> bool {
        let any = !self.0.is_empty();
        self.0.into_iter().for_each(|marker| quietly(|| drop(marker)));
        any
    }
}

impl Queued {
    pub(super) fn len(&self) -> usize {
        self.json.len(self.verdict.id().len())
    }
}

impl Queue {
    pub(super) fn new(endpoint: Endpoint, limits: Bounds) -> Self {
        Self {
            tally: Arc::new(Tally::new(endpoint.display_name())),
            endpoint,
            limits,
            gate: Arc::new(Semaphore::new(1)),
            state: StdMutex::default(),
        }
    }

    /// Adds an item at the end. Wakes nobody. A full queue takes it only if it is `expected`:
    /// [`room`](Self::room) has said that there is some.
    pub(super) fn push(&self, item: Queued, expected: bool) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        let fits = state.items == 0 || state.bytes + item.len() <= self.limits.bytes;
        if state.stopped || !(expected || (fits && state.items < self.limits.items)) {
            let reason = if state.stopped { STOPPED } else { "queue is full" };
            if let Some(loss) = item.verdict.loss().filter(|_| !state.stopped) {
                state.lost_last(loss);
            }
            return Err(Rejected { verdict: item.verdict, reason });
        }
        state.items += 1;
        state.bytes += item.len();
        state.entries.push_back(Entry::Item(item));
        if state.full.is_none() && state.is_full(&self.limits) {
            // If somebody is just passing through the gate, it is shut by the next who comes.
            state.full = self.gate.try_acquire_arc();
        }
        Ok(())
    }

    /// Resolves when there is room. Nothing is reserved: the queue may get longer than its limits,
    /// by one item for each task that waited here.
    pub(super) async fn room(self: Arc<Self>) {
        loop {
            let passing = self.gate.acquire_arc().await;
            let mut state = self.state.lock();
            if !state.is_full(&self.limits) {
                // The next one is woken, who may be anybody's waker.
                drop(state);
                return quietly(|| drop(passing));
            }
            state.full = Some(passing);
        }
    }

    /// Adds a marker, which is dropped when everything before it is settled.
    pub(super) fn push_marker(&self, marker: &Sender<()>) {
        let mut state = self.state.lock();
        if !state.stopped {
            state.entries.push_back(Entry::Marker(marker.clone()));
        }
    }

    /// The items of the next POST, none if nothing waits, and the markers before them. By now all
    /// earlier items are settled. Markers come alone if resets are `owed` before them: a flush
    /// should not end between a loss and the word of it.
    pub(super) fn next_batch(&self, owed: bool) -> (Vec<Queued>, Markers) {
        let (mut batch, mut bytes) = (Vec::new(), OPEN.len() + CLOSE.len());
        let mut markers = Vec::new();
        let mut state = self.state.lock();
        while let Some(entry) = state.entries.pop_front() {
            match entry {
                Entry::Item(_) if !markers.is_empty() && (owed || !state.owed.is_empty()) => {
                    state.entries.push_front(entry);
                    break;
                }
                Entry::Marker(marker) if batch.is_empty() => markers.push(marker),
                Entry::Lost(losses) if batch.is_empty() => {
                    let shrunk = state.owed.merge(losses);
                    state.losses_bytes -= shrunk;
                }
                Entry::Item(item)
                    if batch.is_empty()
                        || (batch.len() < BATCH_ITEMS && bytes + item.len() < BATCH_BYTES) =>
                {
                    bytes += item.len() + ",".len();
                    state.items -= 1;
                    state.bytes -= item.len();
                    batch.push(item);
                }
                next => {
                    state.entries.push_front(next);
                    break;
                }
            }
        }
        state.in_flight = batch.iter().map(|item| Arc::clone(&item.verdict)).collect();
        self.unlock(state);
        (batch, Markers(markers))
    }

    /// Takes what clients must be told before anything else is sent.
    pub(super) fn take_losses(&self, count: usize) -> Vec<Loss> {
        loop {
            let mut state = self.state.lock();
            let (mut losses, shrunk) = state.owed.take(count);
            state.losses_bytes -= shrunk;
            let whole = if losses.is_empty() { state.owed.take_whole() } else { None };
            drop(state);
            let Some(origin) = whole else { return losses };
            // The streams have locks of their own.
            let every = |channel| Loss { origin: origin.clone(), channel, id: None };
            losses.extend(origin.channels().into_iter().map(every));
            if !losses.is_empty() {
                return losses;
            }
        }
    }

    /// Counts losses that would have come before everything that waits now.
    pub(super) fn owe(&self, losses: impl IntoIterator<Item = Loss>) {
        let mut state = self.state.lock();
        losses.into_iter().for_each(|loss| state.lost_first(loss));
    }

    pub(super) fn owes(&self) -> bool {
        !self.state.lock().owed.is_empty()
    }

    /// Fails items, and counts what is lost by that.
    pub(super) fn fail(&self, verdicts: impl IntoIterator<Item = Arc<Verdict>>, reason: &str) {
        let shared = reason.into();
        let failed: Vec<_> = verdicts.into_iter().filter(|verdict| verdict.fail(&shared)).collect();
        self.owe(failed.iter().filter_map(|verdict| verdict.loss()));
        self.tally.log_failed(failed.len(), reason);
    }

    /// Fails the items whose time is up: those in flight for this reason, or for having waited.
    /// True if there are any.
    pub(super) fn fail_late(&self, now: Instant, trouble: Option<&str>) -> bool {
        let late = |verdict: &Verdict| now.saturating_duration_since(verdict.since) >= BUDGET;
        let (mut waiting, mut at) = (Vec::new(), 0);
        let mut state = self.state.lock();
        let in_flight = state.in_flight.iter();
        let in_flight: Vec<_> =
            in_flight.filter(|verdict| !verdict.is_settled() && late(verdict)).cloned().collect();
        while let Some(entry) = state.entries.get(at) {
            match entry {
                Entry::Item(item) if !late(&item.verdict) => break,
                Entry::Item(_) => {
                    if let Some(Entry::Item(item)) = state.entries.remove(at) {
                        state.items -= 1;
                        state.bytes -= item.len();
                        waiting.push(item.verdict);
                    }
                }
                Entry::Lost(_) | Entry::Marker(_) => at += 1,
            }
        }
        self.unlock(state);
        let any = !in_flight.is_empty() || !waiting.is_empty();
        self.fail(in_flight, trouble.unwrap_or("not accepted in 30 s"));
        self.fail(waiting, "waited 30 s in the queue");
        any
    }

    /// When the next item's time is up.
    pub(super) fn next_late(&self) -> Option<Instant> {
        let state = self.state.lock();
        let waiting = state.entries.iter().find_map(|entry| match entry {
            Entry::Item(item) => Some(item.verdict.since),
            Entry::Lost(_) | Entry::Marker(_) => None,
        });
        let in_flight = state.in_flight.iter().filter(|verdict| !verdict.is_settled());
        in_flight.map(|verdict| verdict.since).chain(waiting).min()?.checked_add(BUDGET)
    }

    /// Fails what is on its way.
    pub(super) fn fail_in_flight(&self, reason: &str) {
        let in_flight = std::mem::take(&mut self.state.lock().in_flight);
        self.fail(in_flight, reason);
    }

    /// Takes no more items, and fails those that wait or are on their way.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.give_up(STOPPED);
    }

    /// Fails the items that wait or are on their way.
    pub(super) fn give_up(&self, reason: &str) {
        let mut state = self.state.lock();
        let (mut failed, mut markers) = (std::mem::take(&mut state.in_flight), Vec::new());
        for entry in std::mem::take(&mut state.entries) {
            match entry {
                Entry::Item(item) => failed.push(item.verdict),
                Entry::Marker(marker) => markers.push(marker),
                Entry::Lost(losses) => {
                    let shrunk = state.owed.merge(losses);
                    state.losses_bytes -= shrunk;
                }
            }
        }
        (state.items, state.bytes) = (0, 0);
        self.unlock(state);
        self.fail(failed, reason);
        Markers(markers).release();
    }

    /// Items that wait or are on their way.
    pub(super) fn len(&self) -> u64 {
        let state = self.state.lock();
        let in_flight = state.in_flight.iter().filter(|verdict| !verdict.is_settled()).count();
        (state.items + in_flight) as u64
    }

    /// Opens the gate if there is room again, without the lock, because that wakes a task.
    fn unlock(&self, mut state: MutexGuard<'_, State>) {
        let opened = if state.is_full(&self.limits) { None } else { state.full.take() };
        drop(state);
        quietly(|| drop(opened));
    }
}

impl State {
    fn is_full(&self, limits: &Bounds) -> bool {
        self.items >= limits.items || self.bytes >= limits.bytes
    }

    /// Counts the loss of an item that would have come before all entries.
    fn lost_first(&mut self, loss: Loss) {
        let origin = loss.origin.clone();
        self.losses_bytes += self.owed.add(loss);
        if self.losses_bytes > LOSSES_BYTES {
            self.owed.add_all_of(&origin);
        }
    }

    /// Counts the loss of an item that would have come after all entries.
    fn lost_last(&mut self, loss: Loss) {
        if self.entries.is_empty() || self.losses_bytes > LOSSES_BYTES {
            return self.lost_first(loss);
        }
        let grown = match self.entries.back_mut() {
            Some(Entry::Lost(losses)) => losses.add(loss),
            _ => {
                let mut losses = Losses::default();
                let grown = losses.add(loss);
                self.entries.push_back(Entry::Lost(losses));
                grown
            }
        };
        self.losses_bytes += grown;
    }
}
