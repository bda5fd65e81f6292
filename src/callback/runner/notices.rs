//! The messages that callbacks get, decoded once for all of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{sync::Semaphore, task::block_in_place};

use crate::{
    callback::{Notice, Outcome, dispatcher},
    intake,
    spool::Spool,
};

/// So many small ones are kept for the next callback, and this is small, in bytes.
const KEPT: usize = 16;
const SMALL: usize = 64 << 10;
/// So many are decoded at once: large ones need memory.
const AT_ONCE: usize = 2;

/// Number of a message, and place of the alert in it.
type Key = (i64, usize);

pub struct Notices {
    spool: Arc<Spool>,
    settings: dispatcher::Settings,
    /// What some callback works on.
    used: Mutex<HashMap<Key, Weak<Notice>>>,
    kept: Mutex<VecDeque<Arc<Notice>>>,
    decoding: Semaphore,
}

impl Notices {
    pub fn new(spool: Arc<Spool>, settings: dispatcher::Settings) -> Self {
        let (used, kept) = Default::default();
        Self { spool, settings, used, kept, decoding: Semaphore::new(AT_ONCE) }
    }

    /// The alert at this place of a message; else what comes of it.
    pub async fn get(&self, id: i64, position: usize) -> Result<Arc<Notice>, Outcome> {
        let key = (id, position);
        // Never closed.
        let _turn = self.decoding.acquire().await;
        if let Some(notice) = lock(&self.used).get(&key).and_then(Weak::upgrade) {
            return Ok(notice);
        }
        let (notice, bytes) = block_in_place(|| self.read(id, position))?;
        let notice = Arc::new(notice);
        let mut used = lock(&self.used);
        if used.len() >= 2 * KEPT {
            used.retain(|_, one| one.strong_count() > 0);
        }
        used.insert(key, Arc::downgrade(&notice));
        drop(used);
        if bytes <= SMALL {
            let mut kept = lock(&self.kept);
            kept.push_back(Arc::clone(&notice));
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        Ok(notice)
    }

    fn read(&self, id: i64, position: usize) -> Result<(Notice, usize), Outcome> {
        let refused = |why: &str| Outcome::Refused(why.to_owned());
        let entry = self.spool.notice(id);
        let entry = entry.map_err(|fault| Outcome::Again(format!("the spool: {fault}")))?;
        let entry = entry.ok_or_else(|| refused("its message is not kept any more"))?;
        if !entry.is_intact {
            return Err(refused("the disk has changed its message: its checksum differs"));
        }
        let envelope = entry.envelope;
        let alerts = intake::decode(&envelope, self.settings.reading());
        let alert = alerts.ok().and_then(|all| all.into_iter().nth(position)?.ok());
        let mut alert = alert.ok_or_else(|| refused("this version cannot read its message"))?;
        alert.locate(self.settings.graylog.as_ref());
        let record = self.settings.record(&alert, &envelope, position);
        Ok((Notice { alert, received: envelope.received, record }, envelope.body.len()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
