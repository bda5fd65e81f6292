//! How many alerts began when, by severity, and what became of them. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Filter, query};

/// A chart has at most about so many bars.
const BARS: i64 = 60;
/// How long one bar may be, in seconds; beyond the last, whole multiples of it.
const INTERVALS: [i64; 14] = [
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    86_400,
    7 * 86_400,
    28 * 86_400,
];
/// The longest span, in seconds: a hundred years.
const LONGEST: i64 = 100 * 366 * 86_400;

/// How severe, in words: what OpenSearch's five severities become, 100, 80, 60, 40 and 20, each
/// stands in the middle of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// 90 and more.
    Critical,
    /// From 70 on.
    High,
    /// From 50 on.
    Medium,
    /// From 30 on.
    Low,
    /// Less.
    Info,
}

impl Band {
    /// All of them, the most severe first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The one that a severity, 0 to 100, falls into.
    #[must_use]
    pub fn of(severity: i64) -> Self {
        let found = Self::ALL.into_iter().find(|band| severity >= band.least());
        found.unwrap_or(Self::Info)
    }

    /// The least severity that it holds.
    #[must_use]
    pub const fn least(self) -> i64 {
        match self {
            Self::Critical => 90,
            Self::High => 70,
            Self::Medium => 50,
            Self::Low => 30,
            Self::Info => 0,
        }
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

/// How many of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct BySeverity {
    /// 90 and more.
    pub critical: u64,
    /// 70 to 89.
    pub high: u64,
    /// 50 to 69.
    pub medium: u64,
    /// 30 to 49.
    pub low: u64,
    /// Less.
    pub info: u64,
}

impl BySeverity {
    /// How many of one.
    #[must_use]
    pub const fn of(&self, band: Band) -> u64 {
        match band {
            Band::Critical => self.critical,
            Band::High => self.high,
            Band::Medium => self.medium,
            Band::Low => self.low,
            Band::Info => self.info,
        }
    }

    /// How many of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        Band::ALL.into_iter().map(|band| self.of(band)).sum()
    }

    fn add(&mut self, band: Band, count: u64) {
        let place = match band {
            Band::Critical => &mut self.critical,
            Band::High => &mut self.high,
            Band::Medium => &mut self.medium,
            Band::Low => &mut self.low,
            Band::Info => &mut self.info,
        };
        *place += count;
    }
}

/// What spans of different moments have in common that ask the same, such as for the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Unless it goes on with the clock.
    from: Option<i64>,
    length: i64,
    interval: i64,
}

/// From when to when, in whole bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: i64,
    to: i64,
    interval: i64,
    /// Whether it goes on with the clock.
    is_rolling: bool,
}

impl Span {
    /// The last so many seconds, up to the end of the bar that `now` is in: so whoever asks within
    /// one bar asks the same.
    #[must_use]
    pub fn last(length: Duration, now: Timestamp) -> Self {
        let length = i64::try_from(length.as_secs()).unwrap_or(LONGEST).clamp(60, LONGEST);
        let (now, interval) = (now.as_second(), fitting(length));
        let to = (now.div_euclid(interval) + 1) * interval;
        Self { from: to - whole(length, interval) * interval, to, interval, is_rolling: true }
    }

    /// The bars that this time touches.
    ///
    /// # Errors
    /// Where it is none.
    pub fn between(from: Timestamp, to: Timestamp) -> Result<Self, &'static str> {
        let (from, to) = (from.as_second(), to.as_second());
        if from >= to {
            return Err("`from` has to be before `to`");
        }
        let interval = fitting((to - from).min(LONGEST));
        let from = from.max(to - LONGEST).div_euclid(interval) * interval;
        Ok(Self { from, to: whole(to, interval) * interval, interval, is_rolling: false })
    }

    /// What it asks.
    #[must_use]
    pub fn question(&self) -> Question {
        let from = (!self.is_rolling).then_some(self.from);
        Question { from, length: self.to - self.from, interval: self.interval }
    }

    /// When the first bar begins.
    #[must_use]
    pub fn from(&self) -> Timestamp {
        time(self.from)
    }

    /// When the last bar ends.
    #[must_use]
    pub fn to(&self) -> Timestamp {
        time(self.to)
    }

    /// How long one bar is.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval.unsigned_abs())
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

/// How many of `part` hold all of `length`.
fn whole(length: i64, part: i64) -> i64 {
    (length + part - 1).div_euclid(part)
}

/// The shortest interval that has not too many bars.
fn fitting(length: i64) -> i64 {
    let fits = |interval: &i64| whole(length, *interval) <= BARS;
    let longest = INTERVALS[INTERVALS.len() - 1];
    INTERVALS
        .into_iter()
        .find(fits)
        .unwrap_or_else(|| whole(whole(length, BARS), longest) * longest)
}

/// One bar of the chart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Bar {
    /// When it begins.
    pub at: String,
    /// How many alerts began in it.
    pub counts: BySeverity,
}

/// How many alerts there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Overview {
    /// When the first bar begins.
    pub from: String,
    /// When the last bar ends.
    pub to: String,
    /// How long one bar is.
    pub interval_seconds: u64,
    /// Every bar, the oldest first, those without alerts too.
    pub bars: Vec<Bar>,
    /// How many began in that time.
    pub total: u64,
    /// By severity.
    pub severities: BySeverity,
    /// By state, `failure` too, which another one may be besides.
    pub states: BTreeMap<String, u64>,
    /// By source (`event.provider`).
    pub sources: BTreeMap<String, u64>,
    /// When the store was asked.
    pub asked_at: String,
    /// How many milliseconds ago that was.
    pub age_ms: u64,
    /// Why the store cannot be asked now; this is what it answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// Why some may be missing: a part of the store did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// The body of the search.
pub(super) fn body(filter: &Filter, span: Span) -> Value {
    let filter = Filter { from: Some(span.from()), to: Some(span.to()), ..filter.clone() };
    let bands = Band::ALL
        .into_iter()
        .rev()
        .zip(Band::ALL.into_iter().rev().skip(1).map(Some).chain([None]));
    let bands: Vec<_> = bands
        .map(|(band, above)| match (band, above) {
            (Band::Info, Some(above)) => json!({ "key": band.name(), "to": above.least() }),
            (band, Some(above)) => {
                json!({ "key": band.name(), "from": band.least(), "to": above.least() })
            }
            (band, None) => json!({ "key": band.name(), "from": band.least() }),
        })
        .collect();
    json!({
        "size": 0, "track_total_hits": true, "timeout": query::TIME,
        "query": { "bool": { "filter": query::conditions(&filter) } },
        "aggs": {
            "bars": {
                "date_histogram": { "field": "event.start", "min_doc_count": 1,
                    "fixed_interval": format!("{}s", span.interval) },
                "aggs": { "bands": {
                    "range": { "field": "event.severity", "keyed": true, "ranges": bands } } } },
            "states": { "terms": { "field": "event.action", "size": 20 } },
            "failures": { "filter": { "term": { "event.outcome": "failure" } } },
            "sources": { "terms": { "field": "event.provider", "size": 50 } } } })
}

/// Reads the answer; `None` where it is none.
pub(super) fn read(answer: &Value, span: Span, now: Timestamp) -> Option<Overview> {
    let total = answer.pointer("/hits/total/value")?.as_u64()?;
    let mut bars: BTreeMap<i64, BySeverity> = BTreeMap::new();
    let mut at = span.from;
    while at < span.to {
        bars.insert(at, BySeverity::default());
        at += span.interval;
    }
    let mut severities = BySeverity::default();
    for bucket in buckets(answer, "bars") {
        let (Some(ms), Some(count)) = (bucket["key"].as_i64(), bucket["doc_count"].as_u64()) else {
            continue;
        };
        let bar = bars.entry(ms.div_euclid(1_000)).or_default();
        let mut told = 0;
        for band in Band::ALL {
            let count = bucket["bands"]["buckets"][band.name()]["doc_count"].as_u64().unwrap_or(0);
            told += count;
            bar.add(band, count);
            severities.add(band, count);
        }
        // A record without a severity is one of 40, as everywhere else.
        let untold = count.saturating_sub(told);
        bar.add(Band::Low, untold);
        severities.add(Band::Low, untold);
    }
    let named = |name: &str| -> BTreeMap<String, u64> {
        let count =
            |one: &Value| Some((one["key"].as_str()?.to_owned(), one["doc_count"].as_u64()?));
        buckets(answer, name).filter_map(count).collect()
    };
    let mut states = named("states");
    let failures = answer.pointer("/aggregations/failures/doc_count").and_then(Value::as_u64);
    if let Some(failures) = failures.filter(|count| *count > 0) {
        states.insert("failure".to_owned(), failures);
    }
    let bars = bars.into_iter().map(|(at, counts)| Bar { at: time(at).to_string(), counts });
    Some(Overview {
        from: span.from().to_string(),
        to: span.to().to_string(),
        interval_seconds: span.interval.unsigned_abs(),
        bars: bars.collect(),
        total,
        severities,
        states,
        sources: named("sources"),
        asked_at: format!("{now:.3}"),
        age_ms: 0,
        outdated: None,
        incomplete: super::incomplete(answer),
    })
}

fn buckets<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let buckets = answer.pointer(&format!("/aggregations/{name}/buckets"));
    buckets.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_chart_has_neither_too_few_bars_nor_too_many() {
        let now = at("2026-11-22T05:31:07Z");
        for (seconds, interval, bars) in [
            (60, 60, 1),
            (3_600, 60, 60),
            (86_400, 1_800, 48),
            (7 * 86_400, 10_800, 56),
            (30 * 86_400, 43_200, 60),
            (365 * 86_400, 7 * 86_400, 53),
            (20 * 365 * 86_400, 5 * 28 * 86_400, 53),
        ] {
            let span = Span::last(Duration::from_secs(seconds), now);
            let count = (span.to - span.from) / span.interval;
            assert_eq!((span.interval, count), (interval, bars), "{seconds}");
            assert!(span.to() > now && span.to - now.as_second() <= span.interval);
            assert_eq!(span.from % span.interval, 0);
        }
        let day = Duration::from_hours(24);
        assert_eq!(Span::last(day, now), Span::last(day, at("2026-11-22T05:59:59Z")));
        let span = Span::between(at("2026-11-22T05:31:07Z"), at("2026-11-22T05:33:00Z")).unwrap();
        assert_eq!(span.from().to_string(), "2026-11-22T05:31:00Z");
        assert_eq!((span.to().to_string().as_str(), span.interval), ("2026-11-22T05:33:00Z", 60));
        assert!(Span::between(now, now).is_err());
    }

    #[test]
    fn the_last_day_is_asked_for_whatever_the_time_is() {
        let (day, now) = (Duration::from_hours(24), at("2026-11-22T05:59:59Z"));
        let (one, next) = (Span::last(day, now), Span::last(day, at("2026-11-22T06:00:00Z")));
        assert_ne!(one, next);
        assert_eq!(one.question(), next.question());
        assert_ne!(one.question(), Span::last(day * 2, now).question());
        let same = Span::between(one.from(), one.to()).unwrap();
        assert_ne!(one.question(), same.question());
        let next = Span::between(next.from(), next.to()).unwrap();
        assert_ne!(same.question(), next.question());
    }

    #[test]
    fn the_severities_of_opensearch_fall_into_one_band_each() {
        let bands = [100, 80, 60, 40, 20].map(Band::of);
        assert_eq!(bands, Band::ALL);
        assert_eq!(
            [300, 90, 89, 0, -20].map(Band::of).map(Band::name),
            ["critical", "critical", "high", "info", "info"]
        );
        let ranges =
            body(&Filter::default(), Span { from: 0, to: 60, interval: 60, is_rolling: true });
        let ranges = &ranges["aggs"]["bars"]["aggs"]["bands"]["range"]["ranges"];
        assert_eq!(ranges[0], json!({"key": "info", "to": 30}));
        assert_eq!(ranges[1], json!({"key": "low", "from": 30, "to": 50}));
        assert_eq!(ranges[4], json!({"key": "critical", "from": 90}));
    }

    #[test]
    fn bars_without_alerts_are_there_too_and_every_alert_is_counted() {
        let span = Span { from: 0, to: 180, interval: 60, is_rolling: true };
        let answer = json!({"hits": {"total": {"value": 5}}, "aggregations": {
            "bars": {"buckets": [{"key": 60_000, "doc_count": 5, "bands": {"buckets": {
                "critical": {"doc_count": 3}, "info": {"doc_count": 1}}}}]},
            "states": {"buckets": [{"key": "engaged", "doc_count": 5}]},
            "failures": {"doc_count": 2},
            "sources": {"buckets": [{"key": "ntopng", "doc_count": 5}]}}});
        let overview = read(&answer, span, Timestamp::UNIX_EPOCH).unwrap();
        let totals: Vec<_> = overview.bars.iter().map(|bar| bar.counts.total()).collect();
        assert_eq!(totals, [0, 5, 0]);
        assert_eq!(
            overview.severities,
            BySeverity { critical: 3, low: 1, info: 1, ..Default::default() }
        );
        assert_eq!(overview.states, BTreeMap::from([("engaged".into(), 5), ("failure".into(), 2)]));
        assert_eq!(overview.bars[1].at, "1970-01-01T00:01:00Z");
        assert_eq!(read(&json!({}), span, Timestamp::UNIX_EPOCH), None);
    }
}
