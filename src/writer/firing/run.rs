//! Which of the Alerting API's alerts a message without an id is about. Pure.

use std::collections::HashSet;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use crate::{
    alert::{Alert, Phase},
    intake::truth,
    opensearch::{
        alert_search::quoted,
        builtin,
        rules::{Kind, Rule},
    },
};

/// How long after the end of a period, in ms, its alert begins at the latest: an alert of a query
/// begins after the actions ran, and one that hangs takes a minute.
pub const WINDOW: i64 = 600_000;
/// A run that began later than this after the end of a period without a length is another's, in ms.
const NEXT_RUN: i64 = 60_000;

/// An alert as the API tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The alert.
    pub alert: Alert,
    ended: Option<Timestamp>,
    acknowledged: Option<Timestamp>,
    /// Which run made it: `{monitor}_{its begin, in UTC}_{random}`.
    execution: Option<String>,
}

impl Told {
    /// Reads an alert; `None` where it is none that becomes a record.
    pub fn read(json: &Value) -> Option<Self> {
        let alert = truth::read(json).ok()?;
        let time =
            |key: &str| json[key].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let execution = json["execution_id"].as_str().filter(|id| !id.is_empty());
        Some(Self {
            alert,
            ended: time("end_time"),
            acknowledged: time("acknowledged_time"),
            execution: execution.map(str::to_owned),
        })
    }

    /// Whether it was there at `at`, and its actions ran.
    fn was_there(&self, at: Timestamp) -> bool {
        let is_orphan = self.alert.phase == Phase::Released && self.ended.is_none();
        self.alert.began.is_some_and(|began| began <= at)
            && self.ended.is_none_or(|ended| ended > at)
            && self.acknowledged.is_none_or(|noted| noted > at)
            && !is_orphan
    }

    /// When the run began that made it.
    fn ran(&self) -> Option<Timestamp> {
        let time = self.execution.as_ref()?.rsplit('_').nth(1)?;
        let time: DateTime = time.parse().ok()?;
        time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }
}

/// The instant by which the alerts of a message are known: the end of its period; a composite
/// monitor's messages have only its start.
pub fn instant(alert: &Alert, kind: Kind) -> Option<Timestamp> {
    alert.end.or(alert.start.filter(|_| kind == Kind::Composite))
}

/// The search, in the words of a `query_string`, for all alerts that [`of_run`] chooses from.
pub fn search(rule: &Rule, alert: &Alert, at: Timestamp) -> String {
    let whose = match rule.kind {
        Kind::Composite => "workflow_id",
        _ => "monitor_id",
    };
    let made_here = format!("execution_id:{}", quoted(&builtin::alerts::execution(&rule.id, at)));
    let at = at.as_millisecond();
    let trigger = trigger(rule, alert);
    let trigger = trigger.map_or(String::new(), |id| format!(" AND trigger_id:{}", quoted(id)));
    let began_after = format!("start_time:[{at} TO {}]", at.saturating_add(WINDOW));
    let when = match rule.kind {
        // They are never over.
        Kind::Document => began_after,
        _ => format!("(start_time:[* TO {at}] AND NOT end_time:[* TO {at}]) OR {began_after}"),
    };
    format!("{whose}:{}{trigger} AND ({when} OR {made_here})", quoted(&rule.id))
}

/// Whether the message's trigger is one that the monitor has; a composite monitor's message names
/// none, or what its author wrote there.
pub fn has_trigger(rule: &Rule, alert: &Alert) -> bool {
    trigger(rule, alert).is_some() || rule.kind == Kind::Composite
}

/// The id of the message's trigger, as the monitor has it.
fn trigger<'a>(rule: &'a Rule, alert: &Alert) -> Option<&'a str> {
    let is_it = |(id, name): &&(String, String)| match (&alert.trigger.id, &alert.trigger.name) {
        (Some(told), _) => told == id,
        (None, Some(told)) => told == name,
        (None, None) => false,
    };
    rule.triggers.iter().find(is_it).map(|(id, _)| id.as_str())
}

/// The alerts of `told` that the message is about; none where its alert is not there yet.
///
/// - Of a query, and of a composite monitor whose trigger is known: the one whose life covers `at`,
///   else the first that began after it, since it begins when its actions ran.
/// - Of buckets: all that were there, and those that this run made.
/// - Of documents: those that this run made.
/// - Of a composite monitor whose trigger is not known: as of buckets.
///
/// The built-in engine says of each alert which run made it, by the end of its period: then nothing is
/// left to be told by times.
pub fn of_run(rule: &Rule, alert: &Alert, at: Timestamp, told: &[Told]) -> Vec<Alert> {
    let of_any_trigger = rule.kind == Kind::Composite && trigger(rule, alert).is_none();
    let is_own = |told: &&Told| {
        let trigger = &told.alert.trigger;
        let of_rule = told.alert.is_composite == (rule.kind == Kind::Composite);
        of_rule
            && (of_any_trigger
                || match (&alert.trigger.id, &alert.trigger.name) {
                    (Some(_), _) => trigger.id == alert.trigger.id,
                    (None, Some(_)) => trigger.name == alert.trigger.name,
                    (None, None) => false,
                })
    };
    let mut seen = HashSet::new();
    let mut own: Vec<&Told> =
        told.iter().filter(is_own).filter(|told| seen.insert(&told.alert.id)).collect();
    own.sort_by_key(|told| told.alert.began);
    let there = || own.iter().copied().filter(|told| told.was_there(at));
    let after =
        || own.iter().copied().filter(|told| told.alert.began.is_some_and(|began| began > at));
    let one_at_a_time =
        rule.kind == Kind::Query || (rule.kind == Kind::Composite && !of_any_trigger);
    let execution = builtin::alerts::execution(&rule.id, at);
    let made_here: Vec<&Told> = own
        .iter()
        .copied()
        .filter(|told| told.execution.as_ref().is_some_and(|told| *told == execution))
        .collect();
    let chosen: Vec<&Told> = if !made_here.is_empty() {
        let others = there().filter(|told| !one_at_a_time && !made_here.contains(told));
        others.chain(made_here.iter().copied()).collect()
    } else if one_at_a_time {
        there().next().or_else(|| after().next()).into_iter().collect()
    } else if rule.kind == Kind::Document {
        // The period of such a monitor is the moment of its run, cut to ms.
        made_by(alert, at, own.iter().copied().filter(|told| told.alert.began >= Some(at)))
    } else {
        there().chain(made_by(alert, at, after())).collect()
    };
    chosen.into_iter().map(|told| told.alert.clone()).collect()
}

/// Those that the run at `at` made: the earliest of `after`, and what else the same run made.
fn made_by<'a>(
    message: &Alert,
    at: Timestamp,
    after: impl Iterator<Item = &'a Told>,
) -> Vec<&'a Told> {
    let mut after = after.peekable();
    let Some(first) = after.peek().copied() else { return Vec::new() };
    let length = match (message.start, message.end) {
        (Some(start), Some(end)) => end.as_millisecond() - start.as_millisecond(),
        _ => 0,
    };
    let next = at.as_millisecond().saturating_add(length.max(NEXT_RUN));
    if first.ran().or(first.alert.began).is_some_and(|ran| ran.as_millisecond() >= next) {
        return Vec::new();
    }
    let same = |told: &&Told| match &first.execution {
        Some(_) => told.execution == first.execution,
        None => told.alert.began == first.alert.began,
    };
    after.filter(same).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::{Named, Source};

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    fn rule(kind: Kind) -> Rule {
        let triggers = vec![("t".to_owned(), "trigger".to_owned())];
        Rule { id: "m".to_owned(), kind, triggers, body: Value::Null }
    }

    /// A message about a minute that ends then.
    fn message(end: i64) -> Alert {
        Alert {
            trigger: Named { id: Some("t".to_owned()), name: Some("trigger".to_owned()) },
            start: Some(at(end - 60)),
            end: Some(at(end)),
            ..Alert::of(Source::OpenSearch)
        }
    }

    /// An alert: its id, its trigger, when it began and ended, and when the run was that made it.
    fn told(id: &str, trigger: &str, start: i64, end: Option<i64>, ran: i64) -> Told {
        let civil = at(ran).to_zoned(TimeZone::UTC).datetime();
        let json = json!({"id": id, "state": if end.is_some() { "COMPLETED" } else { "ACTIVE" },
            "monitor_id": "m", "trigger_id": trigger, "trigger_name": "trigger", "severity": "1",
            "execution_id": format!("m_x_{civil}_0-1"),
            "start_time": (NOW + start) * 1_000, "end_time": end.map(|end| (NOW + end) * 1_000)});
        Told::read(&json).unwrap()
    }

    fn chosen(kind: Kind, message: &Alert, all: &[Told]) -> Vec<String> {
        let at = instant(message, kind).unwrap();
        let chosen = of_run(&rule(kind), message, at, all);
        chosen.into_iter().filter_map(|alert| alert.id).collect()
    }

    #[test]
    fn a_querys_alert_is_the_one_that_was_there_or_the_first_after() {
        let past = told("past", "t", 0, Some(50), 0);
        let other = told("other", "u", 90, None, 90);
        let first = told("first", "t", 170, None, 100);
        let next = told("next", "t", 300, None, 299);
        let all = [next, other.clone(), past.clone(), first.clone()];
        assert_eq!(chosen(Kind::Query, &message(100), &all), ["first"], "began after the period");
        assert_eq!(
            chosen(Kind::Query, &message(180), &[past.clone(), first]),
            ["first"],
            "lives on"
        );
        assert!(chosen(Kind::Query, &message(100), &[past, other]).is_empty());
    }

    #[test]
    fn a_trigger_without_an_id_is_known_by_its_name_and_one_without_both_by_nothing() {
        let all = [told("a", "t", 101, None, 100)];
        let mut named = message(100);
        named.trigger.id = None;
        assert_eq!(chosen(Kind::Query, &named, &all), ["a"]);
        assert!(has_trigger(&rule(Kind::Query), &named));
        named.trigger.name = None;
        assert!(chosen(Kind::Query, &named, &all).is_empty());
        assert!(!has_trigger(&rule(Kind::Query), &named));
        assert!(has_trigger(&rule(Kind::Composite), &named));
        named.trigger.id = Some("gone".to_owned());
        assert!(!has_trigger(&rule(Kind::Query), &named));
    }

    #[test]
    fn buckets_are_all_that_were_there_and_those_of_the_same_run() {
        let mut noted = told("noted", "t", 0, None, 0);
        noted.acknowledged = Some(at(90));
        let mut noted_later = told("noted later", "t", 0, None, 0);
        noted_later.acknowledged = Some(at(110));
        let all = [
            told("old", "t", 0, Some(99), 0),
            told("just over", "t", 0, Some(101), 0),
            told("still there", "t", 40, None, 40),
            noted,
            noted_later,
            told("new", "t", 101, None, 100),
            told("new, next page", "t", 103, None, 100),
            told("next run", "t", 161, None, 160),
            told("other", "u", 101, None, 100),
        ];
        let got = chosen(Kind::Bucket, &message(100), &all);
        assert_eq!(got, ["just over", "noted later", "still there", "new", "new, next page"]);
        let got = chosen(Kind::Bucket, &message(100), &all[..3]);
        assert_eq!(got, ["just over", "still there"]);
        let next = [told("next run", "t", 161, None, 160)];
        assert!(chosen(Kind::Bucket, &message(100), &next).is_empty(), "another run's");
    }

    #[test]
    fn what_the_built_in_engine_made_is_known_however_late_its_run_was() {
        let ours = |id: &str, start, end, period_end| {
            let mut told = told(id, "t", start, end, 0);
            told.execution = Some(builtin::alerts::execution("m", at(period_end)));
            told
        };
        let all = [
            ours("there", 40, None, 40),
            // Runs that were made up for hours later, one after the other.
            ours("own", 9_001, Some(9_002), 100),
            ours("own, another bucket", 9_001, None, 100),
            ours("next", 9_002, None, 160),
        ];
        let got = chosen(Kind::Bucket, &message(100), &all);
        assert_eq!(got, ["there", "own", "own, another bucket"]);
        assert_eq!(chosen(Kind::Query, &message(160), &all[3..]), ["next"]);
        assert_eq!(chosen(Kind::Query, &message(100), &[all[3].clone(), all[1].clone()]), ["own"]);
        // One that goes on was made by a run before.
        assert_eq!(chosen(Kind::Query, &message(100), &all[..1]), ["there"]);
    }

    #[test]
    fn documents_are_those_of_the_same_run_however_many_there_were_before() {
        let mut now = message(100);
        now.start = now.end;
        let all = [
            told("before", "t", 40, None, 39),
            told("a", "t", 100, None, 99),
            told("b", "t", 100, None, 99),
            told("next", "t", 160, None, 159),
        ];
        assert_eq!(chosen(Kind::Document, &now, &all), ["a", "b"]);
        assert!(chosen(Kind::Document, &now, &all[..1]).is_empty());
    }

    #[test]
    fn a_composite_monitors_message_names_no_trigger_and_no_end() {
        let chained = |id: &str, start, end, ran| {
            let mut told = told(id, "t", start, end, ran);
            told.alert.is_composite = true;
            told
        };
        let message = Alert { start: Some(at(100)), ..Alert::of(Source::OpenSearch) };
        let all = [
            chained("past", 0, Some(50), 0),
            chained("first", 101, None, 100),
            chained("later", 200, None, 199),
            told("delegate's", "t", 101, None, 100),
        ];
        assert_eq!(chosen(Kind::Composite, &message, &all), ["first"]);
        let mut by_hand = message.clone();
        by_hand.trigger.name = Some("what its author calls it".to_owned());
        assert_eq!(chosen(Kind::Composite, &by_hand, &all), ["first"]);
        let next = Alert { start: Some(at(130)), ..message };
        assert_eq!(chosen(Kind::Composite, &next, &all[..3]), ["first"]);
    }

    #[test]
    fn searches_name_the_monitor_the_trigger_and_the_time() {
        let first = search(&rule(Kind::Query), &message(0), at(0));
        assert_eq!(
            first,
            "monitor_id:\"m\" AND trigger_id:\"t\" AND ((start_time:[* TO 1800000000000] AND NOT \
             end_time:[* TO 1800000000000]) OR start_time:[1800000000000 TO 1800000600000] OR \
             execution_id:\"m_2027-01-15T08:00:00.000Z\")"
        );
        let documents = search(&rule(Kind::Document), &Alert::of(Source::OpenSearch), at(0));
        assert_eq!(
            documents,
            "monitor_id:\"m\" AND (start_time:[1800000000000 TO 1800000600000] OR \
             execution_id:\"m_2027-01-15T08:00:00.000Z\")"
        );
        let composite = search(&rule(Kind::Composite), &message(0), at(0));
        assert!(composite.starts_with("workflow_id:\"m\" AND trigger_id:"), "{composite}");
    }
}
