//! One alert of a post.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{GRAFANA, TRUNCATED, fingerprint, group::Group, labels, severity, without_secrets};
use crate::{
    alert::{Alert, Named, Phase, Source, link::is_address},
    intake::{Undecodable, lenient::Lenient},
};

/// Go's zero time is in the year 1; what is not later than this is none.
const NO_TIME: i64 = -62_135_510_400; // 0001-01-02T00:00:00Z
/// `rule.name`, `event.reason` and `message` are no longer, in bytes.
const LONGEST_NAME: usize = 1 << 10;
const LONGEST_REASON: usize = 8 << 10;
const LONGEST_MESSAGE: usize = 32 << 10;

/// Reads an alert. What has the wrong type is read as far as it goes, and the alert tagged
/// `repaired`.
///
/// # Errors
/// [`Undecodable`] where nothing in it tells what it is about.
pub fn decode(object: Map<String, Value>, group: &Group) -> Result<Alert, Undecodable> {
    let mut read = Lenient::default();
    let labels = texts(object.get("labels"), &mut read);
    let annotations = texts(object.get("annotations"), &mut read);
    let fingerprint = read.text(object.get("fingerprint"));
    if labels.is_empty() && annotations.is_empty() && fingerprint.is_none() {
        let what = "neither labels nor annotations nor a fingerprint of an alert in it";
        return Err(Undecodable(what.to_owned()));
    }
    let annotation = |names: &[&str]| names.iter().find_map(|name| annotations.get(*name).cloned());
    let summary = annotation(&["summary", "title"]);
    let description = annotation(&["description", "message"]);
    let value = read.text(object.get("valueString"));
    let mut alert = Alert {
        rule: Named {
            id: labels.get("__alert_rule_uid__").cloned(),
            name: bounded(labels.get("alertname").cloned(), LONGEST_NAME),
        },
        trigger: Named {
            id: None,
            name: bounded(summary.clone().or_else(|| description.clone()), LONGEST_REASON),
        },
        severity: severity(&labels),
        message: bounded(description.or(summary).or(value), LONGEST_MESSAGE),
        url: url(&object, group),
        ..Alert::of(Source::Alertmanager)
    };
    labels::tell(&labels, &mut alert);
    let key = fingerprint.or_else(|| (!labels.is_empty()).then(|| fingerprint::of(&labels)));
    live(&mut alert, key, &object, group, &mut read);
    if let Some(runbook) = annotation(&["runbook_url", "runbook"]).and_then(|url| address(&url)) {
        let about = alert.about.get_or_insert_default();
        about.fields.push(("rule.reference".to_owned(), Value::String(runbook)));
    }
    for (tag, is_so) in
        [(TRUNCATED, group.is_truncated), (GRAFANA, group.is_grafana), ("repaired", read.wrong)]
    {
        if is_so {
            alert.tag(tag);
        }
    }
    alert.original = Some(group.original(object));
    Ok(alert)
}

/// Its life, as far as the post tells it.
fn live(
    alert: &mut Alert,
    key: Option<String>,
    object: &Map<String, Value>,
    group: &Group,
    read: &mut Lenient,
) {
    let told = read.text(object.get("status"));
    let status = told.as_ref().or(group.status.as_ref()).map(|word| word.to_ascii_lowercase());
    alert.phase = match status.as_deref() {
        Some("resolved" | "ok" | "normal") => Phase::Released,
        Some("firing" | "alerting") => Phase::Engaged,
        _ => {
            read.wrong = true;
            Phase::Engaged
        }
    };
    let mut time = |key: &str| read.time(object.get(key)).filter(|at| at.as_second() > NO_TIME);
    let start = time("startsAt");
    let end = time("endsAt").filter(|_| alert.phase == Phase::Released);
    alert.start = start.or(end);
    alert.end = end;
    alert.as_of = end;
    match (key, start) {
        (Some(key), Some(start)) => {
            alert.began = Some(start);
            alert.id = Some(id(&key, start));
        }
        // Which of its happenings it is, only the time of the message can tell.
        (Some(key), None) => alert.series = Some(format!("alertmanager:{key}")),
        (None, _) => {}
    }
}

fn id(fingerprint: &str, start: Timestamp) -> String {
    format!("{fingerprint}-{}", start.as_millisecond())
}

fn severity(labels: &BTreeMap<String, String>) -> u8 {
    let word = ["severity", "priority"].iter().find_map(|name| labels.get(*name));
    severity::of(word.map(String::as_str).unwrap_or_default())
}

/// Where to look at it: the panel, what made it, or the sender's page.
fn url(object: &Map<String, Value>, group: &Group) -> Option<String> {
    let told = ["panelURL", "dashboardURL", "generatorURL"];
    let told = told.iter().filter_map(|key| object.get(*key)?.as_str());
    told.chain(group.external_url.as_deref()).find_map(address)
}

/// An address that a browser opens, without secrets.
fn address(url: &str) -> Option<String> {
    is_address(url).then(|| without_secrets(url))
}

/// Labels or annotations; what is empty is as good as none, as for Prometheus.
fn texts(value: Option<&Value>, read: &mut Lenient) -> BTreeMap<String, String> {
    let told = read.object(value).cloned().unwrap_or_default();
    let texts = told.into_iter().filter_map(|(name, value)| {
        Some((name, read.owned_text(Some(value)).filter(|text| !text.trim().is_empty())?))
    });
    texts.collect()
}

fn bounded(text: Option<String>, most: usize) -> Option<String> {
    text.map(|text| without_secrets(&text[..text.floor_char_boundary(most)]))
}
