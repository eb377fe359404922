//! The ids that publishers gave to the events kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct GivenIds {
    by_age: VecDeque<(u64, Arc<str>)>,
    /// How many kept events have the id, and the seq of the newest of them.
    places: HashMap<Arc<str>, (usize, u64)>,
}

/// Where a publisher's id stands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Found {
    Nowhere,
    Once(u64),
    Often,
}

impl GivenIds {
    pub(super) fn insert(&mut self, seq: u64, id: &Arc<str>) {
        self.by_age.push_back((seq, id.clone()));
        let place = self.places.entry(id.clone()).or_insert((0, 0));
        *place = (place.0 + 1, seq);
    }

    /// Forgets the oldest id if it belongs to this seq.
    pub(super) fn remove(&mut self, seq: u64) {
        if self.by_age.front().is_none_or(|(oldest, _)| *oldest != seq) {
            return;
        }
        let Some((_, id)) = self.by_age.pop_front() else { return };
        if let Some(place) = self.places.get_mut(&id) {
            place.0 -= 1;
            if place.0 == 0 {
                self.places.remove(&id);
            }
        }
    }

    pub(super) fn find(&self, id: &str) -> Found {
        match self.places.get(id) {
            None => Found::Nowhere,
            Some((1, seq)) => Found::Once(*seq),
            Some(_) => Found::Often,
        }
    }
}
