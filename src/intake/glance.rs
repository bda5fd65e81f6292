//! A quick look at a plain body, for the answer's prediction of where the alert will be found:
//! only what identifies it, without building the whole. What is not as plain as a monitor sends it
//! gets no quick look.

use std::borrow::Cow;

use serde::Deserialize;

use super::opensearch::time_in_text;
use crate::alert::{Alert, Body, Named, Source};

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    alert: Part<'a>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    alert: Text<'a>,
    #[serde(borrow, default)]
    start: Text<'a>,
    #[serde(borrow, default)]
    monitor: Names<'a>,
    #[serde(borrow, default)]
    trigger: Names<'a>,
    #[serde(borrow, default)]
    period: Period<'a>,
}

#[derive(Default, Deserialize)]
struct Names<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
struct Period<'a> {
    #[serde(borrow, default)]
    start: Text<'a>,
    #[serde(borrow, default)]
    end: Text<'a>,
}

/// The one alert of a plain body, as far as it is needed to name its record.
pub fn glance(body: &[u8]) -> Option<Alert> {
    let Whole { alert } = serde_json::from_slice(body).ok()?;
    let text = |text: Text| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
    let named = |names: Names| Named { id: text(names.id), name: text(names.name) };
    let time = |text: Text| text.and_then(|text| time_in_text(&text));
    Some(Alert {
        source: Source::OpenSearch,
        id: text(alert.alert),
        rule: named(alert.monitor),
        trigger: named(alert.trigger),
        severity: 0,
        start: time(alert.period.start),
        end: time(alert.period.end),
        began: time(alert.start),
        hits: None,
        error: None,
        body: Body::Empty,
        tags: Vec::new(),
        original: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Encoding, Envelope, decode};

    /// Bodies as OpenSearch really sent them, and some that are not plain.
    const BODIES: [&str; 8] = [
        include_str!("../../tests/captured/first-firing.json"),
        include_str!("../../tests/captured/re-fire.json"),
        include_str!("../../tests/captured/names.json"),
        include_str!("../../tests/captured/query-fails.json"),
        r#"{"alert":{"alert":"a","start":"1794038400123","period":{"start":"odd","end":""}}}"#,
        r#"{"alert":{"alert":7,"period":{"start":1794038400123}}}"#,
        r#"{"alert":{"alert":null,"monitor":"text"}}"#,
        r#"{"alert":{"alert":"a","alert":"b"}}"#,
    ];

    #[test]
    fn a_glance_names_the_record_as_the_whole_does_or_says_nothing() {
        let mut glanced = 0;
        for body in BODIES {
            let Some(quick) = glance(body.as_bytes()) else { continue };
            glanced += 1;
            let envelope = Envelope {
                source: None,
                received: jiff::Timestamp::UNIX_EPOCH,
                content_type: String::new(),
                encoding: Encoding::Identity,
                body: body.as_bytes().to_vec(),
            };
            let whole = decode(&envelope, 1 << 20).unwrap().remove(0).unwrap();
            assert_eq!(
                (&quick.id, &quick.rule, &quick.trigger, quick.start, quick.end, quick.began),
                (&whole.id, &whole.rule, &whole.trigger, whole.start, whole.end, whole.began),
                "{body}"
            );
        }
        assert_eq!(glanced, 5, "plain bodies get their quick look");
    }
}
