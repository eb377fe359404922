//! What the hub remembers of channels that are gone: the seq of each one's newest event.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::mem;

/// A slot of a hash map: the key, the value and a byte of the map's own.
const SLOT: usize = 2 * mem::size_of::<u64>() + 1;

/// The floors of channels that are gone, by a hash of their names, whose 64 bits do not collide in
/// practice.
///
/// When the memory is used up, the floors that were noted first move into buckets by hash, which
/// keep only the greatest of theirs. A bucket may claim a gap that a client does not have, if
/// several such channels share it, but it never hides one.
#[derive(Debug)]
pub(super) struct Tombstones {
    hasher: RandomState,
    /// Takes half of the floors that are known exactly, and then becomes `old`.
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
    half: usize,
    /// Empty until the first floors move there.
    buckets: Vec<u64>,
    most_buckets: usize,
}

impl Tombstones {
    /// Takes about `bytes` at most: three quarters for exact floors, a quarter for buckets.
    pub(super) fn new(bytes: usize) -> Self {
        let power = |count: usize| 1 << count.max(8).ilog2();
        // A hash map has a power of two of slots, and fills seven eighths of them.
        let slots: usize = power(bytes / 4 * 3 / 2 / SLOT);
        Self {
            hasher: RandomState::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            half: slots / 8 * 7,
            buckets: Vec::new(),
            most_buckets: power(bytes / 4 / mem::size_of::<u64>()),
        }
    }

    /// Leaves a tombstone: the channel's events up to `floor` are gone.
    pub(super) fn remember(&mut self, name: &str, floor: u64) {
        let hash = self.hasher.hash_one(name);
        if floor <= self.floor(hash) {
            return;
        }
        if self.young.len() == self.half && !self.young.contains_key(&hash) {
            self.make_room();
        }
        self.young.insert(hash, floor);
    }

    /// The floor that a new channel of this name starts with.
    pub(super) fn recall(&self, name: &str) -> u64 {
        self.floor(self.hasher.hash_one(name))
    }

    fn floor(&self, hash: u64) -> u64 {
        let exact = self.young.get(&hash).or_else(|| self.old.get(&hash));
        exact.or_else(|| self.buckets.get(self.bucket(hash))).copied().unwrap_or(0)
    }

    fn make_room(&mut self) {
        self.buckets.resize(self.most_buckets, 0);
        let young = mem::take(&mut self.young);
        for (hash, floor) in mem::replace(&mut self.old, young) {
            let bucket = self.bucket(hash);
            if let Some(greatest) = self.buckets.get_mut(bucket) {
                *greatest = floor.max(*greatest);
            }
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.most_buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: usize, names: u64) -> Tombstones {
        let mut tombstones = Tombstones::new(bytes);
        for seq in 1..=names {
            tombstones.remember(&seq.to_string(), seq);
        }
        tombstones
    }

    /// For how many of the names another floor is recalled than was remembered.
    fn wrong(tombstones: &Tombstones, names: u64) -> usize {
        let recalled = |seq: &u64| tombstones.recall(&seq.to_string());
        assert!((1..=names).all(|seq| recalled(&seq) >= seq), "a gap is hidden");
        (1..=names).filter(|seq| recalled(seq) != *seq).count()
    }

    #[test]
    fn floors_are_exact_up_to_the_bound_and_beyond_it_wrong_only_where_buckets_are_shared() {
        let bytes = 1 << 20;
        let tombstones = filled(bytes, 1);
        let (exact, buckets) = (2 * tombstones.half as u64, tombstones.most_buckets as u64);
        assert_eq!((exact, buckets), (28_672, 32_768));
        assert_eq!(wrong(&filled(bytes, exact), exact), 0);
        // Half of the exact floors have moved into the buckets. Those that share one with a younger
        // floor are wrong: 1 - (1 - e^-x) / x of them, with x floors in each bucket.
        let names = exact + 1;
        let moved = (exact / 2) as f64;
        let load = moved / buckets as f64;
        let expected = moved * (1.0 - (1.0 - (-load).exp()) / load);
        let wrong = wrong(&filled(bytes, names), names) as f64;
        assert!((0.9..1.1).contains(&(wrong / expected)), "{wrong} of {moved}, not {expected}");
    }

    #[test]
    fn memory_is_bounded() {
        for bytes in [0, 1, 1000, 1 << 16, 1 << 20] {
            let tombstones = filled(bytes, 200_000);
            let slots = |map: &HashMap<u64, u64>| map.capacity() / 7 * 8;
            let used = (slots(&tombstones.young) + slots(&tombstones.old)) * SLOT
                + tombstones.buckets.capacity() * mem::size_of::<u64>();
            assert!(used <= bytes.max(500), "{used} of {bytes}");
        }
    }

    #[test]
    fn a_name_that_comes_and_goes_keeps_its_newest_floor_and_one_place() {
        let mut tombstones = Tombstones::new(1 << 10);
        for seq in 1..=100_000 {
            assert_eq!(tombstones.recall("a"), seq - 1);
            tombstones.remember("a", seq);
        }
        assert_eq!((tombstones.young.len(), tombstones.old.len()), (1, 0));
        tombstones.remember("a", 5);
        assert_eq!(tombstones.recall("a"), 100_000);
    }
}
