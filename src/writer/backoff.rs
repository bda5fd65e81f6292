//! Waiting longer each time, with full jitter, so that many that wait do not come back at once.

use std::time::Duration;

/// A growing wait.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is at most `first`, and no wait is longer than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// How long to wait now: a random part of a span that doubles each time.
    pub fn next_wait(&mut self) -> Duration {
        let span = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        span.mul_f64(rand::random_range(0.0..=1.0)).max(self.first / 10)
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        assert!(backoff.next_wait() <= first);
        let waits: Vec<_> = (0..200).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().all(|wait| *wait >= first / 10 && *wait <= longest));
        assert!(waits.iter().max() > Some(&(longest / 2)));
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }
}
