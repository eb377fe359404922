//! A histogram of latencies, exact to a few per cent.

/// Buckets for each doubling.
const STEPS: u32 = 16;

/// Counts of microseconds in buckets that grow with them.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; 64 * STEPS as usize] }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
    }

    /// The latency below which this share of them lies.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let mut left = (total as f64 * share).ceil() as u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            if *count >= left {
                return middle(bucket);
            }
            left -= count;
        }
        0.0
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2();
    let step = if doubling >= 4 {
        (micros >> (doubling - 4)) as u32 & 15
    } else {
        (micros << (4 - doubling)) as u32 & 15
    };
    (doubling * STEPS + step) as usize
}

fn middle(bucket: usize) -> f64 {
    let (doubling, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    f64::from(2).powi(doubling as i32) * (1.0 + (f64::from(step) + 0.5) / f64::from(STEPS))
}
