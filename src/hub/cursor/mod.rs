//! A subscription as the hub sees it: a cursor over one channel, or over several, its legs.

mod catch_up;
mod many;
mod one;
mod reset;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{FusedStream, Stream};

use super::channel::Channel;
use super::Hub;
use crate::event::EventId;
use crate::sync::{Arc, Ordering};
use crate::trace;
use crate::wake::{Ticket, WakerId};
use many::Merge;
use reset::{AnnouncedGap, PendingReset};

/// Where one subscription is. As a stream it yields whole frames.
pub(crate) struct Cursor {
    hub: Arc<Hub>,
    /// Everything at or below this seq was handed out, or announced as missing.
    at: u64,
    legs: Legs,
}

enum Legs {
    /// With the waker that it left on the channel's list.
    One(Leg, WakerId),
    Many(Box<Merge>),
    Ended,
}

struct Leg {
    channel: Arc<Channel>,
    ticket: Ticket,
    announced: AnnouncedGap,
    pending: PendingReset,
}

impl Cursor {
    /// Starts after `position`, or from now on where that is not known.
    pub(super) fn new(hub: Arc<Hub>, channels: Vec<Arc<Channel>>, position: Option<u64>) -> Self {
        let at = position.unwrap_or_else(|| hub.sequence.newest());
        let leg = |channel: Arc<Channel>| {
            let pending = match position {
                None => PendingReset::Unknown,
                Some(_) if channel.lock().log.floor() > at => PendingReset::Evicted,
                Some(_) => PendingReset::None,
            };
            let (ticket, announced) = (Ticket::default(), AnnouncedGap::default());
            Leg { channel, ticket, announced, pending }
        };
        let mut legs: Vec<_> = channels.into_iter().map(leg).collect();
        let legs = match legs.pop() {
            Some(leg) if legs.is_empty() => Legs::One(leg, WakerId::default()),
            last => {
                legs.extend(last);
                Legs::Many(Box::new(Merge::new(legs)))
            }
        };
        Self { hub, at, legs }
    }

    pub(super) fn ended(hub: Arc<Hub>) -> Self {
        let at = hub.sequence.newest();
        Self { hub, at, legs: Legs::Ended }
    }

    pub(crate) fn last_event_id(&self) -> EventId {
        self.hub.sequence.id(self.at)
    }

    /// The id for the first frame of a body: never past an event or a reset that is not yet handed
    /// out.
    pub(crate) fn open_id(&self) -> Option<EventId> {
        (self.hub.history.replay && !self.legs.are_unknown()).then(|| self.last_event_id())
    }

    /// Looks for events of any channel that are too old, on behalf of a hub that is silent.
    pub(crate) fn sweep(&self, now: u64) {
        self.hub.sweep(now);
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
            Legs::Many(merge) => merge.release(hub),
        }
        hub.subscriptions.fetch_sub(1, Ordering::Relaxed);
        trace::debug!(
            target: "eventstream::close", at = %self.last_event_id(), "subscription ended"
        );
    }
}

impl Stream for Cursor {
    type Item = Bytes;

    /// - `Pending`: nothing new; the task is woken when there is, or when a channel was closed.
    /// - `Ready(Some(item))`: whole frames, at least one.
    /// - `Ready(None)`: the end; polling again gives the same.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        let polled = match &this.legs {
            Legs::One(leg, _) if leg.pending != PendingReset::Unknown => this.poll_one(cx),
            _ if this.legs.are_unknown() => return Poll::Ready(Some(this.unknown())),
            _ => this.poll_many(cx),
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
        let mut cursor = f.debug_struct("Cursor");
        cursor.field("channels", &channels).field("at", &self.last_event_id()).finish()
    }
}

impl Legs {
    /// Whether the reset for an unknown position is still to be handed out.
    fn are_unknown(&self) -> bool {
        self.iter().next().is_some_and(|leg| leg.pending == PendingReset::Unknown)
    }

    fn iter(&self) -> std::slice::Iter<'_, Leg> {
        match self {
            Self::One(leg, _) => std::slice::from_ref(leg).iter(),
            Self::Many(merge) => merge.legs.iter(),
            Self::Ended => [].iter(),
        }
    }

    fn iter_mut(&mut self) -> std::slice::IterMut<'_, Leg> {
        match self {
            Self::One(leg, _) => std::slice::from_mut(leg).iter_mut(),
            Self::Many(merge) => merge.legs.iter_mut(),
            Self::Ended => [].iter_mut(),
        }
    }
}
