//! The hub: a channel is a log, a subscription is a cursor.
//!
//! One [`sequence`] numbers the events of all channels, so that one `u64` is an exact position in
//! any set of them.
//!
//! The hub has no clock, starts no task and knows no HTTP: the time is an argument, in nanoseconds
//! since any fixed moment, and so is its randomness.
//!
//! # Lock order
//!
//! Map, then channel, then one of the two queues or a reader's marks. No user code (wakers and
//! their drops) runs under any of these locks.

mod channel;
mod cursor;
mod error;
mod gc;
#[cfg(feature = "grip")]
mod held;
mod log;
mod publish;
mod queue;
mod sequence;
mod subscribe;
mod tombstones;

use std::collections::HashMap;

use crate::limits::{History, Limits};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};
use crate::trace;

pub(crate) use channel::Channel;
use channel::Closed;
pub(crate) use cursor::Cursor;
pub(crate) use error::Refused;
pub use error::SubscribeError;
pub(crate) use publish::{is_blank, Accepted, CachedChannel, Tap, Target};
use queue::Queue;
use sequence::Sequence;
pub(crate) use subscribe::Start;
use tombstones::Tombstones;

#[derive(Debug)]
pub(crate) struct Hub {
    history: History,
    limits: Limits,
    sequence: Sequence,
    map: RwLock<Map>,
    /// The channels that keep events, by the time when these may be too old.
    aging: Mutex<Queue>,
    /// When the first of them is due, to be read without the lock.
    next_due: AtomicU64,
    /// The channels that can be evicted, by the seq of their newest event; empty without a limit.
    idle: Mutex<Queue>,
    /// How many channels can be evicted. The queue may also hold some that have subscribers again.
    evictable: AtomicUsize,
    subscriptions: AtomicUsize,
    /// Events handed out that no channel in the map counts.
    delivered: AtomicU64,
    resets: AtomicU64,
    /// How often events of a channel with subscribers were too old, other than at a publication.
    expiries: AtomicU64,
}

#[derive(Debug)]
struct Map {
    channels: HashMap<Arc<str>, Arc<Channel>>,
    tombstones: Tombstones,
    closed: bool,
}

/// The hub's counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) subscriptions: u64,
    pub(crate) channels: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) resets: u64,
    pub(crate) retained_bytes: u64,
}

impl Hub {
    /// `entropy` makes the ids of this hub differ from those of all others.
    pub(crate) fn new(history: History, limits: Limits, entropy: u64) -> Self {
        let map = Map {
            channels: HashMap::new(),
            tombstones: Tombstones::new(limits.gone_channels),
            closed: false,
        };
        Self {
            history,
            limits,
            sequence: Sequence::new(entropy),
            map: RwLock::new(map),
            aging: Mutex::default(),
            next_due: AtomicU64::new(u64::MAX),
            idle: Mutex::default(),
            evictable: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            expiries: AtomicU64::new(0),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Ends the channel's streams after the events it keeps, and frees it.
    pub(crate) fn close_channel(&self, name: &str) {
        let mut map = self.map.write();
        let Some(channel) = map.channels.get(name).cloned() else { return };
        let mut state = channel.lock();
        self.collect(&mut map, &channel, &mut state);
        let woken = state.close(Closed::Channel(self.sequence.newest()), &channel.generation);
        drop(state);
        drop(map);
        channel.wake(woken);
        trace::debug!(target: "eventstream::close", channel = name, "channel closed");
    }

    /// Refuses new work. Streams end once they have handed out what is left.
    pub(crate) fn close(&self) {
        let mut map = self.map.write();
        map.closed = true;
        let channels = std::mem::take(&mut map.channels);
        drop(map);
        for channel in channels.into_values() {
            let mut state = channel.lock();
            self.retire(&mut state);
            let woken = state.close(Closed::Hub, &channel.generation);
            state.free_if_abandoned();
            drop(state);
            channel.wake(woken);
        }
        self.aging.lock().clear();
        self.idle.lock().clear();
        trace::debug!(target: "eventstream::close", "closed");
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.map.read().closed
    }

    pub(crate) fn stats(&self, now: u64) -> Counts {
        while self.next_due.load(Ordering::Relaxed) <= now && self.sweep_one(now) {}
        let channels: Vec<_> = self.map.read().channels.values().cloned().collect();
        let (mut delivered, mut retained_bytes) = (self.delivered.load(Ordering::Relaxed), 0);
        for channel in &channels {
            let mut state = channel.lock();
            self.expire(&mut state, now);
            retained_bytes += state.log.bytes();
            if !state.gone {
                delivered += state.delivered;
            }
        }
        Counts {
            subscriptions: self.subscriptions.load(Ordering::Relaxed) as u64,
            channels: channels.len() as u64,
            published: self.sequence.newest(),
            delivered,
            resets: self.resets.load(Ordering::Relaxed),
            retained_bytes,
        }
    }

    /// The channel of this name, made if there is none. `None` if the hub is full and every channel
    /// has subscribers.
    fn get_or_create(&self, map: &mut Map, name: &str) -> Option<Arc<Channel>> {
        if let Some(channel) = map.channels.get(name) {
            return Some(channel.clone());
        }
        self.make_room(map, 1).then(|| map.create(name))
    }
}

impl Map {
    /// Makes a channel that is not there yet.
    fn create(&mut self, name: &str) -> Arc<Channel> {
        let name: Arc<str> = name.into();
        let channel = Arc::new(Channel::new(name.clone(), self.tombstones.recall(&name)));
        self.channels.insert(name, channel.clone());
        channel
    }
}
