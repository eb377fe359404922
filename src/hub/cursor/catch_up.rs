//! A cursor over several channels that has more than one item to hand out.
//!
//! It knows where it stands in each log, and looks at a log only when the next item needs it. So
//! the work is linear in what is handed out, however many channels have how much more.

use std::cell::Cell;

use bytes::Bytes;

use super::Leg;
use crate::hub::channel::Unread;
use crate::hub::log::{Answer, Gathered, Place};
use crate::hub::Hub;
use crate::sync::Ordering;

/// The legs that have more, while all their logs together have more than one item.
pub(super) struct CatchUp {
    behind: Vec<(Place, u32)>,
    /// How many seqs the last item spanned: the next one looks as far at first.
    span: u64,
    /// What the hub had counted at the last look at all legs. Unless it has counted more, only a
    /// publisher can have taken frames from a leg, and that marks the leg.
    expiries: u64,
}

pub(super) struct CaughtUp {
    pub(super) item: Bytes,
    pub(super) events: u64,
    /// The seq after which more is left up to the cut.
    pub(super) last: Option<u64>,
    /// A leg that lost its next frame meanwhile: the next poll has to announce it.
    pub(super) evicted: Option<u32>,
}

impl CatchUp {
    pub(super) fn new(hub: &Hub) -> Box<Self> {
        let expiries = hub.expiries.load(Ordering::Relaxed);
        Box::new(Self { behind: Vec::new(), span: 0, expiries })
    }

    /// Leaves the `visited` legs to the caller, who looks at them first and adds them again. These
    /// are all if events have expired, because that marks no leg.
    pub(super) fn leave_to(&mut self, visited: &mut Vec<u32>, hub: &Hub) {
        let expiries = hub.expiries.load(Ordering::Relaxed);
        if self.expiries != expiries {
            self.expiries = expiries;
            visited.extend(self.behind.drain(..).map(|(_, leg)| leg));
            visited.sort_unstable();
            visited.dedup();
        }
        if !visited.is_empty() {
            self.behind.retain(|(_, leg)| visited.binary_search(leg).is_err());
        }
    }

    pub(super) fn add(&mut self, legs: &[u32], cursor: u64) {
        self.behind.extend(legs.iter().map(|&leg| (Place::after(cursor), leg)));
    }

    /// Makes the next item of the frames up to `cut`, after `head`.
    #[inline(never)]
    pub(super) fn catch_up(
        &mut self,
        legs: &[Leg],
        cursor: u64,
        cut: u64,
        cap: usize,
        head: Vec<u8>,
    ) -> CaughtUp {
        // The legs that are next come first. They are nearly in order already.
        self.behind.sort_by_key(|(place, _)| place.next);
        if head.is_empty() {
            if let Some(Answer { bytes, last, events }) = self.read_one(legs, cursor, cut, cap) {
                return CaughtUp { item: bytes, events, last: Some(last), evicted: None };
            }
        }
        with_gathered(|gathered| {
            let (until, evicted) = self.gather(legs, cursor, cut, cap, gathered);
            let behind = &mut self.behind;
            let go_back = |slot: u32, seq| behind[slot as usize].0.go_back(seq);
            let (item, events, seqs) = gathered.make_item(head, until, cap, go_back);
            self.behind.retain(|(place, _)| place.next < u64::MAX);
            let more = evicted.is_some() || self.behind.iter().any(|(place, _)| place.next <= cut);
            if let Some((first, last)) = seqs {
                self.span = last - first + 1;
            }
            let last = more.then(|| seqs.map_or(cursor, |(_, last)| last));
            CaughtUp { item, events: events as u64, last, evicted }
        })
    }

    /// A full item of the leg that is next, if no frame of another can come between.
    fn read_one(&mut self, legs: &[Leg], cursor: u64, cut: u64, cap: usize) -> Option<Answer> {
        let until = self.behind.get(1).map_or(cut, |(place, _)| cut.min(place.next - 1));
        let (place, index) = self.behind.first_mut()?;
        let leg = &legs[*index as usize];
        let mut state = leg.channel.lock();
        let evicted = leg.announced.misses(cursor, state.log.floor());
        if evicted || place.next > until {
            return None;
        }
        state.unread = Unread::default();
        state.log.read_full(place, until, cap)
    }

    /// Gathers the next frames of all legs: enough for one item, or all up to `cut`. Returns the
    /// seq up to which these are complete, and the leg that ends them too early.
    fn gather(
        &mut self,
        legs: &[Leg],
        cursor: u64,
        cut: u64,
        cap: usize,
        out: &mut Gathered,
    ) -> (u64, Option<u32>) {
        let mut evicted = None;
        let mut width = match self.span {
            0 => self.behind.len() as u64,
            span => span + span / 16 + 1,
        };
        loop {
            let next = self.behind.iter().map(|(place, _)| place.next).min().unwrap_or(u64::MAX);
            if next > cut {
                return (cut, None);
            }
            let start = if out.size() == 0 { next - 1 } else { cursor };
            let mut until = start.saturating_add(width).max(next).min(cut);
            for slot in 0..self.behind.len() {
                let (place, index) = &mut self.behind[slot];
                if place.next > until {
                    continue;
                }
                let leg = &legs[*index as usize];
                let mut state = leg.channel.lock();
                let floor = state.log.floor();
                if place.next <= floor && leg.announced.misses(cursor, floor) {
                    // Evicted since the first look.
                    until = place.next - 1;
                    evicted = Some(*index);
                    continue;
                }
                state.unread = Unread::default();
                state.log.gather(place, slot as u32, &mut until, cap, out);
                drop(state);
                if out.size() > 2 * cap {
                    let behind = &mut self.behind;
                    let go_back = |slot: u32, seq| behind[slot as usize].0.go_back(seq);
                    until = until.min(out.prune(cap, go_back));
                }
            }
            if out.size() > cap || evicted.is_some() || until >= cut {
                return (until, evicted);
            }
            // As much further as it takes if the frames are as dense there.
            let seen = until - cursor;
            let wanted = (cap + cap / 16) as u64;
            let width_wanted = match out.size() as u64 {
                0 => 2 * seen,
                size => (seen as f64 * wanted as f64 / size as f64) as u64,
            };
            width = width_wanted.clamp(seen + 1, seen.saturating_mul(4));
        }
    }
}

thread_local! {
    static GATHERED: Cell<Gathered> = Cell::default();
}

/// Lends buffers that the readers of this thread use in turn.
fn with_gathered<T>(f: impl FnOnce(&mut Gathered) -> T) -> T {
    let mut gathered = GATHERED.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut gathered);
    gathered.clear();
    if gathered.capacity() <= 256 << 10 {
        // A thread that is ending has no place to put them back.
        let _ = GATHERED.try_with(|cell| cell.set(gathered));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::reset::{AnnouncedGap, PendingReset};
    use super::*;
    use crate::hub::channel::Channel;
    use crate::hub::log::Frame;
    use crate::limits::{History, Limits};
    use crate::sync::Arc;
    use crate::wake::Ticket;

    fn append(leg: &Leg, seqs: &[u64], keep: &History) {
        for &seq in seqs {
            let text = format!("{seq},");
            let frame =
                Frame { before_id: text.as_bytes(), own_id: None, after_id: b"", given_id: None };
            leg.channel.lock().log.append(seq, frame, 0, keep);
        }
    }

    fn legs(seqs: [&[u64]; 2]) -> [Leg; 2] {
        seqs.map(|seqs| {
            let channel = Arc::new(Channel::new("".into(), 0));
            let (ticket, announced) = (Ticket::default(), AnnouncedGap::default());
            let leg = Leg { channel, ticket, announced, pending: PendingReset::None };
            append(&leg, seqs, &History::default());
            leg
        })
    }

    /// An item has room for two frames.
    fn next(behind: &mut CatchUp, legs: &[Leg], cursor: u64) -> (String, Option<u64>, Option<u32>) {
        let CaughtUp { item, last, evicted, .. } =
            behind.catch_up(legs, cursor, 100, 4, Vec::new());
        (String::from_utf8(item.into()).unwrap(), last, evicted)
    }

    #[test]
    fn a_frame_is_found_again_where_older_ones_have_gone() {
        let hub = Hub::new(History::default(), Limits::default(), 0);
        let legs = legs([&[1, 3, 5], &[2, 4, 6]]);
        let mut behind = CatchUp::new(&hub);
        behind.add(&[0, 1], 0);
        assert_eq!(next(&mut behind, &legs, 0), ("1,2,".into(), Some(2), None));
        append(&legs[1], &[7], &History::default().events(3));
        assert_eq!(next(&mut behind, &legs, 2), ("3,4,".into(), Some(4), None));
        assert_eq!(next(&mut behind, &legs, 4), ("5,6,".into(), Some(6), None));
        assert_eq!(next(&mut behind, &legs, 6), ("7,".into(), None, None));
    }

    /// Between the first look at a leg and the last, a publisher may have taken the frames that are
    /// next. Whatever comes after them waits for the reset.
    #[test]
    fn an_item_ends_before_a_frame_that_has_gone_meanwhile() {
        let hub = Hub::new(History::default(), Limits::default(), 0);
        // In the second case the leg that loses a frame is the only one left.
        for first in [&[1, 3, 5, 7][..], &[1, 3]] {
            let legs = legs([first, &[2, 4, 6, 8, 9]]);
            let mut behind = CatchUp::new(&hub);
            behind.add(&[0, 1], 0);
            let mut next = |cursor| next(&mut behind, &legs, cursor);
            assert_eq!(next(0), ("1,2,".into(), Some(2), None));
            append(&legs[1], &[10], &History::default().events(4));
            assert_eq!(next(2), ("3,".into(), Some(3), Some(1)));
            assert_eq!(next(3), ("".into(), Some(3), Some(1)));
        }
    }
}
