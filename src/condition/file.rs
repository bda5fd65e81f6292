//! A condition's file: TOML, one condition a file. One file each, as for all that provisioning knows: a
//! mounted one stands in for, or takes away, the one of the same name, and an error names its file.
//!
//! ```toml
//! title = "Many failed logins"
//! type = "message_count"
//! threshold = 50
//! time = 5
//!
//! [stream]
//! query = "event.action:failed-login"
//! ```

use std::ops::Range;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{
    Condition, Expression, Schedule, Side, Stream, Test,
    expression::percentile,
    monitor::group_name,
    series::{self, Function, Series},
};

mod threshold;

/// What stands for settings that a file leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// The pattern of the indices.
    pub index_pattern: &'a str,
    /// The field that tells when a message was.
    pub time_field: &'a str,
}

/// Why a file is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what is allowed.
    pub what: String,
}

/// The types of conditions, each with the fields that it has besides those of all.
const TYPES: [(&str, &[&str]); 5] = [
    ("message_count", &["threshold", "threshold_type"]),
    ("field_value", &["field", "statistic", "percentile", "threshold", "threshold_type"]),
    ("field_content_value", &["field", "value"]),
    ("aggregation", &["group_by", "conditions"]),
    ("threshold_cross", &threshold::OWN),
];
/// The plugin takes intervals up to a week's worth and more; nobody waits that long for an alert.
const LONGEST_INTERVAL: i64 = 7 * 24 * 60;
/// A window of a year.
const LONGEST_TIME: i64 = 366 * 24 * 60;
/// The most messages that go with an alert: with 10 kB each they fill a fourth of the default limit
/// of a body.
pub const MOST_BACKLOG: i64 = 500;
const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: Option<Spanned<String>>,
    title: Option<Spanned<String>>,
    description: Option<String>,
    severity: Option<Spanned<Value>>,
    enabled: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<Spanned<String>>,
    stream: Option<FileStream>,
    every: Option<Spanned<Value>>,
    cron: Option<Spanned<String>>,
    timezone: Option<Spanned<String>>,
    time: Option<Spanned<i64>>,
    threshold: Option<Spanned<Value>>,
    threshold_type: Option<Spanned<String>>,
    field: Option<Spanned<String>>,
    statistic: Option<Spanned<String>>,
    percentile: Option<Spanned<f64>>,
    value: Option<Spanned<Value>>,
    group_by: Option<Spanned<Vec<String>>>,
    conditions: Option<Spanned<String>>,
    entity: Option<Spanned<String>>,
    scope: Option<Spanned<Value>>,
    networks: Option<Spanned<Value>>,
    interfaces: Option<Spanned<Vec<String>>>,
    metric: Option<Spanned<String>>,
    operator: Option<Spanned<String>>,
    delay: Option<Spanned<i64>>,
    query: Option<Spanned<String>>,
    grace: Option<Spanned<i64>>,
    backlog: Option<Spanned<i64>>,
    repeat_notifications: Option<bool>,
    callbacks: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    created_at: Option<String>,
    creator: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStream {
    id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    indices: Option<Spanned<Value>>,
    query: Option<Spanned<String>>,
    time_field: Option<Spanned<String>>,
    fields: Option<Vec<String>>,
}

/// Something wrong at a place of the text.
struct At(Range<usize>, String);

type Read<T> = Result<T, At>;

/// Reads a condition; `stem` is the file's name without its ending.
///
/// # Errors
/// [`Fault`]: the first.
pub fn read(text: &str, stem: &str, defaults: Defaults<'_>) -> Result<Condition, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = toml::from_str::<File>(text)
        .map_err(|fault| At(fault.span().unwrap_or(0..0), fault.message().replace('\n', ", ")))
        .and_then(|file| file.read(stem, defaults));
    read.map_err(|At(span, what)| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        Fault { line, what }
    })
}

impl File {
    fn read(self, stem: &str, defaults: Defaults<'_>) -> Read<Condition> {
        self.only_its_own()?;
        let title = named("title", self.title.as_ref())?;
        if title.encode_utf16().count() > LONGEST_TITLE {
            let what = format!("`title` has more than {LONGEST_TITLE} characters");
            return Err(at(self.title.as_ref(), what));
        }
        let id = match &self.id {
            None => stem.to_owned(),
            given => named("id", given.as_ref())?,
        };
        let stream = self.stream(defaults)?;
        let (schedule, time, test) = if self.kind()? == "threshold_cross" {
            let threshold = self.threshold_cross()?;
            let time = threshold.crossing.every.minutes();
            (threshold.schedule(), time, Test::Threshold(Box::new(threshold)))
        } else {
            let schedule = self.schedule()?;
            let time = self.window(&schedule)?;
            (schedule, time, self.test()?)
        };
        Ok(Condition {
            id,
            title,
            severity: severity(self.severity.as_ref())?,
            stream,
            time,
            test,
            grace: number("grace", self.grace.as_ref(), 0..=LONGEST_TIME)?.unwrap_or(0),
            backlog: self.backlog()?,
            schedule,
            description: self.description.filter(|text| !text.trim().is_empty()),
            enabled: self.enabled.unwrap_or(true),
            repeat_notifications: self.repeat_notifications.unwrap_or(false),
            callbacks: self.callbacks.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            created_at: self.created_at,
            creator: self.creator,
        })
    }

    fn kind(&self) -> Read<&'static str> {
        let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        let allowed = names.join(", ");
        let Some(kind) = &self.kind else {
            return Err(At(0..0, format!("`type` is missing: one of {allowed}")));
        };
        let known = names.into_iter().find(|name| name == kind.get_ref());
        known.ok_or_else(|| {
            let what = format!("there is no type {:?}; there are {allowed}", kind.get_ref());
            At(kind.span(), what)
        })
    }

    /// A field of another type would be left out of account, and nobody would know.
    fn only_its_own(&self) -> Read<()> {
        let kind = self.kind()?;
        let own = TYPES.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, own)| own);
        let given = [
            ("threshold", self.threshold.as_ref().map(Spanned::span)),
            ("threshold_type", self.threshold_type.as_ref().map(Spanned::span)),
            ("field", self.field.as_ref().map(Spanned::span)),
            ("statistic", self.statistic.as_ref().map(Spanned::span)),
            ("percentile", self.percentile.as_ref().map(Spanned::span)),
            ("value", self.value.as_ref().map(Spanned::span)),
            ("group_by", self.group_by.as_ref().map(Spanned::span)),
            ("conditions", self.conditions.as_ref().map(Spanned::span)),
            ("entity", self.entity.as_ref().map(Spanned::span)),
            ("scope", self.scope.as_ref().map(Spanned::span)),
            ("networks", self.networks.as_ref().map(Spanned::span)),
            ("interfaces", self.interfaces.as_ref().map(Spanned::span)),
            ("metric", self.metric.as_ref().map(Spanned::span)),
            ("operator", self.operator.as_ref().map(Spanned::span)),
            ("delay", self.delay.as_ref().map(Spanned::span)),
            ("query", self.query.as_ref().map(Spanned::span)),
        ];
        for (name, span) in given {
            if let Some(span) = span.filter(|_| !own.contains(&name)) {
                let own = own.join(", ");
                return Err(At(
                    span,
                    format!("a {kind} has no `{name}`; its own fields are {own}"),
                ));
            }
        }
        Ok(())
    }

    fn stream(&self, defaults: Defaults<'_>) -> Read<Stream> {
        let none = FileStream::default();
        let file = self.stream.as_ref().unwrap_or(&none);
        let indices = match &file.indices {
            None => vec![defaults.index_pattern.to_owned()],
            Some(given) => {
                let list = match given.get_ref() {
                    Value::Array(list) => list.clone(),
                    one => vec![one.clone()],
                };
                let names = list.iter().map(|one| one.as_str().map(str::trim));
                let names: Option<Vec<_>> = names.collect();
                let names =
                    names.filter(|all| !all.is_empty() && all.iter().all(|name| !name.is_empty()));
                let what = "`indices` must be a pattern, or a list of them, such as \"logs-*\"";
                let names = names.ok_or_else(|| At(given.span(), what.to_owned()))?;
                names.into_iter().map(str::to_owned).collect()
            }
        };
        if let (Some(query), Some(_)) = (&self.query, &file.query) {
            let what = "either `query` here or in `[stream]`, not both";
            return Err(At(query.span(), what.to_owned()));
        }
        let query = match self.query.as_ref().or(file.query.as_ref()) {
            None => "*".to_owned(),
            Some(query) if query.get_ref().trim().is_empty() => "*".to_owned(),
            Some(query) => {
                no_template("query", query)?;
                query.get_ref().trim().to_owned()
            }
        };
        let time_field = match &file.time_field {
            None if self.kind()? == "threshold_cross" => threshold::time_field(defaults),
            None => defaults.time_field.to_owned(),
            given => named("time_field", given.as_ref())?,
        };
        if time_field.contains("{{") {
            return Err(at(file.time_field.as_ref(), template("time_field")));
        }
        let fields = file.fields.clone().unwrap_or_default();
        if fields.iter().any(|field| field.contains("{{")) {
            return Err(At(0..0, template("fields")));
        }
        let made = blake3::hash(format!("{indices:?} {query}").as_bytes()).to_hex();
        Ok(Stream {
            id: file.id.clone().unwrap_or_else(|| made[..24].to_owned()),
            title: file.title.clone().unwrap_or_else(|| match query.as_str() {
                "*" => indices.join(", "),
                query => query.to_owned(),
            }),
            description: file.description.clone(),
            indices,
            query,
            time_field,
            fields,
        })
    }

    fn schedule(&self) -> Read<Schedule> {
        let every = minutes(self.every.as_ref())?;
        match (&self.cron, every) {
            (Some(cron), Some(_)) => {
                Err(At(cron.span(), "either `cron` or `every`, not both".to_owned()))
            }
            (None, _) if self.timezone.is_some() => {
                Err(at(self.timezone.as_ref(), "`timezone` belongs to `cron`, which is missing"))
            }
            (None, every) => Ok(Schedule::Every(every.unwrap_or(1))),
            (Some(cron), None) => {
                let zone = self.timezone.as_ref().map_or("UTC", |zone| zone.get_ref().as_str());
                let expression = cron.get_ref().trim().to_owned();
                let schedule = Schedule::Cron { expression, zone: zone.to_owned() };
                schedule.check().map_err(|what| At(cron.span(), what))?;
                Ok(schedule)
            }
        }
    }

    fn window(&self, schedule: &Schedule) -> Read<u32> {
        let time = number("time", self.time.as_ref(), 1..=LONGEST_TIME)?;
        match (time, self.kind()?, schedule) {
            (Some(time), _, _) => Ok(time),
            // What came since the last look.
            (None, "field_content_value", Schedule::Every(minutes)) => Ok(*minutes),
            (None, "field_content_value", Schedule::Cron { .. }) => {
                let what = "`time` is missing: with `cron` it says how many minutes to look back";
                Err(At(0..0, what.to_owned()))
            }
            (None, _, _) => {
                let what = "`time` is missing: how many minutes to look back, such as time = 5";
                Err(At(0..0, what.to_owned()))
            }
        }
    }

    fn backlog(&self) -> Read<u32> {
        let has_groups = self.group_by.as_ref().is_some_and(|fields| !fields.get_ref().is_empty());
        let is_threshold = self.kind()? == "threshold_cross";
        if (has_groups || is_threshold)
            && self.backlog.as_ref().is_some_and(|backlog| *backlog.get_ref() != 0)
        {
            let with = if is_threshold { "a threshold_cross" } else { "`group_by`" };
            let what = format!(
                "with {with} there is no `backlog`: OpenSearch gives a monitor of groups no messages \
                 to send along"
            );
            return Err(at(self.backlog.as_ref(), what));
        }
        Ok(number("backlog", self.backlog.as_ref(), 0..=MOST_BACKLOG)?.unwrap_or(0))
    }

    fn test(&self) -> Read<Test> {
        match self.kind()? {
            "message_count" => {
                let (threshold, span) = self.threshold()?;
                let what = "`threshold` of a message_count is a whole number from 0";
                let whole = threshold.fract() == 0.0 && (0.0..=1e15).contains(&threshold);
                if !whole {
                    return Err(At(span, what.to_owned()));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked above"
                )]
                let threshold = threshold as u64;
                Ok(Test::MessageCount { threshold, side: self.side(["more", "less"])? })
            }
            "field_value" => {
                let field = self.field()?;
                let function = self.statistic()?;
                let (threshold, _) = self.threshold()?;
                let side = self.side(["higher", "lower"])?;
                let series = Series { function, field: Some(field) };
                Ok(Test::FieldValue { series, threshold, side })
            }
            "field_content_value" => {
                let field = self.field()?;
                let Some(value) = &self.value else {
                    return Err(At(0..0, "`value` is missing: the value that fires".to_owned()));
                };
                let text = match value.get_ref() {
                    Value::String(text) => text.clone(),
                    Value::Integer(number) => number.to_string(),
                    Value::Float(number) => number.to_string(),
                    Value::Boolean(is_true) => is_true.to_string(),
                    _ => {
                        let what = "`value` must be a text, a number, true or false";
                        return Err(At(value.span(), what.to_owned()));
                    }
                };
                if text.contains("{{") {
                    return Err(At(value.span(), template("value")));
                }
                Ok(Test::FieldContent { field, value: text })
            }
            _ => self.aggregation(),
        }
    }

    fn aggregation(&self) -> Read<Test> {
        let Some(conditions) = &self.conditions else {
            let what = "`conditions` is missing, such as conditions = \"count() > 10\"";
            return Err(At(0..0, what.to_owned()));
        };
        let expression = Expression::parse(conditions.get_ref())
            .map_err(|what| At(conditions.span(), format!("`conditions`: {what}")))?;
        let group_by = match &self.group_by {
            None => Vec::new(),
            Some(fields) => {
                let list = fields.get_ref();
                let mut seen: Vec<String> = Vec::new();
                for field in list {
                    let name = group_name(field);
                    if field.trim().is_empty() || seen.contains(&name) {
                        let what = "`group_by` must be a list of different fields";
                        return Err(At(fields.span(), what.to_owned()));
                    }
                    seen.push(name);
                }
                if list.iter().any(|field| field.contains("{{")) {
                    return Err(At(fields.span(), template("group_by")));
                }
                list.clone()
            }
        };
        let fields = expression.series().into_iter().filter_map(|series| series.field.as_ref());
        if fields.into_iter().any(|field| field.contains("{{")) {
            return Err(At(conditions.span(), template("conditions")));
        }
        Ok(Test::Aggregation { group_by, expression })
    }

    fn field(&self) -> Read<String> {
        let field = named("field", self.field.as_ref())?;
        if field.contains("{{") {
            Err(at(self.field.as_ref(), template("field")))
        } else {
            Ok(field)
        }
    }

    fn statistic(&self) -> Read<Function> {
        let Some(name) = &self.statistic else {
            return Err(At(0..0, format!("`statistic` is missing: one of {}", series::ALLOWED)));
        };
        let Some(function) = Function::of(name.get_ref()) else {
            let what = format!(
                "there is no statistic {:?}; there are {}",
                name.get_ref(),
                series::ALLOWED
            );
            return Err(At(name.span(), what));
        };
        match (&self.percentile, function) {
            (Some(percent), Function::Percentile(_)) => {
                percentile(*percent.get_ref()).map_err(|what| At(percent.span(), what))
            }
            (Some(percent), _) => {
                let what = "`percentile` belongs to statistic = \"percentile\"";
                Err(At(percent.span(), what.to_owned()))
            }
            (None, function) => Ok(function),
        }
    }

    fn threshold(&self) -> Read<(f64, Range<usize>)> {
        let Some(threshold) = &self.threshold else {
            return Err(At(0..0, "`threshold` is missing: a number".to_owned()));
        };
        let number = match threshold.get_ref() {
            #[expect(clippy::cast_precision_loss, reason = "as all numbers of the store")]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        };
        let number = number.ok_or_else(|| {
            At(threshold.span(), "`threshold` must be a number, without quotes".to_owned())
        })?;
        Ok((number, threshold.span()))
    }

    fn side(&self, [above, below]: [&str; 2]) -> Read<Side> {
        match &self.threshold_type {
            None => Ok(Side::Above),
            Some(side) if side.get_ref().eq_ignore_ascii_case(above) => Ok(Side::Above),
            Some(side) if side.get_ref().eq_ignore_ascii_case(below) => Ok(Side::Below),
            Some(side) => {
                let what = format!(
                    "there is no threshold_type {:?} here; there are {above} and {below}",
                    side.get_ref()
                );
                Err(At(side.span(), what))
            }
        }
    }
}

/// The store finds no monitor by a longer name.
const LONGEST_TITLE: usize = 256;

fn at<T>(place: Option<&Spanned<T>>, what: impl Into<String>) -> At {
    At(place.map_or(0..0, Spanned::span), what.into())
}

/// A text that is there and not empty.
fn named(name: &str, text: Option<&Spanned<String>>) -> Read<String> {
    let trimmed = text.map(|text| text.get_ref().trim()).filter(|text| !text.is_empty());
    match trimmed {
        Some(trimmed) => Ok(trimmed.to_owned()),
        None => Err(at(text, format!("`{name}` is missing or empty"))),
    }
}

fn number(
    name: &str,
    given: Option<&Spanned<i64>>,
    allowed: std::ops::RangeInclusive<i64>,
) -> Read<Option<u32>> {
    let Some(given) = given else { return Ok(None) };
    let number = Some(*given.get_ref()).filter(|number| allowed.contains(number));
    let number = number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
        let what = format!(
            "`{name}` must be a whole number from {} to {}{}",
            allowed.start(),
            allowed.end(),
            if name == "backlog" { "" } else { ", in minutes" }
        );
        At(given.span(), what)
    })?;
    Ok(Some(number))
}

/// The minutes between two looks.
fn minutes(every: Option<&Spanned<Value>>) -> Read<Option<u32>> {
    let Some(given) = every else { return Ok(None) };
    let number = given.get_ref().as_integer().filter(|n| (1..=LONGEST_INTERVAL).contains(n));
    let what = format!("`every` must be a whole number from 1 to {LONGEST_INTERVAL}, in minutes");
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.map(Some).ok_or_else(|| At(given.span(), what))
}

fn severity(given: Option<&Spanned<Value>>) -> Read<u8> {
    let Some(given) = given else { return Ok(3) };
    let place = match given.get_ref() {
        Value::Integer(number @ 1..=5) => u8::try_from(*number).ok(),
        Value::String(word) => (1..)
            .zip(SEVERITIES)
            .find_map(|(number, known)| word.eq_ignore_ascii_case(known).then_some(number)),
        _ => None,
    };
    place.ok_or_else(|| {
        let what = format!("`severity` is 1 (highest) to 5, or one of {}", SEVERITIES.join(", "));
        At(given.span(), what)
    })
}

fn no_template(name: &str, text: &Spanned<String>) -> Read<()> {
    if text.get_ref().contains("{{") { Err(At(text.span(), template(name))) } else { Ok(()) }
}

fn template(name: &str) -> String {
    let mend = if name == "query" { r": write \{\{ for it" } else { "" };
    format!("`{name}` holds `{{{{`, which OpenSearch takes for a template{mend}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults<'_> =
        Defaults { index_pattern: "arkime_sessions3-*", time_field: "firstPacket" };

    fn of(text: &str) -> Result<Condition, String> {
        read(text, "the_file", DEFAULTS).map_err(|fault| fault.to_string())
    }

    const COUNT: &str = "title = \"t\"\ntype = \"message_count\"\nthreshold = 1\ntime = 1\n";

    #[test]
    fn what_is_left_out_has_a_default() {
        let condition = of(COUNT).unwrap();
        assert_eq!(
            (condition.id.as_str(), condition.severity, condition.enabled),
            ("the_file", 3, true)
        );
        assert_eq!(condition.stream.indices, ["arkime_sessions3-*"]);
        assert_eq!(
            (condition.stream.query.as_str(), condition.stream.time_field.as_str()),
            ("*", "firstPacket")
        );
        assert_eq!(condition.schedule, Schedule::Every(1));
        assert_eq!(condition.test, Test::MessageCount { threshold: 1, side: Side::Above });
        assert_eq!(
            (condition.grace, condition.backlog, condition.repeat_notifications),
            (0, 0, false)
        );
        let content = "title = \"t\"\ntype = \"field_content_value\"\nevery = 7\nfield = \"a\"\nvalue = 200\n";
        let content = of(content).unwrap();
        assert_eq!(content.time, 7, "what came since the last look");
        assert_eq!(content.test, Test::FieldContent { field: "a".into(), value: "200".into() });
    }

    #[test]
    fn conditions_are_explained_in_a_sentence() {
        for (text, want) in [
            (
                "title = \"t\"\ntype = \"message_count\"\nthreshold = 50\ntime = 5\nbacklog = 10\ngrace = 1\n[stream]\nquery = \"a:b\"",
                "fires on more than 50 messages in 5 minutes, of a:b of arkime_sessions3-*; looks every minute; the last 10 messages go with it; after an alert 1 minute of grace",
            ),
            (
                "title = \"t\"\ntype = \"field_value\"\nfield = \"b\"\nstatistic = \"STDDEV\"\nthreshold = 2.5\nthreshold_type = \"LOWER\"\ntime = 1\nenabled = false\n[stream]\nindices = [\"x\", \"y-*\"]",
                "fires on the standard deviation of b lower than 2.5 in 1 minute, of x, y-*; looks every minute; switched off",
            ),
            (
                "title = \"t\"\ntype = \"aggregation\"\ngroup_by = [\"source.ip\"]\nconditions = \"count() > 10 and avg(b) >= 5\"\ntime = 10\ncron = \"0 8 * * 1-5\"\ntimezone = \"Europe/Berlin\"",
                "fires on count() > 10 and mean(b) >= 5 in 10 minutes, for each source.ip, of arkime_sessions3-*; looks at \"0 8 * * 1-5\" (Europe/Berlin)",
            ),
        ] {
            assert_eq!(of(text).unwrap().explained(), want);
        }
    }

    #[test]
    fn a_bad_file_says_in_which_line_and_what_is_allowed() {
        for (text, want) in [
            (
                "title = \"t\"\ntype = \"count\"",
                "line 2: there is no type \"count\"; there are message_count, field_value",
            ),
            ("title = \"t\"", "line 1: `type` is missing: one of message_count"),
            (
                "title = \"t\"\ntresh = 1",
                "line 2: unknown field `tresh`, expected one of `id`, `title`",
            ),
            (
                "title = \"t\"\ntype = \"message_count\"\n[stream]\nindex = \"x\"",
                "line 4: unknown field `index`, expected one of `id`",
            ),
            ("title = \"t\"\ntype = ", "line 2: "),
            ("title = 1", "line 1: invalid type: integer `1`, expected a string"),
            ("type = \"message_count\"", "`title` is missing"),
            (
                "title = \"t\"\ntype = \"message_count\"\nfield = \"x\"",
                "line 3: a message_count has no `field`; its own fields are threshold, threshold_type",
            ),
            ("title = \"t\"\ntype = \"message_count\"\nthreshold = 1", "`time` is missing"),
            (
                "title = \"t\"\ntype = \"message_count\"\nthreshold = 1.5\ntime = 1",
                "line 3: `threshold` of a message_count is a whole number",
            ),
            (
                "title = \"t\"\ntype = \"message_count\"\nthreshold = \"1\"\ntime = 1",
                "line 3: `threshold` must be a number, without quotes",
            ),
            (
                "title = \"t\"\ntype = \"message_count\"\nthreshold = 1\nthreshold_type = \"higher\"\ntime = 1",
                "line 4: there is no threshold_type \"higher\" here; there are more and less",
            ),
            (
                "title = \"t\"\ntype = \"field_value\"\nfield = \"f\"\nstatistic = \"latest\"\nthreshold = 1\ntime = 1",
                "line 4: there is no statistic \"latest\"; there are count",
            ),
            (
                "title = \"t\"\ntype = \"field_value\"\nfield = \"f\"\nstatistic = \"mean\"\npercentile = 3.0\nthreshold = 1\ntime = 1",
                "line 5: `percentile` belongs",
            ),
            (
                "title = \"t\"\ntype = \"aggregation\"\ntime = 1\n\nconditions = \"count() >\"",
                "line 5: `conditions`: at character 10",
            ),
            (
                "title = \"t\"\ntype = \"aggregation\"\ntime = 1\ngroup_by = [\"a\", \"a\"]\nconditions = \"count() > 1\"",
                "line 4: `group_by` must be",
            ),
            (
                "title = \"t\"\ntype = \"field_content_value\"\nfield = \"f\"\nvalue = \"{{x}}\"",
                "line 4: `value` holds `{{`",
            ),
            (
                "title = \"t\"\ntype = \"message_count\"\nthreshold = 1\ntime = 1\n[stream]\nquery = \"a:{{x}}\"",
                r"line 6: `query` holds `{{`, which OpenSearch takes for a template: write \{\{",
            ),
        ] {
            let fault = of(text).unwrap_err();
            assert!(fault.starts_with("line ") && fault.contains(want), "{text}\n{fault}");
        }
        for (line, want) in [
            ("severity = 0", "`severity` is 1 (highest) to 5, or one of critical"),
            ("severity = \"bad\"", "`severity` is 1 (highest) to 5, or one of critical"),
            ("backlog = 501", "`backlog` must be a whole number from 0 to 500"),
            ("grace = -1", "`grace` must be a whole number from 0 to"),
            ("every = 0", "`every` must be a whole number from 1 to 10080, in minutes"),
            ("every = 1\ncron = \"* * * * *\"", "either `cron` or `every`"),
            ("timezone = \"UTC\"", "`timezone` belongs to `cron`"),
            ("cron = \"now\"", "five fields of Unix cron"),
            ("title = \"again\"", "duplicate key"),
            ("stream.indices = []", "`indices` must be a pattern"),
            ("stream.indices = [1]", "`indices` must be a pattern"),
            ("id = \" \"", "`id` is missing or empty"),
            ("stream.time_field = \"{{x}}\"", "`time_field` holds `{{`"),
            ("stream.fields = [\"a\", \"{{x}}\"]", "`fields` holds `{{`"),
        ] {
            let fault = of(&format!("{COUNT}{line}")).unwrap_err();
            assert!(fault.contains(want), "{line}: {fault}");
        }
        assert!(of(&format!("{COUNT}severity = \"HIGH\"")).is_ok_and(|one| one.severity == 2));
    }

    #[test]
    fn the_examples_are_conditions() {
        for (name, text, want) in [
            (
                "failed_logins",
                include_str!(
                    "../../provisioning/examples/conditions/conditions/failed_logins.toml"
                ),
                "fires on more than 50 messages in 5 minutes",
            ),
            (
                "large_uploads",
                include_str!(
                    "../../provisioning/examples/conditions/conditions/large_uploads.toml"
                ),
                "for each source.ip",
            ),
            (
                "silent_sensor",
                include_str!(
                    "../../provisioning/examples/conditions/conditions/silent_sensor.toml"
                ),
                "fewer than 1 message in 10 minutes",
            ),
            (
                "host_traffic",
                include_str!("../../provisioning/examples/conditions/conditions/host_traffic.toml"),
                "fires on Five minutes traffic of a host in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 > 1 GB",
            ),
            (
                "quiet_network",
                include_str!(
                    "../../provisioning/examples/conditions/conditions/quiet_network.toml"
                ),
                "fires on Hourly flows of network plant, 10.20.0.0/16 < 1 Flow",
            ),
        ] {
            let condition = read(text, name, DEFAULTS).unwrap();
            assert!(condition.explained().contains(want), "{}", condition.explained());
        }
    }

    #[test]
    fn a_thousand_files_take_no_time_to_compile() {
        let begun = std::time::Instant::now();
        let text = "title = \"t\"\ntype = \"aggregation\"\ngroup_by = [\"a\", \"b\"]\nconditions = \"count() > 1 and (mean(x) > 2 or stddev(y) < 3)\"\ntime = 5\n[stream]\nquery = \"a:b\"";
        for number in 0..1_000 {
            let condition = read(text, &format!("c{number}"), DEFAULTS).unwrap();
            assert!(condition.monitor("channel")["triggers"].is_array());
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
