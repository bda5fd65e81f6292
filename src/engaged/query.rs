//! The search for what is engaged. Pure.
//!
//! It costs what the engaged records cost, not what the index holds: every condition that is always
//! there is a term of a keyword.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{After, Question, Stale};

/// Kinds of entities that tags may name, in ntopng's words and in Alertmanager's.
const KINDS: [&str; 19] = [
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
/// The kinds that a record's tags name. By a script, which looks at the engaged records alone: a query
/// for a prefix looks at the tags of the whole index.
const KINDS_OF_TAGS: &str = "def kinds = [];
if (doc.containsKey('tags')) {
  for (tag in doc['tags']) {
    int at = tag.indexOf(':');
    if (at > 0) {
      def kind = tag.substring(0, at);
      if (params.kinds.contains(kind) && !kinds.contains(kind)) { kinds.add(kind); }
    }
  }
}
return kinds;";
/// So many are counted; it costs time to count more.
const COUNTED: u64 = 10_000;
/// How long the store may take.
const TIME: &str = "10s";

/// Whether a tag names an entity.
pub(super) fn is_entity(tag: &str) -> bool {
    tag.split_once(':').is_some_and(|(kind, value)| KINDS.contains(&kind) && !value.is_empty())
}

/// The body of the search.
pub(super) fn body(question: &Question, stale: Option<Stale>) -> Value {
    let mut body = json!({
        "size": question.limit, "track_total_hits": COUNTED, "timeout": TIME,
        "query": { "bool": { "filter": filters(question, stale) } },
        "_source": ["event.id", "event.action", "event.severity", "event.provider", "event.reason",
            "event.start", "event.end", "event.url", "rule.id", "rule.name", "tags", "message"],
        "sort": [
            { "event.start": { "order": "desc", "unmapped_type": "date" } },
            { "event.id": { "order": "asc", "unmapped_type": "keyword" } } ],
        "aggs": {
            "severity": { "terms": { "field": "event.severity", "size": 101 } },
            "entity": { "terms": { "size": KINDS.len(), "script": {
                "lang": "painless", "source": KINDS_OF_TAGS, "params": { "kinds": KINDS } } } } } });
    if let Some(After(at, id)) = &question.after {
        body["search_after"] = json!([at, id]);
    }
    body
}

fn filters(question: &Question, stale: Option<Stale>) -> Vec<Value> {
    let filter = &question.filter;
    let mut all = vec![
        json!({ "term": { "event.dataset": "alerting" } }),
        json!({ "terms": { "event.action": ["engaged", "acknowledged"] } }),
    ];
    if let Some(source) = &filter.source {
        let provider = if source == "opensearch" { "malcolm" } else { source };
        all.push(json!({ "term": { "event.provider": provider } }));
    }
    if let Some(severity) = filter.severity {
        all.push(json!({ "range": { "event.severity": { "gte": severity } } }));
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
    let old = |Stale { providers, before }| {
        json!({ "bool": { "filter": [
            { "terms": { "event.provider": providers } },
            { "range": { "event.end": { "lt": before, "format": "epoch_millis" } } } ] } })
    };
    match (filter.stale, stale) {
        (Some(true), Some(stale)) => all.push(old(stale)),
        (Some(false), Some(stale)) => {
            all.push(json!({ "bool": { "must_not": [old(stale)] } }));
        }
        (Some(true), None) => all.push(json!({ "match_none": {} })),
        (Some(false) | None, None) | (None, Some(_)) => {}
    }
    all
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
    use super::{super::Filter, *};

    const STALE: Stale = Stale { providers: &["ntopng", "alertmanager"], before: 5 };

    #[test]
    fn each_filter_is_one_condition_more_and_none_can_leave_its_place() {
        let filters_of = |filter| filters(&Question { filter, ..Question::default() }, Some(STALE));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(filters_of(Filter::default()).len(), 2);
        for (filter, want) in [
            (
                Filter { source: some("opensearch"), ..Filter::default() },
                json!({"term": {"event.provider": "malcolm"}}),
            ),
            (
                Filter { severity: Some(80), ..Filter::default() },
                json!({"range": {"event.severity": {"gte": 80}}}),
            ),
            (
                Filter { entity: some(" host:10.0.0.1@12"), ..Filter::default() },
                any(&[json!({"terms": {"tags": ["host:10.0.0.1@12"]}})]),
            ),
            (
                Filter { stale: Some(true), ..Filter::default() },
                json!({"bool": {"filter": [{"terms": {"event.provider": ["ntopng", "alertmanager"]}},
                    {"range": {"event.end": {"lt": 5, "format": "epoch_millis"}}}]}}),
            ),
        ] {
            let filters = filters_of(filter);
            assert_eq!((filters.len(), &filters[2]), (3, &want));
        }
        let text = filters_of(Filter { text: some(r"50% * \ of"), ..Filter::default() });
        assert!(text[2].to_string().contains(r#""*50% \\* \\\\ of*""#), "{}", text[2]);
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

    #[test]
    fn nothing_is_stale_where_that_is_off() {
        let filter = Filter { stale: Some(true), ..Filter::default() };
        let filters = filters(&Question { filter, ..Question::default() }, None);
        assert_eq!(filters[2], json!({"match_none": {}}));
    }
}
