//! What is remembered of channels that were collected: where their events ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many channels are remembered by name. The older ones share one general floor, which may tell
/// a client of a gap that it does not have, but never hides one.
const NAMED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Floors {
    named: HashMap<Arc<str>, u64>,
    by_age: VecDeque<(Arc<str>, u64)>,
    general: u64,
}

impl Floors {
    pub(super) fn remember(&mut self, name: &Arc<str>, floor: u64) {
        if floor <= self.general {
            return;
        }
        self.named.insert(name.clone(), floor);
        self.by_age.push_back((name.clone(), floor));
        while self.by_age.len() > NAMED {
            let Some((name, floor)) = self.by_age.pop_front() else { return };
            // A later entry of the same name has taken its place.
            if self.named.get(&name) == Some(&floor) {
                self.named.remove(&name);
                self.general = self.general.max(floor);
            }
        }
    }

    /// The floor that a channel of this name starts with.
    pub(super) fn recall(&mut self, name: &str) -> u64 {
        self.named.remove(name).unwrap_or(self.general)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_table_fall_back_to_a_floor_that_hides_nothing() {
        let mut floors = Floors::default();
        for seq in 1..=NAMED as u64 + 2 {
            floors.remember(&seq.to_string().into(), seq);
        }
        assert_eq!(floors.general, 2);
        assert_eq!((floors.recall("1"), floors.recall("2"), floors.recall("3")), (2, 2, 3));
        assert_eq!(floors.recall("never"), 2);
        assert_eq!(floors.recall("3"), 2, "a floor is handed to the channel that comes back");
    }

    #[test]
    fn a_name_that_comes_and_goes_keeps_its_newest_floor_and_one_place() {
        let mut floors = Floors::default();
        let name: Arc<str> = "a".into();
        for seq in 1..=3 * NAMED as u64 {
            assert!(floors.recall("a") >= seq.saturating_sub(1));
            floors.remember(&name, seq);
        }
        assert!(floors.named.len() == 1 && floors.by_age.len() <= NAMED);
        assert_eq!(floors.general, 0);
    }
}
