//! Which alerts a callback is for. Pure.

use serde::Deserialize;
use serde_json::Value;

use crate::alert::{Alert, Body, Phase, Source};

/// What an alert must be for a callback to run; an empty list asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Names of sources; what the reconciler read back came from `opensearch`.
    pub sources: Vec<String>,
    /// Patterns over the rule's name: `*` stands for any text, `?` for one character.
    pub rules: Vec<String>,
    /// One of these tags, as the record has them.
    pub tags: Vec<String>,
    /// The least `event.severity`, 0 to 100.
    pub min_severity: u8,
    /// At which turns of its life.
    pub actions: Vec<Action>,
    /// Patterns over the title of the condition that was met.
    pub conditions: Vec<String>,
}

/// A turn in the life of an alert: `event.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It has begun.
    Engaged,
    /// It happened, and has no life.
    Stored,
    /// Somebody has taken note of it.
    Acknowledged,
    /// It is over.
    Released,
}

impl Action {
    /// What a callback runs for where it does not say.
    pub const USUAL: [Self; 2] = [Self::Engaged, Self::Stored];

    /// The turn that brings an alert into this phase.
    #[must_use]
    pub const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Engaged => Self::Engaged,
            Phase::Stored => Self::Stored,
            Phase::Acknowledged => Self::Acknowledged,
            Phase::Released => Self::Released,
        }
    }
}

impl Default for Match {
    fn default() -> Self {
        let (sources, rules, tags, conditions) = Default::default();
        Self { sources, rules, tags, min_severity: 0, actions: Action::USUAL.to_vec(), conditions }
    }
}

impl Match {
    /// Whether an alert is one of those that the callback `name` is for, whatever turn its life
    /// has taken. A condition that names its callbacks has no others; `named` are these.
    #[must_use]
    pub fn admits(&self, name: &str, alert: &Alert, named: &[String]) -> bool {
        let condition = alert.occasion.as_ref().and_then(|met| met.condition.title.as_deref());
        let is_named = named.iter().any(|one| one == name);
        let by_condition = if named.is_empty() {
            self.conditions.is_empty() || is_like_one(&self.conditions, condition)
        } else {
            is_named
        };
        by_condition
            && (self.sources.is_empty()
                || self.sources.iter().any(|one| one == origin(alert.source).name()))
            && (self.rules.is_empty() || is_like_one(&self.rules, alert.rule.name.as_deref()))
            && (self.tags.is_empty() || self.tags.iter().any(|tag| has_tag(alert, tag)))
            && alert.severity >= self.min_severity
    }
}

/// Names that `sources` may have.
#[must_use]
pub fn sources() -> Vec<&'static str> {
    let senders = Source::ALL.into_iter().filter(|source| origin(*source) == *source);
    senders.map(Source::name).collect()
}

/// Who sent it first: the reconciler only reads back what OpenSearch had to tell.
const fn origin(source: Source) -> Source {
    match source {
        Source::Reconciler => Source::OpenSearch,
        other => other,
    }
}

fn is_like_one(patterns: &[String], text: Option<&str>) -> bool {
    text.is_some_and(|text| patterns.iter().any(|pattern| is_like(pattern, text)))
}

fn has_tag(alert: &Alert, tag: &str) -> bool {
    let in_body = || match &alert.body {
        Body::Json { fields, .. } => match fields.get("tags") {
            Some(Value::Array(tags)) => tags.iter().any(|one| one == tag),
            Some(one) => one == tag,
            None => false,
        },
        Body::Empty | Body::Text(_) => false,
    };
    alert.tags.iter().any(|one| one == tag) || in_body()
}

/// Whether a text is like a pattern; capital and small letters are the same.
#[must_use]
pub fn is_like(pattern: &str, text: &str) -> bool {
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let (pattern, text) = (letters(pattern), letters(text));
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stood, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                p = place + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::{
        Named,
        occasion::{Condition, Occasion},
    };

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("Beacons", "beacons", true),
            ("Beacon", "Beacons", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "ü", true),
            ("?", "", false),
            ("Malcolm*", "Malcolm API", true),
            ("*API*", "Malcolm API Loopback", true),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxa", false),
            ("a**c", "abc", true),
            ("a?c", "abbc", false),
            ("*.*", "a.b", true),
            ("[a-z]", "b", false),
        ] {
            assert_eq!(is_like(pattern, text), want, "{pattern} {text}");
        }
    }

    fn alert() -> Alert {
        let condition = Condition { title: Some("Too many".to_owned()), ..Condition::default() };
        let mut alert = Alert {
            rule: Named { id: None, name: Some("Beacons".to_owned()) },
            severity: 60,
            occasion: Some(Box::new(Occasion { condition, ..Occasion::default() })),
            ..Alert::of(Source::Reconciler)
        };
        alert.tag("reconciled");
        let fields = json!({"tags": ["dmz"]});
        alert.body =
            Body::Json { fields: fields.as_object().unwrap().clone(), text: fields.to_string() };
        alert
    }

    #[test]
    fn every_key_must_admit_the_alert() {
        let of = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let all = Match::default();
        for (matching, named, want) in [
            (all.clone(), &[][..], true),
            (Match { sources: of(&["opensearch"]), ..all.clone() }, &[], true),
            (Match { sources: of(&["graylog"]), ..all.clone() }, &[], false),
            (Match { rules: of(&["x", "bea*"]), ..all.clone() }, &[], true),
            (Match { rules: of(&["x"]), ..all.clone() }, &[], false),
            (Match { tags: of(&["x", "dmz"]), ..all.clone() }, &[], true),
            (Match { tags: of(&["reconciled"]), ..all.clone() }, &[], true),
            (Match { tags: of(&["dm"]), ..all.clone() }, &[], false),
            (Match { min_severity: 60, ..all.clone() }, &[], true),
            (Match { min_severity: 61, ..all.clone() }, &[], false),
            (Match { conditions: of(&["too *"]), ..all.clone() }, &[], true),
            (Match { conditions: of(&["other"]), ..all.clone() }, &[], false),
            // A condition that names its callbacks.
            (all.clone(), &["me"], true),
            (all.clone(), &["you"], false),
            (Match { conditions: of(&["other"]), ..all.clone() }, &["you", "me"], true),
            (Match { min_severity: 61, ..all }, &["me"], false),
        ] {
            assert_eq!(matching.admits("me", &alert(), &of(named)), want, "{matching:?} {named:?}");
        }
    }

    #[test]
    fn an_alert_without_a_name_is_like_no_pattern() {
        let none = Alert::of(Source::OpenSearch);
        let any = Match { rules: vec!["*".to_owned()], ..Match::default() };
        assert!(!any.admits("me", &none, &[]));
        assert!(Match::default().admits("me", &none, &[]));
    }
}
