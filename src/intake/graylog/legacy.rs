//! The HTTP alarm callback of Graylog 1 to 3.0, which later versions can still send.
//!
//! ```json
//! {"check_result": {"result_description": "…", "triggered": true, "triggered_at": "RFC 3339",
//!   "triggered_condition": {"id": "…", "type": "message_count", "title": "…", "created_at": "…",
//!     "creator_user_id": "…", "parameters": {"grace": 1, "backlog": 5, "time": 1}},
//!   "matching_messages": []},
//!  "stream": {"id": "…", "title": "…", "description": "…", "rules": [], "alert_conditions": []}}
//! ```
//! Before 2.1 the type is in capitals, and the condition has `description` and `type_string` in place
//! of `title`, with `grace` and `backlog` beside the parameters too.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{known, link, messages, summary, take_object};
use crate::{
    alert::{
        Alert, Named, Phase, Source,
        occasion::{Condition, Occasion, Stream},
    },
    intake::{Undecodable, lenient::Lenient},
};

/// Where the messages are.
const MESSAGES: &str = "matching_messages";
/// The longest period of a condition that is believed, in minutes: ten years.
const LONGEST: f64 = 5_256_000.0;

/// Reads a callback.
///
/// # Errors
/// [`Undecodable`] where it names neither a condition nor what was found.
pub fn decode(mut top: Map<String, Value>, read: &mut Lenient) -> Result<Alert, Undecodable> {
    let mut result = take_object(&mut top, "check_result", read);
    let backlog = result.remove(MESSAGES);
    let head = summary::Head::of(&top, "check_result", &result);
    let backlog = messages::read(backlog, read);

    let at = read.time(result.get("triggered_at"));
    let description = known(read.owned_text(result.remove("result_description")));
    let mut condition = take_object(&mut result, "triggered_condition", read);
    let kind = known(read.text(condition.get("type")));
    let condition = condition_of(&mut condition, kind.as_deref(), read);
    let stream = stream_of(take_object(&mut top, "stream", read), read);
    let name = condition.title.clone().or(kind);
    if condition.id.is_none() && name.is_none() && description.is_none() {
        let what = "neither a condition nor a `result_description` in `check_result`";
        return Err(Undecodable(what.to_owned()));
    }
    let mut alert = Alert {
        rule: Named { id: condition.id.clone(), name },
        trigger: Named { id: stream.id.clone(), name: description.clone() },
        start: at.and_then(|at| begin(at, &condition.parameters)),
        end: at,
        phase: Phase::Stored,
        hits: description.as_deref().and_then(hits),
        message: description.clone(),
        ..Alert::of(Source::Graylog)
    };
    let told = top.get("stream_url").and_then(Value::as_str);
    let told = told.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    let of_stream = || link::stream(stream.id.as_deref()?, alert.start, alert.end);
    alert.url = told.map(str::to_owned).or_else(of_stream).or(Some(link::ALERTS.to_owned()));
    alert.original = Some(head.text(MESSAGES, &backlog));
    alert.occasion =
        Some(Box::new(Occasion { condition, stream, triggered_at: at, description, backlog }));
    Ok(alert)
}

fn condition_of(
    told: &mut Map<String, Value>,
    kind: Option<&str>,
    read: &mut Lenient,
) -> Condition {
    let mut parameters = take_object(told, "parameters", read);
    for beside in ["grace", "backlog"] {
        if let Some(value) = told.remove(beside).filter(|value| !value.is_null()) {
            parameters.entry(beside).or_insert(value);
        }
    }
    let mut text = |key: &str| known(read.owned_text(told.remove(key)));
    Condition {
        id: text("id"),
        kind: kind.map(str::to_ascii_lowercase),
        title: text("title"),
        description: text("description"),
        created_at: text("created_at"),
        creator: text("creator_user_id"),
        parameters,
    }
}

fn stream_of(mut told: Map<String, Value>, read: &mut Lenient) -> Stream {
    let mut text = |key: &str| known(read.owned_text(told.remove(key)));
    let (id, title, description) = (text("id"), text("title"), text("description"));
    Stream { id, title, description, rest: told }
}

/// The start of the period that a condition looks at, `time` minutes before it was met; a condition
/// on the content of a field has none.
fn begin(at: Timestamp, parameters: &Map<String, Value>) -> Option<Timestamp> {
    let minutes = match parameters.get("time") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let minutes = minutes.filter(|minutes| (0.0..=LONGEST).contains(minutes)).unwrap_or(0.0);
    at.checked_sub(SignedDuration::from_secs_f64(minutes * 60.0)).ok()
}

/// The number in `Stream had 64 messages in the last 5 minutes …`.
fn hits(description: &str) -> Option<i64> {
    let (number, rest) = description.strip_prefix("Stream had ")?.split_once(' ')?;
    rest.starts_with("message").then(|| number.parse().ok())?
}
