//! A cursor over several channels: their frames merged in the order of their seqs.

use std::cell::Cell;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::catch_up::CatchUp;
use super::reset::Gaps;
use super::{Cursor, Leg, Legs};
use crate::hub::channel::{Closed, Unread};
use crate::hub::log::Collected;
use crate::hub::Hub;
use crate::sync::{Arc, Ordering};
use crate::wake::{Park, ReadyLeg, ReadySet};

/// The legs of a cursor over several channels, and which of them have something.
pub(super) struct Merge {
    pub(super) legs: Box<[Leg]>,
    ready: Arc<ReadySet>,
    /// Legs to look at, in order. Each other leg is on its channel's wait list, or marked ready, or
    /// ended.
    pending: Vec<u32>,
    /// Legs whose channel was closed and read to its end.
    ended: usize,
    /// The seq after which the stream ends because one of its channels was closed alone, or
    /// `u64::MAX`.
    end: u64,
    /// Set while the legs have more than one item.
    behind: Option<Box<CatchUp>>,
}

impl Cursor {
    pub(super) fn poll_many(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Self { hub, at, legs: Legs::Many(merge), .. } = self else { return Poll::Ready(None) };
        let mut waker: Option<Waker> = None;
        loop {
            if merge.ended == merge.legs.len() || *at >= merge.end {
                return Poll::Ready(None);
            }
            // The number first, the marks after it: see `wake::ReadySet`.
            let cut = hub.sequence.newest();
            merge.ready.take_legs(&mut merge.pending);
            if merge.pending.is_empty() && merge.behind.is_none() && merge.end == u64::MAX {
                match merge.ready.park(waker.take().unwrap_or_else(|| cx.waker().clone())) {
                    Park::Asleep(replaced) => {
                        drop(replaced);
                        return Poll::Pending;
                    }
                    Park::Marked(unused) => waker = Some(unused),
                }
                continue;
            }
            let item = with_collected(|collected| merge.collect(hub, at, cut, collected));
            if item.is_some() {
                return Poll::Ready(item);
            }
        }
    }
}

impl Merge {
    pub(super) fn new(legs: Vec<Leg>) -> Self {
        Self {
            ready: Arc::default(),
            pending: (0..legs.len() as u32).collect(),
            legs: legs.into(),
            ended: 0,
            end: u64::MAX,
            behind: None,
        }
    }

    /// Takes all legs off their channels.
    pub(super) fn release(self, hub: &Hub) {
        for leg in &self.legs {
            let mut state = leg.channel.lock();
            let mark = state.wait.disarm_leg(leg.ticket);
            hub.leave(&leg.channel, state);
            drop(mark);
        }
        drop(self.ready.unpark());
    }

    /// Looks at the pending legs, and makes one item of their frames up to `cut` and of the resets
    /// that are due.
    fn collect(
        &mut self,
        hub: &Hub,
        cursor: &mut u64,
        cut: u64,
        out: &mut Collected,
    ) -> Option<Bytes> {
        let mut visited = std::mem::take(&mut self.pending);
        if let Some(behind) = &mut self.behind {
            behind.leave_to(&mut visited, hub);
        }
        let cap = hub.limits.item;
        // Each leg may copy its share of an item. If one has more, the cursor is behind.
        let budget = (cap / visited.len().max(1)).max(1);
        let mut fits = self.behind.is_none();
        let alone = fits && visited.len() == 1 && self.end == u64::MAX;
        let mut missing = Vec::new();
        let mut whole = None;
        let mut ended = 0;
        // The seq after which more is left up to the cut.
        let mut last = u64::MAX;
        for &index in &visited {
            let leg = &mut self.legs[index as usize];
            let mut state = leg.channel.lock();
            state.unread = Unread::default();
            if leg.announced.is_gap(*cursor, state.log.floor()) {
                missing.push(index);
            }
            let tail = state.log.tail();
            // Where no frame of another leg can come between, the bytes are shared with other
            // readers.
            if alone && state.closed.is_none() && tail <= cut {
                let readers = state.subscribers;
                whole = state.log.read(*cursor, cap, readers);
                if let Some(whole) = &whole {
                    if whole.last < tail {
                        last = whole.last;
                    }
                }
            } else if fits {
                fits = state.log.collect(*cursor, cut, budget, out);
            }
            if let Some(Closed::Channel(end)) = state.closed {
                self.end = self.end.min(end);
            }
            if tail > cut {
                self.pending.push(index);
            } else if state.closed.is_some() {
                ended += 1;
            } else {
                let ready = || ReadyLeg { set: self.ready.clone(), leg: index };
                state.wait.arm_leg(&mut leg.ticket, ready);
            }
        }
        if *cursor >= self.end {
            // Nothing that came or went after the end matters.
            return None;
        }
        let due = cut.min(self.end);
        let mut gaps = Gaps::default();
        missing.iter().for_each(|&index| gaps.add(&mut self.legs[index as usize]));
        let head = hub.resets(*cursor, &gaps);
        let (events, item) = match whole {
            Some(answer) if head.is_empty() => (answer.events, answer.bytes),
            Some(answer) => (answer.events, [&head[..], &answer.bytes].concat().into()),
            None if fits => {
                let count = out.sort_and_cut(due);
                (count as u64, out.join(count, head).into())
            }
            None => {
                let behind = self.behind.get_or_insert_with(|| CatchUp::new(hub));
                behind.add(&visited, *cursor);
                let caught_up = behind.catch_up(&self.legs, *cursor, due, cap, head);
                // These are not armed.
                visited.retain(|&leg| self.legs[leg as usize].channel.lock().closed.is_some());
                visited.extend(caught_up.evicted);
                match caught_up.last {
                    Some(seq) => last = seq,
                    None => self.behind = None,
                }
                (caught_up.events, caught_up.item)
            }
        };
        if last == u64::MAX {
            // Not past the end: whatever comes later is for a client that subscribes again from
            // here.
            *cursor = due.max(*cursor);
            self.ended += ended;
            visited.clear();
        } else {
            *cursor = last;
        }
        visited.append(&mut self.pending);
        self.pending = visited;
        hub.delivered.fetch_add(events, Ordering::Relaxed);
        (!item.is_empty()).then_some(item)
    }
}

impl Collected {
    /// Sorts the frames by seq. Returns how many of them are up to `cut`.
    fn sort_and_cut(&mut self, cut: u64) -> usize {
        self.frames.sort_unstable();
        self.frames.iter().rposition(|&(seq, ..)| seq <= cut).map_or(0, |last| last + 1)
    }

    /// The first `count` frames in order, after `head`.
    fn join(&self, count: usize, mut head: Vec<u8>) -> Vec<u8> {
        let frames = &self.frames[..count];
        head.reserve_exact(frames.iter().map(|&(_, from, to)| to - from).sum());
        for &(_, from, to) in frames {
            head.extend_from_slice(&self.bytes[from..to]);
        }
        head
    }
}

thread_local! {
    static COLLECTED: Cell<Collected> = Cell::default();
}

/// Lends buffers that the readers of this thread use in turn.
fn with_collected<T>(f: impl FnOnce(&mut Collected) -> T) -> T {
    let mut collected = COLLECTED.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut collected);
    if collected.bytes.capacity() <= 256 << 10 {
        collected.bytes.clear();
        collected.frames.clear();
        // A thread that is ending has no place to put them back.
        let _ = COLLECTED.try_with(|cell| cell.set(collected));
    }
    result
}
