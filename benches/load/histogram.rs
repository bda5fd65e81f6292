//! Latencies as counts in log-linear buckets: every value keeps 7 significant bits, so a quantile
//! is at most 1.6 % above the value that was recorded.

use std::time::Duration;

use crate::report::float;

/// Values below this have a bucket each; above it, every power of two has half as many.
const LINEAR: u64 = 128;
const HALF: u64 = LINEAR / 2;
/// 2^40 microseconds are twelve days.
const BITS: u32 = 40;

/// Counts of microseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; bucket(1 << BITS) + 1], total: 0, max: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(1 << BITS);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The latency in milliseconds that `share` per mille of all do not exceed.
    pub fn per_mille(&self, share: u64) -> f64 {
        let rank = (self.total * share).div_ceil(1_000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        float(found.map_or(0, highest).min(self.max)) / 1_000.0
    }

    /// The longest latency, in milliseconds.
    pub fn max(&self) -> f64 {
        float(self.max) / 1_000.0
    }
}

fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(LINEAR.ilog2());
    // `value >> shift` is in HALF..LINEAR as soon as there is a shift.
    usize::try_from(u64::from(shift) * HALF + (value >> shift)).unwrap_or(usize::MAX)
}

/// The highest value that falls into a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < LINEAR {
        return bucket;
    }
    let shift = bucket / HALF - 1;
    ((bucket - shift * HALF + 1) << shift) - 1
}
