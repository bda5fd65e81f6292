//! The one sentence that says how alerting is, and the lines below it. Pure: what there is to say is
//! found by the overview.

use jiff::Timestamp;

use super::shown::{count, span};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is to be done.
    Good,
    /// Somebody should look.
    Look,
    /// Alerts are late, or can be lost.
    Bad,
}

impl Level {
    /// For style sheets.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Look => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What it is made from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How many alerts are engaged, and of them the critical ones; `None` where nobody can tell.
    pub engaged: Option<(u64, u64)>,
    /// Why the store takes or tells nothing now.
    pub store_trouble: Option<String>,
    /// Since when.
    pub store_since: Option<Timestamp>,
    /// Why the spool takes nothing.
    pub spool_trouble: Option<String>,
    /// Alerts in the spool, and since when the oldest waits.
    pub waiting: (u64, Option<Timestamp>),
    /// Dead letters.
    pub dead_letters: u64,
    /// Names of callbacks that fail.
    pub failing: Vec<String>,
    /// Whether a heartbeat is overdue.
    pub heartbeat_is_late: bool,
    /// What the store did not tell all of.
    pub incomplete: Option<String>,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// How it is.
    pub level: Level,
    /// In one sentence.
    pub text: String,
    /// What there is to know besides.
    pub more: Vec<String>,
}

/// Alerts that wait longer than this, in seconds, are late.
const LATE: i64 = 60;

impl Headline {
    /// The headline for these facts.
    #[must_use]
    pub fn of(facts: &Facts, now: Timestamp) -> Self {
        let mut more = Vec::new();
        let (waiting, oldest) = facts.waiting;
        let age = oldest.map(|at| now.duration_since(at));
        let is_late = age.is_some_and(|age| age.as_secs() >= LATE);
        let engaged = facts.engaged.map(|(all, critical)| match (all, critical) {
            (0, _) => "nothing is engaged".to_owned(),
            (all, 0) => format!("{} engaged", super::shown::number(all)),
            (all, critical) => {
                format!("{} engaged, {critical} critical", super::shown::number(all))
            }
        });
        let mut level = Level::Good;
        let text = if let Some(trouble) = &facts.spool_trouble {
            level = Level::Bad;
            more.push(trouble.clone());
            "Alerts cannot be taken in: the spool does not take them. Senders are told to come again.".to_owned()
        } else if let Some(trouble) = &facts.store_trouble {
            level = Level::Bad;
            more.push(trouble.clone());
            let since = facts.store_since.map(|at| format!(" since {} UTC", clock_time(at, now)));
            let safe = match waiting {
                0 => "nothing waits in the spool".to_owned(),
                1 => "1 alert is safe in the spool".to_owned(),
                waiting => format!("{} are safe in the spool", count(waiting, "alert")),
            };
            format!("OpenSearch does not answer{}; {safe}.", since.unwrap_or_default())
        } else if is_late {
            level = Level::Bad;
            format!(
                "{} in the spool, the oldest for {}: storing is behind.",
                if waiting == 1 {
                    "1 alert waits".to_owned()
                } else {
                    format!("{} wait", count(waiting, "alert"))
                },
                age.map(span).unwrap_or_default()
            )
        } else {
            let stored =
                if waiting == 0 { "everything stored" } else { "the last ones are being stored" };
            match engaged {
                Some(engaged) => format!(
                    "{}: {engaged}, {stored}.",
                    if facts.is_quiet() { "All is well" } else { "Somebody should look" }
                ),
                None => format!("Nobody can tell what is engaged; {stored}."),
            }
        };
        if level == Level::Good && !facts.is_quiet() {
            level = Level::Look;
        }
        if facts.dead_letters > 0 {
            more.push(format!(
                "{}: received, but refused by the store. Replay or drop what is there.",
                count(facts.dead_letters, "dead letter")
            ));
        }
        if !facts.failing.is_empty() {
            more.push(format!("Callbacks that fail: {}.", facts.failing.join(", ")));
        }
        if facts.heartbeat_is_late {
            more.push(
                "The heartbeat is overdue: alerts of OpenSearch may not come through.".to_owned(),
            );
        }
        if let Some(incomplete) = &facts.incomplete {
            more.push(format!("What is shown may lack some: {incomplete}."));
        }
        Self { level, text, more }
    }
}

impl Facts {
    fn is_quiet(&self) -> bool {
        self.engaged.is_some_and(|(_, critical)| critical == 0)
            && self.dead_letters == 0
            && self.failing.is_empty()
            && !self.heartbeat_is_late
            && self.incomplete.is_none()
    }
}

/// `03:02`, with the day where that was another.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let is_today = at.strftime("%F").to_string() == now.strftime("%F").to_string();
    at.strftime(if is_today { "%H:%M" } else { "%F %H:%M" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_goes_first_and_says_what_is_safe() {
        let now: Timestamp = "2026-11-22T03:30:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let well = Facts { engaged: Some((3, 0)), ..Facts::default() };
        let away = |since| Facts {
            store_trouble: Some("no connection".to_owned()),
            store_since: at(since),
            waiting: (1_204, at("2026-11-22T03:02:00Z")),
            ..Facts::default()
        };
        for (facts, level, text) in [
            (well.clone(), Level::Good, "All is well: 3 engaged, everything stored."),
            (
                Facts { engaged: Some((0, 0)), ..Facts::default() },
                Level::Good,
                "All is well: nothing is engaged, everything stored.",
            ),
            (
                Facts { engaged: Some((3, 1)), ..Facts::default() },
                Level::Look,
                "Somebody should look: 3 engaged, 1 critical, everything stored.",
            ),
            (
                Facts { dead_letters: 2, waiting: (1, Some(now)), ..well.clone() },
                Level::Look,
                "Somebody should look: 3 engaged, the last ones are being stored.",
            ),
            (
                away("2026-11-22T03:02:10Z"),
                Level::Bad,
                "OpenSearch does not answer since 03:02 UTC; 1,204 alerts are safe in the spool.",
            ),
            (
                Facts { waiting: (0, None), ..away("2026-11-20T03:02:10Z") },
                Level::Bad,
                "OpenSearch does not answer since 2026-11-20 03:02 UTC; nothing waits in the spool.",
            ),
            (
                Facts { waiting: (5, at("2026-11-22T03:00:00Z")), ..well.clone() },
                Level::Bad,
                "5 alerts wait in the spool, the oldest for 30 minutes: storing is behind.",
            ),
            (
                Facts {
                    spool_trouble: Some("disk full".to_owned()),
                    ..away("2026-11-22T03:02:10Z")
                },
                Level::Bad,
                "Alerts cannot be taken in: the spool does not take them. Senders are told to come again.",
            ),
            (Facts::default(), Level::Look, "Nobody can tell what is engaged; everything stored."),
        ] {
            let headline = Headline::of(&facts, now);
            assert_eq!((headline.level, headline.text.as_str()), (level, text));
        }
        let more =
            Headline::of(&Facts { dead_letters: 1, heartbeat_is_late: true, ..well }, now).more;
        assert_eq!(more.len(), 2);
    }
}
