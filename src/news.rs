//! What the writer has just stored, told to whoever wants to know at once. Nobody listening costs it a
//! look at a flag; a listener that is slow loses some, and finds them by asking the store.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, mpsc};

/// How many are told at most before the listener has taken one.
const ROOM: usize = 256;

/// `_index` and `_id` of a record.
pub type Address = (String, String);

/// The way from the writer to the listener.
pub struct News {
    wanted: AtomicBool,
    sender: mpsc::Sender<Address>,
    receiver: Mutex<mpsc::Receiver<Address>>,
}

impl Default for News {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(ROOM);
        Self { wanted: AtomicBool::new(false), sender, receiver: Mutex::new(receiver) }
    }
}

impl News {
    /// Whether anybody listens from now on.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// A record was written.
    pub fn stored(&self, index: &str, id: &str) {
        if self.wanted.load(Ordering::Relaxed) {
            // Where there is no room, the listener asks the store anyway.
            self.sender.try_send((index.to_owned(), id.to_owned())).ok();
        }
    }

    /// Waits for some, and takes what is there; at most `limit`.
    pub async fn take(&self, limit: usize) -> Vec<Address> {
        let mut taken = Vec::new();
        self.receiver.lock().await.recv_many(&mut taken, limit).await;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_listens_is_told_and_a_slow_one_holds_up_nobody() {
        let news = News::default();
        news.stored("i", "before");
        news.want(true);
        for number in 0..ROOM + 10 {
            news.stored("i", &number.to_string());
        }
        let taken = news.take(usize::MAX).await;
        assert_eq!(taken.len(), ROOM);
        assert_eq!(taken[0], ("i".to_owned(), "0".to_owned()));
        news.want(false);
        news.stored("i", "after");
        news.want(true);
        news.stored("i", "now");
        assert_eq!(news.take(10).await, [("i".to_owned(), "now".to_owned())]);
    }
}
