//! Answers are shared: for a few seconds, whoever asks the same is told the same, and however many ask
//! at once, the store is asked once.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{Page, Question, Settings, ask};
use crate::{
    clock,
    opensearch::{Client, Error},
};

/// How long an answer is shared.
const SHARED_FOR: Duration = Duration::from_secs(3);
/// How long it is good enough while the store cannot be asked.
const KEPT_FOR: Duration = Duration::from_mins(15);
/// How soon a store that did not answer is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How long the store may take.
const TIME: Duration = Duration::from_secs(12);
/// How many questions are remembered.
const QUESTIONS: usize = 20;

/// What is engaged now, from the store.
pub struct Engaged {
    client: Client,
    settings: Settings,
    answers: std::sync::Mutex<HashMap<Question, Arc<Mutex<Answer>>>>,
}

/// The last answer to a question, and the last failure since.
#[derive(Default)]
struct Answer {
    page: Option<(Instant, Page)>,
    failure: Option<(Instant, Error)>,
}

impl Engaged {
    /// Asks through `client`; nothing yet.
    #[must_use]
    pub fn new(client: &Client, settings: Settings) -> Self {
        let client = client.within(TIME);
        Self { client, settings, answers: std::sync::Mutex::default() }
    }

    /// A page of what is engaged: not older than 3 seconds while the store answers; else what it
    /// answered last, if that is not too old, with the reason.
    ///
    /// # Errors
    /// [`Error`]: the store does not answer, and has not lately. A question that the store refuses (400)
    /// is never answered from before.
    pub async fn page(&self, question: &Question) -> Result<Page, Error> {
        let answer = self.answer(question);
        // Who comes second waits for the answer that the first one gets.
        let mut answer = answer.lock().await;
        if let Some((at, page)) = &answer.page
            && at.elapsed() < SHARED_FOR
        {
            return Ok(aged(page, *at, None));
        }
        let failed = answer.failure.as_ref().filter(|(at, _)| at.elapsed() < ASKED_AGAIN);
        let failed = failed.map(|(_, fault)| fault.clone());
        let is_news = failed.is_none();
        let asked = match failed {
            Some(fault) => Err(fault),
            None => ask(&self.client, &self.settings, question, clock::now()).await,
        };
        match asked {
            Ok(page) => {
                *answer = Answer { page: Some((Instant::now(), page.clone())), failure: None };
                Ok(page)
            }
            Err(fault) => {
                if is_news {
                    answer.failure = Some((Instant::now(), fault.clone()));
                }
                match &answer.page {
                    Some((at, page)) if at.elapsed() < KEPT_FOR && fault.status() != Some(400) => {
                        Ok(aged(page, *at, Some(fault.to_string())))
                    }
                    _ => Err(fault),
                }
            }
        }
    }

    fn answer(&self, question: &Question) -> Arc<Mutex<Answer>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= QUESTIONS && !answers.contains_key(question) {
            // What nobody waits for now.
            answers.retain(|_, answer| Arc::strong_count(answer) > 1);
        }
        Arc::clone(answers.entry(question.clone()).or_default())
    }
}

fn aged(page: &Page, at: Instant, outdated: Option<String>) -> Page {
    let age_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    Page { age_ms, outdated, ..page.clone() }
}
