//! Channels in the order of a number: when each falls due, or how old its newest event is.
//!
//! The order is lazy. A channel has at most one entry, which is not moved when the channel changes:
//! whoever takes the entry out looks at the channel and puts it back where it belongs by then.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::channel::Channel;
use crate::sync::Arc;

/// Up to this many stale entries are tolerated.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Queue(BinaryHeap<Entry>);

#[derive(Debug)]
struct Entry {
    at: u64,
    channel: Arc<Channel>,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, channel: &Arc<Channel>) {
        if self.0.len() == self.0.capacity() {
            // By a quarter instead of twofold: this memory is part of what each channel costs.
            self.0.reserve_exact((self.0.len() / 4).max(4));
        }
        self.0.push(Entry { at, channel: channel.clone() });
    }

    /// Takes out the channel with the lowest number.
    pub(super) fn pop(&mut self) -> Option<(u64, Arc<Channel>)> {
        self.0.pop().map(|Entry { at, channel }| (at, channel))
    }

    /// The lowest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.peek().map(|entry| entry.at)
    }

    /// Compacts the queue once entries of channels that are not among these outnumber the others,
    /// so that removing a channel is amortized O(1).
    pub(super) fn forget_all_but(&mut self, channels: &HashMap<Arc<str>, Arc<Channel>>) {
        if self.0.len() <= FEW + 2 * channels.len() {
            return;
        }
        self.0.retain(|Entry { channel, .. }| {
            channels.get(&channel.name).is_some_and(|known| Arc::ptr_eq(known, channel))
        });
        self.0.shrink_to_fit();
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap yields its greatest first, which has to be the one with the lowest number.
        Reverse(self.at).cmp(&Reverse(other.at))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}
