//! A cursor over one channel.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::reset::Gaps;
use super::{Cursor, Legs};
use crate::wake::{is_armed, WakerId};

impl Cursor {
    #[inline]
    pub(super) fn poll_one(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let Legs::One(leg, armed) = &mut self.legs else { return Poll::Ready(None) };
        // While the list that holds this waker was not taken, there is nothing new.
        if is_armed(leg.ticket, &leg.channel.generation, *armed, WakerId::of(cx.waker())) {
            return Poll::Pending;
        }
        // Cloned without the lock. It goes unused only if something is left to read after this.
        let waker = cx.waker().clone();
        // The clone is what the list will hold, and it may have another address than its origin.
        let task = WakerId::of(&waker);
        let mut state = leg.channel.lock();
        if leg.announced.is_gap(self.at, state.log.floor()) {
            drop(state);
            return Poll::Ready(Some(self.reset_and_read()));
        }
        let readers = state.subscribers;
        let answer = state.log.read(self.at, self.hub.limits.item, readers);
        let ended = state.closed.is_some();
        // Armed at once, so that the next poll needs no lock, but never while something is left.
        let mut unused = Some(waker);
        if !ended && answer.as_ref().is_none_or(|answer| answer.last == state.log.tail()) {
            *armed = task;
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

    /// The reset for a gap, and what is left behind it.
    #[cold]
    fn reset_and_read(&mut self) -> Bytes {
        let Legs::One(leg, _) = &mut self.legs else { return Bytes::new() };
        let mut gaps = Gaps::default();
        gaps.add(leg);
        let mut item = self.hub.resets(self.at, &gaps);
        let mut state = leg.channel.lock();
        // Nobody else is at this place, so the answer is not shared.
        if let Some(answer) = state.log.read(self.at, self.hub.limits.item, 1) {
            state.count_delivered(answer.events, &self.hub);
            item.extend_from_slice(&answer.bytes);
            self.at = answer.last;
        }
        item.into()
    }
}
