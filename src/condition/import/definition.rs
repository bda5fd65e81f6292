//! An event definition of today's Graylog (`aggregation-v1`).
//!
//! ```json
//! {"id": "…", "title": "…", "description": "…", "priority": 2, "alert": true,
//!  "config": {"type": "aggregation-v1", "query": "…", "streams": ["…"], "group_by": ["source"],
//!             "series": [{"id": "s1", "type": "avg", "field": "took_ms"}],
//!             "conditions": {"expression": {"expr": ">", "left": {"expr": "number-ref", "ref": "s1"},
//!                                           "right": {"expr": "number", "value": 100.0}}},
//!             "search_within_ms": 300000, "execute_every_ms": 60000},
//!  "notification_settings": {"grace_period_ms": 60000, "backlog_size": 5},
//!  "notifications": [{"notification_id": "…"}], "tags": []}
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Imported,
    legacy::{both, bounded},
    number,
    stream::Streams,
    text, whole,
};
use crate::condition::{
    Condition, Expression, Schedule, Test,
    expression::{Comparison, Operand, Operator, percentile},
    series::{Function, Series},
};

const MINUTE: f64 = 60_000.0;

/// Reads one.
pub fn read(json: &Value, streams: &Streams<'_>) -> Imported {
    let none = Map::new();
    let map = json.as_object().unwrap_or(&none);
    let object = |key: &str| map.get(key).and_then(Value::as_object).unwrap_or(&none);
    let title = text(map, "title").unwrap_or_else(|| "Event definition".to_owned());
    let (config, settings) = (object("config"), object("notification_settings"));
    let mut notes = Vec::new();
    let condition = aggregation(config, &mut notes).and_then(|test| {
        let ids = config.get("streams").and_then(Value::as_array).into_iter().flatten();
        let ids: Vec<_> = ids.filter_map(Value::as_str).collect();
        let found = streams.named(&ids);
        let mut stream = found.stream;
        notes.extend(found.notes);
        if let Some(query) = text(config, "query").filter(|query| query != "*") {
            if query.contains('$') && config.get("query_parameters").is_some_and(is_something) {
                notes.push("parameters of its query are not filled in".to_owned());
            }
            stream.query = both(&stream, &query);
        }
        left_out(map, config, &mut notes);
        let mut backlog = bounded(whole(settings, "backlog_size").unwrap_or(0), &mut notes);
        let is_grouped =
            matches!(&test, Test::Aggregation { group_by, .. } if !group_by.is_empty());
        if is_grouped && backlog > 0 {
            notes.push("not carried over: its backlog, since it makes groups".to_owned());
            backlog = 0;
        }
        let time = minutes(config, "search_within_ms", &mut notes).unwrap_or(5);
        Ok(Condition {
            id: id(map).unwrap_or_else(|| super::file_name(&title)),
            title: title.clone(),
            description: text(map, "description"),
            severity: severity(number(map, "priority")),
            enabled: text(map, "state").is_none_or(|state| state != "DISABLED")
                && map.get("is_scheduled").and_then(Value::as_bool) != Some(false),
            stream,
            schedule: schedule(config, &mut notes)?,
            time,
            test,
            grace: minutes(settings, "grace_period_ms", &mut notes).unwrap_or(0),
            backlog,
            // Graylog sends a notification for each event that is out of its grace.
            repeat_notifications: true,
            callbacks: Vec::new(),
            tags: tags(map),
            created_at: None,
            creator: None,
        })
    });
    Imported { title, condition, notes }
}

fn id(map: &Map<String, Value>) -> Option<String> {
    let oid = map.get("_id").and_then(|id| id.get("$oid")).and_then(Value::as_str);
    text(map, "id").or_else(|| oid.map(str::to_owned)).or_else(|| text(map, "_id"))
}

fn tags(map: &Map<String, Value>) -> Vec<String> {
    let tags = map.get("tags").and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<_> = tags.filter_map(Value::as_str).map(str::to_owned).collect();
    if !all.iter().any(|tag| tag == "graylog") {
        all.push("graylog".to_owned());
    }
    all
}

/// Graylog's 4 (critical) to 0 (info) as 1 to 5.
fn severity(priority: Option<f64>) -> u8 {
    match priority {
        Some(n) if n >= 4.0 => 1,
        Some(n) if n >= 3.0 => 2,
        Some(n) if n >= 2.0 => 3,
        Some(n) if n >= 1.0 => 4,
        Some(_) => 5,
        None => 3,
    }
}

/// Milliseconds as whole minutes, rounded up.
fn minutes(map: &Map<String, Value>, key: &str, notes: &mut Vec<String>) -> Option<u32> {
    let ms = number(map, key).filter(|ms| (0.0..=1e13).contains(ms))?;
    let minutes = (ms / MINUTE).ceil();
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    if minutes * MINUTE != ms {
        notes.push(format!("{key} of {ms} is rounded up to {minutes} minutes"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Some(minutes as u32)
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// Says what of a definition has no place here.
fn left_out(map: &Map<String, Value>, config: &Map<String, Value>, notes: &mut Vec<String>) {
    let is_there = |map: &Map<String, Value>, key: &str| map.get(key).is_some_and(is_something);
    for (is_there, note) in [
        (
            is_there(map, "notifications"),
            "its notifications: write them as [[callback]] of the configuration, and name them in `callbacks`",
        ),
        (is_there(map, "field_spec"), "its custom fields (field_spec)"),
        (is_there(map, "key_spec"), "its event key (key_spec)"),
        (is_there(map, "remediation_steps"), "its remediation steps"),
        (is_there(config, "filters"), "its search filters"),
        (is_there(config, "stream_categories"), "its stream categories"),
        (
            number(config, "event_limit").is_some_and(|limit| limit > 0.0)
                && !is_there(config, "series"),
            "its event limit",
        ),
        (
            map.get("alert").and_then(Value::as_bool) == Some(false),
            "that it makes events and no alerts: here each is an alert",
        ),
    ] {
        if is_there {
            notes.push(format!("not carried over: {note}"));
        }
    }
}

fn schedule(config: &Map<String, Value>, notes: &mut Vec<String>) -> Result<Schedule, String> {
    let uses_cron = config.get("use_cron_scheduling").and_then(Value::as_bool) == Some(true);
    if !uses_cron {
        let every = minutes(config, "execute_every_ms", notes).filter(|every| *every > 0);
        return Ok(Schedule::Every(every.unwrap_or(1)));
    }
    let quartz = text(config, "cron_expression").ok_or("its cron expression is missing")?;
    let expression = unix_cron(&quartz)?;
    let zone = text(config, "cron_timezone").unwrap_or_else(|| "UTC".to_owned());
    let schedule = Schedule::Cron { expression, zone };
    schedule.check()?;
    Ok(schedule)
}

/// Quartz has seconds first and perhaps a year last, `?` for any day, and counts days of the week
/// from Sunday as 1; Unix has neither, and counts from 0.
fn unix_cron(quartz: &str) -> Result<String, String> {
    let fault = |why: &str| format!("its cron expression {quartz:?} {why}");
    let fields: Vec<_> = quartz.split_whitespace().collect();
    let [seconds, minute, hour, day, month, weekday, year @ ..] = fields.as_slice() else {
        return Err(fault("has not the six or seven fields of Quartz"));
    };
    if *seconds != "0" || !year.iter().all(|year| *year == "*") {
        return Err(fault("has seconds or a year, which OpenSearch does not know"));
    }
    if [day, month, weekday].iter().any(|field| {
        field.contains(['L', 'W', '#'])
            && !field.contains(|l: char| l.is_ascii_lowercase())
            && !is_names(field)
    }) {
        return Err(fault("has L, W or #, which OpenSearch does not know"));
    }
    let any = |field: &str| if field == "?" { "*".to_owned() } else { field.to_owned() };
    let day_of_unix = |letter: char| match letter.to_digit(10) {
        Some(digit @ 1..=7) => char::from_digit(digit - 1, 10).unwrap_or(letter),
        _ => letter,
    };
    let weekdays = weekday.split(',').map(|part| {
        // What stands behind the slash is a number of days, and no day.
        let (days, step) = part.split_at(part.find('/').unwrap_or(part.len()));
        any(&days.chars().map(day_of_unix).collect::<String>()) + step
    });
    let weekday = weekdays.collect::<Vec<_>>().join(",");
    Ok(format!("{minute} {hour} {} {} {weekday}", any(day), any(month)))
}

/// Names of days or months, such as `MON-FRI`.
fn is_names(field: &str) -> bool {
    let mut words = field.split([',', '-']);
    words.all(|word| word.len() == 3 && word.chars().all(|letter| letter.is_ascii_alphabetic()))
}

fn aggregation(config: &Map<String, Value>, notes: &mut Vec<String>) -> Result<Test, String> {
    match text(config, "type").as_deref() {
        Some("aggregation-v1") => {}
        Some(other) => return Err(format!("definitions of the type {other:?} are not known here")),
        None => return Err("it tells no type".to_owned()),
    }
    let mut all = BTreeMap::new();
    for one in config.get("series").and_then(Value::as_array).into_iter().flatten() {
        let Some(one) = one.as_object() else { continue };
        if let Some(id) = text(one, "id") {
            all.insert(id, series(one));
        }
    }
    let groups = config.get("group_by").and_then(Value::as_array).into_iter().flatten();
    let group_by: Vec<_> = groups.filter_map(Value::as_str).map(str::to_owned).collect();
    let given = config.get("conditions").and_then(|one| one.get("expression"));
    let expression = if let Some(given) = given.filter(|one| is_something(one)) {
        expression(given, &all)?
    } else {
        let note = "in Graylog each message of it is an event of its own; here the messages of a \
                    window are one alert";
        notes.push(note.to_owned());
        Expression::parse("count() > 0")?
    };
    // It is written to a file and has to be read from there.
    let expression = Expression::parse(&expression.to_string())?;
    Ok(Test::Aggregation { group_by, expression })
}

fn series(map: &Map<String, Value>) -> Result<Series, String> {
    let name = text(map, "type").or_else(|| text(map, "function")).unwrap_or_default();
    let mut function =
        Function::of(&name).ok_or_else(|| format!("the function {name:?} is not known here"))?;
    if let (Function::Percentile(_), Some(percent)) = (function, number(map, "percentile")) {
        function = percentile(percent)?;
    }
    Ok(Series { function, field: text(map, "field") })
}

fn expression(
    json: &Value,
    series: &BTreeMap<String, Result<Series, String>>,
) -> Result<Expression, String> {
    let part = |key: &str| {
        let part = json.get(key).ok_or_else(|| format!("its expression has no `{key}`"))?;
        expression(part, series)
    };
    let operator = match json.get("expr").and_then(Value::as_str).unwrap_or_default() {
        "&&" => return Ok(Expression::And(vec![part("left")?, part("right")?])),
        "||" => return Ok(Expression::Or(vec![part("left")?, part("right")?])),
        "!" => return Ok(Expression::Not(Box::new(part("left")?))),
        "group" => return part("child"),
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        "==" => Operator::Equal,
        other => return Err(format!("{other:?} in its expression is not known here")),
    };
    let operand = |key: &str| {
        let operand = json.get(key).unwrap_or(&Value::Null);
        match operand.get("expr").and_then(Value::as_str) {
            Some("number") => {
                let value = operand.get("value").and_then(Value::as_f64);
                value.map(Operand::Number).ok_or_else(|| "a number of it is missing".to_owned())
            }
            Some("number-ref") => {
                let id = operand.get("ref").and_then(Value::as_str).unwrap_or_default();
                let found = series.get(id).cloned();
                let found = found.ok_or_else(|| format!("there is no series {id:?} in it"))?;
                found.map(Operand::Series)
            }
            _ => Err("an operand of its expression is not known here".to_owned()),
        }
    };
    let (left, right) = (operand("left")?, operand("right")?);
    Ok(Expression::Compare(Comparison { left, operator, right }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_of_quartz_becomes_that_of_unix() {
        for (quartz, want) in [
            ("0 0 8 * * ?", Some("0 8 * * *")),
            ("0 0/15 * ? * MON-FRI", Some("0/15 * * * MON-FRI")),
            ("0 30 6 ? * 2-6 *", Some("30 6 * * 1-5")),
            ("0 0 6 ? * 2-6/2", Some("0 6 * * 1-5/2")),
            ("0 0 6 ? * MON,7", Some("0 6 * * MON,6")),
            ("0 0 6 ? * */2", Some("0 6 * * */2")),
            ("0 0 0 1 JUL ?", Some("0 0 1 JUL *")),
            ("5 0 8 * * ?", None),
            ("0 0 8 L * ?", None),
            ("0 0 8 ? * 6#3", None),
            ("0 8 * * *", None),
            ("0 0 8 * * ? 2027", None),
        ] {
            assert_eq!(unix_cron(quartz).ok().as_deref(), want, "{quartz}");
        }
    }
}
