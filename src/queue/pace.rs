//! How many items are taken at once: many small ones, so that they share an fsync, and few large
//! ones, so that they fit into memory. Pure.

/// At most this many: as many as the spool commits at once.
pub const MOST: usize = 1_000;
/// With about this many bytes.
const BYTES: usize = 8 << 20;
/// Before any was seen.
const FIRST: usize = 16;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Mean size of an item in bytes, of late.
    mean: Option<usize>,
}

impl Pace {
    /// How many to take now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mean.map_or(FIRST, |mean| (BYTES / mean.max(1)).clamp(1, MOST))
    }

    /// Notes what came. One that is larger than the mean counts at once, a smaller one slowly: the
    /// next may be as large.
    pub fn saw(&mut self, items: &[Vec<u8>]) {
        if items.is_empty() {
            return;
        }
        let mean = items.iter().map(Vec::len).sum::<usize>() / items.len();
        let before = self.mean.unwrap_or(mean);
        self.mean = Some(if mean >= before { mean } else { before - (before - mean) / 2 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_items_come_by_the_thousand_and_large_ones_alone() {
        let mut pace = Pace::default();
        assert_eq!(pace.count(), FIRST);
        pace.saw(&[]);
        assert_eq!(pace.count(), FIRST);
        pace.saw(&vec![vec![b'x'; 300]; 10]);
        assert_eq!(pace.count(), MOST);
        pace.saw(&[vec![b'x'; 1 << 20]]);
        assert_eq!(pace.count(), 8);
        pace.saw(&[vec![b'x'; 20 << 20]]);
        assert_eq!(pace.count(), 1);
        for _ in 0..20 {
            pace.saw(&[vec![b'x'; 300]]);
        }
        assert_eq!(pace.count(), MOST, "it gets over a large one");
        pace.saw(&[Vec::new()]);
        assert!(pace.count() >= 1);
    }
}
