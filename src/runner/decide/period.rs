//! The search of a monitor for one period. Pure.
//!
//! The plugin renders the search's text as a Mustache template with two values, `period_start` and
//! `period_end` in epoch ms. Nearly all searches hold variables alone, and those are filled in here: each
//! search would else be a template to the store, which compiles 75 of them in 5 minutes and no more.
//!
//! Source: `InputService.kt` of Alerting.

use cronexpr::MakeTimestamp;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::super::decision::Period;
use crate::silence::schedule::Schedule;

/// The period of a run that is asked for by hand: it ends now, and begins where the schedule would have
/// begun it (`getPeriodEndingAt` in `Schedule.kt`).
#[must_use]
pub fn ending_at(monitor: &Value, end: Timestamp) -> Period {
    let start = match Schedule::of(monitor) {
        Some(Schedule::Every(interval)) => end.checked_sub(interval).ok(),
        Some(Schedule::Cron(crontab)) => {
            let next =
                |after| crontab.find_next(MakeTimestamp(after)).ok().map(|at| at.timestamp());
            // Looks back further and further, so that few times are looked at.
            [1, 24, 8 * 24, 32 * 24, 366 * 24].into_iter().find_map(|hours| {
                let mut at = next(end.checked_sub(SignedDuration::from_hours(hours)).ok()?)?;
                let mut last = None;
                while at < end {
                    last = Some(at);
                    at = next(at)?;
                }
                last
            })
        }
        None => None,
    };
    Period { start: start.unwrap_or(end), end }
}

/// A search whose text holds more than variables: the store has to render it.
#[derive(Debug, PartialEq, Eq)]
pub struct Template;

/// Fills the period in, in values and in keys; a variable of another name is empty.
///
/// # Errors
/// [`Template`].
pub fn filled(search: &Value, period: Period) -> Result<Value, Template> {
    Ok(match search {
        Value::String(text) => filled_text(text, period)?.into(),
        Value::Array(list) => {
            list.iter().map(|one| filled(one, period)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Object(object) => {
            let pair = |(key, value): (&String, &Value)| {
                Ok((filled_text(key, period)?, filled(value, period)?))
            };
            object.iter().map(pair).collect::<Result<Map<_, _>, Template>>()?.into()
        }
        other => other.clone(),
    })
}

/// What the store renders a [`Template`] with.
#[must_use]
pub fn values(period: Period) -> Value {
    let Period { start, end } = period;
    json!({"period_start": start.as_millisecond(), "period_end": end.as_millisecond()})
}

fn filled_text(text: &str, period: Period) -> Result<String, Template> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, tag)) = rest.split_once("{{") {
        filled.push_str(before);
        let (inner, after) = match tag.strip_prefix('{') {
            Some(tag) => tag.split_once("}}}").ok_or(Template)?,
            None => tag.split_once("}}").ok_or(Template)?,
        };
        let name = inner.strip_prefix('&').unwrap_or(inner).trim();
        match name {
            "period_start" => filled.push_str(&period.start.as_millisecond().to_string()),
            "period_end" => filled.push_str(&period.end.as_millisecond().to_string()),
            name if is_variable(name) => {}
            _ => return Err(Template),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|letter| letter.is_alphanumeric() || "_.-@".contains(letter))
}

/// The same search without what Elasticsearch 9 no longer reads: the bounds of a range in the words in
/// which Dashboards writes them.
#[must_use]
pub fn modern(search: Value) -> Value {
    match search {
        Value::Array(list) => list.into_iter().map(modern).collect::<Vec<_>>().into(),
        Value::Object(object) => {
            let pair = |(key, value): (String, Value)| {
                let value = if key == "range" { modern_range(value) } else { modern(value) };
                (key, value)
            };
            object.into_iter().map(pair).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// `{"range": {FIELD: {"from": …, "to": …, "include_lower": …, "include_upper": …}}}`; an aggregation of
/// that name has no bounds in an object of its own.
fn modern_range(range: Value) -> Value {
    let Value::Object(fields) = range else { return range };
    let pair = |(field, bounds): (String, Value)| match bounds {
        Value::Object(bounds) => (field, modern_bounds(bounds).into()),
        other => (field, modern(other)),
    };
    fields.into_iter().map(pair).collect::<Map<_, _>>().into()
}

fn modern_bounds(mut bounds: Map<String, Value>) -> Map<String, Value> {
    for (bound, with, names) in
        [("from", "include_lower", ["gte", "gt"]), ("to", "include_upper", ["lte", "lt"])]
    {
        let included = bounds.remove(with).and_then(|value| value.as_bool()).unwrap_or(true);
        if let Some(value) = bounds.remove(bound).filter(|value| !value.is_null()) {
            bounds.insert(names[usize::from(!included)].to_owned(), value);
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period() -> Period {
        let at = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
        Period { start: at(100), end: at(200) }
    }

    #[test]
    fn the_period_is_filled_in_wherever_it_stands() {
        for (search, want) in [
            (json!({"from": "{{period_start}}"}), json!({"from": "100"})),
            (json!(["{{period_end}}||-10m", 7]), json!(["200||-10m", 7])),
            (json!("{{ period_start }}-{{{period_end}}}-{{& period_end}}"), json!("100-200-200")),
            (json!({"a{{period_end}}": null}), json!({"a200": null})),
            (json!("a{{other}}b {{a.b}}"), json!("ab ")),
            (json!("a { b } }}"), json!("a { b } }}")),
        ] {
            assert_eq!(filled(&search, period()), Ok(want));
        }
        for search in ["{{#a}}{{/a}}", "{{period_end", "{{=<% %>=}}", "{{! no }}", "{{}}"] {
            assert_eq!(filled(&json!([search]), period()), Err(Template), "{search}");
        }
        assert_eq!(values(period()), json!({"period_start": 100, "period_end": 200}));
    }

    #[test]
    fn a_run_by_hand_looks_back_as_far_as_the_schedule_says() {
        let end: Timestamp = "2026-11-22T12:00:30Z".parse().unwrap();
        let cron = |expression: &str, zone: &str| json!({"schedule": {"cron": {"expression": expression, "timezone": zone}}});
        for (monitor, want) in [
            (
                json!({"schedule": {"period": {"interval": 10, "unit": "MINUTES"}}}),
                "2026-11-22T11:50:30Z",
            ),
            (cron("* * * * *", "UTC"), "2026-11-22T12:00:00Z"),
            (cron("0 8 * * *", "Europe/Berlin"), "2026-11-22T07:00:00Z"),
            (cron("0 0 1 1 *", "UTC"), "2026-01-01T00:00:00Z"),
            (json!({}), "2026-11-22T12:00:30Z"),
        ] {
            let period = ending_at(&monitor, end);
            assert_eq!((period.start.to_string().as_str(), period.end), (want, end), "{monitor}");
        }
    }

    #[test]
    fn ranges_are_said_as_every_store_reads_them() {
        for (range, want) in [
            (
                json!({"range": {"t": {"from": 1, "to": 2, "include_lower": true, "include_upper": false, "format": "x"}}}),
                json!({"range": {"t": {"gte": 1, "lt": 2, "format": "x"}}}),
            ),
            (
                json!([{"range": {"t": {"from": 1, "to": null, "include_lower": false, "include_upper": true}}}]),
                json!([{"range": {"t": {"gt": 1}}}]),
            ),
            (json!({"range": {"t": {"gte": 1}}}), json!({"range": {"t": {"gte": 1}}})),
            (
                json!({"range": {"field": "x", "ranges": [{"from": 1, "to": 2}]}}),
                json!({"range": {"field": "x", "ranges": [{"from": 1, "to": 2}]}}),
            ),
        ] {
            assert_eq!(modern(range), want);
        }
    }
}
