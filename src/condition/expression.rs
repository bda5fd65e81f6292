//! What has to be true: `count() > 10 and avg(network.bytes) >= 5`. Pure.
//!
//! ```text
//! or      = and { ("or" | "||") and }
//! and     = not { ("and" | "&&") not }
//! not     = ("not" | "!") not | "(" or ")" | compare
//! compare = operand (">" | ">=" | "<" | "<=" | "==" | "!=") operand
//! operand = number | function "(" [ field [ "," percent ] ] ")"
//! ```
//! A comparison with a series that has no value is false, whatever it compares.

use std::fmt;

use super::series::{self, Function, Series};

/// How deep parentheses may go.
const DEEPEST: usize = 20;

/// Something that is true or false of messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// All of them.
    And(Vec<Self>),
    /// One of them.
    Or(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// Two numbers.
    Compare(Comparison),
}

/// A comparison of two numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The one.
    pub left: Operand,
    /// How they are compared.
    pub operator: Operator,
    /// The other.
    pub right: Operand,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// One that is computed of messages.
    Series(Series),
    /// A fixed one.
    Number(f64),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Operator {
    const ALL: [(&str, Self); 7] = [
        (">=", Self::GreaterOrEqual),
        ("<=", Self::LessOrEqual),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        (">", Self::Greater),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    /// As it is written, in files and in Painless.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

impl Expression {
    /// Reads one.
    ///
    /// # Errors
    /// Where it goes wrong, and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, rest: text, depth: 0 };
        let expression = parser.or()?;
        if parser.skip().is_empty() {
            Ok(expression)
        } else {
            Err(parser.fault("`and`, `or`, or nothing more"))
        }
    }

    /// Reads a statistic of a field by itself: `max(network.bytes)`.
    ///
    /// # Errors
    /// Where it goes wrong, and what is allowed there.
    pub fn parse_series(text: &str) -> Result<Series, String> {
        let mut parser = Parser { text, rest: text, depth: 0 };
        match parser.operand()? {
            Operand::Series(series) if parser.skip().is_empty() => Ok(series),
            _ => Err(parser.fault("nothing but a statistic of a field")),
        }
    }

    /// The series in it, each once, in their order.
    #[must_use]
    pub fn series(&self) -> Vec<&Series> {
        let mut all = Vec::new();
        self.collect(&mut all);
        all
    }

    fn collect<'a>(&'a self, all: &mut Vec<&'a Series>) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.collect(all);
                }
            }
            Self::Not(part) => part.collect(all),
            Self::Compare(Comparison { left, right, .. }) => {
                for operand in [left, right] {
                    if let Operand::Series(series) = operand
                        && !all.contains(&series)
                    {
                        all.push(series);
                    }
                }
            }
        }
    }

    /// Whether its first comparison is true of large numbers of the first series rather than of small
    /// ones.
    #[must_use]
    pub fn asks_for_much(&self) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.first().is_none_or(Self::asks_for_much),
            Self::Not(part) => !part.asks_for_much(),
            Self::Compare(Comparison { left, operator, .. }) => {
                let is_less = matches!(operator, Operator::Less | Operator::LessOrEqual);
                is_less != matches!(left, Operand::Series(_))
            }
        }
    }

    /// Painless over `v0`, `v1` and so on for its series, with its numbers in `params.t0` and so on,
    /// which are put into `numbers`.
    #[must_use]
    pub fn painless(&self, numbers: &mut Vec<f64>) -> String {
        self.script(&self.series(), numbers)
    }

    fn script(&self, all: &[&Series], numbers: &mut Vec<f64>) -> String {
        let mut join = |parts: &[Self], by: &str| {
            let parts: Vec<_> = parts.iter().map(|part| part.script(all, numbers)).collect();
            format!("({})", parts.join(by))
        };
        match self {
            Self::And(parts) => join(parts, " && "),
            Self::Or(parts) => join(parts, " || "),
            Self::Not(part) => format!("!({})", part.script(all, numbers)),
            Self::Compare(Comparison { left, operator, right }) => {
                let mut there = Vec::new();
                let mut name = |operand: &Operand| match operand {
                    Operand::Series(series) => {
                        let at = all.iter().position(|one| *one == series).unwrap_or_default();
                        there.push(format!("v{at} != null"));
                        format!("v{at}")
                    }
                    Operand::Number(number) => {
                        numbers.push(*number);
                        format!("params.t{}", numbers.len() - 1)
                    }
                };
                let (left, right) = (name(left), name(right));
                there.push(format!("{left} {} {right}", operator.sign()));
                format!("({})", there.join(" && "))
            }
        }
    }
}

impl fmt::Display for Expression {
    /// As a file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |parts: &[Self], by: &str| {
            let parts = parts.iter().map(|part| match part {
                Self::And(_) | Self::Or(_) => format!("({part})"),
                part => part.to_string(),
            });
            parts.collect::<Vec<_>>().join(by)
        };
        match self {
            Self::And(parts) => f.write_str(&join(parts, " and ")),
            Self::Or(parts) => f.write_str(&join(parts, " or ")),
            Self::Not(part) => write!(f, "not ({part})"),
            Self::Compare(Comparison { left, operator, right }) => {
                write!(f, "{left} {} {right}", operator.sign())
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series(series) => series.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Whether a field can stand in an expression without quotes.
#[must_use]
pub fn is_bare(field: &str) -> bool {
    !field.is_empty() && field.chars().all(is_of_name)
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || "_.@-".contains(letter)
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    /// What is wrong at this place.
    fn fault(&mut self, allowed: &str) -> String {
        let rest = self.skip();
        let found = match rest.split_whitespace().next() {
            Some(word) => format!("{word:?}"),
            None => "the end".to_owned(),
        };
        let column = self.text.chars().count() - rest.chars().count() + 1;
        format!("at character {column} there is {found} where {allowed} may stand")
    }

    fn sign(&mut self, sign: &str) -> bool {
        let rest = self.skip().strip_prefix(sign);
        rest.inspect(|rest| self.rest = rest).is_some()
    }

    /// A word that is not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.skip();
        let is_it = rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(is_of_name);
        if is_it {
            self.rest = &rest[word.len()..];
        }
        is_it
    }

    fn or(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} parentheses within one another"));
        }
        let mut parts = vec![self.and()?];
        while self.sign("||") || self.word("or") {
            parts.push(self.and()?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.not()?];
        while self.sign("&&") || self.word("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, String> {
        if self.word("not") || (!self.skip().starts_with("!=") && self.sign("!")) {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(format!("more than {DEEPEST} `not` within one another"));
            }
            let part = self.not()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(part)));
        }
        if self.sign("(") {
            let inner = self.or()?;
            return if self.sign(")") { Ok(inner) } else { Err(self.fault("`)`")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.operand()?;
        let rest = self.skip();
        let found = Operator::ALL.into_iter().find(|(sign, _)| rest.starts_with(sign));
        let Some((sign, operator)) = found else {
            return Err(self.fault("one of > >= < <= == !="));
        };
        self.rest = &rest[sign.len()..];
        let right = self.operand()?;
        if let (Operand::Number(_), Operand::Number(_)) = (&left, &right) {
            return Err(format!("{left} {sign} {right} compares two fixed numbers"));
        }
        Ok(Expression::Compare(Comparison { left, operator, right }))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        const ALLOWED: &str = "a number or a function such as count() or mean(network.bytes)";
        let rest = self.skip();
        if rest.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter)) {
            return self.number().map(Operand::Number);
        }
        let end = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err(self.fault(ALLOWED));
        }
        let Some(mut function) = Function::of(name) else {
            return Err(format!("there is no function {name:?}; there are {}", series::ALLOWED));
        };
        self.rest = after;
        if !self.sign("(") {
            return Err(self.fault("`(`"));
        }
        let field = self.field()?;
        if field.is_none() && function != Function::Count {
            return Err(format!("{name}() needs a field, such as {name}(network.bytes)"));
        }
        if self.sign(",") {
            let percent = self.number()?;
            if !matches!(function, Function::Percentile(_)) {
                return Err(format!("{name}() takes one field and nothing more"));
            }
            function = percentile(percent)?;
        }
        if !self.sign(")") {
            return Err(self.fault("`)`"));
        }
        Ok(Operand::Series(Series { function, field }))
    }

    fn field(&mut self) -> Result<Option<String>, String> {
        let rest = self.skip();
        if rest.starts_with('"') {
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let text = texts.next().and_then(Result::ok).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| self.fault("a field between quotes"))?;
            self.rest = &rest[texts.byte_offset()..];
            return Ok(Some(text));
        }
        let end = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Ok((end > 0).then(|| rest[..end].to_owned()))
    }

    fn number(&mut self) -> Result<f64, String> {
        let rest = self.skip();
        let is_of_number = |letter: char| letter.is_ascii_alphanumeric() || "+-._".contains(letter);
        let end = rest.find(|letter| !is_of_number(letter)).unwrap_or(rest.len());
        let number = rest[..end].replace('_', "").parse::<f64>().ok();
        let number = number.filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.fault("a number"))?;
        self.rest = &rest[end..];
        Ok(number)
    }
}

/// The percentile function.
///
/// # Errors
/// What is allowed.
pub fn percentile(percent: f64) -> Result<Function, String> {
    if (0.0..=100.0).contains(&percent) {
        Ok(Function::Percentile(percent))
    } else {
        Err(format!("the percentile {percent} is not between 0 and 100"))
    }
}

fn one_or(mut parts: Vec<Expression>, all: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() > 1 {
        return all(parts);
    }
    parts.remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comparison_tells_which_groups_are_furthest_beyond() {
        for (text, want) in [
            ("count() > 5", true),
            ("count() <= 5 and max(a) > 1", false),
            ("5 < count()", true),
            ("5 >= count()", false),
            ("not (count() > 5 or max(a) > 1)", false),
            ("count() == 5", true),
        ] {
            let expression = Expression::parse(text);
            assert_eq!(expression.map(|one| one.asks_for_much()), Ok(want), "{text}");
        }
    }

    #[test]
    fn an_expression_is_read_and_written_back() {
        for (text, want) in [
            ("count() > 10", "count() > 10"),
            ("COUNT( )>=10.50", "count() >= 10.5"),
            ("count() > 10 and avg(bytes) >= 5", "count() > 10 and mean(bytes) >= 5"),
            (
                "count() > 1 or max(a.b) < -2 && not min(c)!=0",
                "count() > 1 or (max(a.b) < -2 and not (min(c) != 0))",
            ),
            (
                "(count() > 1 or count() < 0) and 5 < sum(x)",
                "(count() > 1 or count() < 0) and 5 < sum(x)",
            ),
            ("percentile(t, 99.9) > 1_000", "percentile(t, 99.9) > 1000"),
            ("median(t) > 1e3", "percentile(t, 50) > 1000"),
            ("stddev(\"odd field\") == 1", "stddev(\"odd field\") == 1"),
            ("max(a) > min(a)", "max(a) > min(a)"),
            ("!(card(@u) = 1)", "not (cardinality(@u) == 1)"),
            ("count(android) > 1", "count(android) > 1"),
        ] {
            let read = Expression::parse(text).unwrap();
            assert_eq!(read.to_string(), want, "{text}");
            assert_eq!(Expression::parse(want).unwrap(), read, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_where_and_what_may_stand_there() {
        for (text, want) in [
            ("", "at character 1 there is the end where a number or a function"),
            ("count() > ", "at character 11 there is the end"),
            ("count() 10", "at character 9 there is \"10\" where one of > >="),
            ("count > 10", "where `(` may stand"),
            ("latest(a) > 1", "there is no function \"latest\"; there are count, cardinality"),
            ("mean() > 1", "mean() needs a field"),
            ("mean(a, 3) > 1", "mean() takes one field"),
            ("percentile(a, 101) > 1", "not between 0 and 100"),
            ("percentile(a, x) > 1", "where a number may stand"),
            ("(count() > 1", "where `)` may stand"),
            ("count() > 1 count() < 2", "where `and`, `or`, or nothing more"),
            ("1 > 2", "compares two fixed numbers"),
            ("count() > inf", "there is no function \"inf\""),
            ("count() > 1e999", "where a number may stand"),
            ("mean(\"a) > 1", "a field between quotes"),
            ("größe > 1", "no function"),
        ] {
            let fault = Expression::parse(text).unwrap_err();
            assert!(fault.contains(want), "{text}: {fault}");
        }
        for deep in ["(".repeat(10_000), "!".repeat(10_000), "not ".repeat(10_000)] {
            assert!(Expression::parse(&deep).unwrap_err().contains("within one another"));
        }
    }

    #[test]
    fn scripts_depend_on_the_form_alone() {
        let script = |text: &str| {
            let mut numbers = Vec::new();
            let script = Expression::parse(text).unwrap().painless(&mut numbers);
            (script, numbers)
        };
        let (one, numbers) = script("count() > 10 and (mean(a) < 5 or count() < 2)");
        assert_eq!(
            one,
            "((v0 != null && v0 > params.t0) && \
             ((v1 != null && v1 < params.t1) || (v0 != null && v0 < params.t2)))"
        );
        assert_eq!(numbers, [10.0, 5.0, 2.0]);
        let (other, numbers) = script("count() > 7 and (mean(b.c) < 0.5 or count() < 1)");
        assert_eq!((other, numbers), (one, vec![7.0, 0.5, 1.0]));
    }
}
