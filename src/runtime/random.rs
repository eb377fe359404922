//! Randomness: enough to tell epochs apart and to spread clients out, not for secrets.

use std::hash::{BuildHasher, RandomState};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 64 random bits, which differ from those of every other call, in other processes too.
///
/// They come from the operating system, by way of the keys of the standard library's hash maps. But
/// it draws those once per thread, and a child inherits them at a `fork`, as a virtual machine does
/// that is started from a snapshot. So what differs between two of these is mixed in.
pub(crate) fn entropy() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let here = Here {
        process: process::id(),
        // A clock set to before 1970 tells moments apart as well as any other.
        time: since_1970.unwrap_or_else(|error| error.duration()).as_nanos(),
        address: ptr::from_ref(&*Box::new(0u8)).addr(),
        call: CALLS.fetch_add(1, Ordering::Relaxed),
    };
    here.mixed_with(&RandomState::new())
}

/// What tells one call of [`entropy`] from another with the same random keys.
#[derive(Clone, Copy, Hash)]
struct Here {
    process: u32,
    /// Nanoseconds since 1970.
    time: u128,
    /// A place on the heap. Where a program is loaded is random on most systems.
    address: usize,
    call: u64,
}

impl Here {
    fn mixed_with(self, keys: &RandomState) -> u64 {
        keys.hash_one(self)
    }
}

/// A shared generator (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(entropy()))
    }

    /// A duration between zero and `most`, so that clients which arrived together do not act
    /// together.
    pub(crate) fn jitter(&self, most: Duration) -> Duration {
        if cfg!(eventstream_loom) {
            // Loom runs a model again and again, and each run must do the same.
            return Duration::ZERO;
        }
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        most.mul_f64((z >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The keys alone are the same in all children of a process.
    #[test]
    fn each_part_alone_tells_two_processes_with_the_same_keys_apart() {
        let keys = RandomState::new();
        let here = Here { process: 1, time: 2, address: 3, call: 4 };
        let others = [
            here,
            Here { process: 2, ..here },
            Here { time: 3, ..here },
            Here { address: 4, ..here },
            Here { call: 5, ..here },
        ];
        assert_eq!(here.mixed_with(&keys), here.mixed_with(&keys));
        let drawn: HashSet<_> = others.iter().map(|here| here.mixed_with(&keys)).collect();
        assert_eq!(drawn.len(), others.len());
        assert_ne!(here.mixed_with(&keys), here.mixed_with(&RandomState::new()));
    }
}
