//! One channel: its log and its readers behind one lock.

use super::limits::History;
use super::log::Log;
use super::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use super::wait_list::{WaitList, Woken};

#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) name: Arc<str>,
    /// Seq of the newest event, for a look without the lock. Only a hint: no cursor moves by it.
    pub(super) tail: AtomicU64,
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
    unread: Unread,
}

/// Why a channel takes no more events.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closed {
    /// Closed by itself: its streams end behind this seq.
    Channel(u64),
    /// All channels closed: streams end when nothing is left in any.
    Hub,
}

/// What was published since a publisher last gave way to readers.
#[derive(Debug, Default)]
struct Unread {
    events: usize,
    bytes: usize,
}

impl Channel {
    pub(super) fn new(name: Arc<str>, floor: u64) -> Self {
        let state = State { log: Log::after(floor), ..State::default() };
        Self { name, tail: AtomicU64::new(floor), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn may_have_news(&self, cursor: u64) -> bool {
        self.tail.load(Ordering::Relaxed) > cursor
    }

    /// Wakes those taken from the list, and keeps the buffer for the next.
    pub(super) fn wake(&self, woken: Woken) {
        let spare = woken.wake();
        if spare.capacity() > 0 {
            self.lock().wait.recycle(spare);
        }
    }

    /// A publisher has given way to the readers.
    pub(crate) fn yielded(&self) {
        self.lock().unread = Unread::default();
    }
}

impl State {
    /// No more events: readers end when they have read what is kept.
    pub(super) fn close(&mut self, how: Closed) -> Woken {
        self.closed = Some(how);
        self.wait.take()
    }

    /// Gives the memory back if the channel is out of the map and nobody reads it any more.
    pub(super) fn free_if_abandoned(&mut self) {
        if self.gone && self.subscribers == 0 {
            self.log = Log::default();
        }
    }

    /// Counts what a publisher appended; true if it is time to give way, lest healthy readers fall out of the window.
    pub(super) fn should_yield(&mut self, events: usize, bytes: usize, keep: &History) -> bool {
        if self.subscribers == 0 {
            return false;
        }
        self.unread.events += events;
        self.unread.bytes += bytes;
        self.unread.events >= keep.events.div_ceil(2) || self.unread.bytes >= keep.bytes.div_ceil(2)
    }
}
