//! What is computed of messages: how many, and statistics of their fields. A series knows its
//! aggregation, and how a trigger reads it from the answer. Pure.

use std::fmt;

use serde_json::{Value, json};

/// A number that is computed of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What is computed.
    pub function: Function,
    /// Of which field; `None` only for the messages themselves.
    pub field: Option<String>,
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// How many messages, or how many values.
    Count,
    /// How many different values, about.
    Cardinality,
    /// The mean.
    Mean,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The sum.
    Sum,
    /// The standard deviation of the values as they are, not of a sample.
    StdDev,
    /// Its square.
    Variance,
    /// The sum of the squares.
    SumOfSquares,
    /// The value that so many percent are not above, about.
    Percentile(f64),
}

/// The names of functions, the one that we write first.
const NAMES: [(&str, Function); 15] = [
    ("count", Function::Count),
    ("cardinality", Function::Cardinality),
    ("card", Function::Cardinality),
    ("mean", Function::Mean),
    ("avg", Function::Mean),
    ("min", Function::Min),
    ("max", Function::Max),
    ("sum", Function::Sum),
    ("stddev", Function::StdDev),
    ("variance", Function::Variance),
    ("sum_of_squares", Function::SumOfSquares),
    ("sumofsquares", Function::SumOfSquares),
    ("percentile", Function::Percentile(DEFAULT_PERCENTILE)),
    ("percentiles", Function::Percentile(DEFAULT_PERCENTILE)),
    ("median", Function::Percentile(50.0)),
];
const DEFAULT_PERCENTILE: f64 = 95.0;

/// The names that a file may use.
pub const ALLOWED: &str =
    "count, cardinality, mean, min, max, sum, stddev, variance, sum_of_squares, percentile";

/// How the answer tells of a series.
enum Answer {
    /// `hits.total`, or the number of documents of a bucket.
    Total,
    /// `value`, which is 0 where there is none.
    Number,
    /// This one of several statistics, of which there is none where there was no value.
    Statistic(&'static str),
    /// The only percentile, null where there was no value.
    Percentile,
}

impl Function {
    /// The function of this name, in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, function)| *function)
    }

    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Cardinality => "cardinality",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::StdDev => "stddev",
            Self::Variance => "variance",
            Self::SumOfSquares => "sum_of_squares",
            Self::Percentile(_) => "percentile",
        }
    }

    /// The `type` of Graylog's field value condition.
    #[must_use]
    pub fn graylog(self) -> String {
        self.name().to_ascii_uppercase()
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Count => "number of values",
            Self::Cardinality => "number of different values",
            Self::Mean => "mean",
            Self::Min => "smallest value",
            Self::Max => "largest value",
            Self::Sum => "sum",
            Self::StdDev => "standard deviation",
            Self::Variance => "variance",
            Self::SumOfSquares => "sum of squares",
            Self::Percentile(_) => "percentile",
        }
    }
}

impl Series {
    /// How many messages there are.
    pub const MESSAGES: Self = Self { function: Function::Count, field: None };

    /// In words: `the mean of network.bytes`.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.field, self.function) {
            (None, _) => "the number of messages".to_owned(),
            (Some(field), Function::Percentile(percent)) => {
                format!("the {percent}th percentile of {field}")
            }
            (Some(field), function) => format!("the {} of {field}", function.words()),
        }
    }

    fn answer(&self) -> Answer {
        match (self.function, &self.field) {
            (Function::Count, None) => Answer::Total,
            (Function::Count | Function::Cardinality, _) => Answer::Number,
            (Function::Mean, _) => Answer::Statistic("avg"),
            (Function::Min, _) => Answer::Statistic("min"),
            (Function::Max, _) => Answer::Statistic("max"),
            (Function::Sum, _) => Answer::Statistic("sum"),
            (Function::StdDev, _) => Answer::Statistic("std_deviation"),
            (Function::Variance, _) => Answer::Statistic("variance"),
            (Function::SumOfSquares, _) => Answer::Statistic("sum_of_squares"),
            (Function::Percentile(_), _) => Answer::Percentile,
        }
    }

    /// The aggregation that computes it; `None` where the answer has it anyway.
    #[must_use]
    pub fn aggregation(&self) -> Option<Value> {
        let field = self.field.as_ref()?;
        Some(match self.function {
            Function::Count => json!({"value_count": {"field": field}}),
            Function::Cardinality => {
                json!({"cardinality": {"field": field}})
            }
            Function::Mean | Function::Min | Function::Max | Function::Sum => {
                json!({"stats": {"field": field}})
            }
            Function::StdDev | Function::Variance | Function::SumOfSquares => {
                json!({"extended_stats": {"field": field}})
            }
            Function::Percentile(percent) => {
                json!({"percentiles": {"field": field, "percents": [percent], "keyed": false}})
            }
        })
    }

    /// An aggregation whose answer is `{"value": …}`; `None` for a statistic that has no such one.
    #[must_use]
    pub fn single(&self) -> Option<Value> {
        let field = self.field.as_ref()?;
        let name = match self.function {
            Function::Count => "value_count",
            Function::Cardinality => "cardinality",
            Function::Mean => "avg",
            Function::Min => "min",
            Function::Max => "max",
            Function::Sum => "sum",
            _ => return None,
        };
        Some(json!({name: {"field": field}}))
    }

    /// Painless that makes `v0` the number, or null where no message had a value; `at` is its
    /// place, and its aggregation is `s0`. The text depends on nothing but the kind of the series:
    /// the store compiles at most 75 different scripts in 5 minutes.
    #[must_use]
    pub fn read(&self, at: usize) -> String {
        match self.answer() {
            Answer::Total => format!("def v{at} = ctx.results[0].hits.total.value;"),
            Answer::Number => format!("def v{at} = a == null ? 0 : a.s{at}.value;"),
            Answer::Statistic(name) => {
                format!("def v{at} = a == null || a.s{at}.count == 0 ? null : a.s{at}.{name};")
            }
            Answer::Percentile => {
                format!("def v{at} = a == null ? null : a.s{at}.values[0].value;")
            }
        }
    }

    /// The paths by which a trigger on buckets is given the number, and how many values there were
    /// where that tells whether there is a number at all.
    #[must_use]
    pub fn paths(&self, at: usize) -> Vec<(String, String)> {
        let value = |path: String| (format!("s{at}"), path);
        match self.answer() {
            Answer::Total => vec![value("_count".to_owned())],
            Answer::Number => vec![value(format!("s{at}"))],
            Answer::Statistic(name) => {
                vec![value(format!("s{at}.{name}")), (format!("n{at}"), format!("s{at}.count"))]
            }
            Answer::Percentile => {
                let Function::Percentile(percent) = self.function else { return Vec::new() };
                vec![value(format!("s{at}[{percent:?}]"))]
            }
        }
    }

    /// The same for a trigger on buckets.
    #[must_use]
    pub fn read_bucket(&self, at: usize) -> String {
        match self.answer() {
            Answer::Total | Answer::Number => format!("def v{at} = params.s{at};"),
            Answer::Statistic(_) => {
                format!("def v{at} = params.n{at} == 0 ? null : params.s{at};")
            }
            Answer::Percentile => {
                format!("def v{at} = Double.isNaN(params.s{at}) ? null : params.s{at};")
            }
        }
    }

    /// Mustache that gives the number within `{{#ctx.results}}`.
    #[must_use]
    pub fn rendered(&self, at: usize) -> String {
        match self.answer() {
            Answer::Total => "{{hits.total.value}}".to_owned(),
            Answer::Number => format!("{{{{aggregations.s{at}.value}}}}"),
            Answer::Statistic(name) => format!("{{{{aggregations.s{at}.{name}}}}}"),
            Answer::Percentile => format!("{{{{aggregations.s{at}.values.0.value}}}}"),
        }
    }
}

impl fmt::Display for Series {
    /// As an expression has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        if let Some(field) = &self.field {
            if super::expression::is_bare(field) {
                f.write_str(field)?;
            } else {
                write!(f, "{}", Value::String(field.clone()))?;
            }
        }
        if let Function::Percentile(percent) = self.function {
            write!(f, ", {percent}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_shown_as_files_have_it() {
        for (name, function) in NAMES {
            assert_eq!(Function::of(&name.to_ascii_uppercase()), Some(function), "{name}");
            assert!(ALLOWED.split(", ").any(|allowed| allowed == function.name()), "{name}");
        }
        assert_eq!(Function::of("latest"), None);
    }

    #[test]
    fn the_scripts_of_two_fields_are_the_same() {
        for (name, function) in NAMES {
            let of = |field: &str| Series { function, field: Some(field.to_owned()) };
            let (a, b) = (of("network.bytes"), of("source.port"));
            assert_eq!((a.read(1), a.read_bucket(1)), (b.read(1), b.read_bucket(1)), "{name}");
            assert_ne!(a.aggregation(), b.aggregation());
        }
        assert_eq!(Series::MESSAGES.aggregation(), None);
    }
}
