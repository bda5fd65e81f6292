//! What our own keys in Redis are called. All begin so that one ACL pattern covers them, and none
//! begins as ntopng's do.

/// What every key of ours begins with.
pub const PREFIX: &str = "alertloop:";

/// The keys that go with a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    queue: String,
}

impl Keys {
    /// Of this queue.
    #[must_use]
    pub fn of(queue: &str) -> Self {
        Self { queue: queue.to_owned() }
    }

    /// List: what a replica has taken and not confirmed yet.
    #[must_use]
    pub fn work(&self, replica: &str) -> String {
        format!("{PREFIX}queue:{}:work:{replica}", self.queue)
    }

    /// String with a time to live: there while the replica takes.
    #[must_use]
    pub fn alive(&self, replica: &str) -> String {
        format!("{PREFIX}queue:{}:alive:{replica}", self.queue)
    }

    /// Set: the replicas that may have a work list.
    #[must_use]
    pub fn takers(&self) -> String {
        format!("{PREFIX}queue:{}:takers", self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_a_queue_and_a_replica() {
        let keys = Keys::of("q");
        assert_eq!(keys.work("r"), "alertloop:queue:q:work:r");
        assert_eq!(keys.alive("r"), "alertloop:queue:q:alive:r");
        assert_eq!(keys.takers(), "alertloop:queue:q:takers");
        assert_ne!(Keys::of("p").work("r"), keys.work("r"));
    }
}
