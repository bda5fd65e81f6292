//! What is wrong with the spool at present, for readiness, for the log (one line when it changes),
//! and for who wants to append.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::ErrorCode;
use tracing::{error, info, warn};

use super::AppendError;

/// How to get out of a damaged file.
const MEND: &str =
    "stop alertloop, run `alertloop spool rescue` on its data directory, and start it again";

/// The present state; nothing is wrong at first.
#[derive(Default)]
pub struct Trouble {
    /// Fast answer to "is there any?".
    any: AtomicBool,
    /// Never mended while the process lives: what was read of a damaged file may be wrong.
    damaged: AtomicBool,
    writing: Mutex<Option<String>>,
    reading: Mutex<Option<String>>,
    full: Mutex<Option<String>>,
}

impl Trouble {
    /// What is wrong, in words for an operator.
    pub fn text(&self) -> Option<String> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let sides = [&self.writing, &self.reading, &self.full];
        sides.into_iter().find_map(|side| lock(side).clone())
    }

    /// Whether the last transaction failed, for a reason that may pass.
    pub fn fails_to_write(&self) -> bool {
        self.may_pass(&self.writing)
    }

    /// Whether there was no room the last time.
    pub fn is_full(&self) -> bool {
        self.may_pass(&self.full)
    }

    fn may_pass(&self, side: &Mutex<Option<String>>) -> bool {
        self.any.load(Ordering::Relaxed)
            && !self.damaged.load(Ordering::Relaxed)
            && lock(side).is_some()
    }

    /// Why nothing may be appended to a damaged file.
    pub fn refusal(&self) -> Option<AppendError> {
        let damaged = self.damaged.load(Ordering::Relaxed);
        damaged.then(|| AppendError::Write(self.text().unwrap_or_else(|| "damaged".to_owned())))
    }

    /// Notes that a transaction failed; gives what to tell those who waited for it.
    pub fn cannot_write(&self, fault: &rusqlite::Error) -> AppendError {
        let text = self.words(fault);
        if self.set(&self.writing, &text) {
            error!(error = %text, "the spool cannot write: alerts are refused with 503 until it can; look at the disk of the data directory");
        }
        AppendError::Write(text)
    }

    /// Notes that a transaction was committed.
    pub fn can_write(&self) {
        if self.clear(&self.writing) {
            info!("the spool can write again");
        }
    }

    /// Notes that entries could not be read.
    pub fn cannot_read(&self, fault: &rusqlite::Error) {
        let text = self.words(fault);
        if self.set(&self.reading, &text) {
            error!(error = %text, "the spool cannot be read: nothing is sent to the store until it can");
        }
    }

    /// Notes that entries could be read.
    pub fn can_read(&self) {
        if self.clear(&self.reading) {
            info!("the spool can be read again");
        }
    }

    /// Notes whether there is room for more.
    pub fn room(&self, refusal: Option<&AppendError>) {
        match refusal {
            Some(refusal) => {
                if self.set(&self.full, &refusal.to_string()) {
                    warn!(error = %refusal, "alerts are refused with 503 until there is room");
                }
            }
            None => {
                if self.clear(&self.full) {
                    info!("the spool has room again");
                }
            }
        }
    }

    fn words(&self, fault: &rusqlite::Error) -> String {
        let damage = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
        if fault.sqlite_error_code().is_some_and(|code| damage.contains(&code)) {
            self.damaged.store(true, Ordering::Relaxed);
            return format!("the spool file is damaged ({fault}); {MEND}");
        }
        fault.to_string()
    }

    /// Tells whether it is news that there is trouble.
    fn set(&self, side: &Mutex<Option<String>>, text: &str) -> bool {
        self.any.store(true, Ordering::Relaxed);
        lock(side).replace(text.to_owned()).is_none()
    }

    /// Tells whether there was trouble.
    fn clear(&self, side: &Mutex<Option<String>>) -> bool {
        self.may_pass(side) && lock(side).take().is_some()
    }
}

fn lock(side: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn fault(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn what_passes_is_forgotten_and_damage_stays() {
        let trouble = Trouble::default();
        assert_eq!(trouble.text(), None);
        trouble.cannot_write(&fault(ffi::SQLITE_FULL));
        trouble.cannot_read(&fault(ffi::SQLITE_IOERR));
        assert!(trouble.text().is_some() && trouble.refusal().is_none());
        trouble.can_write();
        assert!(trouble.text().is_some(), "it still cannot be read");
        trouble.can_read();
        assert_eq!(trouble.text(), None);
        trouble.room(Some(&AppendError::Full { limit: 1 }));
        assert!(trouble.text().is_some_and(|text| text.contains("full")));
        trouble.room(None);
        assert_eq!(trouble.text(), None);
        trouble.cannot_read(&fault(ffi::SQLITE_CORRUPT));
        trouble.can_read();
        trouble.can_write();
        assert!(trouble.text().is_some_and(|text| text.contains("alertloop spool rescue")));
        assert!(trouble.refusal().is_some());
    }
}
