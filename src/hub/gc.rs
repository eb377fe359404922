//! How channels go away: with the last subscriber, or when their last event is too old. No
//! timer is needed: each publish and each subscribe collects up to two channels that are due.

use std::cmp::Reverse;

use super::channel::{Channel, ChannelState};
use super::{Hub, Map};
use crate::sync::{Arc, MutexGuard, Ordering};

/// A channel without subscribers, whose newest event is too old at `due`.
#[derive(Debug)]
pub(super) struct Idle {
    due: u64,
    pub(super) channel: Arc<Channel>,
}

impl Ord for Idle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap yields its greatest first, which has to be the one that is due first.
        Reverse(self.due).cmp(&Reverse(other.due))
    }
}

impl PartialOrd for Idle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Idle {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Idle {}

impl Hub {
    /// Takes a channel out of the map and leaves a tombstone.
    pub(super) fn collect(&self, map: &mut Map, channel: &Arc<Channel>, state: &mut ChannelState) {
        self.retire(state);
        map.channels.remove(&channel.name);
        if self.history.replay {
            map.tombstones.remember(&channel.name, state.log.tail());
        }
        state.free_if_abandoned();
    }

    /// Marks a channel as out of the map.
    pub(super) fn retire(&self, state: &mut ChannelState) {
        state.gone = true;
        self.delivered.fetch_add(state.delivered, Ordering::Relaxed);
    }

    /// Queues a channel without subscribers for the time when its newest event is too old.
    pub(super) fn queue_idle(&self, channel: &Arc<Channel>, state: &mut ChannelState) {
        let Some(newest) = state.log.newest_at().filter(|_| !state.queued) else { return };
        state.queued = true;
        let due = self.history.due(newest);
        let mut idle = self.idle.lock();
        idle.push(Idle { due, channel: channel.clone() });
        self.next_due.store(idle.peek().map_or(u64::MAX, |first| first.due), Ordering::Relaxed);
    }

    /// Collects at most two idle channels that are due. Each publish and each subscribe calls this.
    pub(super) fn sweep(&self, now: u64) {
        for _ in 0..2 {
            if self.next_due.load(Ordering::Relaxed) > now || !self.sweep_one(now) {
                return;
            }
        }
    }

    /// Looks at the first idle channel if it is due. False if none is.
    pub(super) fn sweep_one(&self, now: u64) -> bool {
        let mut idle = self.idle.lock();
        let due = idle.peek().is_some_and(|first| first.due <= now);
        let first = if due { idle.pop() } else { None };
        self.next_due.store(idle.peek().map_or(u64::MAX, |next| next.due), Ordering::Relaxed);
        drop(idle);
        let Some(Idle { channel, .. }) = first else { return false };
        let mut map = self.map.write();
        let mut state = channel.lock();
        state.queued = false;
        if state.subscribers == 0 && !state.gone {
            state.log.expire(now, &self.history);
            if state.log.is_empty() {
                self.collect(&mut map, &channel, &mut state);
            } else {
                self.queue_idle(&channel, &mut state);
            }
        }
        true
    }

    /// Counts one subscriber less. The channel goes away with the last one, unless it keeps events
    /// for those who come back.
    pub(super) fn leave(&self, channel: &Arc<Channel>, mut state: MutexGuard<'_, ChannelState>) {
        state.subscribers -= 1;
        state.free_if_abandoned();
        if state.subscribers > 0 || state.gone {
            return;
        }
        if self.history.replay && !state.log.is_empty() {
            self.queue_idle(channel, &mut state);
            return;
        }
        drop(state);
        let mut map = self.map.write();
        let mut state = channel.lock();
        if state.subscribers == 0 && !state.gone && (!self.history.replay || state.log.is_empty()) {
            self.collect(&mut map, channel, &mut state);
        }
    }
}
