//! What a cursor has to say about events that are missing, and what it has said already.

use bytes::Bytes;

use super::{Cursor, Leg};
use crate::event::control::{self, ResetReason};
use crate::hub::Hub;
use crate::sync::{Arc, Ordering};
use crate::trace;

/// The floor up to which a leg's gaps were announced.
#[derive(Default)]
pub(super) struct AnnouncedGap(u64);

/// The reset that a leg has to announce about the place where it started.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum PendingReset {
    None,
    /// The position is older than the history.
    Evicted,
    /// The id named no place. If so, all legs have this.
    Unknown,
}

/// Channels with a gap, by the reason to give.
#[derive(Default)]
pub(super) struct Gaps {
    evicted: Vec<Arc<str>>,
    lagged: Vec<Arc<str>>,
}

impl AnnouncedGap {
    /// Whether events are missing whose loss was not announced yet.
    pub(super) fn misses(&self, cursor: u64, floor: u64) -> bool {
        cursor.max(self.0) < floor
    }

    /// Whether events are missing whose loss was not announced yet; notes that it is from now on.
    pub(super) fn is_gap(&mut self, cursor: u64, floor: u64) -> bool {
        let missing = self.misses(cursor, floor);
        if missing {
            self.0 = floor;
        }
        missing
    }
}

impl Gaps {
    pub(super) fn add(&mut self, leg: &mut Leg) {
        let pending = std::mem::replace(&mut leg.pending, PendingReset::None);
        let evicted = pending == PendingReset::Evicted;
        let names = if evicted { &mut self.evicted } else { &mut self.lagged };
        names.push(leg.channel.name.clone());
    }
}

impl Cursor {
    /// The reset for an unknown position.
    #[cold]
    pub(super) fn unknown(&mut self) -> Bytes {
        let names: Vec<_> = self.legs.iter().map(|leg| leg.channel.name.clone()).collect();
        let mut frame = Vec::new();
        self.hub.write_reset(&mut frame, self.at, &names, ResetReason::Unknown);
        self.legs.iter_mut().for_each(|leg| leg.pending = PendingReset::None);
        frame.into()
    }
}

impl Hub {
    /// The `stream-reset` frames for these gaps, at this place.
    pub(super) fn resets(&self, cursor: u64, gaps: &Gaps) -> Vec<u8> {
        let mut frames = Vec::new();
        for (reason, names) in
            [(ResetReason::Evicted, &gaps.evicted), (ResetReason::Lagged, &gaps.lagged)]
        {
            if !names.is_empty() {
                self.write_reset(&mut frames, cursor, names, reason);
            }
        }
        frames
    }

    pub(in crate::hub) fn write_reset(
        &self,
        out: &mut Vec<u8>,
        cursor: u64,
        names: &[impl AsRef<str>],
        reason: ResetReason,
    ) {
        self.resets.fetch_add(1, Ordering::Relaxed);
        let id = self.history.replay.then(|| self.sequence.id(cursor));
        let channels = serde_json::Value::from_iter(names.iter().map(AsRef::as_ref));
        trace::debug!(target: "eventstream::reset", %channels, reason = reason.as_str(), "reset");
        control::stream_reset(out, id.as_ref(), &channels, reason);
    }
}
