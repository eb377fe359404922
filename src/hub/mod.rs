//! The hub: a channel is a log, a subscription is a cursor.
//!
//! One clock numbers all events of all channels. A publisher draws the seq while it holds the
//! channel's lock, so whatever is at or below a reading of the clock is in its log once that log's
//! lock is obtained: one `u64` is an exact position in any set of channels.
//!
//! No clock of its own, no task, no HTTP in here: the time is an argument.
//!
//! Locks are taken in this order: map, channel, then either the idle queue or a reader's marks. No
//! code of a user (wakers and their drops) runs under any of them.

mod channel;
mod collection;
mod cursor;
mod error;
mod floors;
mod limits;
mod log;
mod ready;
mod wait_list;

use std::cell::Cell;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use crate::event::{Encoded, Epoch, Event, EventId, InvalidEvent, Mistake, Place, OWN_ID_MAX};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};
use crate::trace;

pub(crate) use channel::Channel;
use channel::Closed;
use collection::Idle;
pub(crate) use cursor::Cursor;
pub(crate) use error::Refused;
pub use error::SubscribeError;
use floors::Floors;
pub use limits::{History, Limits};
use log::{Found, Frame};
pub(crate) use wait_list::{Ticket, WaitList, WakerId, FIRST_GENERATION};

#[derive(Debug)]
pub(crate) struct Hub {
    epoch: Epoch,
    history: History,
    limits: Limits,
    /// When it was made; times are nanoseconds since.
    born: Instant,
    /// Seq of the newest event of all. What is kept in a channel is numbered under that channel's
    /// lock.
    clock: AtomicU64,
    map: RwLock<Map>,
    idle: Mutex<BinaryHeap<Idle>>,
    /// When the first of the idle channels may be due, for a look without the lock.
    next_due: AtomicU64,
    subscriptions: AtomicUsize,
    /// Events handed out that no channel counts.
    delivered: AtomicU64,
    resets: AtomicU64,
}

#[derive(Debug, Default)]
struct Map {
    channels: HashMap<Arc<str>, Arc<Channel>>,
    floors: Floors,
    closed: bool,
}

/// Where a new subscription starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Now,
    After(&'a str),
    /// Behind an id that cannot even be read.
    Unknown,
}

/// The channel to publish to: its name, and where it is kept once it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'a> {
    name: &'a str,
    found: Option<&'a FoundChannel>,
}

impl<'a> To<'a> {
    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, found: None }
    }

    /// What `found` holds was found by this name.
    pub(crate) fn found(name: &'a str, found: &'a FoundChannel) -> Self {
        Self { name, found: Some(found) }
    }

    #[cfg(feature = "grip")]
    pub(crate) fn name(self) -> &'a str {
        self.name
    }

    fn known(self) -> Option<&'a Arc<Channel>> {
        self.found?.get()
    }

    fn remember(self, channel: Arc<Channel>) {
        if let Some(found) = self.found {
            // Another thread may have been first, with the same.
            let _ = found.set(channel);
        }
    }
}

/// A channel that a publisher has found before. If it went in the meantime (expired, closed, or
/// without history its last reader left), this publisher looks its name up from then on, as those
/// do that have none.
pub(crate) type FoundChannel = std::sync::OnceLock<Arc<Channel>>;

/// What became of a publication.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Seq of the first event: those of a batch follow it.
    pub(crate) first: u64,
    /// The channel whose readers the publisher should now give way to.
    pub(crate) give_way: Option<Arc<Channel>>,
}

/// A frame in the publisher's scratch buffer.
struct Draft {
    at: Encoded,
    given: Option<Arc<str>>,
}

/// Sees what is published, on its way into a channel.
pub(crate) trait Tap {
    /// A frame was encoded; `own_id` says that a line `id: <epoch>-<seq>` will stand between its
    /// parts. No lock is held, and an error refuses the whole publication.
    fn encoded(
        &mut self,
        before_id: &[u8],
        after_id: &[u8],
        own_id: bool,
    ) -> Result<(), InvalidEvent>;

    /// The next of the frames has got its number. A lock is held: events of one channel are
    /// numbered in the order of these calls. It must not wake anybody. Its id is made where it is
    /// wanted.
    fn numbered(&mut self, id: impl FnOnce() -> EventId);
}

impl Tap for () {
    fn encoded(&mut self, _: &[u8], _: &[u8], _: bool) -> Result<(), InvalidEvent> {
        Ok(())
    }

    fn numbered(&mut self, _: impl FnOnce() -> EventId) {}
}

impl Hub {
    pub(crate) fn new(history: History, limits: Limits, now: Instant) -> Self {
        Self {
            epoch: Epoch::random(),
            history,
            limits,
            born: now,
            clock: AtomicU64::new(0),
            map: RwLock::default(),
            idle: Mutex::default(),
            next_due: AtomicU64::new(u64::MAX),
            subscriptions: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn publish(
        &self,
        to: To<'_>,
        event: &Event,
        now: Instant,
        tap: &mut impl Tap,
    ) -> Result<Accepted, Refused> {
        let mut scratch = Scratch::take();
        let draft = self.encode(event, &mut scratch.0, tap)?;
        self.append(to, &[draft], &scratch.0, now, tap)
    }

    /// Also gives the ids.
    pub(crate) fn publish_all(
        &self,
        to: To<'_>,
        events: impl IntoIterator<Item = Event>,
        now: Instant,
        tap: &mut impl Tap,
    ) -> Result<(Accepted, Vec<EventId>), Refused> {
        let mut scratch = Scratch::take();
        let mut drafts = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            drafts.push(
                self.encode(&event, &mut scratch.0, tap).map_err(|invalid| invalid.at(index))?,
            );
            self.check_batch(drafts.len(), scratch.0.len())?;
        }
        let accepted = self.append(to, &drafts, &scratch.0, now, tap)?;
        let ids = drafts
            .into_iter()
            .zip(accepted.first..)
            .map(|(draft, seq)| self.id(draft.given, seq))
            .collect();
        Ok((accepted, ids))
    }

    /// The id of an event that was published as this seq.
    pub(crate) fn id_of(&self, event: &Event, seq: u64) -> EventId {
        self.id(event.given_id().map(Arc::from), seq)
    }

    fn id(&self, given: Option<Arc<str>>, seq: u64) -> EventId {
        given.map_or_else(|| EventId::own(self.epoch, seq), EventId::given)
    }

    fn encode(
        &self,
        event: &Event,
        scratch: &mut Vec<u8>,
        tap: &mut impl Tap,
    ) -> Result<Draft, InvalidEvent> {
        let at = event.encode_into(scratch)?;
        if at.weight > self.limits.frame {
            return Err(Mistake::Frame { size: at.weight, limit: self.limits.frame }.into());
        }
        let given = event.given_id().map(Arc::from);
        let own_id = self.history.replay && given.is_none();
        tap.encoded(&scratch[at.start..at.id_at], &scratch[at.id_at..at.end], own_id)?;
        Ok(Draft { at, given })
    }

    /// A batch must fit what a channel keeps, or its own end would push out its beginning. A single
    /// event always does.
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
        to: To<'_>,
        drafts: &[Draft],
        scratch: &[u8],
        now: Instant,
        tap: &mut impl Tap,
    ) -> Result<Accepted, Refused> {
        let now = self.nanos(now);
        self.sweep(now);
        if let Some(channel) = to.known().filter(|_| !drafts.is_empty()) {
            if let Some(accepted) = self.append_to(channel, drafts, scratch, now, tap) {
                return Ok(accepted);
            }
        }
        let name = to.name;
        self.check_name(name)?;
        if drafts.is_empty() {
            return if self.map.read().closed {
                Err(Refused::Closed)
            } else {
                Ok(Accepted::default())
            };
        }
        let count = drafts.len() as u64;
        loop {
            let Some(channel) = self.channel_to_publish(name)? else {
                // Nobody listens and nothing can be kept: the floor tells who comes later.
                let first = self
                    .pass_by(name, count, |seq| tap.numbered(|| EventId::own(self.epoch, seq)))?;
                let Some(first) = first else { continue };
                trace::trace!(target: "eventstream::publish", channel = name, events = count, "nobody listens");
                return Ok(Accepted { first, give_way: None });
            };
            if let Some(accepted) = self.append_to(&channel, drafts, scratch, now, tap) {
                to.remember(channel);
                return Ok(accepted);
            }
        }
    }

    /// Appends to this channel; `None` if it is gone.
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
        let first = self.clock.fetch_add(count, Ordering::AcqRel) + 1;
        let mut bytes = 0;
        for (draft, seq) in drafts.iter().zip(first..) {
            let at = draft.at;
            let frame = Frame {
                before_id: &scratch[at.start..at.id_at],
                own_id: (self.history.replay && draft.given.is_none()).then_some(self.epoch),
                after_id: &scratch[at.id_at..at.end],
                given_id: draft.given.as_ref().filter(|_| self.history.replay),
            };
            bytes += state.log.append(seq, frame, now, &self.history);
            tap.numbered(|| EventId::own(self.epoch, seq));
        }
        let yields = state.should_yield(drafts.len(), bytes, &self.history);
        if state.subscribers == 0 {
            self.queue_idle(channel, &mut state);
        }
        drop(state);
        channel.wake(woken);
        trace::trace!(target: "eventstream::publish", channel = &*channel.name, events = count, "published");
        Some(Accepted { first, give_way: yields.then(|| channel.clone()) })
    }

    fn check_name(&self, name: &str) -> Result<(), InvalidEvent> {
        if is_blank(name) {
            return Err(Mistake::BlankChannel.into());
        }
        let limit = self.limits.channel_name;
        if name.len() > limit {
            return Err(Mistake::LongChannel { size: name.len(), limit }.into());
        }
        Ok(())
    }

    /// The channel to append to, made if need be; `None` where nothing is to be kept.
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
        let mut map = self.map.write();
        if map.closed {
            return Err(Refused::Closed);
        }
        Ok(self.get_or_create(&mut map, name))
    }

    /// Numbers events of a channel that is not there and cannot be made; `None` if by now it is
    /// there.
    fn pass_by(
        &self,
        name: &str,
        count: u64,
        numbered: impl FnMut(u64),
    ) -> Result<Option<u64>, Refused> {
        let mut map = self.map.write();
        if map.closed {
            return Err(Refused::Closed);
        }
        if map.channels.contains_key(name) {
            return Ok(None);
        }
        let first = self.clock.fetch_add(count, Ordering::AcqRel) + 1;
        if self.history.replay {
            map.floors.remember(&name.into(), first + count - 1);
        }
        (first..first + count).for_each(numbered);
        Ok(Some(first))
    }

    fn get_or_create(&self, map: &mut Map, name: &str) -> Option<Arc<Channel>> {
        if let Some(channel) = map.channels.get(name) {
            return Some(channel.clone());
        }
        while map.channels.len() >= self.limits.hub_channels {
            let Idle { channel, .. } = self.idle.lock().pop()?;
            let mut state = channel.lock();
            state.queued = false;
            if state.subscribers == 0 && !state.gone {
                self.collect(map, &channel, &mut state);
            }
        }
        let name: Arc<str> = name.into();
        let channel = Arc::new(Channel::new(name.clone(), map.floors.recall(&name)));
        map.channels.insert(name, channel.clone());
        Some(channel)
    }

    /// A subscription to these channels, which must differ from each other.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        names: &[impl AsRef<str>],
        start: Start<'_>,
        now: Instant,
    ) -> Result<Cursor, SubscribeError> {
        let now = self.nanos(now);
        self.check_names(names)?;
        self.sweep(now);
        if !self.has_room_for(names) {
            return Err(SubscribeError::Full);
        }
        let room = |count: usize| (count < self.limits.subscriptions).then_some(count + 1);
        if self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(if self.map.read().closed {
                SubscribeError::Closed
            } else {
                SubscribeError::Full
            });
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
        let position =
            if self.history.replay { self.position(&channels, start) } else { Some(self.clock()) };
        Ok(Cursor::new(self.clone(), channels, position))
    }

    /// Whether these channels may be subscribed to.
    pub(crate) fn check_names(&self, names: &[impl AsRef<str>]) -> Result<(), SubscribeError> {
        if names.is_empty() {
            return Err(SubscribeError::NoChannels);
        }
        if names.len() > self.limits.channels {
            return Err(SubscribeError::TooManyChannels {
                channels: names.len(),
                limit: self.limits.channels,
            });
        }
        let limit = self.limits.channel_name;
        if let Some(long) = names.iter().map(AsRef::as_ref).find(|name| name.len() > limit) {
            return Err(SubscribeError::ChannelName { size: long.len(), limit });
        }
        Ok(())
    }

    /// Whether these channels are there or can be made. Asked first, so that what will be refused
    /// costs no idle channel its events.
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

    /// A subscription that has ended.
    pub(crate) fn ended(self: &Arc<Self>) -> Cursor {
        Cursor::ended(self.clone())
    }

    /// The seq to start behind; `None` if the id names no place. All channels have been joined, so
    /// none is collected.
    fn position(&self, channels: &[Arc<Channel>], start: Start<'_>) -> Option<u64> {
        let id = match start {
            Start::Now => return Some(self.clock()),
            Start::Unknown => return None,
            Start::After(id) => id,
        };
        match self.epoch.place(id) {
            Place::Seq(seq) => (seq <= self.clock()).then_some(seq),
            Place::Foreign => None,
            Place::Given(id) => {
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

    /// Ends the channel's streams after what is kept, and frees it.
    pub(crate) fn close_channel(&self, name: &str) {
        let mut map = self.map.write();
        let Some(channel) = map.channels.get(name).cloned() else { return };
        let mut state = channel.lock();
        self.collect(&mut map, &channel, &mut state);
        let woken = state.close(Closed::Channel(self.clock()), &channel.generation);
        drop(state);
        drop(map);
        channel.wake(woken);
        trace::debug!(target: "eventstream::close", channel = name, "channel closed");
    }

    /// Refuses new work; streams end by themselves when they have handed out what is left.
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
        self.idle.lock().clear();
        trace::debug!(target: "eventstream::close", "closed");
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.map.read().closed
    }

    pub(crate) fn stats(&self, now: Instant) -> Counts {
        let now = self.nanos(now);
        while self.next_due.load(Ordering::Relaxed) <= now && self.sweep_one(now) {}
        let channels: Vec<_> = self.map.read().channels.values().cloned().collect();
        let (mut delivered, mut retained_bytes) = (self.delivered.load(Ordering::Relaxed), 0);
        for channel in &channels {
            let mut state = channel.lock();
            state.log.expire(now, &self.history);
            retained_bytes += state.log.bytes();
            if !state.gone {
                delivered += state.delivered;
            }
        }
        Counts {
            subscriptions: self.subscriptions.load(Ordering::Relaxed) as u64,
            channels: channels.len() as u64,
            published: self.clock(),
            delivered,
            resets: self.resets.load(Ordering::Relaxed),
            retained_bytes,
        }
    }

    /// The id of the newest event of all.
    #[cfg(feature = "grip")]
    pub(crate) fn newest_id(&self) -> EventId {
        EventId::own(self.epoch, self.clock())
    }

    /// Whether there is a history to come back to.
    #[cfg(feature = "grip")]
    pub(crate) fn replays(&self) -> bool {
        self.history.replay
    }

    fn clock(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.born);
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    }
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

/// A channel's name must have something in it.
pub(crate) fn is_blank(name: &str) -> bool {
    // Most begin with something visible.
    !name.as_bytes().first().is_some_and(u8::is_ascii_graphic) && name.trim().is_empty()
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that is reused by the publications of this thread. A waker that publishes gets another
/// one.
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
            // On a thread that is ending there is nowhere to put it back.
            let _ = SCRATCH.try_with(|cell| cell.set(std::mem::take(&mut self.0)));
        }
    }
}
