//! One channel: its log and its readers behind one lock.

use super::limits::History;
use super::log::Log;
use super::wait_list::{WaitList, Woken, FIRST_GENERATION};
use super::Hub;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};

#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) name: Arc<str>,
    /// The wait list's generation: the list was not taken since, as long as it is the same.
    pub(super) generation: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) log: Log,
    pub(super) wait: WaitList,
    pub(super) subscribers: usize,
    /// Events handed to subscribers of this channel alone.
    pub(super) delivered: u64,
    /// No longer in the hub's map: who finds this asks the map again.
    pub(super) gone: bool,
    pub(super) closed: Option<Closed>,
    /// In the hub's queue of idle channels.
    pub(super) queued: bool,
    pub(super) unread: Unread,
}

/// Why a channel takes no more events.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closed {
    /// Closed by itself: its streams end behind this seq.
    Channel(u64),
    /// All channels closed: streams end when nothing is left in any.
    Hub,
}

/// What was published since a reader last read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    events: usize,
    bytes: usize,
    /// How often publishers have given way since then.
    yields: usize,
}

impl Channel {
    pub(super) fn new(name: Arc<str>, floor: u64) -> Self {
        let state = State { log: Log::after(floor), ..State::default() };
        Self { name, generation: AtomicU64::new(FIRST_GENERATION), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Wakes those taken from the list, and keeps the buffer for the next.
    pub(super) fn wake(&self, woken: Option<Woken>) {
        let Some(woken) = woken else { return };
        let spare = woken.wake();
        if spare.capacity() > 0 {
            self.lock().wait.recycle(spare);
        }
    }

    /// A publisher has given way to the readers.
    pub(crate) fn yielded(&self) {
        self.lock().unread.yields += 1;
    }
}

impl State {
    /// No more events: readers end when they have read what is kept.
    #[must_use]
    pub(super) fn close(&mut self, how: Closed, generation: &AtomicU64) -> Option<Woken> {
        self.closed = Some(how);
        self.wait.take(generation)
    }

    /// A reader took as many events of this channel alone.
    pub(super) fn count_delivered(&mut self, events: u64, hub: &Hub) {
        self.unread = Unread::default();
        if self.gone {
            hub.delivered.fetch_add(events, Ordering::Relaxed);
        } else {
            self.delivered += events;
        }
    }

    /// Gives the memory back if the channel is out of the map and nobody reads it any more.
    pub(super) fn free_if_abandoned(&mut self) {
        if self.gone && self.subscribers == 0 {
            self.log = Log::default();
        }
    }

    /// Counts what a publisher appended; true if it is time to give way, lest healthy readers fall
    /// out of the window.
    ///
    /// That is at half the window, and if still nobody reads, at each further sixteenth: so that
    /// several publishers do not use it up between them, and a reader that never reads costs
    /// little.
    pub(super) fn should_yield(&mut self, events: usize, bytes: usize, keep: &History) -> bool {
        if self.subscribers == 0 {
            return false;
        }
        let Unread { events: all_events, bytes: all_bytes, yields } = &mut self.unread;
        *all_events = all_events.saturating_add(events);
        *all_bytes = all_bytes.saturating_add(bytes);
        let reached = |unread: usize, window: usize| {
            unread.saturating_mul(16) >= window.saturating_mul(8 + *yields)
        };
        reached(*all_events, keep.events) || reached(*all_bytes, keep.bytes)
    }
}
