//! A condition as the text of its file. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Condition, Schedule, Stream, Test,
    series::{Function, Series},
    threshold::{Threshold, Who, networks::Cidr},
};

/// The text of a condition's file, with these remarks at its top. What is as files have it anyway
/// is left out.
#[must_use]
pub fn file(condition: &Condition, remarks: &[String]) -> String {
    let mut text = String::new();
    for remark in remarks {
        let remark = remark.replace(char::is_control, " ");
        line(&mut text, &format!("# {remark}"));
    }
    put(&mut text, "id", &quoted(&condition.id));
    put(&mut text, "title", &quoted(&condition.title));
    if let Some(description) = &condition.description {
        put(&mut text, "description", &quoted(description));
    }
    put(&mut text, "severity", &condition.severity.to_string());
    if !condition.enabled {
        put(&mut text, "enabled", "false");
    }
    line(&mut text, "");
    put(&mut text, "type", &quoted(condition.test.name()));
    test(&mut text, &condition.test);
    if condition.threshold().is_none() {
        put(&mut text, "time", &condition.time.to_string());
        match &condition.schedule {
            Schedule::Every(minutes) => put(&mut text, "every", &minutes.to_string()),
            Schedule::Cron { expression, zone } => {
                put(&mut text, "cron", &quoted(expression));
                put(&mut text, "timezone", &quoted(zone));
            }
        }
        put(&mut text, "backlog", &condition.backlog.to_string());
    }
    put(&mut text, "grace", &condition.grace.to_string());
    if condition.repeat_notifications {
        put(&mut text, "repeat_notifications", "true");
    }
    for (name, texts) in [("callbacks", &condition.callbacks), ("tags", &condition.tags)] {
        if !texts.is_empty() {
            put(&mut text, name, &list(texts));
        }
    }
    for (name, given) in [("created_at", &condition.created_at), ("creator", &condition.creator)] {
        if let Some(given) = given {
            put(&mut text, name, &quoted(given));
        }
    }
    stream(&mut text, &condition.stream);
    text
}

fn test(out: &mut String, test: &Test) {
    match test {
        Test::MessageCount { threshold, side } => {
            put(out, "threshold", &threshold.to_string());
            put(out, "threshold_type", &quoted(side.of_count()));
        }
        Test::FieldValue { series, threshold, side } => {
            let Series { function, field } = series;
            put(out, "field", &quoted(field.as_deref().unwrap_or_default()));
            put(out, "statistic", &quoted(function.name()));
            if let Function::Percentile(percent) = function {
                put(out, "percentile", &format!("{percent:?}"));
            }
            put(out, "threshold", &format!("{threshold:?}"));
            put(out, "threshold_type", &quoted(side.of_value()));
        }
        Test::FieldContent { field, value } => {
            put(out, "field", &quoted(field));
            put(out, "value", &quoted(value));
        }
        Test::Aggregation { group_by, expression } => {
            if !group_by.is_empty() {
                put(out, "group_by", &list(group_by));
            }
            put(out, "conditions", &quoted(&expression.to_string()));
        }
        Test::Threshold(one) => threshold(out, one),
    }
}

fn threshold(out: &mut String, threshold: &Threshold) {
    let Threshold { crossing, who, delay, zone, .. } = threshold;
    put(out, "entity", &quoted(crossing.kind.name()));
    match who {
        Who::Hosts(scope) if scope.is_empty() => {}
        Who::Hosts(scope) => put(out, "scope", &cidrs(scope)),
        Who::Networks(networks) => {
            let all = networks.iter().map(|one| {
                format!("{{ name = {}, cidr = {} }}", quoted(&one.name), cidrs(&one.cidrs))
            });
            put(out, "networks", &format!("[{}]", all.collect::<Vec<_>>().join(", ")));
        }
        Who::Interfaces { field, names } => {
            put(out, "field", &quoted(field));
            if !names.is_empty() {
                put(out, "interfaces", &list(names));
            }
        }
    }
    put(out, "metric", &quoted(crossing.metric.name()));
    put(out, "every", &quoted(crossing.every.name()));
    put(out, "operator", if crossing.is_less { "\"lt\"" } else { "\"gt\"" });
    put(out, "threshold", &format!("{:?}", crossing.threshold));
    put(out, "delay", &delay.to_string());
    put(out, "timezone", &quoted(zone));
}

fn cidrs(cidrs: &[Cidr]) -> String {
    list(&cidrs.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn stream(text: &mut String, stream: &Stream) {
    line(text, "");
    line(text, "[stream]");
    put(text, "id", &quoted(&stream.id));
    put(text, "title", &quoted(&stream.title));
    if let Some(description) = &stream.description {
        put(text, "description", &quoted(description));
    }
    put(text, "indices", &list(&stream.indices));
    put(text, "query", &quoted(&stream.query));
    put(text, "time_field", &quoted(&stream.time_field));
    if !stream.fields.is_empty() {
        put(text, "fields", &list(&stream.fields));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn put(text: &mut String, name: &str, value: &str) {
    line(text, &format!("{name} = {value}"));
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A TOML text. One without backslashes and quotes is written plainly; the escapes of JSON are those
/// of TOML but for DEL, which TOML wants escaped too.
fn quoted(text: &str) -> String {
    if text.contains('\\') && !text.contains(['\'', '\n', '\r']) && !text.contains(char::is_control)
    {
        return format!("'{text}'");
    }
    let mut written = String::new();
    for letter in Value::String(text.to_owned()).to_string().chars() {
        if letter.is_control() {
            // A text is written to memory: nothing can fail.
            write!(written, "\\u{:04x}", u32::from(letter)).ok();
        } else {
            written.push(letter);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{
        super::file::{Defaults, read},
        *,
    };

    const DEFAULTS: Defaults<'_> = Defaults { index_pattern: "p-*", time_field: "t" };

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for more in [
            "type = \"message_count\"\nthreshold = 3\nthreshold_type = \"less\"\ntime = 5\nbacklog = 3",
            "type = \"field_value\"\nfield = \"f\"\nstatistic = \"percentile\"\npercentile = 99.9\nthreshold = -2.5\ntime = 5\nenabled = false",
            "type = \"field_content_value\"\nfield = \"f\"\nvalue = \"v \\\"q\\\" \\\\ 'a'\"\nrepeat_notifications = true",
            "type = \"threshold_cross\"\nentity = \"host\"\nmetric = \"bytes_sent\"\nevery = \"5mins\"\nthreshold = \"1 MB\"\nscope = [\"10.0.0.0/8\"]",
            "type = \"threshold_cross\"\nentity = \"network\"\nmetric = \"active\"\nevery = \"day\"\nthreshold = \"2 h\"\noperator = \"lt\"\ntimezone = \"Europe/Berlin\"\ndelay = 7\nnetworks = [\"10.0.0.0/8\", { name = \"lab\", cidr = [\"10.1.0.0/16\", \"2001:db8::/32\"] }]",
            "type = \"threshold_cross\"\nentity = \"interface\"\nmetric = \"max(\\\"odd field\\\")\"\nevery = \"hour\"\nthreshold = -2.5\nfield = \"observer.name\"\ninterfaces = [\"eth0\"]",
            "type = \"aggregation\"\ngroup_by = [\"a\", \"b\"]\nconditions = \"count() > 1 and mean(\\\"o d\\\") < 2\"\ntime = 9\ncron = \"0 8 * * *\"\ntimezone = \"Europe/Berlin\"\ncallbacks = [\"x\"]\ntags = [\"y\"]",
        ] {
            let text = format!(
                "title = \"t \\u007f\\n\\t {{x}}\"\ndescription = \"d\"\nseverity = 1\ngrace = 2\ncreator = \"admin\"\ncreated_at = \"2015\"\n{more}\n[stream]\nquery = 'a:\\(b \"c\" d'\nfields = [\"m\"]"
            );
            let condition = read(&text, "stem", DEFAULTS).unwrap();
            let written = file(&condition, &["a remark\nof two lines".to_owned()]);
            assert!(written.starts_with("# a remark of two lines\n"));
            let again = read(&written, "other", Defaults { index_pattern: "q", time_field: "u" });
            assert_eq!(again.as_ref(), Ok(&condition), "{written}");
        }
    }
}
