//! The numbers of events: one sequence for all channels, and the ids that clients see of it.
//!
//! A publisher draws a seq while it holds the channel's lock. So whatever is at or below a reading
//! of [`newest`](Sequence::newest) is in its log by the time that log's lock is obtained, and one
//! `u64` is an exact position in any set of channels.

use crate::event::{Epoch, EventId};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Sequence {
    epoch: Epoch,
    /// Seq of the newest event of all channels; the first event gets 1.
    newest: AtomicU64,
}

/// The place that an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// This sequence's own id: the place behind this seq.
    Seq(u64),
    /// An own id of another epoch, or one that was never given out.
    Unknown,
    /// A publisher's id: the logs know where it stands.
    Given(&'a str),
}

impl Sequence {
    /// A new sequence, which `entropy` tells apart from all others.
    pub(super) fn new(entropy: u64) -> Self {
        Self { epoch: Epoch::new(entropy), newest: AtomicU64::new(0) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Seq of the newest event of all channels.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Draws `count` consecutive seqs and returns the first. Call it under the lock of the channel
    /// that the events go to, or under the map's if there is no channel.
    pub(super) fn draw(&self, count: u64) -> u64 {
        self.newest.fetch_add(count, Ordering::AcqRel) + 1
    }

    pub(super) fn id(&self, seq: u64) -> EventId {
        EventId::own(self.epoch, seq)
    }

    /// Reads an id that a client sent.
    pub(super) fn place<'a>(&self, id: &'a str) -> Place<'a> {
        match Epoch::split(id) {
            None => Place::Given(id),
            Some((epoch, Some(seq))) if epoch == self.epoch && seq <= self.newest() => {
                Place::Seq(seq)
            }
            Some(_) => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_read_back_and_foreign_ones_told_apart() {
        let (ours, other) = (Sequence::new(u64::MAX), Sequence::new(2));
        assert_ne!(ours.epoch(), other.epoch());
        for sequence in [&ours, &other] {
            sequence.draw(42);
        }
        for seq in [0, 1, 42] {
            let id = ours.id(seq);
            assert_eq!(ours.place(id.as_ref()), Place::Seq(seq));
            assert_eq!(other.place(id.as_ref()), Place::Unknown);
        }
        let text = ours.id(7).to_string();
        assert_eq!(ours.place(&text.replace("-7", "-07")), Place::Unknown);
        assert_eq!(ours.place(&text.replace("-7", "-99999999999999999999999")), Place::Unknown);
        assert_eq!(ours.place(&text.to_uppercase()), Place::Given(&text.to_uppercase()));
    }

    #[test]
    fn an_id_that_was_not_given_out_yet_names_no_place() {
        let sequence = Sequence::new(1);
        assert_eq!(sequence.place(sequence.id(1).as_ref()), Place::Unknown);
        assert_eq!(sequence.draw(2), 1);
        assert_eq!(sequence.place(sequence.id(2).as_ref()), Place::Seq(2));
        assert_eq!(sequence.place(sequence.id(u64::MAX).as_ref()), Place::Unknown);
    }
}
