//! The filters and tests that templates have besides minijinja's own. Pure.

use jiff::tz::TimeZone;
use minijinja::{
    Environment, Error, ErrorKind, State, Value, filters,
    value::{Kwargs, Rest, ValueKind, ValueOrKwargs},
};

use super::text;
use crate::callback::{joda, model};

/// How wide a filter of minijinja may make something: it takes the memory before a letter is printed.
const WIDEST: usize = 10_000;

/// Adds them.
pub fn add(environment: &mut Environment) {
    environment.add_filter("java", |value: &Value| text::of_java(value));
    environment.add_filter("or_else", or_else);
    environment.add_filter("entries", model::entries);
    environment.add_filter("date", date);
    environment.add_test("present", |value: &Value| is_present(value));
    // No template can write a name with a space in it.
    environment.add_filter("unbounded indent", filters::indent);
    environment.add_filter("unbounded batch", filters::batch);
    environment.add_filter("unbounded slice", filters::slice);
    environment.add_filter("unbounded tojson", filters::tojson);
    environment.add_filter("unbounded format", filters::format);
    bound(environment, "indent", "unbounded indent");
    bound(environment, "batch", "unbounded batch");
    bound(environment, "slice", "unbounded slice");
    bound(environment, "tojson", "unbounded tojson");
    bound(environment, "format", "unbounded format");
}

/// Adds a filter of minijinja that does no more than [`WIDEST`].
fn bound(environment: &mut Environment, name: &'static str, unbounded: &'static str) {
    environment.add_filter(name, move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
        let arguments = arguments.into_values();
        let is_format = name == "format";
        if is_format && arguments.first().is_some_and(has_wide_number)
            || !is_format && arguments.get(1).is_some_and(is_wide)
        {
            let what = format!("{name} makes nothing wider than {WIDEST}");
            return Err(Error::new(ErrorKind::InvalidOperation, what));
        }
        state.apply_filter(unbounded, &arguments)
    });
}

/// Whether an argument, or one of the keyword arguments, is a number beyond [`WIDEST`].
fn is_wide(argument: &Value) -> bool {
    if let Ok(named) = Kwargs::try_from(argument.clone()) {
        let is_wide = |name| named.peek::<Value>(name).is_ok_and(|value| is_wide(&value));
        return named.args().any(is_wide);
    }
    argument.as_usize().is_some_and(|number| number > WIDEST)
}

/// Whether a format such as `%08d` holds a number beyond [`WIDEST`], or takes one from elsewhere.
fn has_wide_number(format: &Value) -> bool {
    let Some(format) = format.as_str() else { return false };
    let is_wide = |digits: &str| digits.parse().map_or(!digits.is_empty(), |n: usize| n > WIDEST);
    format.contains('*') || format.split(|letter: char| !letter.is_ascii_digit()).any(is_wide)
}

/// The value, or another where it is missing or an empty text.
fn or_else(value: Value, other: Value) -> Value {
    if text::of(&value).is_empty() { other } else { value }
}

/// An instant by a pattern of Java, in a time zone (`UTC` where none is said); anything else as it is.
fn date(value: &Value, pattern: &str, zone: Option<&str>) -> Result<String, Error> {
    let fault = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    joda::check(pattern).map_err(fault)?;
    let zone = zone.unwrap_or("UTC");
    let zone = TimeZone::get(zone)
        .map_err(|_| fault(format!("unknown time zone {zone}; write it as in Europe/Berlin")))?;
    let text = text::of(value);
    Ok(joda::read(&text).map_or_else(|| text.to_string(), |at| joda::format(at, &zone, pattern)))
}

/// What `if` means in JMTE: there, no empty text, list or map, and not `false`. A zero is there.
fn is_present(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => false,
        ValueKind::Bool => value.is_true(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => value.len() != Some(0),
        _ => {
            let text = text::of(value);
            !text.is_empty() && !text.eq_ignore_ascii_case("false")
        }
    }
}
