//! The search for what is engaged. Pure.
//!
//! It costs what the engaged records cost, not what the index holds: every condition that is always
//! there is a term of a keyword.

use serde_json::{Value, json};

use super::{Question, Stale};
use crate::history::{
    self, State,
    query::{KINDS, conditions, list},
};

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

/// The body of the search.
pub(super) fn body(question: &Question, stale: Option<Stale>) -> Value {
    let mut body = list(&filters(question, stale), question.after.as_ref(), question.limit);
    body["aggs"] = json!({
        "severity": { "terms": { "field": "event.severity", "size": 101 } },
        "entity": { "terms": { "size": KINDS.len(), "script": {
            "lang": "painless", "source": KINDS_OF_TAGS, "params": { "kinds": KINDS } } } } });
    body
}

fn filters(question: &Question, stale: Option<Stale>) -> Vec<Value> {
    let filter = question.filter.clone();
    let mut all = conditions(&history::Filter {
        states: vec![State::Engaged, State::Acknowledged],
        source: filter.source,
        severity: filter.severity,
        rule: filter.rule,
        entity: filter.entity,
        text: filter.text,
        ..history::Filter::default()
    });
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

#[cfg(test)]
mod tests {
    use super::{super::Filter, *};

    const STALE: Stale = Stale { providers: &["ntopng", "alertmanager"], before: 5 };

    #[test]
    fn only_what_stands_is_asked_for_and_stale_is_one_condition_more() {
        let filters_of = |filter| filters(&Question { filter, ..Question::default() }, Some(STALE));
        assert_eq!(
            filters_of(Filter::default()),
            [
                json!({"term": {"event.dataset": "alerting"}}),
                json!({"terms": {"event.action": ["engaged", "acknowledged"]}}),
            ]
        );
        let stale = filters_of(Filter { stale: Some(true), ..Filter::default() });
        assert_eq!(
            stale[2],
            json!({"bool": {"filter": [{"terms": {"event.provider": ["ntopng", "alertmanager"]}},
                {"range": {"event.end": {"lt": 5, "format": "epoch_millis"}}}]}})
        );
        let severe = filters_of(Filter { severity: Some(80), ..Filter::default() });
        assert_eq!((severe.len(), severe[2]["range"].is_object()), (3, true));
    }

    #[test]
    fn nothing_is_stale_where_that_is_off() {
        let filter = Filter { stale: Some(true), ..Filter::default() };
        let filters = filters(&Question { filter, ..Question::default() }, None);
        assert_eq!(filters[2], json!({"match_none": {}}));
    }
}
