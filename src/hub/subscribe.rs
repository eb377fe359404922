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
    /// A subscription to these channels, which must differ from each other. With it the id of a
    /// publisher that named its place, if it was one.
    pub(crate) fn subscribe<'a>(
        self: &Arc<Self>,
        names: &[impl AsRef<str>],
        start: Start<'a>,
        now: u64,
    ) -> Result<(Cursor, Option<&'a str>), SubscribeError> {
        self.check_names(names)?;
        self.sweep(now);
        let room = |count: usize| (count < self.limits.subscriptions).then_some(count + 1);
        let counted =
            self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !counted {
            let closed = self.is_closed();
            return Err(if closed { SubscribeError::Closed } else { SubscribeError::Full });
        }
        let channels = self.join_all(names, now).inspect_err(|_| {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        })?;
        let (position, given) = self.position(&channels, start);
        Ok((Cursor::new(self.clone(), channels, position), given))
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

    /// The seq to start after; `None` if the id names no place. With it the id, if it is a
    /// publisher's. The channels have been joined, so none of them is collected meanwhile.
    fn position<'a>(
        &self,
        channels: &[Arc<Channel>],
        start: Start<'a>,
    ) -> (Option<u64>, Option<&'a str>) {
        let id = match start {
            Start::After(id) if self.history.replay => id,
            _ => return (Some(self.sequence.newest()), None),
        };
        match self.sequence.place(id) {
            Place::Seq(seq) => (Some(seq), None),
            Place::Unknown => (None, None),
            // A publisher's id counts only as a whole.
            Place::Given(id) => {
                let parts = id.split(',').map(|part| part.trim_matches([' ', '\t']));
                let placed = parts.filter_map(|part| match self.sequence.place(part) {
                    Place::Seq(seq) => Some(seq),
                    _ => None,
                });
                if let Some(newest) = placed.max() {
                    return (Some(newest), None);
                }
                let mut found = None;
                for channel in channels {
                    match channel.lock().log.find(id) {
                        Found::Nowhere => {}
                        Found::Once(seq) if found.is_none() => found = Some(seq),
                        Found::Once(_) | Found::Often => return (None, None),
                    }
                }
                (found, found.map(|_| id))
            }
        }
    }

    /// Joins all of these channels or none, making those that there are not. Unless all can be
    /// joined, no channel is evicted.
    fn join_all(
        &self,
        names: &[impl AsRef<str>],
        now: u64,
    ) -> Result<Vec<Arc<Channel>>, SubscribeError> {
        {
            let map = self.map.read();
            if map.closed {
                return Err(SubscribeError::Closed);
            }
            let known = names.iter().map(|name| map.channels.get(name.as_ref()).cloned());
            if let Some(known) = known.collect::<Option<Vec<_>>>() {
                known.iter().for_each(|channel| self.join(channel, now));
                return Ok(known);
            }
        }
        let mut map = self.map.write();
        if map.closed {
            return Err(SubscribeError::Closed);
        }
        let known = names.iter().filter_map(|name| map.channels.get(name.as_ref()).cloned());
        let known: Vec<_> = known.collect();
        // Joined first, so that none of them is evicted to make room for the others.
        known.iter().for_each(|channel| self.join(channel, now));
        if !self.make_room(&mut map, names.len() - known.len()) {
            known.iter().for_each(|channel| self.leave_in(&mut map, channel));
            return Err(SubscribeError::Full);
        }
        let join = |name: &str| match map.channels.get(name) {
            Some(known) => known.clone(),
            None => {
                let channel = map.create(name);
                self.join(&channel, now);
                channel
            }
        };
        Ok(names.iter().map(AsRef::as_ref).map(join).collect())
    }

    /// Counts one subscriber more. The map is locked, so the channel is in it and stays there.
    fn join(&self, channel: &Channel, now: u64) {
        let mut state = channel.lock();
        state.subscribers += 1;
        self.keep(&mut state);
        self.expire(&mut state, now);
    }
}
