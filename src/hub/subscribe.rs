//! Subscribing: which channels, from which position on.

use super::channel::Channel;
use super::cursor::Cursor;
use super::log::Found;
use super::sequence::Place;
use super::{Hub, SubscribeError};
use crate::sync::{Arc, Ordering};

/// Where a new subscription starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Now,
    /// After this id, or after the newest of several, separated by commas.
    After(&'a str),
}

impl Hub {
    /// A subscription to these channels, which must differ from each other.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        names: &[impl AsRef<str>],
        start: Start<'_>,
        now: u64,
    ) -> Result<Cursor, SubscribeError> {
        self.check_names(names)?;
        self.sweep(now);
        if !self.has_room_for(names) {
            return Err(SubscribeError::Full);
        }
        let room = |count: usize| (count < self.limits.subscriptions).then_some(count + 1);
        let counted =
            self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !counted {
            let closed = self.is_closed();
            return Err(if closed { SubscribeError::Closed } else { SubscribeError::Full });
        }
        let mut channels = Vec::with_capacity(names.len());
        for name in names {
            match self.join(name.as_ref(), now) {
                Ok(channel) => channels.push(channel),
                Err(refused) => {
                    channels.iter().for_each(|channel| self.leave(channel, channel.lock()));
                    self.subscriptions.fetch_sub(1, Ordering::Relaxed);
                    return Err(refused);
                }
            }
        }
        let position = self.position(&channels, start);
        Ok(Cursor::new(self.clone(), channels, position))
    }

    /// A subscription that has ended.
    pub(crate) fn ended(self: &Arc<Self>) -> Cursor {
        Cursor::ended(self.clone())
    }

    /// Whether these channels may be subscribed to.
    pub(crate) fn check_names(&self, names: &[impl AsRef<str>]) -> Result<(), SubscribeError> {
        if names.is_empty() {
            return Err(SubscribeError::NoChannels);
        }
        if names.len() > self.limits.channels {
            let (channels, limit) = (names.len(), self.limits.channels);
            return Err(SubscribeError::TooManyChannels { channels, limit });
        }
        let limit = self.limits.channel_name;
        if let Some(long) = names.iter().map(AsRef::as_ref).find(|name| name.len() > limit) {
            return Err(SubscribeError::ChannelName { size: long.len(), limit });
        }
        Ok(())
    }

    /// Whether these channels exist or can be made. Asked first, so that a subscription which will
    /// be refused costs no idle channel its events.
    fn has_room_for(&self, names: &[impl AsRef<str>]) -> bool {
        if self.limits.hub_channels == usize::MAX {
            return true;
        }
        let map = self.map.read();
        let missing = names.iter().filter(|name| !map.channels.contains_key(name.as_ref())).count();
        missing == 0
            || map.closed
            || map.channels.len() + missing <= self.limits.hub_channels + self.idle.lock().len()
    }

    /// The seq to start after; `None` if the id names no place. The channels have been joined, so
    /// none of them is collected meanwhile.
    fn position(&self, channels: &[Arc<Channel>], start: Start<'_>) -> Option<u64> {
        let id = match start {
            Start::After(id) if self.history.replay => id,
            _ => return Some(self.sequence.newest()),
        };
        match self.sequence.place(id) {
            Place::Seq(seq) => Some(seq),
            Place::Unknown => None,
            // A publisher's id counts only as a whole.
            Place::Given(id) => {
                let parts = id.split(',').map(|part| part.trim_matches([' ', '\t']));
                let placed = parts.filter_map(|part| match self.sequence.place(part) {
                    Place::Seq(seq) => Some(seq),
                    _ => None,
                });
                if let Some(newest) = placed.max() {
                    return Some(newest);
                }
                let mut found = None;
                for channel in channels {
                    match channel.lock().log.find(id) {
                        Found::Nowhere => {}
                        Found::Once(seq) if found.is_none() => found = Some(seq),
                        Found::Once(_) | Found::Often => return None,
                    }
                }
                found
            }
        }
    }

    fn join(&self, name: &str, now: u64) -> Result<Arc<Channel>, SubscribeError> {
        loop {
            let known = {
                let map = self.map.read();
                if map.closed {
                    return Err(SubscribeError::Closed);
                }
                map.channels.get(name).cloned()
            };
            let channel = match known {
                Some(channel) => channel,
                None => {
                    let mut map = self.map.write();
                    if map.closed {
                        return Err(SubscribeError::Closed);
                    }
                    self.get_or_create(&mut map, name).ok_or(SubscribeError::Full)?
                }
            };
            let mut state = channel.lock();
            if !state.gone {
                state.subscribers += 1;
                state.log.expire(now, &self.history);
                drop(state);
                return Ok(channel);
            }
        }
    }
}
