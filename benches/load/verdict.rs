//! Whether every accepted alert is in the store, once.

use std::cmp::Ordering;

/// How the alerts that were accepted compare with the documents in the store.
#[derive(Default)]
pub struct Verdict {
    pub sent: u64,
    pub accepted: u64,
    /// Documents in the store.
    pub count: u64,
    /// An alert with more than one document.
    pub doubled: Option<String>,
}

impl Verdict {
    /// Alerts that were sent and not accepted may be there all the same.
    pub fn sound(&self) -> bool {
        (self.accepted..=self.sent).contains(&self.count) && self.doubled.is_none()
    }

    pub fn words(&self) -> String {
        let Self { sent, accepted, count, doubled } = self;
        let mut words = match accepted.cmp(count) {
            Ordering::Equal => format!("{count} documents of {accepted} accepted alerts"),
            Ordering::Greater => format!("lost {}", accepted - count),
            Ordering::Less if count <= sent => {
                format!("surplus {} (sent, and not answered with 2xx)", count - accepted)
            }
            Ordering::Less => format!("surplus {}", count - accepted),
        };
        words.push_str(if doubled.is_some() { "; doubled: " } else { ", none is doubled" });
        words.push_str(doubled.as_deref().unwrap_or_default());
        words
    }
}
