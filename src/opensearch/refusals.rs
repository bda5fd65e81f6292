//! How often a login that the store refuses is shown to it again. Pure but for its lock: the time
//! comes in.
//!
//! A store may lock a user out after some wrong passwords (`auth_failure_listeners` of the security
//! plugin), and then refuses the right one too. So after each refusal nothing is asked for a while,
//! twice as long each time; what is asked meanwhile has the refusal as its answer. Another login
//! begins anew.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::Error;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The refusals of one login, since it was let in last.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Option<Refused>>);

struct Refused {
    answer: Bytes,
    pause: Duration,
    until: Instant,
}

impl Refusals {
    /// The last refusal, while the store is not asked again.
    pub(super) fn repeated(&self, now: Instant) -> Option<Bytes> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().filter(|refused| now < refused.until).map(|refused| refused.answer.clone())
    }

    /// Notes what the store answered.
    pub(super) fn note(&self, answer: &Result<(u16, Bytes), Error>, now: Instant) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok((401, answer)) => {
                let pause = match &*refused {
                    None => FIRST_PAUSE,
                    // It was asked before the last refusal came.
                    Some(refused) if now < refused.until => return,
                    Some(refused) => LONGEST_PAUSE.min(refused.pause * 2),
                };
                *refused = Some(Refused { answer: answer.clone(), pause, until: now + pause });
            }
            Ok(_) => *refused = None,
            // Whether it would have let us in is not known.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_login_is_shown_ever_more_seldom_until_it_is_let_in() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let answer = |status| Ok((status, Bytes::from_static(b"no")));
        let mut shown = Vec::new();
        // Somebody asks ten times a second for five minutes.
        for tenth in 0..3_000 {
            let now = begun + Duration::from_millis(100) * tenth;
            if refusals.repeated(now).is_none() {
                refusals.note(&answer(401), now);
                shown.push(tenth);
            }
        }
        assert!(shown.len() < 18, "{shown:?}");
        assert!(shown.iter().filter(|tenth| **tenth < 600).count() < 10, "in the first minute");
        let gaps = shown.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap <= 301) && gaps.max() == Some(300), "{shown:?}");
        let later = begun + Duration::from_hours(1);
        refusals.note(&answer(200), later);
        assert!(refusals.repeated(later).is_none());
        refusals.note(&answer(401), later);
        assert_eq!(refusals.repeated(later).as_deref(), Some(&b"no"[..]));
        // Of many calls at once all are refused, and count once.
        refusals.note(&answer(401), later);
        assert!(refusals.repeated(later + FIRST_PAUSE).is_none());
        let away = Err(Error::Unreachable("gone".to_owned()));
        refusals.note(&away, later + FIRST_PAUSE);
        refusals.note(&answer(401), later + FIRST_PAUSE);
        assert!(refusals.repeated(later + FIRST_PAUSE * 2).is_some(), "twice as long");
    }
}
