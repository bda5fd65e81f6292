//! Conditions on streams, as Graylog has them: one TOML file each, compiled to a monitor that
//! OpenSearch Alerting runs. Pure.
//!
//! A file becomes a [`Condition`] ([`mod@file`]), a condition a monitor ([`monitor`]), and what its
//! message brings back an `Occasion` (the intake). Each type of condition comes down to one
//! [`Expression`] over [`series`], so that there is one way to compile, and one to explain.

use serde_json::{Map, Value, json};

pub mod expression;
pub mod file;
pub mod import;
mod message;
pub mod monitor;
mod schedule;
pub mod series;
pub mod threshold;
pub mod write;

pub use expression::Expression;
use expression::{Comparison, Operand, Operator};
pub use schedule::Schedule;
use series::{Function, Series};
pub use threshold::Threshold;

/// A condition on a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What its trigger's and its action's ids are made of, and what callbacks know it by; the
    /// file's name where the file gives none.
    pub id: String,
    /// The monitor's name, and so `rule.name`.
    pub title: String,
    /// What it is for.
    pub description: Option<String>,
    /// 1 (highest) to 5, as OpenSearch has it.
    pub severity: u8,
    /// Whether the monitor is switched on when it is made; later that is the user's.
    pub enabled: bool,
    /// Where it looks.
    pub stream: Stream,
    /// When it looks.
    pub schedule: Schedule,
    /// How far back it looks, in minutes.
    pub time: u32,
    /// What it looks for.
    pub test: Test,
    /// Minutes after the end of an alert in which the next one calls nobody.
    pub grace: u32,
    /// How many of the last messages go with the alert.
    pub backlog: u32,
    /// Whether each firing of the same alert calls back, not only the first.
    pub repeat_notifications: bool,
    /// The names of the callbacks; none means those that match it by themselves.
    pub callbacks: Vec<String>,
    /// `tags` of the record.
    pub tags: Vec<String>,
    /// When it was made, as Graylog wrote it.
    pub created_at: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
}

/// Some of the messages: an index pattern and a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its id; made of what it holds where the file gives none.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// The indices, or patterns of them.
    pub indices: Vec<String>,
    /// In Lucene's query syntax.
    pub query: String,
    /// The field that tells when a message was.
    pub time_field: String,
    /// The fields that go with a message of the backlog; all where it is empty.
    pub fields: Vec<String>,
}

/// What a condition looks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// More or fewer messages than this.
    MessageCount {
        /// How many.
        threshold: u64,
        /// Which side of it fires.
        side: Side,
    },
    /// A statistic of a field on one side of a value.
    FieldValue {
        /// What is computed.
        series: Series,
        /// The value.
        threshold: f64,
        /// Which side of it fires.
        side: Side,
    },
    /// A message whose field has this value.
    FieldContent {
        /// The field.
        field: String,
        /// The value.
        value: String,
    },
    /// An expression, over all messages or over each group of them.
    Aggregation {
        /// The fields that make the groups; none means that all messages are one.
        group_by: Vec<String>,
        /// What has to be true.
        expression: Expression,
    },
    /// A host, a network or an interface that has more or less of something than it should.
    Threshold(Box<Threshold>),
}

/// A side of a threshold; the threshold itself is on neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `more`, `higher`.
    Above,
    /// `less`, `lower`.
    Below,
}

impl Side {
    const fn operator(self) -> Operator {
        match self {
            Self::Above => Operator::Greater,
            Self::Below => Operator::Less,
        }
    }

    const fn of_count(self) -> &'static str {
        match self {
            Self::Above => "more",
            Self::Below => "less",
        }
    }

    const fn of_value(self) -> &'static str {
        match self {
            Self::Above => "higher",
            Self::Below => "lower",
        }
    }
}

impl Test {
    /// The name of its type, in files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageCount { .. } => "message_count",
            Self::FieldValue { .. } => "field_value",
            Self::FieldContent { .. } => "field_content_value",
            Self::Aggregation { .. } => "aggregation",
            Self::Threshold(_) => "threshold_cross",
        }
    }

    /// Graylog's name of its type.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Aggregation { .. } => "aggregation-v1",
            legacy => legacy.name(),
        }
    }

    /// What has to be true for it to fire.
    #[must_use]
    pub fn expression(&self) -> Expression {
        let compare = |series: Series, side: Side, threshold: f64| {
            Expression::Compare(Comparison {
                left: Operand::Series(series),
                operator: side.operator(),
                right: Operand::Number(threshold),
            })
        };
        match self {
            #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53 in a window")]
            Self::MessageCount { threshold, side } => {
                compare(Series::MESSAGES, *side, *threshold as f64)
            }
            Self::FieldValue { series, threshold, side } => {
                compare(series.clone(), *side, *threshold)
            }
            Self::FieldContent { .. } => compare(Series::MESSAGES, Side::Above, 0.0),
            Self::Aggregation { expression, .. } => expression.clone(),
            Self::Threshold(threshold) => {
                let side = if threshold.crossing.is_less { Side::Below } else { Side::Above };
                let series = threshold.statistic.clone().unwrap_or(Series::MESSAGES);
                compare(series, side, threshold.crossing.threshold)
            }
        }
    }
}

impl Condition {
    /// The fields that make its groups.
    #[must_use]
    pub fn group_by(&self) -> &[String] {
        match &self.test {
            Test::Aggregation { group_by, .. } => group_by,
            _ => &[],
        }
    }

    /// What fires it, without when and where: the trigger's name, and so `event.reason`.
    #[must_use]
    pub fn reason(&self) -> String {
        let time = minutes(self.time);
        match &self.test {
            Test::MessageCount { threshold, side } => {
                let side = match side {
                    Side::Above => "more",
                    Side::Below => "fewer",
                };
                let messages = if *threshold == 1 { "message" } else { "messages" };
                format!("{side} than {threshold} {messages} in {time}")
            }
            Test::FieldValue { series, threshold, side } => {
                format!("{} {} than {threshold} in {time}", series.words(), side.of_value())
            }
            Test::FieldContent { field, value } => {
                format!("a message with {field}:\"{value}\" in {time}")
            }
            Test::Aggregation { group_by, expression } if group_by.is_empty() => {
                format!("{expression} in {time}")
            }
            Test::Aggregation { group_by, expression } => {
                format!("{expression} in {time}, for each {}", group_by.join(", "))
            }
            Test::Threshold(threshold) => threshold.reason(),
        }
    }

    /// One sentence that says what it does.
    #[must_use]
    pub fn explained(&self) -> String {
        let Stream { indices, query, .. } = &self.stream;
        let stream = match query.trim() {
            "*" => indices.join(", "),
            query => format!("{query} of {}", indices.join(", ")),
        };
        let looks = match self.threshold() {
            Some(threshold) => threshold.looks(),
            None => format!("looks {}", self.schedule),
        };
        let mut parts = vec![format!("fires on {}, of {stream}", self.reason()), looks];
        if self.backlog > 0 {
            let messages = if self.backlog == 1 { "message goes" } else { "messages go" };
            parts.push(format!("the last {} {messages} with it", self.backlog));
        }
        if self.grace > 0 {
            parts.push(format!("after an alert {} of grace", minutes(self.grace)));
        }
        if !self.enabled {
            parts.push("switched off".to_owned());
        }
        parts.join("; ")
    }

    /// `parameters`, with Graylog's names and types.
    #[must_use]
    pub fn parameters(&self) -> Map<String, Value> {
        let mut all = match &self.test {
            Test::MessageCount { threshold, side } => {
                json!({"threshold": threshold, "threshold_type": side.of_count()})
            }
            Test::FieldValue { series, threshold, side } => {
                let mut all = json!({"field": series.field, "type": series.function.graylog(),
                    "threshold": threshold,
                    "threshold_type": side.of_value().to_ascii_uppercase()});
                if let Function::Percentile(percent) = series.function {
                    all["percentile"] = json!(percent);
                }
                all
            }
            Test::FieldContent { field, value } => json!({"field": field, "value": value}),
            Test::Aggregation { group_by, expression } => {
                json!({"group_by": group_by, "conditions": expression.to_string()})
            }
            Test::Threshold(threshold) => threshold.parameters(),
        };
        all["grace"] = json!(self.grace);
        all["backlog"] = json!(self.backlog);
        all["time"] = json!(self.time);
        if self.repeat_notifications {
            all["repeat_notifications"] = json!(true);
        }
        if !self.callbacks.is_empty() {
            all["callbacks"] = json!(self.callbacks);
        }
        match all {
            Value::Object(all) => all,
            _ => Map::new(),
        }
    }
}

/// The name without its ending of a file that holds a condition, given by its path below the
/// provisioning folder.
#[must_use]
pub fn stem(file: &str) -> Option<&str> {
    file.strip_prefix("conditions/")?.strip_suffix(".toml")
}

/// `5 minutes`.
fn minutes(number: u32) -> String {
    if number == 1 { "1 minute".to_owned() } else { format!("{number} minutes") }
}
