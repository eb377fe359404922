//! Publishing: events are encoded without a lock, then numbered and appended under the channel's.

use std::cell::Cell;

use super::channel::Channel;
use super::log::Frame;
use super::{Hub, Map, Refused};
use crate::event::{Encoded, Event, EventId, InvalidEvent, Mistake, OWN_ID_MAX};
use crate::limits::History;
use crate::sync::{Arc, RwLockWriteGuard};
use crate::trace;

/// The channel to publish to: its name, and where a publisher keeps what it found under that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    name: &'a str,
    cache: Option<&'a CachedChannel>,
}

/// The channel that a publisher found before. If that channel goes away (it expired or was closed,
/// or its last reader left and there is no history), the publisher looks the name up each time from
/// then on, as publishers without a cache do.
pub(crate) type CachedChannel = std::sync::OnceLock<Arc<Channel>>;

impl<'a> Target<'a> {
    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, cache: None }
    }

    /// `cache` must only ever be used with this name.
    pub(crate) fn cached(name: &'a str, cache: &'a CachedChannel) -> Self {
        Self { name, cache: Some(cache) }
    }

    pub(crate) fn name(self) -> &'a str {
        self.name
    }

    fn known(self) -> Option<&'a Arc<Channel>> {
        self.cache?.get()
    }

    fn remember(self, channel: Arc<Channel>) {
        if let Some(cache) = self.cache {
            // If another thread came first, it stored the same channel.
            let _ = cache.set(channel);
        }
    }
}

/// What became of a publication.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Seq of the first event; a batch has consecutive seqs.
    pub(crate) first: u64,
    /// The channel whose readers the publisher should now give way to.
    pub(crate) give_way: Option<Arc<Channel>>,
}

/// Watches events on their way into a channel.
pub(crate) trait Tap {
    /// A frame was encoded. With `own_id` a line `id: <epoch>-<seq>` goes between its two parts. No
    /// lock is held, and an error refuses the whole publication.
    fn encoded(
        &mut self,
        before_id: &[u8],
        after_id: &[u8],
        own_id: bool,
    ) -> Result<(), InvalidEvent>;

    /// The next of the encoded frames got its number. The channel's lock is held, or the map's if
    /// there is no channel, so the calls for one channel come in the order of its seqs; nothing may
    /// be woken here. `id` makes the frame's id.
    fn numbered(&mut self, id: impl FnOnce() -> EventId);
}

/// `None` watches nothing.
impl<T: Tap> Tap for Option<T> {
    #[inline]
    fn encoded(
        &mut self,
        before_id: &[u8],
        after_id: &[u8],
        own_id: bool,
    ) -> Result<(), InvalidEvent> {
        match self {
            Some(tap) => tap.encoded(before_id, after_id, own_id),
            None => Ok(()),
        }
    }

    #[inline]
    fn numbered(&mut self, id: impl FnOnce() -> EventId) {
        if let Some(tap) = self {
            tap.numbered(id);
        }
    }
}

/// A frame in the publisher's scratch buffer.
struct Draft {
    at: Encoded,
    given: Option<Arc<str>>,
}

impl Hub {
    /// Publishes an event. The tap is dropped at the end, when no lock is held.
    pub(crate) fn publish(
        &self,
        to: Target<'_>,
        event: &Event,
        now: u64,
        mut tap: impl Tap,
    ) -> Result<Accepted, Refused> {
        let mut scratch = Scratch::take();
        let draft = self.encode(event, &mut scratch.0, &mut tap)?;
        self.append(to, &[draft], &scratch.0, now, &mut tap)
    }

    /// Publishes all events or none, and also returns their ids.
    pub(crate) fn publish_all(
        &self,
        to: Target<'_>,
        events: impl IntoIterator<Item = Event>,
        now: u64,
        mut tap: impl Tap,
    ) -> Result<(Accepted, Vec<EventId>), Refused> {
        let mut scratch = Scratch::take();
        let mut drafts = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            let draft = self.encode(&event, &mut scratch.0, &mut tap);
            drafts.push(draft.map_err(|invalid| invalid.at(index))?);
            self.check_batch(drafts.len(), scratch.0.len())?;
        }
        let accepted = self.append(to, &drafts, &scratch.0, now, &mut tap)?;
        let ids = drafts.into_iter().zip(accepted.first..);
        let ids = ids.map(|(draft, seq)| self.id(draft.given, seq)).collect();
        Ok((accepted, ids))
    }

    /// The id of an event that was published as this seq.
    pub(crate) fn id_of(&self, event: &Event, seq: u64) -> EventId {
        self.id(event.given_id().map(Arc::from), seq)
    }

    fn id(&self, given: Option<Arc<str>>, seq: u64) -> EventId {
        given.map_or_else(|| self.sequence.id(seq), EventId::given)
    }

    fn encode(
        &self,
        event: &Event,
        scratch: &mut Vec<u8>,
        tap: &mut impl Tap,
    ) -> Result<Draft, InvalidEvent> {
        let at = event.encode_into(scratch)?;
        if at.weight > self.limits.frame {
            let (size, limit) = (at.weight, self.limits.frame);
            return Err(Mistake::TooLarge { what: "frame", size, limit }.into());
        }
        let given = event.given_id().map(Arc::from);
        let own_id = self.history.replay && given.is_none();
        tap.encoded(&scratch[at.start..at.id_at], &scratch[at.id_at..at.end], own_id)?;
        Ok(Draft { at, given })
    }

    /// A batch must fit into the history, or its own end would push out its beginning. A single
    /// event always fits.
    fn check_batch(&self, events: usize, bytes: usize) -> Result<(), InvalidEvent> {
        let bytes = bytes + events * ("id: \n".len() + OWN_ID_MAX);
        let History { events: most_events, bytes: most_bytes, .. } = self.history;
        if events > most_events {
            return Err(Mistake::Batch { limit: most_events, of: "events" }.into());
        }
        if events > 1 && bytes > most_bytes {
            return Err(Mistake::Batch { limit: most_bytes, of: "bytes" }.into());
        }
        Ok(())
    }

    /// Appends all drafts to the channel, contiguously, and wakes its readers.
    fn append(
        &self,
        to: Target<'_>,
        drafts: &[Draft],
        scratch: &[u8],
        now: u64,
        tap: &mut impl Tap,
    ) -> Result<Accepted, Refused> {
        self.sweep(now);
        if let Some(channel) = to.known().filter(|_| !drafts.is_empty()) {
            if let Some(accepted) = self.append_to(channel, drafts, scratch, now, tap) {
                return Ok(accepted);
            }
        }
        let name = to.name;
        self.check_name(name)?;
        if drafts.is_empty() {
            let closed = self.map.read().closed;
            return if closed { Err(Refused::Closed) } else { Ok(Accepted::default()) };
        }
        let count = drafts.len() as u64;
        loop {
            let Some(channel) = self.channel_to_publish(name)? else {
                // Nobody listens and nothing can be kept. A tombstone lets later clients know.
                let first =
                    self.pass_by(name, count, |seq| tap.numbered(|| self.sequence.id(seq)))?;
                let Some(first) = first else { continue };
                trace::trace!(
                    target: "eventstream::publish", channel = name, events = count, "nobody listens"
                );
                return Ok(Accepted { first, give_way: None });
            };
            if let Some(accepted) = self.append_to(&channel, drafts, scratch, now, tap) {
                to.remember(channel);
                return Ok(accepted);
            }
        }
    }

    /// Appends to this channel; `None` if it is no longer in the map.
    #[inline]
    fn append_to(
        &self,
        channel: &Arc<Channel>,
        drafts: &[Draft],
        scratch: &[u8],
        now: u64,
        tap: &mut impl Tap,
    ) -> Option<Accepted> {
        let mut state = channel.lock();
        if state.gone {
            return None;
        }
        let woken = state.wait.take(&channel.generation);
        let count = drafts.len() as u64;
        let first = self.sequence.draw(count);
        let mut bytes = 0;
        for (draft, seq) in drafts.iter().zip(first..) {
            let at = draft.at;
            let own_id = self.history.replay && draft.given.is_none();
            let frame = Frame {
                before_id: &scratch[at.start..at.id_at],
                own_id: own_id.then_some(self.sequence.epoch()),
                after_id: &scratch[at.id_at..at.end],
                given_id: draft.given.as_ref().filter(|_| self.history.replay),
            };
            bytes += state.log.append(seq, frame, now, &self.history);
            tap.numbered(|| self.sequence.id(seq));
        }
        let yields = state.should_yield(drafts.len(), bytes, &self.history);
        self.queue_aging(channel, &mut state);
        self.offer(channel, &mut state);
        drop(state);
        channel.wake(woken);
        trace::trace!(
            target: "eventstream::publish", channel = &*channel.name, events = count, "published"
        );
        Some(Accepted { first, give_way: yields.then(|| channel.clone()) })
    }

    fn check_name(&self, name: &str) -> Result<(), InvalidEvent> {
        if is_blank(name) {
            return Err(Mistake::EmptyChannel.into());
        }
        let limit = self.limits.channel_name;
        if name.len() > limit {
            let size = name.len();
            return Err(Mistake::TooLarge { what: "channel name", size, limit }.into());
        }
        Ok(())
    }

    /// The channel to append to, made if there is none. `None` where nothing is to be kept.
    fn channel_to_publish(&self, name: &str) -> Result<Option<Arc<Channel>>, Refused> {
        {
            let map = self.map.read();
            if map.closed {
                return Err(Refused::Closed);
            }
            if let Some(channel) = map.channels.get(name) {
                return Ok(Some(channel.clone()));
            }
        }
        if !self.history.replay {
            return Ok(None);
        }
        let mut map = self.open_map()?;
        Ok(self.get_or_create(&mut map, name))
    }

    /// Numbers events of a channel that is not in the map and cannot be made; `None` if it is there
    /// by now.
    fn pass_by(
        &self,
        name: &str,
        count: u64,
        numbered: impl FnMut(u64),
    ) -> Result<Option<u64>, Refused> {
        let mut map = self.open_map()?;
        if map.channels.contains_key(name) {
            return Ok(None);
        }
        let first = self.sequence.draw(count);
        if self.history.replay {
            map.tombstones.remember(name, first + count - 1);
        }
        (first..first + count).for_each(numbered);
        Ok(Some(first))
    }

    fn open_map(&self) -> Result<RwLockWriteGuard<'_, Map>, Refused> {
        let map = self.map.write();
        if map.closed {
            return Err(Refused::Closed);
        }
        Ok(map)
    }
}

/// Whether a channel's name is empty or only white space.
pub(crate) fn is_blank(name: &str) -> bool {
    // Nearly all names begin with a visible ASCII character, which decides at once.
    !name.as_bytes().first().is_some_and(u8::is_ascii_graphic) && name.trim().is_empty()
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that the publications of this thread use in turn. A waker that publishes gets another.
struct Scratch(Vec<u8>);

impl Scratch {
    fn take() -> Self {
        let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        Self(buffer)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.capacity() <= 64 << 10 {
            // A thread that is ending has no place to put it back.
            let _ = SCRATCH.try_with(|cell| cell.set(std::mem::take(&mut self.0)));
        }
    }
}
