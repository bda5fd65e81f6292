//! Answers of the store are shared: for a moment, whoever asks the same is told the same, and however
//! many ask at once, the store is asked once. While it cannot be asked, its last answer is given, and
//! marked as such.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::opensearch::Error;

/// How long an answer is good enough while the store cannot be asked.
const KEPT_FOR: Duration = Duration::from_mins(15);
/// How soon a store that did not answer is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How many questions are remembered.
const QUESTIONS: usize = 20;

/// What was answered lately, by question.
pub struct Answers<Q, A> {
    shared_for: Duration,
    known: std::sync::Mutex<HashMap<Q, Arc<Mutex<Known<A>>>>>,
}

/// The last answer to a question, and the last failure since.
struct Known<A> {
    answer: Option<(Instant, A)>,
    failure: Option<(Instant, Error)>,
}

impl<A> Default for Known<A> {
    fn default() -> Self {
        Self { answer: None, failure: None }
    }
}

/// An answer, and how good it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<A> {
    /// What the store answered.
    pub answer: A,
    /// How many milliseconds ago.
    pub age_ms: u64,
    /// Why the store cannot be asked now; this is what it answered last.
    pub outdated: Option<String>,
}

impl<Q: Clone + Eq + Hash, A: Clone> Answers<Q, A> {
    /// None yet; each is shared for so long.
    #[must_use]
    pub fn new(shared_for: Duration) -> Self {
        Self { shared_for, known: std::sync::Mutex::default() }
    }

    /// The answer to a question, where it is new enough; else what `ask` gives; else the last answer,
    /// if that is not too old, with the reason.
    ///
    /// # Errors
    /// What `ask` gives, where there is no answer from before. A question that the store refuses (400)
    /// is never answered from before.
    pub async fn to<F>(&self, question: &Q, ask: impl FnOnce() -> F) -> Result<Told<A>, Error>
    where
        F: Future<Output = Result<A, Error>>,
    {
        let known = self.known(question);
        // Who comes second waits for the answer that the first one gets.
        let mut known = known.lock().await;
        if let Some((at, answer)) = &known.answer
            && at.elapsed() < self.shared_for
        {
            return Ok(told(answer, *at, None));
        }
        let failed = known.failure.as_ref().filter(|(at, _)| at.elapsed() < ASKED_AGAIN);
        let failed = failed.map(|(_, fault)| fault.clone());
        let is_news = failed.is_none();
        let asked = match failed {
            Some(fault) => Err(fault),
            None => ask().await,
        };
        match asked {
            Ok(answer) => {
                *known = Known { answer: Some((Instant::now(), answer.clone())), failure: None };
                Ok(Told { answer, age_ms: 0, outdated: None })
            }
            Err(fault) => {
                if is_news {
                    known.failure = Some((Instant::now(), fault.clone()));
                }
                match &known.answer {
                    Some((at, answer))
                        if at.elapsed() < KEPT_FOR && fault.status() != Some(400) =>
                    {
                        Ok(told(answer, *at, Some(fault.to_string())))
                    }
                    _ => Err(fault),
                }
            }
        }
    }

    /// Forgets every answer: what was asked about has just been changed.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn known(&self, question: &Q) -> Arc<Mutex<Known<A>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= QUESTIONS && !known.contains_key(question) {
            // What nobody waits for now.
            known.retain(|_, one| Arc::strong_count(one) > 1);
        }
        Arc::clone(known.entry(question.clone()).or_default())
    }
}

fn told<A: Clone>(answer: &A, at: Instant, outdated: Option<String>) -> Told<A> {
    let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    Told { answer: answer.clone(), age_ms, outdated }
}
