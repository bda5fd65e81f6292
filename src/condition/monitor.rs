//! A condition as a monitor of OpenSearch Alerting. Pure.
//!
//! - The window ends with the monitor's period (`{{period_end}}`), whatever its schedule.
//! - All numbers go into the parameters of the scripts: the store compiles at most 75 different
//!   scripts in 5 minutes (`script.max_compilations_rate`), and a thousand conditions would each
//!   have one of their own.
//! - There is no throttle. OpenSearch arms it even when the webhook failed, and the record lives
//!   from the webhook; who is called back, and when again, is decided where callbacks are sent.
//! - The ids of trigger and action are made of the condition's id, so that its alerts stay its own
//!   when its numbers change.

use serde_json::{Map, Value, json};

use super::{Condition, Expression, Stream, Test};

/// The name of the aggregation that makes groups.
pub(super) const GROUPS: &str = "groups";
/// How many groups are looked at in one search. Each page looks at all messages anew, and the most are
/// chosen within a page, so there should be one; a store as shipped answers with 65,535 at most
/// (`search.max_buckets`).
pub(super) const PAGE: u32 = 50_000;
/// How many of them may fire at once. Alerting reads 500 alerts of a monitor before it looks
/// (`MAX_BUCKET_LEVEL_MONITOR_ALERT_SEARCH_COUNT`), and makes a second alert, at each run, for every
/// bucket of which it has not read the one that is there (seen on 3.4.0).
pub(super) const MOST: u32 = 500;
/// A regular expression for values with `{{`, written so that it is no template itself.
const TEMPLATES: &str = r"/.*\{\{.*/";

impl Condition {
    /// The monitor, which sends to this channel.
    #[must_use]
    pub fn monitor(&self, channel: &str) -> Value {
        let expression = self.test.expression();
        let kind = if self.is_grouped() { "bucket_level" } else { "query_level" };
        let condition = match self.threshold() {
            Some(threshold) => threshold.trigger(),
            None if self.is_grouped() => bucket_level(&expression),
            None => query_level(&expression),
        };
        let (indices, search) = match self.threshold() {
            Some(threshold) => (threshold.indices(&self.stream), threshold.search(&self.stream)),
            None => (self.stream.indices.clone(), self.search()),
        };
        let mut trigger = json!({
            "id": self.stable("trigger"),
            "name": self.reason(),
            "severity": self.severity.to_string(),
            "condition": condition,
            "actions": [self.action(channel)],
        });
        if trigger["name"].as_str().is_some_and(|name| name.len() > LONGEST) {
            trigger["name"] = json!(self.test.name());
        }
        json!({
            "type": "monitor",
            "name": self.title,
            "monitor_type": format!("{kind}_monitor"),
            "enabled": self.enabled,
            "schedule": self.schedule.json(),
            "inputs": [{"search": {"indices": indices, "query": search}}],
            "triggers": [{format!("{kind}_trigger"): trigger}],
        })
    }

    fn action(&self, channel: &str) -> Value {
        let mut action = json!({
            "id": self.stable("action"),
            "name": "Tell alertloop",
            "destination_id": channel,
            "throttle_enabled": false,
            "subject_template": {"source": "", "lang": "mustache"},
            "message_template": {"source": self.message(), "lang": "mustache"},
        });
        if self.is_grouped() {
            // One message for all groups: each becomes a record of its own.
            action["action_execution_policy"] =
                json!({"action_execution_scope": {"per_execution": {}}});
        }
        action
    }

    /// An id that is the same at each run, on each replica.
    fn stable(&self, what: &str) -> String {
        let hash = blake3::hash(json!(["condition", self.id, what]).to_string().as_bytes());
        format!("alertloop-{}", &hash.to_hex()[..20])
    }

    fn search(&self) -> Value {
        let Stream { query, time_field, fields, .. } = &self.stream;
        let mut filter = vec![json!({"range": {time_field: {
            "from": format!("{{{{period_end}}}}||-{}m", self.time), "to": "{{period_end}}",
            "include_lower": true, "include_upper": true, "format": "epoch_millis"}}})];
        if query.trim() != "*" {
            filter.push(json!({"query_string": {"query": query, "analyze_wildcard": true}}));
        }
        if let Test::FieldContent { field, value } = &self.test {
            filter.push(json!({"match_phrase": {field: {"query": value}}}));
        }
        // Our own records are in the same indices.
        let mut must_not = vec![json!({"term": {"event.module": {"value": "alerting"}}})];
        let groups = self.group_by();
        must_not.extend(groups.iter().map(|field| {
            let query = without_templates(field);
            // Numbers and addresses cannot hold it, and know no regular expressions.
            json!({"query_string": {"query": query, "lenient": true}})
        }));
        let mut search = json!({
            "size": if groups.is_empty() { self.backlog } else { 0 },
            "track_total_hits": true,
            "query": {"bool": {"filter": filter, "must_not": must_not}},
        });
        if groups.is_empty() && self.backlog > 0 {
            search["sort"] = json!([{time_field: {"order": "desc", "unmapped_type": "date"}}]);
            if !fields.is_empty() {
                let mut includes = fields.clone();
                includes.push(time_field.clone());
                search["_source"] = json!({"includes": includes, "excludes": []});
            }
        }
        let expression = self.test.expression();
        let aggregations = self.aggregations();
        if groups.is_empty() {
            if !aggregations.is_empty() {
                search["aggregations"] = aggregations.into();
            }
        } else {
            let source = |field: &String| json!({group_name(field): {"terms": {"field": field}}});
            let sources: Vec<_> = groups.iter().map(source).collect();
            let mut inner = aggregations;
            inner.extend(most(&expression));
            search["aggregations"] = json!({ GROUPS: {
                "composite": {"size": PAGE, "sources": sources}, "aggregations": inner } });
        }
        search
    }

    fn aggregations(&self) -> Map<String, Value> {
        let expression = self.test.expression();
        let all = expression.series().into_iter().enumerate();
        all.filter_map(|(at, series)| Some((format!("s{at}"), series.aggregation()?))).collect()
    }
}

/// The most bytes of a trigger's name.
const LONGEST: usize = 200;

/// Where the query failed there are no results. OpenSearch puts what a trigger throws into the alert
/// and the message, and nothing else.
const FAILED: &str = "if (ctx.results.isEmpty()) { throw new IllegalStateException(ctx.error == \
                      null ? 'no results' : ctx.error.getMessage()); }";

fn query_level(expression: &Expression) -> Value {
    let mut numbers = Vec::new();
    let test = expression.painless(&mut numbers);
    let series = expression.series();
    let reads: Vec<_> = series.iter().enumerate().map(|(at, one)| one.read(at)).collect();
    let source =
        format!("{FAILED} def a = ctx.results[0].aggregations; {} return {test};", reads.join(" "));
    json!({"script": {"source": source, "lang": "painless", "params": params(&numbers)}})
}

fn bucket_level(expression: &Expression) -> Value {
    let mut chosen = chosen(expression);
    chosen["parent_bucket_path"] = json!(GROUPS);
    chosen
}

/// Leaves, of the groups that fire, those that are furthest beyond: [`MOST`]. Pipelines run in the
/// order of their names here, so the choice comes first.
fn most(expression: &Expression) -> [(String, Value); 2] {
    let by = expression.series().first().and_then(|first| first.paths(0).into_iter().next());
    let order = if expression.asks_for_much() { "desc" } else { "asc" };
    let sort: Vec<_> = by.map(|(_, path)| json!({path: {"order": order}})).into_iter().collect();
    // What has no such number may fire all the same, by another one. The store writes it so.
    let most = json!({"sort": sort, "size": MOST, "gap_policy": "INSERT_ZEROS"});
    [
        ("crossing".to_owned(), json!({"bucket_selector": chosen(expression)})),
        ("most".to_owned(), json!({ "bucket_sort": most })),
    ]
}

/// What tells whether a group fires.
fn chosen(expression: &Expression) -> Value {
    let mut numbers = Vec::new();
    let test = expression.painless(&mut numbers);
    let series = expression.series();
    let reads: Vec<_> = series.iter().enumerate().map(|(at, one)| one.read_bucket(at)).collect();
    let paths: Map<String, Value> = series
        .iter()
        .enumerate()
        .flat_map(|(at, one)| one.paths(at))
        .map(|(name, path)| (name, json!(path)))
        .collect();
    json!({
        "buckets_path": paths,
        "gap_policy": "skip",
        "script": {"source": format!("{} return {test};", reads.join(" ")), "lang": "painless",
                   "params": params(&numbers)},
    })
}

fn params(numbers: &[f64]) -> Value {
    let number = |(at, number): (usize, &f64)| (format!("t{at}"), json!(number));
    numbers.iter().enumerate().map(number).collect::<Map<_, _>>().into()
}

/// The name of what makes groups by a field. The store keeps a group's keys in its alert under these
/// names, all monitors' in one index: `host.name` of the one and `host` of another would be an object
/// and a text in the same place, and the alerts of the second one would be lost.
#[must_use]
pub fn group_name(field: &str) -> String {
    field.replace('.', "_")
}

/// A query string that finds the values of a field which OpenSearch would take for a template when it
/// asks for the next page of groups; excluded, they cannot keep a run from its end.
#[must_use]
pub fn without_templates(field: &str) -> String {
    format!("{}:{TEMPLATES}", escaped_field(field))
}

/// A field's name in a query string, where blanks and colons mean something.
fn escaped_field(field: &str) -> String {
    let mut escaped = String::new();
    for letter in field.chars() {
        if !letter.is_alphanumeric() && !"_.@-".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
