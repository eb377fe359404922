//! What the hub remembers of channels that are gone: the seq of each one's newest event.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many channels are remembered by name. Older ones share one general floor: it may claim a gap
/// that a client does not have, but it never hides one.
const NAMED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Tombstones {
    named: HashMap<Arc<str>, u64>,
    by_age: VecDeque<(Arc<str>, u64)>,
    general: u64,
}

impl Tombstones {
    /// Leaves a tombstone: the channel's events up to `floor` are gone.
    pub(super) fn remember(&mut self, name: &Arc<str>, floor: u64) {
        if floor <= self.general {
            return;
        }
        self.named.insert(name.clone(), floor);
        self.by_age.push_back((name.clone(), floor));
        while self.by_age.len() > NAMED {
            let Some((name, floor)) = self.by_age.pop_front() else { return };
            // Unless a later entry of the same name took its place.
            if self.named.get(&name) == Some(&floor) {
                self.named.remove(&name);
                self.general = self.general.max(floor);
            }
        }
    }

    /// The floor that a new channel of this name starts with.
    pub(super) fn recall(&mut self, name: &str) -> u64 {
        self.named.remove(name).unwrap_or(self.general)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_table_fall_back_to_a_floor_that_hides_nothing() {
        let mut tombstones = Tombstones::default();
        for seq in 1..=NAMED as u64 + 2 {
            tombstones.remember(&seq.to_string().into(), seq);
        }
        assert_eq!(tombstones.general, 2);
        assert_eq!(
            (tombstones.recall("1"), tombstones.recall("2"), tombstones.recall("3")),
            (2, 2, 3)
        );
        assert_eq!(tombstones.recall("never"), 2);
        assert_eq!(tombstones.recall("3"), 2, "a floor is handed to the channel that comes back");
    }

    #[test]
    fn a_name_that_comes_and_goes_keeps_its_newest_floor_and_one_place() {
        let mut tombstones = Tombstones::default();
        let name: Arc<str> = "a".into();
        for seq in 1..=3 * NAMED as u64 {
            assert!(tombstones.recall("a") >= seq.saturating_sub(1));
            tombstones.remember(&name, seq);
        }
        assert!(tombstones.named.len() == 1 && tombstones.by_age.len() <= NAMED);
        assert_eq!(tombstones.general, 0);
    }
}
