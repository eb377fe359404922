//! One channel: its log and its readers behind one lock.

use super::log::Log;
use super::Hub;
use crate::limits::History;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::wake::{WaitList, Woken, FIRST_GENERATION};

#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) name: Arc<str>,
    /// The wait list's generation, to be read without the lock.
    pub(super) generation: AtomicU64,
    state: Mutex<ChannelState>,
}

#[derive(Debug, Default)]
pub(super) struct ChannelState {
    pub(super) log: Log,
    pub(super) wait: WaitList,
    pub(super) subscribers: usize,
    /// Events handed to subscribers of this channel alone.
    pub(super) delivered: u64,
    /// No longer in the hub's map: whoever finds this asks the map again.
    pub(super) gone: bool,
    pub(super) closed: Option<Closed>,
    /// In the hub's queue of channels that keep events.
    pub(super) aging: bool,
    /// In the hub's queue of channels to evict.
    pub(super) idle: bool,
    /// Counted by the hub as one that can be evicted.
    pub(super) evictable: bool,
    pub(super) unread: Unread,
}

/// Why a channel takes no more events.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closed {
    /// This channel alone: its streams end after this seq.
    Channel(u64),
    /// The whole hub: streams end when none of their channels has anything left.
    Hub,
}

/// What was published since any reader last read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    events: usize,
    bytes: usize,
    /// How often publishers gave way since then.
    yields: usize,
}

impl Channel {
    pub(super) fn new(name: Arc<str>, floor: u64) -> Self {
        let state = ChannelState { log: Log::after(floor), ..ChannelState::default() };
        Self { name, generation: AtomicU64::new(FIRST_GENERATION), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock()
    }

    /// Wakes the tasks taken from the list, and keeps the buffer for the next list.
    pub(super) fn wake(&self, woken: Option<Woken>) {
        let Some(woken) = woken else { return };
        let spare = woken.wake();
        if spare.capacity() > 0 {
            self.lock().wait.recycle(spare);
        }
    }

    /// Notes that a publisher gave way to the readers.
    pub(crate) fn yielded(&self) {
        self.lock().unread.yields += 1;
    }
}

impl ChannelState {
    /// Takes no more events: readers end once they have read the history.
    #[must_use]
    pub(super) fn close(&mut self, how: Closed, generation: &AtomicU64) -> Option<Woken> {
        self.closed = Some(how);
        self.wait.take(generation)
    }

    /// Counts events that a reader of this channel alone took.
    pub(super) fn count_delivered(&mut self, events: u64, hub: &Hub) {
        self.unread = Unread::default();
        if self.gone {
            hub.delivered.fetch_add(events, Ordering::Relaxed);
        } else {
            self.delivered += events;
        }
    }

    /// Frees the log if the channel is out of the map and nobody reads it anymore.
    pub(super) fn free_if_abandoned(&mut self) {
        if self.gone && self.subscribers == 0 {
            self.log = Log::default();
        }
    }

    /// Counts what a publisher appended. True if it is time to give way, so that healthy readers do
    /// not fall out of the history.
    ///
    /// That is when half of the history has filled up without any reader making progress, and then
    /// at each further sixteenth. So several publishers cannot use the history up between them, and
    /// a reader that never reads costs little.
    pub(super) fn should_yield(&mut self, events: usize, bytes: usize, keep: &History) -> bool {
        if self.subscribers == 0 {
            return false;
        }
        let Unread { events: all_events, bytes: all_bytes, yields } = &mut self.unread;
        *all_events = all_events.saturating_add(events);
        *all_bytes = all_bytes.saturating_add(bytes);
        let reached = |unread: usize, limit: usize| {
            unread.saturating_mul(16) >= limit.saturating_mul(8 + *yields)
        };
        reached(*all_events, keep.events) || reached(*all_bytes, keep.bytes)
    }
}
