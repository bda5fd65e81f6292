//! What engages and is released again and again, where no message tells which time it is about: as
//! ntopng before 4.0 tells it. Pure.
//!
//! The messages of a series are a set of moments. Sorted by their times (of the same instant an
//! engagement goes before a release) and cut after each release, every piece of them is one
//! [`Happening`]: it starts with its first moment and ends with its release. A release that follows
//! a release is a happening of its own.
//!
//! One more moment only ever cuts a happening in two or makes it wider; none ever grows together with
//! another. So a happening keeps the record that it got when the first of its moments came, its
//! founder; no record has to be removed, whatever comes late; and what the records say at the end
//! does not depend on the order. That holds because the moments are one document in the store, which
//! is only written where nobody wrote it since (`writer::lives`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lifecycle;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// Replaces a record by a later state of its happening. Tags that are there stay, as somebody may
/// have set them.
pub const REPLACE_SCRIPT: &str = include_str!("series/replace.painless");

/// Tag of a message that came after its happening was forgotten.
pub const LATE: &str = "late";

/// How many happenings that are over are remembered, and for how long more are, in ms: what a crash
/// left unwritten is to be found again.
const REMEMBERED: usize = 32;
const SETTLED: i64 = 15 * 60_000;
/// How many happenings are remembered at most, and how much of what they say, in bytes.
const MOST: usize = 500;
const MOST_BYTES: usize = 128 << 10;
/// How many moments of one happening are remembered: more are refreshes that change nothing.
const MOMENTS: usize = 100;

/// What a moment means; of the same instant, the engagement is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It is there, or still is.
    #[serde(rename = "e")]
    Engage,
    /// It is over.
    #[serde(rename = "r")]
    Release,
}

/// When something was said, in epoch ms, and what.
pub type Moment = (i64, Kind);

/// A message of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When that was, and what.
    pub moment: Moment,
    /// Whether it says itself when that was; else its receipt stands for it.
    pub is_timed: bool,
    /// When it was received, epoch ms.
    pub received: i64,
    /// Hash of what it says; of the same moment, the greatest is believed.
    pub hash: String,
    /// The record's document, as if the message stood alone.
    pub content: String,
}

/// Where a happening's record is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name {
    /// `event.id`.
    pub key: String,
    /// `_index`.
    pub index: String,
    /// `_id`.
    pub id: String,
}

/// From an engagement to its release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Its record, named after its founder.
    pub name: Name,
    founder: Moment,
    /// Its moments in their order, each with its earliest receipt, epoch ms.
    moments: Vec<(Moment, i64)>,
    /// What the last of them says, and its hash.
    hash: String,
    content: String,
    /// Version of its state: grows with each change, and is not smaller than the time of the change.
    sequence: i64,
}

/// All that is remembered of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Version of the whole.
    #[serde(default)]
    revision: i64,
    /// Up to this moment everything is forgotten.
    #[serde(default)]
    forgotten: Option<i64>,
    /// In the order of time.
    #[serde(default)]
    happenings: Vec<Happening>,
}

/// What a message came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// These records are to be written: also where all was known, since whoever knew it may have ended
    /// before it wrote them.
    Happenings {
        /// Each as it is now.
        touched: Vec<Happening>,
        /// Whether the series has changed.
        is_news: bool,
    },
    /// It belongs to a happening that is forgotten.
    TooLate,
}

impl Series {
    /// Adds a message at the time `now`, epoch ms. `name` names the record of a happening with this
    /// founder.
    pub fn add(&mut self, message: &Message, now: i64, name: impl Fn(Moment) -> Name) -> Added {
        if self.forgotten.is_some_and(|forgotten| message.moment.0 <= forgotten) {
            return Added::TooLate;
        }
        // Without a time, the same release once more is a repetition and no second end.
        let is_repeated = |last: &Happening| last.is_over() && last.hash == message.hash;
        if !message.is_timed
            && message.moment.1 == Kind::Release
            && let Some(last) = self.happenings.last().filter(|last| is_repeated(last))
        {
            return Added::Happenings { touched: vec![last.clone()], is_news: false };
        }
        let sequence = now.max(self.revision.saturating_add(1));
        let ends_before = |one: &Happening| one.end().is_some_and(|end| end < message.moment);
        let place = self.happenings.partition_point(ends_before);
        let is_news = match self.happenings.get_mut(place) {
            None => {
                self.happenings.push(Happening::found(message, sequence, &name));
                true
            }
            Some(one) if one.knows(message.moment) => one.hear_again(message, sequence),
            Some(one) if message.moment.1 == Kind::Engage => {
                one.engage(message, sequence);
                true
            }
            Some(one) => {
                if let Some(before) = one.release(message, sequence, &name) {
                    self.happenings.insert(place, before);
                }
                true
            }
        };
        if is_news {
            self.revision = sequence;
        }
        // A release may have cut in two: the one after it is to be written as well.
        let last = place + usize::from(message.moment.1 == Kind::Release);
        let touched = self.happenings[place..].iter().take(last - place + 1).cloned().collect();
        self.forget(now);
        Added::Happenings { touched, is_news }
    }

    /// Whether it is engaged now, as far as is known.
    #[must_use]
    pub fn is_engaged(&self) -> bool {
        self.happenings.last().is_some_and(|last| !last.is_over())
    }

    fn forget(&mut self, now: i64) {
        let bytes = |one: &Happening| one.content.len() + one.moments.len() * 32 + 256;
        let mut all: usize = self.happenings.iter().map(bytes).sum();
        let mut gone = 0;
        while let Some(oldest) = self.happenings.get(gone).filter(|one| one.is_over()) {
            let left = self.happenings.len() - gone;
            let is_settled = now.saturating_sub(oldest.sequence) > SETTLED;
            let is_too_much = left > MOST || (all > MOST_BYTES && left > 1);
            if !(is_too_much || is_settled && left > REMEMBERED) {
                break;
            }
            all = all.saturating_sub(bytes(oldest));
            self.forgotten = oldest.end().map(|(at, _)| at);
            gone += 1;
        }
        self.happenings.drain(..gone);
    }
}

impl Happening {
    fn found(message: &Message, sequence: i64, name: impl Fn(Moment) -> Name) -> Self {
        Self {
            name: name(message.moment),
            founder: message.moment,
            moments: vec![(message.moment, message.received)],
            hash: message.hash.clone(),
            content: message.content.clone(),
            sequence,
        }
    }

    /// Its release, where it is over.
    fn end(&self) -> Option<Moment> {
        self.moments.last().map(|(moment, _)| *moment).filter(|(_, kind)| *kind == Kind::Release)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end().is_some()
    }

    fn knows(&self, moment: Moment) -> bool {
        self.moments.binary_search_by_key(&moment, |(known, _)| *known).is_ok()
    }

    /// A moment that is known; tells whether the message has something new all the same.
    fn hear_again(&mut self, message: &Message, sequence: i64) -> bool {
        let mut is_earlier = false;
        for (known, received) in &mut self.moments {
            if *known == message.moment && message.received < *received {
                *received = message.received;
                is_earlier = true;
            }
        }
        let is_last = self.moments.last().is_some_and(|(last, _)| *last == message.moment);
        let is_greater = is_last && message.hash > self.hash;
        if is_greater {
            self.say(message);
        }
        let is_news = is_greater || is_earlier;
        if is_news {
            self.sequence = sequence;
        }
        is_news
    }

    fn engage(&mut self, message: &Message, sequence: i64) {
        let place = self.moments.partition_point(|(known, _)| *known < message.moment);
        self.moments.insert(place, (message.moment, message.received));
        if place + 1 == self.moments.len() {
            self.say(message);
        }
        if self.moments.len() > MOMENTS {
            // The first says when it began, and the late ones where a late release would cut.
            let (_, received) = self.moments.remove(1);
            self.moments[0].1 = self.moments[0].1.min(received);
        }
        self.sequence = sequence;
    }

    /// Ends it, or cuts it in two and gives the earlier one.
    fn release(
        &mut self,
        message: &Message,
        sequence: i64,
        name: impl Fn(Moment) -> Name,
    ) -> Option<Self> {
        let place = self.moments.partition_point(|(known, _)| *known < message.moment);
        if place == self.moments.len() {
            self.moments.push((message.moment, message.received));
            self.say(message);
            self.sequence = sequence;
            return None;
        }
        let mut before = Self::found(message, sequence, &name);
        if place == 0 {
            return Some(before);
        }
        before.moments.splice(0..0, self.moments.drain(..place));
        self.sequence = sequence;
        // The record goes along with the founder; what the last moment says stays with that.
        if self.founder < message.moment {
            before.name.clone_from(&self.name);
            before.founder = self.founder;
            let (first, _) = self.moments[0];
            self.name = name(first);
            self.founder = first;
        }
        Some(before)
    }

    fn say(&mut self, message: &Message) {
        self.hash.clone_from(&message.hash);
        self.content.clone_from(&message.content);
    }

    fn received(&self) -> i64 {
        self.moments.iter().map(|(_, received)| *received).min().unwrap_or(i64::MAX)
    }

    /// The record's document: what the last message says, with start, end and state of the whole.
    /// `time_field` is the index pattern's.
    #[must_use]
    pub fn document(&self, time_field: &str) -> String {
        let mut document: Value = serde_json::from_str(&self.content).unwrap_or_default();
        let (Some(((first, _), _)), Some(((last, kind), _))) =
            (self.moments.first(), self.moments.last())
        else {
            return self.content.clone();
        };
        if !document["event"].is_object() {
            return self.content.clone();
        }
        let text =
            |ms: i64| jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.3}")).ok();
        let is_over = *kind == Kind::Release;
        document["firstPacket"] = json!(text(*first));
        document["lastPacket"] = json!(text(*last));
        if time_field != "firstPacket" {
            document[time_field] = json!(text(*first));
        }
        let event = &mut document["event"];
        event["start"] = json!(text(*first));
        event["end"] = json!(text(*last));
        event["ingested"] = json!(text(self.received()));
        event["sequence"] = json!(self.sequence);
        event["id"] = json!(self.name.key);
        event["action"] = json!(if is_over { "released" } else { "engaged" });
        if let Some(event) = event.as_object_mut() {
            event.remove("duration");
            if is_over {
                event
                    .insert("duration".to_owned(), json!(lifecycle::nanoseconds_of(*first, *last)));
            }
        }
        document.to_string()
    }
}
