//! How events and channels go away: events when they are too old, a channel with its last event or
//! its last subscriber, or to make room for another. No timer is needed: each publish, each
//! subscribe and each keep-alive looks at up to two channels that are due.

use super::channel::{Channel, ChannelState};
use super::{Hub, Map};
use crate::sync::{Arc, MutexGuard, Ordering};

impl Hub {
    /// Takes a channel out of the map and leaves a tombstone.
    pub(super) fn collect(&self, map: &mut Map, channel: &Arc<Channel>, state: &mut ChannelState) {
        self.retire(state);
        map.channels.remove(&channel.name);
        if self.history.replay {
            map.tombstones.remember(&channel.name, state.log.tail());
        }
        state.free_if_abandoned();
        self.aging.lock().forget_all_but(&map.channels);
        if self.is_limited() {
            self.idle.lock().forget_all_but(&map.channels);
        }
    }

    /// Marks a channel as out of the map.
    pub(super) fn retire(&self, state: &mut ChannelState) {
        state.gone = true;
        self.keep(state);
        self.delivered.fetch_add(state.delivered, Ordering::Relaxed);
    }

    /// Queues a channel that got events for the time when they are too old. One that is in the
    /// queue already is moved when its turn comes, so that publishing costs nothing here.
    #[inline]
    pub(super) fn queue_aging(&self, channel: &Arc<Channel>, state: &mut ChannelState) {
        if !state.aging {
            self.push_aging(channel, state);
        }
    }

    #[cold]
    fn push_aging(&self, channel: &Arc<Channel>, state: &mut ChannelState) {
        let Some(newest) = state.log.newest_at() else { return };
        state.aging = true;
        let mut aging = self.aging.lock();
        aging.push(self.history.due(newest), channel);
        self.next_due.store(aging.first().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Looks at no more than two channels that are due. Each publish, each subscribe and each
    /// keep-alive calls this.
    pub(super) fn sweep(&self, now: u64) {
        for _ in 0..2 {
            if self.next_due.load(Ordering::Relaxed) > now || !self.sweep_one(now) {
                return;
            }
        }
    }

    /// Drops what is too old in the first channel that is due. False if none is.
    ///
    /// The channel comes back when the newest event that is left is too old, not the oldest: where
    /// publishing goes on, that drops the old events anyway, and the queue would be in its way.
    pub(super) fn sweep_one(&self, now: u64) -> bool {
        let mut aging = self.aging.lock();
        let due = aging.first().is_some_and(|first| first <= now);
        let first = if due { aging.pop() } else { None };
        self.next_due.store(aging.first().unwrap_or(u64::MAX), Ordering::Relaxed);
        drop(aging);
        let Some((_, channel)) = first else { return false };
        let mut state = channel.lock();
        state.aging = false;
        if !state.gone {
            self.expire(&mut state, now);
            self.queue_aging(&channel, &mut state);
            if state.subscribers == 0 && state.log.is_empty() {
                drop(state);
                self.collect_unused(&channel);
            }
        }
        true
    }

    /// Drops the events that are too old. Readers that are behind look for the count, because this
    /// wakes nobody.
    pub(super) fn expire(&self, state: &mut ChannelState, now: u64) {
        let floor = state.log.floor();
        state.log.expire(now, &self.history);
        if state.subscribers > 0 && state.log.floor() > floor {
            self.expiries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one subscriber less. The channel goes away with the last one, unless it keeps events
    /// for those who come back.
    pub(super) fn leave(&self, channel: &Arc<Channel>, mut state: MutexGuard<'_, ChannelState>) {
        if self.is_unused_after_leave(channel, &mut state) {
            drop(state);
            self.collect_unused(channel);
        }
    }

    /// As [`leave`](Self::leave), where the map is locked.
    pub(super) fn leave_in(&self, map: &mut Map, channel: &Arc<Channel>) {
        let mut state = channel.lock();
        if self.is_unused_after_leave(channel, &mut state) {
            self.collect(map, channel, &mut state);
        }
    }

    fn is_unused_after_leave(&self, channel: &Arc<Channel>, state: &mut ChannelState) -> bool {
        state.subscribers -= 1;
        state.free_if_abandoned();
        let unused = self.is_unused(state);
        if !unused && !state.gone {
            self.offer(channel, state);
        }
        unused
    }

    fn is_unused(&self, state: &ChannelState) -> bool {
        let keeps_events = self.history.replay && !state.log.is_empty();
        state.subscribers == 0 && !state.gone && !keeps_events
    }

    fn collect_unused(&self, channel: &Arc<Channel>) {
        let mut map = self.map.write();
        let mut state = channel.lock();
        if self.is_unused(&state) {
            self.collect(&mut map, channel, &mut state);
        }
    }
}

/// Eviction, where the number of channels is limited.
impl Hub {
    pub(super) fn is_limited(&self) -> bool {
        self.limits.hub_channels < usize::MAX
    }

    /// Offers a channel for eviction if it has no subscribers.
    #[inline]
    pub(super) fn offer(&self, channel: &Arc<Channel>, state: &mut ChannelState) {
        if state.subscribers == 0 && !state.evictable && self.is_limited() {
            state.evictable = true;
            self.push_idle(channel, state);
            // Counted last: whatever is counted can be found in the queue.
            self.evictable.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes back the offer, because the channel has a subscriber or is gone.
    pub(super) fn keep(&self, state: &mut ChannelState) {
        if std::mem::take(&mut state.evictable) {
            self.evictable.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn push_idle(&self, channel: &Arc<Channel>, state: &mut ChannelState) {
        if !std::mem::replace(&mut state.idle, true) {
            self.idle.lock().push(state.log.tail(), channel);
        }
    }

    /// Evicts as many channels as it takes to make `more`, those whose newest events are oldest. If
    /// too few can be evicted, none is, and the answer is false.
    ///
    /// While the map is locked nobody can subscribe, so what was counted stays evictable.
    pub(super) fn make_room(&self, map: &mut Map, more: usize) -> bool {
        let over = (map.channels.len() + more).saturating_sub(self.limits.hub_channels);
        over <= self.evictable.load(Ordering::Relaxed) && (0..over).all(|_| self.evict_one(map))
    }

    fn evict_one(&self, map: &mut Map) -> bool {
        loop {
            let Some((newest, channel)) = self.idle.lock().pop() else { return false };
            let mut state = channel.lock();
            state.idle = false;
            if !state.evictable {
                continue;
            }
            if newest < state.log.tail() {
                // It got events since it was queued.
                self.push_idle(&channel, &mut state);
                continue;
            }
            self.collect(map, &channel, &mut state);
            return true;
        }
    }
}
