//! Randomness: enough to tell epochs apart and to spread clients out, not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 64 bits from the operating system, by way of the seeds of the standard library's hash maps.
pub(crate) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
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
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        most.mul_f64((z >> 11) as f64 / (1u64 << 53) as f64)
    }
}
