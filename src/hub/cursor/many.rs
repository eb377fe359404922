//! A cursor over several channels: their frames merged in the order of their seqs.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

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
    /// The seq after which the stream ends, because one of its channels was closed alone.
    end: Option<u64>,
}

impl Cursor {
    pub(super) fn poll_many(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Self { hub, at, legs: Legs::Many(merge), .. } = self else { return Poll::Ready(None) };
        let mut waker: Option<Waker> = None;
        loop {
            if merge.ended == merge.legs.len() || merge.end.is_some_and(|end| *at >= end) {
                return Poll::Ready(None);
            }
            // The number first, the marks after it: see `wake::ReadySet`.
            let cut = hub.sequence.newest();
            merge.ready.take_legs(&mut merge.pending);
            if merge.pending.is_empty() && merge.end.is_none() {
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
            end: None,
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
        let cap = hub.limits.item;
        // Each leg may copy its share of an item at first. Which of them have more is seen later.
        let budget = (cap / visited.len().max(1)).max(1);
        let alone = visited.len() == 1 && self.end.is_none();
        let (mut missing, mut rests, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        let mut whole = None;
        let mut ended = 0;
        // No frame after this seq may be handed out now, because a leg has more before it.
        let mut limit = u64::MAX;
        for &index in &visited {
            let leg = &mut self.legs[index as usize];
            let mut state = leg.channel.lock();
            state.unread = Unread::default();
            if leg.announced.is_gap(*cursor, state.log.floor()) {
                missing.push(index);
            }
            // Where no frame of another leg can come between, the bytes are shared with other
            // readers.
            if alone && state.closed.is_none() && state.log.tail() <= cut {
                let readers = state.subscribers;
                whole = state.log.read(*cursor, cap, readers);
                let capped = whole.as_ref().filter(|whole| whole.last < state.log.tail());
                limit = capped.map_or(limit, |whole| whole.last);
            } else {
                let known = out.frames.len();
                match state.log.collect(*cursor, cut, budget, 0, out) {
                    Some(next) => rests.push((next, index)),
                    None if out.frames.len() == known => idle.push(index),
                    None => {}
                }
            }
            if let Some(Closed::Channel(end)) = state.closed {
                self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
            }
            if state.log.tail() > cut {
                self.pending.push(index);
            } else if state.closed.is_some() {
                ended += 1;
            } else {
                let ready = || ReadyLeg { set: self.ready.clone(), leg: index };
                state.wait.arm_leg(&mut leg.ticket, ready);
                continue;
            }
            // Not armed, so it has to be looked at again even if nothing of it is due now.
            if idle.last() == Some(&index) {
                idle.pop();
            }
        }
        if self.end.is_some_and(|end| *cursor >= end) {
            // Nothing that came or went after the end matters.
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
                let cut = cut.min(end);
                let (count, all) = match rests.is_empty() {
                    true => out.sort_and_cut(cut, cap),
                    false => self.merge(cut, cap, budget, &rests, out),
                };
                if !all {
                    limit = out.frames[..count].last().map_or(*cursor, |&(seq, ..)| seq);
                }
                (count as u64, out.join(count, head).into())
            }
        };
        if limit == u64::MAX {
            // Not past the end: whatever comes later is for a client that subscribes again from
            // here.
            *cursor = cut.min(end).max(*cursor);
            self.ended += ended;
            visited.clear();
            visited.append(&mut self.pending);
        } else {
            *cursor = limit;
            // Only a mark brings back a leg that is armed and has nothing up to the cut.
            visited.retain(|index| idle.binary_search(index).is_err());
        }
        self.pending = visited;
        hub.delivered.fetch_add(events, Ordering::Relaxed);
        (!item.is_empty()).then_some(item)
    }

    /// Merges the frames in `out` with the `rests` of the legs until an item is full. Leaves the
    /// item's frames in `out.frames`, in order. Returns how many they are, and whether no frame up
    /// to `cut` is left.
    ///
    /// A leg is asked again only when its next frame is the next one of all, each time for twice as
    /// much. So the work is linear in what is handed out, however many legs have how much more.
    #[inline(never)]
    fn merge(
        &self,
        cut: u64,
        cap: usize,
        budget: usize,
        rests: &[(u64, u32)],
        out: &mut Collected,
    ) -> (usize, bool) {
        let mut parts = BinaryHeap::with_capacity(2 * self.legs.len());
        parts.extend(rests.iter().map(|&(next, leg)| Reverse((next, Part::Rest { leg, budget }))));
        out.split_runs(0, &mut parts);
        let (mut item, mut size) = (Vec::new(), 0);
        let all = loop {
            let Some(mut first) = parts.peek_mut() else { break true };
            let Reverse((seq, part)) = &mut *first;
            if *seq > cut {
                break true;
            }
            match part {
                Part::Run { at, end } => {
                    let frame = out.frames[*at];
                    size += frame.2 - frame.1;
                    if size > cap && !item.is_empty() {
                        break false;
                    }
                    item.push(frame);
                    *at += 1;
                    match at == end {
                        true => drop(PeekMut::pop(first)),
                        false => *seq = out.frames[*at].0,
                    }
                }
                Part::Rest { leg, budget } => {
                    let (next, leg, budget) = (*seq, *leg, budget.saturating_mul(2).min(cap));
                    PeekMut::pop(first);
                    let state = self.legs[leg as usize].channel.lock();
                    if state.log.floor() >= next {
                        // Evicted since the first look: the next poll announces the gap.
                        break false;
                    }
                    let known = out.frames.len();
                    let rest = state.log.collect(next - 1, cut, budget, 1, out);
                    drop(state);
                    out.split_runs(known, &mut parts);
                    if let Some(next) = rest {
                        parts.push(Reverse((next, Part::Rest { leg, budget })));
                    }
                }
            }
        };
        let count = item.len();
        out.frames = item;
        (count, all)
    }
}

/// A part of what is to be merged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Frames in the order of their seqs, by their places in `Collected::frames`.
    Run { at: usize, end: usize },
    /// More frames of a leg, of which so many bytes were taken the last time.
    Rest { leg: u32, budget: usize },
}

type Parts = BinaryHeap<Reverse<(u64, Part)>>;

impl Collected {
    /// Adds the frames from `known` on to the parts, as runs in the order of their seqs.
    fn split_runs(&self, known: usize, parts: &mut Parts) {
        let mut at = known;
        while let Some(&(seq, ..)) = self.frames.get(at) {
            let ordered = self.frames[at..].windows(2).take_while(|pair| pair[0].0 < pair[1].0);
            let end = at + 1 + ordered.count();
            parts.push(Reverse((seq, Part::Run { at, end })));
            at = end;
        }
    }

    /// Sorts the frames by seq. Returns how many of them make the next item, and whether these are
    /// all up to `cut`.
    fn sort_and_cut(&mut self, cut: u64, cap: usize) -> (usize, bool) {
        self.frames.sort_unstable();
        let (mut count, mut size) = (0, 0);
        for &(seq, from, to) in &self.frames {
            size += to - from;
            if seq > cut {
                return (count, true);
            }
            if size > cap && count > 0 {
                return (count, false);
            }
            count += 1;
        }
        (count, true)
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
