//! The searches for alerts. Pure.
//!
//! The conditions that are always there are terms of keywords, so that traffic beside the alerts costs
//! nothing.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{After, COUNTED, Filter, Question, State, item};

/// Kinds of entities that tags may name, in ntopng's words and in Alertmanager's.
pub(crate) const KINDS: [&str; 19] = [
    "host",
    "network",
    "interface",
    "mac",
    "host_pool",
    "snmp_device",
    "flow",
    "user",
    "system",
    "process",
    "am_host",
    "asn",
    "l7",
    "pinged_host",
    "category_lists",
    "instance",
    "job",
    "service",
    "node",
];
/// How long the store may take.
pub(super) const TIME: &str = "10s";

/// Whether a tag names an entity.
pub(crate) fn is_entity(tag: &str) -> bool {
    tag.split_once(':').is_some_and(|(kind, value)| KINDS.contains(&kind) && !value.is_empty())
}

/// The body of the search for a page.
pub(super) fn page(question: &Question) -> Value {
    let conditions = conditions(&question.filter);
    list(&conditions, question.after.as_ref(), question.limit)
}

/// The body of a search for alerts under these conditions, those that began last first.
pub(crate) fn list(conditions: &[Value], after: Option<&After>, limit: usize) -> Value {
    let mut body = json!({
        "size": limit, "track_total_hits": COUNTED, "timeout": TIME,
        "query": { "bool": { "filter": conditions } },
        "_source": item::FIELDS,
        "sort": [
            { "event.start": { "order": "desc", "unmapped_type": "date" } },
            { "event.id": { "order": "asc", "unmapped_type": "keyword" } },
            // Tells apart those without an id; `_id` itself would have to be loaded onto the heap. Down,
            // so that one that is written again stands before the page that goes on after it.
            { "_seq_no": "desc" } ] });
    if let Some(After { at, write, id }) = after {
        body["search_after"] = json!([at, id, write]);
    }
    body
}

/// The conditions that make up a filter.
pub(crate) fn conditions(filter: &Filter) -> Vec<Value> {
    let mut all = vec![json!({ "term": { "event.dataset": "alerting" } })];
    all.extend(of_states(&filter.states));
    if let Some(source) = &filter.source {
        let provider = if source == "opensearch" { "malcolm" } else { source };
        all.push(json!({ "term": { "event.provider": provider } }));
    }
    for (bound, severity) in [("gte", filter.severity), ("lt", filter.below)] {
        if let Some(severity) = severity {
            all.push(json!({ "range": { "event.severity": { bound: severity } } }));
        }
    }
    if let Some(rule) = &filter.rule {
        all.push(any(&[
            json!({ "term": { "rule.name": rule } }),
            json!({ "term": { "rule.id": rule } }),
        ]));
    }
    if let Some(entity) = &filter.entity {
        all.push(any(&of_entity(entity.trim())));
    }
    if let Some(text) = &filter.text {
        let part =
            format!("*{}*", text.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?"));
        let part = json!({ "value": part, "case_insensitive": true });
        all.push(any(&[
            json!({ "match": { "message": { "query": text, "operator": "and" } } }),
            json!({ "wildcard": { "rule.name": part } }),
            json!({ "wildcard": { "event.reason": part } }),
        ]));
    }
    if filter.from.is_some() || filter.to.is_some() {
        let mut range = json!({ "format": "epoch_millis" });
        for (bound, at) in [("gte", filter.from), ("lt", filter.to)] {
            if let Some(at) = at {
                range[bound] = json!(at.as_millisecond());
            }
        }
        all.push(json!({ "range": { "event.start": range } }));
    }
    all
}

/// `failure` is an outcome, and the others are actions; any of them will do.
fn of_states(states: &[State]) -> Option<Value> {
    let (failure, actions): (Vec<State>, Vec<State>) =
        states.iter().partition(|state| **state == State::Failure);
    let actions: Vec<_> = actions.iter().map(|state| state.name()).collect();
    let actions = json!({ "terms": { "event.action": actions } });
    let outcome = json!({ "term": { "event.outcome": "failure" } });
    match (failure.is_empty(), states.len() - failure.len()) {
        (true, 0) => None,
        (true, _) => Some(actions),
        (false, 0) => Some(outcome),
        (false, _) => Some(any(&[actions, outcome])),
    }
}

fn any(should: &[Value]) -> Value {
    json!({ "bool": { "should": should, "minimum_should_match": 1 } })
}

fn of_entity(entity: &str) -> Vec<Value> {
    let mut tags = vec![entity.to_owned()];
    let mut any = Vec::new();
    if !is_entity(entity) {
        tags.extend(KINDS.iter().map(|kind| format!("{kind}:{entity}")));
        let fields: &[&str] = match entity.parse::<IpAddr>() {
            Ok(_) => &["source.ip", "destination.ip", "related.ip"],
            Err(_) => &["host.name", "related.hosts", "related.mac", "related.user"],
        };
        any.extend(fields.iter().map(|field| json!({ "term": { *field: entity } })));
    }
    any.push(json!({ "terms": { "tags": tags } }));
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_is_one_condition_more_and_none_can_leave_its_place() {
        assert_eq!(conditions(&Filter::default()).len(), 1);
        let at = |text: &str| text.parse().ok();
        for (filter, want) in [
            (
                Filter { source: Some("opensearch".to_owned()), ..Filter::default() },
                json!({"term": {"event.provider": "malcolm"}}),
            ),
            (
                Filter { severity: Some(80), ..Filter::default() },
                json!({"range": {"event.severity": {"gte": 80}}}),
            ),
            (
                Filter { below: Some(90), ..Filter::default() },
                json!({"range": {"event.severity": {"lt": 90}}}),
            ),
            (
                Filter { entity: Some(" host:10.0.0.1@12".to_owned()), ..Filter::default() },
                any(&[json!({"terms": {"tags": ["host:10.0.0.1@12"]}})]),
            ),
            (
                Filter { states: vec![State::Engaged, State::Released], ..Filter::default() },
                json!({"terms": {"event.action": ["engaged", "released"]}}),
            ),
            (
                Filter { states: vec![State::Failure], ..Filter::default() },
                json!({"term": {"event.outcome": "failure"}}),
            ),
            (
                Filter { states: vec![State::Failure, State::Stored], ..Filter::default() },
                any(&[
                    json!({"terms": {"event.action": ["stored"]}}),
                    json!({"term": {"event.outcome": "failure"}}),
                ]),
            ),
            (
                Filter { from: at("1970-01-01T00:00:01Z"), ..Filter::default() },
                json!({"range": {"event.start": {"gte": 1_000, "format": "epoch_millis"}}}),
            ),
            (
                Filter { to: at("1970-01-01T00:00:02Z"), ..Filter::default() },
                json!({"range": {"event.start": {"lt": 2_000, "format": "epoch_millis"}}}),
            ),
        ] {
            let conditions = conditions(&filter);
            assert_eq!((conditions.len(), &conditions[1]), (2, &want));
        }
        let text =
            conditions(&Filter { text: Some(r"50% * \ of".to_owned()), ..Filter::default() });
        assert!(text[1].to_string().contains(r#""*50% \\* \\\\ of*""#), "{}", text[1]);
    }

    #[test]
    fn a_bare_value_is_looked_for_under_every_kind_and_in_the_fields_that_can_hold_it() {
        for (entity, field, not) in [
            ("10.0.0.1", "source.ip", "host.name"),
            ("fe80::1", "related.ip", "host.name"),
            ("mail.lan", "host.name", "source.ip"),
        ] {
            let text = json!(of_entity(entity)).to_string();
            assert!(text.contains(field) && !text.contains(not), "{entity}: {text}");
            assert!(text.contains(&format!("\"host:{entity}\"")), "{text}");
        }
        assert!(is_entity("host:fe80::1") && !is_entity("fe80::1") && !is_entity("host:"));
    }
}
