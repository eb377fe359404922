//! A subscription as the hub sees it: a cursor over one channel, or over several (its legs).

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::stream::{FusedStream, Stream};

use super::channel::{Channel, Closed, Unread};
use super::log::Collected;
use super::ready::{Parked, Ready, ReadyLeg};
use super::wait_list::{Ticket, WakerId};
use super::Hub;
use crate::event::EventId;
use crate::sync::{Arc, Ordering};
use crate::trace;

/// Where one subscription is, and how it goes on. Its items are whole frames.
pub(crate) struct Cursor {
    hub: Arc<Hub>,
    /// Everything at or below this seq was handed out, or told of.
    at: u64,
    legs: Legs,
}

enum Legs {
    /// With the waker that it left on the channel's list.
    One(Leg, WakerId),
    Many(Box<Many>),
    Ended,
}

struct Leg {
    channel: Arc<Channel>,
    ticket: Ticket,
    told: Told,
    untold: Untold,
}

/// The floor up to which a client was told of gaps.
#[derive(Default)]
struct Told(u64);

/// What the client is still to be told of where it started.
#[derive(Clone, Copy, PartialEq)]
enum Untold {
    Nothing,
    /// The position is older than what is kept.
    Evicted,
    /// The id names no place: so it is with all legs.
    Unknown,
}

struct Many {
    legs: Box<[Leg]>,
    ready: Arc<Ready>,
    /// Legs to look at: any other is on its channel's wait list, or marked ready, or has ended.
    pending: Vec<u32>,
    /// Legs whose channel was closed and read to its end.
    ended: usize,
    /// A channel was closed by itself: the stream ends behind this seq.
    end: Option<u64>,
}

/// Channels with a gap, by the reason to give.
#[derive(Default)]
struct Gaps {
    evicted: Vec<Arc<str>>,
    lagged: Vec<Arc<str>>,
}

impl Cursor {
    pub(super) fn new(hub: Arc<Hub>, channels: Vec<Arc<Channel>>, position: Option<u64>) -> Self {
        let at = position.unwrap_or_else(|| hub.clock());
        let mut legs: Vec<_> = channels
            .into_iter()
            .map(|channel| {
                let untold = match position {
                    None => Untold::Unknown,
                    Some(_) if channel.lock().log.floor() > at => Untold::Evicted,
                    Some(_) => Untold::Nothing,
                };
                Leg { channel, ticket: Ticket::default(), told: Told::default(), untold }
            })
            .collect();
        let legs = match legs.pop() {
            Some(leg) if legs.is_empty() => Legs::One(leg, WakerId::default()),
            last => {
                legs.extend(last);
                Legs::Many(Box::new(Many {
                    ready: Arc::default(),
                    pending: (0..legs.len() as u32).collect(),
                    legs: legs.into(),
                    ended: 0,
                    end: None,
                }))
            }
        };
        Self { hub, at, legs }
    }

    pub(super) fn ended(hub: Arc<Hub>) -> Self {
        let at = hub.clock();
        Self { hub, at, legs: Legs::Ended }
    }

    pub(crate) fn last_event_id(&self) -> EventId {
        EventId::own(self.hub.epoch, self.at)
    }

    /// The id for the first frame of a body: never past an event or a reset that is not yet handed
    /// out.
    pub(crate) fn open_id(&self) -> Option<EventId> {
        (self.hub.history.replay && !self.legs.are_unknown()).then(|| self.last_event_id())
    }

    fn poll_one(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Legs::One(leg, armed) = &mut self.legs else { return Poll::Ready(None) };
        // The list, which holds this waker, was not taken since: there is nothing new. Only its
        // generation can tell.
        let waker_id = WakerId::of(cx.waker());
        if leg.ticket.is_good(leg.channel.generation.load(Ordering::Acquire)) && *armed == waker_id
        {
            return Poll::Pending;
        }
        // Cloned with no lock held. It is needed but where something is left to read after this.
        let waker = cx.waker().clone();
        let mut state = leg.channel.lock();
        if leg.told.gap(self.at, state.log.floor()) {
            drop(state);
            return Poll::Ready(Some(self.reset_and_read()));
        }
        let readers = state.subscribers;
        let answer = state.log.read(self.at, self.hub.limits.item, readers);
        let ended = state.closed.is_some();
        // Armed at once, so that the poll after this one needs no lock: but never while something
        // is left.
        let mut unused = Some(waker);
        if !ended && answer.as_ref().is_none_or(|answer| answer.last == state.log.tail()) {
            *armed = waker_id;
            unused = unused.and_then(|waker| state.wait.arm_task(&mut leg.ticket, waker));
        }
        let Some(answer) = answer else {
            drop(state);
            drop(unused);
            return if ended { Poll::Ready(None) } else { Poll::Pending };
        };
        state.count_delivered(answer.events, &self.hub);
        drop(state);
        drop(unused);
        self.at = answer.last;
        Poll::Ready(Some(answer.bytes))
    }

    /// The reset for the gap of a single leg, and what is left behind it.
    #[cold]
    fn reset_and_read(&mut self) -> Bytes {
        let Legs::One(leg, _) = &mut self.legs else { return Bytes::new() };
        let mut gaps = Gaps::default();
        gaps.add(leg);
        let mut item = self.hub.resets(self.at, &gaps);
        let mut state = leg.channel.lock();
        // Nobody else is where this one is.
        if let Some(answer) = state.log.read(self.at, self.hub.limits.item, 1) {
            state.count_delivered(answer.events, &self.hub);
            item.extend_from_slice(&answer.bytes);
            self.at = answer.last;
        }
        item.into()
    }

    /// The reset for a position that is not known.
    #[cold]
    fn unknown(&mut self) -> Bytes {
        let names: Vec<_> = self.legs.iter().map(|leg| leg.channel.name.clone()).collect();
        let mut frame = Vec::new();
        self.hub.write_reset(&mut frame, self.at, &names, "unknown");
        self.legs.iter_mut().for_each(|leg| leg.untold = Untold::Nothing);
        frame.into()
    }

    fn poll_many(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Self { hub, at, legs: Legs::Many(many), .. } = self else { return Poll::Ready(None) };
        let mut waker: Option<Waker> = None;
        loop {
            if many.ended == many.legs.len() || many.end.is_some_and(|end| *at >= end) {
                return Poll::Ready(None);
            }
            // The clock first, the marks after it: see `ready`.
            let cut = hub.clock();
            many.ready.take_legs(&mut many.pending);
            if many.pending.is_empty() && many.end.is_none() {
                match many.ready.park(waker.take().unwrap_or_else(|| cx.waker().clone())) {
                    Parked::Asleep(replaced) => {
                        drop(replaced);
                        return Poll::Pending;
                    }
                    Parked::Marked(unused) => waker = Some(unused),
                }
                continue;
            }
            let item = with_collected(|collected| many.collect(hub, at, cut, collected));
            if item.is_some() {
                return Poll::Ready(item);
            }
        }
    }

    fn release(&mut self) {
        let hub = &self.hub;
        match std::mem::replace(&mut self.legs, Legs::Ended) {
            Legs::Ended => return,
            Legs::One(leg, _) => {
                let mut state = leg.channel.lock();
                let waker = state.wait.disarm_task(leg.ticket);
                hub.leave(&leg.channel, state);
                drop(waker);
            }
            Legs::Many(many) => {
                for leg in &many.legs {
                    let mut state = leg.channel.lock();
                    let mark = state.wait.disarm_leg(leg.ticket);
                    hub.leave(&leg.channel, state);
                    drop(mark);
                }
                drop(many.ready.unpark());
            }
        }
        hub.subscriptions.fetch_sub(1, Ordering::Relaxed);
        trace::debug!(target: "eventstream::close", at = %self.last_event_id(), "subscription ended");
    }
}

impl Told {
    /// Whether events are missing that were not told of yet; takes note of it.
    fn gap(&mut self, cursor: u64, floor: u64) -> bool {
        let missing = cursor.max(self.0) < floor;
        if missing {
            self.0 = floor;
        }
        missing
    }
}

impl Gaps {
    fn add(&mut self, leg: &mut Leg) {
        let untold = std::mem::replace(&mut leg.untold, Untold::Nothing);
        let names = if untold == Untold::Evicted { &mut self.evicted } else { &mut self.lagged };
        names.push(leg.channel.name.clone());
    }
}

impl Many {
    /// Looks at the pending legs, and makes an item of what they have up to `cut`, and of resets
    /// that are due.
    fn collect(
        &mut self,
        hub: &Hub,
        cursor: &mut u64,
        cut: u64,
        out: &mut Collected,
    ) -> Option<Bytes> {
        let mut visited = std::mem::take(&mut self.pending);
        let cap = hub.limits.item;
        let mut missing = Vec::new();
        let mut whole = None;
        let mut ended = 0;
        // No frame behind this seq may be handed out now: a leg has more before it.
        let mut limit = u64::MAX;
        for &index in &visited {
            let leg = &mut self.legs[index as usize];
            let mut state = leg.channel.lock();
            state.unread = Unread::default();
            if leg.told.gap(*cursor, state.log.floor()) {
                missing.push(index);
            }
            // What other readers got too is shared, where nothing of another leg can come between.
            if visited.len() == 1
                && self.end.is_none()
                && state.closed.is_none()
                && state.log.tail() <= cut
            {
                let readers = state.subscribers;
                whole = state.log.read(*cursor, cap, readers);
                limit = whole
                    .as_ref()
                    .filter(|whole| whole.last < state.log.tail())
                    .map_or(limit, |whole| whole.last);
            } else if let Some(before) = state.log.collect(*cursor, cut, cap, out) {
                limit = limit.min(before);
            }
            if let Some(Closed::Channel(end)) = state.closed {
                self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
            }
            if state.log.tail() > cut {
                self.pending.push(index);
            } else if state.closed.is_some() {
                ended += 1;
            } else {
                state
                    .wait
                    .arm_leg(&mut leg.ticket, ReadyLeg { ready: self.ready.clone(), leg: index });
            }
        }
        if self.end.is_some_and(|end| *cursor >= end) {
            // What came or went behind the end does not matter any more.
            return None;
        }
        let end = self.end.unwrap_or(u64::MAX);
        let mut gaps = Gaps::default();
        missing.iter().for_each(|&index| gaps.add(&mut self.legs[index as usize]));
        let head = hub.resets(*cursor, &gaps);
        let (events, item) = match whole {
            Some(answer) if head.is_empty() => (answer.events, answer.bytes),
            Some(answer) => (answer.events, [&head[..], &answer.bytes].concat().into()),
            None => {
                out.frames.retain(|&(seq, ..)| seq <= end);
                let (events, last) = out.cut(limit, cap);
                if events > 0 && (limit < end.min(cut) || events < out.frames.len()) {
                    limit = last;
                }
                (events as u64, out.join(events, head).into())
            }
        };
        if limit == u64::MAX {
            // Not past the end: what comes behind it is for who subscribes again from here.
            *cursor = cut.min(end).max(*cursor);
            self.ended += ended;
            visited.clear();
            visited.append(&mut self.pending);
        } else {
            *cursor = limit.min(end);
        }
        self.pending = visited;
        hub.delivered.fetch_add(events, Ordering::Relaxed);
        (!item.is_empty()).then_some(item)
    }
}

impl Collected {
    /// Sorts the frames by seq. How many of them make the next item, and the seq of the last of
    /// those.
    fn cut(&mut self, limit: u64, cap: usize) -> (usize, u64) {
        self.frames.sort_unstable();
        let (mut count, mut size, mut last) = (0, 0, 0);
        for &(seq, from, to) in &self.frames {
            size += to - from;
            if seq > limit || (size > cap && count > 0) {
                break;
            }
            count += 1;
            last = seq;
        }
        (count, last)
    }

    /// The first `count` frames in order, behind `head`.
    fn join(&self, count: usize, mut head: Vec<u8>) -> Vec<u8> {
        let frames = &self.frames[..count];
        head.reserve_exact(frames.iter().map(|&(_, from, to)| to - from).sum());
        for &(_, from, to) in frames {
            head.extend_from_slice(&self.bytes[from..to]);
        }
        head
    }
}

impl Hub {
    /// The `stream-reset` for a client whose position is not known, as of now.
    #[cfg(feature = "grip")]
    pub(crate) fn unknown_reset(&self, names: &[impl AsRef<str>]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.write_reset(&mut frame, self.clock(), names, "unknown");
        frame
    }

    /// The `stream-reset` frames for these gaps, at this place.
    fn resets(&self, cursor: u64, gaps: &Gaps) -> Vec<u8> {
        let mut frames = Vec::new();
        for (reason, names) in [("evicted", &gaps.evicted), ("lagged", &gaps.lagged)] {
            if !names.is_empty() {
                self.write_reset(&mut frames, cursor, names, reason);
            }
        }
        frames
    }

    fn write_reset(&self, out: &mut Vec<u8>, cursor: u64, names: &[impl AsRef<str>], reason: &str) {
        self.resets.fetch_add(1, Ordering::Relaxed);
        if self.history.replay {
            out.extend_from_slice(format!("id: {}\n", EventId::own(self.epoch, cursor)).as_bytes());
        }
        // JSON escapes line breaks, so a channel's name cannot forge a field.
        let channels = serde_json::Value::from_iter(names.iter().map(AsRef::as_ref));
        trace::debug!(target: "eventstream::reset", %channels, reason, "reset");
        let data = format!("{{\"channels\":{channels},\"reason\":\"{reason}\"}}");
        out.extend_from_slice(format!("event: stream-reset\ndata: {data}\n\n").as_bytes());
    }
}

impl Stream for Cursor {
    type Item = Bytes;

    /// - `Pending`: nothing new; the task is woken when there is, or when a channel was closed.
    /// - `Ready(Some(item))`: whole frames, at least one.
    /// - `Ready(None)`: the end; polling again gives the same.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if this.legs.are_unknown() {
            return Poll::Ready(Some(this.unknown()));
        }
        let polled = match this.legs {
            Legs::One(..) => this.poll_one(cx),
            Legs::Many(_) => this.poll_many(cx),
            Legs::Ended => Poll::Ready(None),
        };
        if let Poll::Ready(None) = polled {
            this.release();
        }
        polled
    }
}

impl FusedStream for Cursor {
    fn is_terminated(&self) -> bool {
        matches!(self.legs, Legs::Ended)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels: Vec<_> = self.legs.iter().map(|leg| &leg.channel.name).collect();
        f.debug_struct("Cursor")
            .field("channels", &channels)
            .field("at", &self.last_event_id())
            .finish()
    }
}

impl Legs {
    /// Whether the client is still to be told so.
    fn are_unknown(&self) -> bool {
        self.iter().next().is_some_and(|leg| leg.untold == Untold::Unknown)
    }

    fn iter(&self) -> std::slice::Iter<'_, Leg> {
        match self {
            Self::One(leg, _) => std::slice::from_ref(leg).iter(),
            Self::Many(many) => many.legs.iter(),
            Self::Ended => [].iter(),
        }
    }

    fn iter_mut(&mut self) -> std::slice::IterMut<'_, Leg> {
        match self {
            Self::One(leg, _) => std::slice::from_mut(leg).iter_mut(),
            Self::Many(many) => many.legs.iter_mut(),
            Self::Ended => [].iter_mut(),
        }
    }
}

thread_local! {
    static COLLECTED: Cell<Collected> = Cell::default();
}

/// Lends buffers that are reused by the readers of this thread.
fn with_collected<T>(f: impl FnOnce(&mut Collected) -> T) -> T {
    let mut collected = COLLECTED.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut collected);
    if collected.bytes.capacity() <= 256 << 10 {
        collected.bytes.clear();
        collected.frames.clear();
        // On a thread that is ending there is nowhere to put them back.
        let _ = COLLECTED.try_with(|cell| cell.set(collected));
    }
    result
}
