//! The message of a condition's monitor: that of our other monitors, and with it the condition, its
//! stream, what it found in words, and the last messages.
//!
//! What is fixed is written into the template as JSON. A user's `{{` there would be read as a part of
//! the template, so it becomes `{\u007b`, which is the same JSON. The rest comes from the run, and
//! keeps to what `provision::messages` says about valid JSON; what stands within `{{#ctx.results}}`
//! is left out where the query failed.

use serde_json::{Value, json};

use super::{Condition, Stream, Test, minutes, series::Series};

impl Condition {
    /// The template of the message.
    #[must_use]
    pub(super) fn message(&self) -> String {
        let is_grouped = self.is_grouped();
        let mut parts = vec![
            r#""monitor": {"id": "{{ctx.monitor._id}}", "name": "{{ctx.monitor.name}}"}"#.to_owned(),
            r#""trigger": {"id": "{{ctx.trigger.id}}", "name": "{{ctx.trigger.name}}", "severity": "{{ctx.trigger.severity}}"}"#.to_owned(),
            r#""period": {"start": "{{ctx.periodStart}}", "end": "{{ctx.periodEnd}}"}"#.to_owned(),
            format!(r#""condition": {}"#, literal(&self.told())),
            format!(r#""stream": {}"#, literal(&self.stream.told())),
            format!(r#""result_description": "{}""#, self.found()),
        ];
        if is_grouped {
            parts.extend(
                ["newAlerts", "dedupedAlerts", "completedAlerts"]
                    .map(|list| format!(r#""{list}": {{{{#toJson}}}}ctx.{list}{{{{/toJson}}}}"#)),
            );
        } else {
            parts.extend([
                r#""results": [{{#ctx.results}} {"hits": {"total": {{#toJson}}hits.total{{/toJson}} }} {{/ctx.results}}]"#.to_owned(),
                r#""backlog": [{{#ctx.results}} {{#toJson}}hits.hits{{/toJson}} {{/ctx.results}}]"#.to_owned(),
                format!(r#""values": [{}]"#, self.values().join(", ")),
                r#""alert": "{{ctx.alert.id}}""#.to_owned(),
                r#""start": "{{ctx.alert.start_time}}""#.to_owned(),
            ]);
        }
        parts.push(r#""body": """#.to_owned());
        parts.push(r#""error": "{{ctx.error}}""#.to_owned());
        format!("{{\n  \"alert\": {{\n    {}\n  }}\n}}", parts.join(",\n    "))
    }

    /// The condition, as callbacks know it.
    fn told(&self) -> Value {
        let mut told = json!({
            "id": self.id,
            "type": self.test.kind(),
            "title": self.title,
            "description": self.description.clone().unwrap_or_else(|| self.summary()),
            "parameters": self.parameters(),
        });
        let optional = [("created_at", &self.created_at), ("creator_user_id", &self.creator)];
        for (name, text) in optional {
            if let Some(text) = text {
                told[name] = json!(text);
            }
        }
        if !self.tags.is_empty() {
            told["tags"] = json!(self.tags);
        }
        told
    }

    /// Graylog's own description of a condition: its parameters.
    fn summary(&self) -> String {
        let Self { time, grace, .. } = self;
        let parameters = self.parameters();
        let text = |name: &str| match &parameters.get(name) {
            Some(Value::String(text)) => text.to_ascii_lowercase(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        match &self.test {
            Test::MessageCount { .. } => format!(
                "time: {time}, threshold_type: {}, threshold: {}, grace: {grace}",
                text("threshold_type"),
                text("threshold")
            ),
            Test::FieldValue { series, threshold, .. } => format!(
                "time: {time}, field: {}, check type: {}, threshold_type: {}, threshold: {threshold}, grace: {grace}",
                series.field.as_deref().unwrap_or_default(),
                text("type"),
                text("threshold_type"),
            ),
            Test::FieldContent { field, value } => {
                format!("field: {field}, value: {value}, grace: {grace}")
            }
            Test::Aggregation { .. } | Test::Threshold(_) => self.reason(),
        }
    }

    /// What was found, in Graylog's words; a part of a JSON text, with the numbers as templates.
    fn found(&self) -> String {
        let grace = format!("(Current grace time: {} minutes)", self.grace);
        let values = self.rendered();
        let value = values.first().map(|(_, value)| value.as_str()).unwrap_or_default();
        let fixed = |text: String| escaped(&text);
        match &self.test {
            Test::MessageCount { threshold, side } => {
                let rest = format!(
                    " messages in the last {} minutes with trigger condition {} than {threshold} messages. {grace}",
                    self.time,
                    side.of_count(),
                );
                format!("Stream had {value}{}", fixed(rest))
            }
            Test::FieldValue { series, threshold, side } => {
                let field = series.field.as_deref().unwrap_or_default();
                let before = format!("Field {field} had a {} of ", series.function.graylog());
                let after = format!(
                    " in the last {} minutes with trigger condition {} than {threshold}. {grace}",
                    self.time,
                    side.of_value().to_ascii_uppercase(),
                );
                format!("{}{value}{}", fixed(before), fixed(after))
            }
            Test::FieldContent { field, value } => {
                let text =
                    format!("Stream received messages matching <{field}:\"{value}\"> {grace}");
                fixed(text)
            }
            Test::Aggregation { group_by, expression } => {
                let time = minutes(self.time);
                let text = fixed(format!("{expression} in the last {time}"));
                if !group_by.is_empty() {
                    return format!("{text}. {grace}");
                }
                let values = values
                    .iter()
                    .map(|(series, value)| format!("{} = {value}", fixed(series.to_string())));
                format!("{text}: {}. {grace}", values.collect::<Vec<_>>().join(", "))
            }
            Test::Threshold(_) => fixed(self.reason()),
        }
    }

    /// The series of what is told, each with the template of its number.
    fn rendered(&self) -> Vec<(Series, String)> {
        let expression = self.test.expression();
        let all = expression.series().into_iter().enumerate();
        let all = all.map(|(at, series)| {
            let number = series.rendered(at);
            (series.clone(), format!("{{{{#ctx.results}}}}{number}{{{{/ctx.results}}}}"))
        });
        all.collect()
    }

    /// The numbers by themselves, in the order in which the description has them.
    fn values(&self) -> Vec<String> {
        match self.test {
            Test::FieldContent { .. } => Vec::new(),
            _ => self.rendered().into_iter().map(|(_, value)| format!("\"{value}\"")).collect(),
        }
    }
}

impl Stream {
    fn told(&self) -> Value {
        let Self { id, title, description, indices, query, time_field, fields: _ } = self;
        json!({"id": id, "title": title, "description": description, "indices": indices,
               "query": query, "time_field": time_field})
    }
}

/// JSON that is no template, whatever it holds. Between two texts JSON never has `{{`.
fn literal(json: &Value) -> String {
    json.to_string().replace("{{", "{\\u007b")
}

/// The same for a part of a text.
fn escaped(text: &str) -> String {
    let json = literal(&Value::String(text.to_owned()));
    // A brace at the end would join one of a template that follows.
    let inner = json[1..json.len() - 1].to_owned();
    inner.strip_suffix('{').map(|rest| format!("{rest}\\u007b")).unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fixed_is_no_template_and_the_same_json() {
        for text in ["{{ctx}}", "{{{x}}}", "{", "a{{", "{{{{", "q\"{\\{{"] {
            let json = json!({ text: [text] });
            let literal = literal(&json);
            assert!(!literal.contains("{{"), "{literal}");
            assert_eq!(serde_json::from_str::<Value>(&literal).unwrap(), json);
            let part = escaped(text);
            assert!(!format!("{part}{{").contains("{{"), "{part}");
            assert_eq!(serde_json::from_str::<String>(&format!("\"{part}\"")).unwrap(), text);
        }
    }
}
