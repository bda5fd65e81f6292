//! The episodes of alerts: from its first message to its last, an alert is one, and its callbacks
//! run at its turns and not at each message. Pure.
//!
//! The first firing of an OpenSearch alert has no id, and the next one has: the first message with
//! an id continues an open episode of its rule, trigger and bucket that has none yet.
//!
//! ntopng and Alertmanager say when each of their messages was so. Where only the series of an alert
//! is known, that time tells an episode from the next one; and whatever is older than the last news of
//! an episode neither begins nor ends it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::{Alert, Phase, Source};

/// How many episodes are remembered, and for how long without a message.
const MOST: usize = 10_000;
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many messages are remembered, to know them again when a sender repeats one.
const MESSAGES: usize = 100_000;

/// Hash of a message: its body, and what it said it was.
pub type MessageHash = [u8; 16];

/// What a condition says about its callbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Minutes after the end of an episode in which a new one runs nothing.
    #[serde(default)]
    pub grace: u32,
    /// Whether each message runs the callbacks, not the first alone.
    #[serde(default)]
    pub repeat: bool,
    /// Names of its callbacks; where it names none, they say themselves for what they are.
    #[serde(default)]
    pub callbacks: Vec<String>,
}

impl Terms {
    /// What an alert says, if it tells of its condition at all.
    #[must_use]
    pub fn of(alert: &Alert) -> Option<Self> {
        let parameters = &alert.occasion.as_ref()?.condition.parameters;
        let grace = parameters.get("grace").and_then(Value::as_u64).unwrap_or(0);
        let names = parameters.get("callbacks").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        Some(Self {
            // Graylog has waited itself before it told us.
            grace: match alert.source {
                Source::Graylog | Source::Ntopng | Source::Alertmanager => 0,
                Source::OpenSearch | Source::Reconciler => u32::try_from(grace).unwrap_or(u32::MAX),
            },
            repeat: parameters.get("repeat_notifications").and_then(Value::as_bool) == Some(true),
            callbacks: names.map(str::to_owned).collect(),
        })
    }
}

/// One life of an alert, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Hash of source, rule, trigger and bucket.
    pub key: String,
    /// The alert's id, once a message told it.
    pub alert: Option<String>,
    /// When its last message was received.
    pub last: Timestamp,
    /// When it ended, if it did.
    pub ended: Option<Timestamp>,
    /// The time of its last news, as the messages say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub news: Option<Timestamp>,
    /// Whether it was decided who is told of its begin: its end or an acknowledgement may come first.
    #[serde(default)]
    pub begun: bool,
    /// Whether somebody has taken note of it.
    pub acknowledged: bool,
    /// Until when nobody is told of it, since it began in the grace of the one before.
    pub held: Option<Timestamp>,
    /// What its condition said last.
    pub terms: Terms,
}

/// What a message means for the callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The alert begins, or happened: they run.
    Begins,
    /// It began, but so soon after the end of the last episode that they do not run before then.
    Held(Timestamp),
    /// It still is there: those run that want to hear it again.
    Again,
    /// Somebody has taken note of it.
    Acknowledged,
    /// It is over.
    Released,
    /// Nothing new.
    Known,
}

/// What a message means, of which episode it is, and what its condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it means.
    pub turn: Turn,
    /// Number of its episode, where it has one.
    pub episode: Option<i64>,
    /// What its condition says.
    pub terms: Terms,
}

/// What is remembered of episodes and messages. What changes it has to be kept: [`Self::changes`].
#[derive(Debug, Default)]
pub struct Memory {
    /// By number, which is the order in which they began.
    episodes: BTreeMap<i64, Episode>,
    by_alert: HashMap<String, i64>,
    /// The latest of each key.
    latest: HashMap<String, i64>,
    messages: HashSet<MessageHash>,
    order: VecDeque<MessageHash>,
    next: i64,
    changes: Changes,
}

/// What has to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Episodes by number; `None` for those that are forgotten.
    pub episodes: BTreeMap<i64, Option<Episode>>,
    /// Messages, oldest first.
    pub messages: Vec<MessageHash>,
}

impl Memory {
    /// How many messages are worth keeping.
    pub const MESSAGES: usize = MESSAGES;

    /// What was kept: episodes by number, the highest number that is in use, and messages, oldest
    /// first.
    #[must_use]
    pub fn of(
        episodes: impl IntoIterator<Item = (i64, Episode)>,
        last: i64,
        messages: impl IntoIterator<Item = MessageHash>,
    ) -> Self {
        let mut memory = Self { next: last.saturating_add(1), ..Self::default() };
        for (number, episode) in episodes {
            memory.insert(number, episode);
        }
        for message in messages {
            memory.note(message);
        }
        memory
    }

    /// What has changed since the last call.
    pub fn changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether this message was seen before; from now on it was.
    pub fn is_repeated(&mut self, message: MessageHash) -> bool {
        if !self.note(message) {
            return true;
        }
        self.changes.messages.push(message);
        false
    }

    fn note(&mut self, message: MessageHash) -> bool {
        if !self.messages.insert(message) {
            return false;
        }
        self.order.push_back(message);
        if self.order.len() > MESSAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        true
    }

    /// What `alert`, received then, means; notes it.
    pub fn judge(&mut self, alert: &Alert, received: Timestamp) -> Judged {
        let key = key(alert);
        let told = Terms::of(alert);
        let known = self.latest.get(&key).and_then(|number| self.episodes.get(number));
        let terms = told.or_else(|| known.map(|known| known.terms.clone())).unwrap_or_default();
        let found = self.find(alert, &key, received);
        let (turn, episode) = match (alert.phase, found) {
            (Phase::Stored, Some(number)) => (Turn::Known, Some(number)),
            // What has no life is over at once, and remembered only to be known again.
            (Phase::Stored, None) => (
                Turn::Begins,
                alert.id.is_some().then(|| {
                    self.begin(alert, key, received, |one| {
                        one.ended = Some(received);
                        one.terms = terms.clone();
                    })
                }),
            ),
            (Phase::Engaged, Some(number)) => {
                (self.continues(number, alert, received, &terms), Some(number))
            }
            (Phase::Engaged, None) => {
                let (turn, number) = self.begins(alert, key, received, &terms);
                (turn, Some(number))
            }
            (Phase::Acknowledged, Some(number)) => {
                let turn = self.change(number, alert, received, |one| {
                    let is_news = !one.acknowledged && one.ended.is_none();
                    one.acknowledged = true;
                    if is_news && one.held.is_none() { Turn::Acknowledged } else { Turn::Known }
                });
                (turn, Some(number))
            }
            (Phase::Acknowledged, None) => {
                let acknowledge = |one: &mut Episode| one.acknowledged = true;
                (Turn::Acknowledged, Some(self.begin(alert, key, received, acknowledge)))
            }
            (Phase::Released, Some(number)) => {
                let turn = self.change(number, alert, received, |one| {
                    if one.ended.is_none() && one.is_engaged_since(alert, received) {
                        return Turn::Known;
                    }
                    let is_news = one.ended.is_none();
                    one.ended.get_or_insert(end(alert, received));
                    if is_news && one.held.is_none() { Turn::Released } else { Turn::Known }
                });
                (turn, Some(number))
            }
            (Phase::Released, None) => {
                let release = |one: &mut Episode| one.ended = Some(end(alert, received));
                (Turn::Released, Some(self.begin(alert, key, received, release)))
            }
        };
        self.forget(received);
        Judged { turn, episode, terms }
    }

    /// The episode that a message is of, if it does not begin one.
    fn find(&self, alert: &Alert, key: &str, received: Timestamp) -> Option<i64> {
        if let Some(number) = alert.id.as_ref().and_then(|id| self.by_alert.get(id)) {
            return Some(*number);
        }
        if is_of_series(alert) {
            let number = *self.latest.get(key)?;
            let one = self.episodes.get(&number)?;
            let is_next =
                one.ended.is_some() && one.news.is_none_or(|news| said(alert, received) > news);
            return (!is_next).then_some(number);
        }
        // Without an id: a first firing, or a turn in the life of the one that is open.
        if alert.id.is_none() && matches!(alert.phase, Phase::Engaged | Phase::Stored) {
            return None;
        }
        let number = *self.latest.get(key)?;
        let one = self.episodes.get(&number)?;
        let fits = one.alert.is_none() || alert.id.is_none();
        (one.ended.is_none() && fits && alert.phase != Phase::Stored).then_some(number)
    }

    fn begins(
        &mut self,
        alert: &Alert,
        key: String,
        received: Timestamp,
        terms: &Terms,
    ) -> (Turn, i64) {
        // One that is still open has ended without a word: it was there for the last time then.
        if let Some(number) = self.latest.get(&key).copied() {
            let is_open = self.episodes.get(&number).is_some_and(|one| one.ended.is_none());
            if is_open && let Some(one) = self.episodes.get_mut(&number) {
                one.ended = Some(one.last);
                self.changes.episodes.insert(number, Some(one.clone()));
            }
        }
        let before = self.latest.get(&key).and_then(|number| self.episodes.get(number));
        let until = before.and_then(|one| grace_ends(one.ended?, terms.grace));
        let held = until.filter(|until| *until > received);
        let number = self.begin(alert, key, received, |one| {
            one.terms = terms.clone();
            one.begun = true;
            one.held = held;
        });
        (held.map_or(Turn::Begins, Turn::Held), number)
    }

    fn continues(
        &mut self,
        number: i64,
        alert: &Alert,
        received: Timestamp,
        terms: &Terms,
    ) -> Turn {
        self.change(number, alert, received, |one| {
            one.terms = terms.clone();
            if !std::mem::replace(&mut one.begun, true) {
                // Its end or an acknowledgement has come first, and nobody was told of it yet.
                return Turn::Begins;
            }
            // Alertmanager fires again under the same start, where it took silence for the end.
            if alert.source == Source::Alertmanager
                && one.ended.is_some()
                && one.news.is_none_or(|news| said(alert, received) > news)
            {
                one.ended = None;
                one.acknowledged = false;
                return Turn::Begins;
            }
            match (one.ended, one.held) {
                // Late: it was told to be over already.
                (Some(_), _) => Turn::Known,
                (None, None) => Turn::Again,
                (None, Some(until)) if until > received => Turn::Known,
                (None, Some(_)) => {
                    one.held = None;
                    Turn::Begins
                }
            }
        })
    }

    fn begin(
        &mut self,
        alert: &Alert,
        key: String,
        received: Timestamp,
        set: impl FnOnce(&mut Episode),
    ) -> i64 {
        let mut one = Episode {
            key,
            alert: alert.id.clone(),
            last: received,
            ended: None,
            news: says_when(alert).then(|| said(alert, received)),
            begun: false,
            acknowledged: false,
            held: None,
            terms: Terms::default(),
        };
        set(&mut one);
        let number = self.next.max(1);
        self.changes.episodes.insert(number, Some(one.clone()));
        self.insert(number, one);
        number
    }

    fn change(
        &mut self,
        number: i64,
        alert: &Alert,
        received: Timestamp,
        set: impl FnOnce(&mut Episode) -> Turn,
    ) -> Turn {
        let Some(one) = self.episodes.get_mut(&number) else { return Turn::Known };
        let turn = set(one);
        one.last = one.last.max(received);
        if says_when(alert) {
            one.news = one.news.max(Some(said(alert, received)));
        }
        if one.alert.is_none() {
            one.alert.clone_from(&alert.id);
        }
        if let Some(id) = &one.alert {
            self.by_alert.insert(id.clone(), number);
        }
        self.changes.episodes.insert(number, Some(one.clone()));
        turn
    }

    fn insert(&mut self, number: i64, one: Episode) {
        self.next = self.next.max(number + 1);
        if let Some(id) = &one.alert {
            self.by_alert.insert(id.clone(), number);
        }
        self.latest.insert(one.key.clone(), number);
        self.episodes.insert(number, one);
    }

    /// Forgets what is too old or too much, the oldest first.
    fn forget(&mut self, now: Timestamp) {
        while let Some((&number, one)) = self.episodes.first_key_value()
            && (self.episodes.len() > MOST || now.duration_since(one.last) > REMEMBERED)
        {
            let Some(one) = self.episodes.remove(&number) else { return };
            if self.latest.get(&one.key) == Some(&number) {
                self.latest.remove(&one.key);
            }
            if let Some(id) = one.alert.filter(|id| self.by_alert.get(id) == Some(&number)) {
                self.by_alert.remove(&id);
            }
            self.changes.episodes.insert(number, None);
        }
    }
}

impl Episode {
    /// Whether it was told to be there at a later time than this message is about.
    fn is_engaged_since(&self, alert: &Alert, received: Timestamp) -> bool {
        let may_be_late = is_of_series(alert) || alert.source == Source::Alertmanager;
        may_be_late && self.news.is_some_and(|news| said(alert, received) < news)
    }
}

/// Whether only its series tells which alert it is.
fn is_of_series(alert: &Alert) -> bool {
    alert.series.is_some() && alert.id.is_none() && alert.phase != Phase::Stored
}

/// Whether its source's messages say when they were so.
fn says_when(alert: &Alert) -> bool {
    matches!(alert.source, Source::Ntopng | Source::Alertmanager)
}

/// When it was as the message says.
fn said(alert: &Alert, received: Timestamp) -> Timestamp {
    alert.as_of.unwrap_or(received)
}

fn grace_ends(ended: Timestamp, minutes: u32) -> Option<Timestamp> {
    if minutes == 0 {
        return None;
    }
    ended.checked_add(SignedDuration::from_mins(i64::from(minutes))).ok()
}

/// When an alert that is over ended; not in the future, whatever its source's clock says.
fn end(alert: &Alert, received: Timestamp) -> Timestamp {
    alert.end.or(alert.as_of).unwrap_or(received).min(received)
}

/// Hash of what stays the same over the episodes of an alert.
fn key(alert: &Alert) -> String {
    let source = match alert.source {
        Source::Reconciler => Source::OpenSearch,
        other => other,
    };
    // Messages tell names, and the Alerting API tells both.
    let name = |named: &crate::alert::Named| named.name.clone().or_else(|| named.id.clone());
    let met = alert.occasion.as_deref();
    let stream = met.filter(|_| source == Source::Graylog).and_then(|met| met.stream.id.clone());
    let mut hasher = blake3::Hasher::new();
    // One rule of theirs is engaged for many hosts at once.
    if let Some(own) = alert.series.as_ref().or(alert.id.as_ref().filter(|_| says_when(alert))) {
        hasher.update(source.name().as_bytes()).update(b"\0").update(own.as_bytes());
        return hasher.finalize().to_hex()[..32].to_owned();
    }
    for part in [
        Some(source.name().to_owned()),
        name(&alert.rule),
        name(&alert.trigger),
        alert.bucket.as_ref().map(crate::alert::bucket::Bucket::name),
        stream,
    ] {
        hasher.update(part.unwrap_or_default().as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests;
