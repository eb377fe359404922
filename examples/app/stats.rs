//! `GET /stats`: the counters as JSON.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventstream::EventStream;

/// How long an answer is given again, for each channel that was counted.
///
/// `stats` looks at every channel, which takes 0.14 us each. Whoever asks for this page without a
/// pause keeps one core busy for a seventieth of its time: with 100 000 channels, for 14 ms every
/// second. With a few channels the counters are always fresh.
const PER_CHANNEL: Duration = Duration::from_micros(10);

/// The last answer.
#[derive(Default)]
pub(crate) struct Counters(Mutex<Option<Kept>>);

struct Kept {
    until: Instant,
    json: Bytes,
}

impl Counters {
    /// The counters as they are `now`, or were shortly before.
    pub(crate) fn json(&self, stream: &EventStream, now: Instant) -> serde_json::Result<Bytes> {
        // Locked while it counts, so that those who ask at the same time share the answer.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.until) {
            return Ok(kept.json.clone());
        }
        let stats = stream.stats();
        let json = Bytes::from(serde_json::to_vec(&stats)?);
        let channels = u32::try_from(stats.channels).unwrap_or(u32::MAX);
        *kept = Some(Kept { until: now + PER_CHANNEL * channels, json: json.clone() });
        Ok(json)
    }
}
