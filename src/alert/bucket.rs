//! The bucket that an alert of a bucket-level monitor is about: which values of which fields it
//! counts. Pure.
//!
//! The Alerting API tells all of it:
//! ```json
//! {"parent_bucket_path": "composite_agg", "bucket_keys": ["zeek", "443", "10.0.0.1"],
//!  "bucket": {"doc_count": 3, "key": {"module": "zeek", "port": 443, "address": "10.0.0.1"}}}
//! ```
//! A message has only the keys, as one text (`"zeek,443,10.0.0.1"`), and **not in the order of the
//! monitor's sources**: their order is that of a Java hash map of the sources' names, and a key may
//! hold commas itself. So a text is only taken apart where it cannot mean two things.
//!
//! Source: `TriggerService.kt` and `BucketLevelMonitorRunner.kt` of Alerting,
//! `AggregationResultBucket.kt` and `asTemplateArg` of `Alert.kt` of common-utils; seen on 3.4.0.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{Alert, crossing::Crossing};

/// Where an aggregation of a `threshold_cross` condition tells what it is about.
pub const THRESHOLD: &str = "alertloop_threshold";

/// One bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    path: String,
    keys: Keys,
    sources: Option<Sources>,
    /// The number that was compared, where the API tells it as our threshold conditions have it.
    value: Option<f64>,
    crossing: Option<Box<Crossing>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Keys {
    /// All in one text.
    Joined(String),
    /// The only one.
    Single(Value),
    /// By the names of their sources.
    Named(Map<String, Value>),
}

/// What a monitor's aggregation makes its buckets of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    name: String,
    /// `None` where the key is no value of a field: a script, an hour, a range.
    field: Option<String>,
}

/// What a bucket, or a source, tells of the traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Fields and their values.
    pub fields: Vec<(String, Value)>,
    /// IP addresses whose field is not known.
    pub addresses: Vec<String>,
    /// The same of hosts, users, MAC addresses and hashes.
    pub hosts: Vec<String>,
    /// Users.
    pub users: Vec<String>,
    /// MAC addresses.
    pub macs: Vec<String>,
    /// Hashes.
    pub hashes: Vec<String>,
}

impl Bucket {
    /// As the Alerting API tells it, in an alert's `agg_alert_content`.
    #[must_use]
    pub fn of_content(content: &Value) -> Option<Self> {
        let keys = match (&content["bucket"]["key"], content["bucket_keys"].as_array()?.as_slice())
        {
            (Value::Object(named), _) => Keys::Named(named.clone()),
            (Value::Null, [key]) | (key, [_]) => Keys::Single(key.clone()),
            _ => return None,
        };
        let path = content["parent_bucket_path"].as_str().unwrap_or_default().to_owned();
        let value = content.pointer("/bucket/s0/value").and_then(Value::as_f64);
        Some(Self { path, value, ..Self::of(keys) })
    }

    fn of(keys: Keys) -> Self {
        Self { path: String::new(), keys, sources: None, value: None, crossing: None }
    }

    /// As a message lists it.
    #[must_use]
    pub fn of_listed(alert: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| alert.get(key).and_then(Value::as_str).map(str::to_owned);
        let keys = Keys::Joined(text("bucket_keys").filter(|keys| !keys.is_empty())?);
        Some(Self { path: text("parent_bucket_path").unwrap_or_default(), ..Self::of(keys) })
    }

    /// As a sender tells it that groups by fields, which are named; `None` where there are none.
    #[must_use]
    pub fn of_groups(groups: &Map<String, Value>) -> Option<Self> {
        let keys = Keys::Named(groups.clone());
        (!groups.is_empty()).then(|| Self::of(keys))
    }

    /// Its keys in an order that does not depend on who told them.
    #[must_use]
    pub fn name(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let joined = match &self.keys {
            Keys::Joined(joined) => joined.clone(),
            Keys::Single(key) => text(key),
            Keys::Named(named) => named.values().map(text).collect::<Vec<_>>().join(","),
        };
        let mut parts: Vec<_> = joined.split(',').collect();
        parts.sort_unstable();
        parts.join(",")
    }

    /// Takes over what the monitor tells of its aggregations; `monitor` is its body.
    pub fn learn(&mut self, monitor: &Value) {
        self.sources = Sources::of(monitor, &self.path);
        let told = aggregation(monitor, &self.path).and_then(|found| found.get("meta"));
        let told = told.and_then(|meta| meta.get(THRESHOLD)).and_then(Value::as_object);
        self.crossing = told.and_then(Crossing::read).map(Box::new);
    }

    /// Whether it is an entity that crosses a threshold, and only the Alerting API can tell by how
    /// much.
    #[must_use]
    pub fn lacks_value(&self) -> bool {
        self.crossing.is_some() && self.value.is_none()
    }

    /// The only key as text.
    #[must_use]
    pub fn entity(&self) -> Option<&str> {
        let only = match &self.keys {
            Keys::Joined(text) => return Some(text),
            Keys::Single(key) => key,
            Keys::Named(named) if named.len() == 1 => named.values().next()?,
            Keys::Named(_) => return None,
        };
        only.as_str()
    }

    /// Tells the alert what it is about, where that is an entity that crosses a threshold.
    pub fn tell(&self, alert: &mut Alert) {
        if let (Some(crossing), Some(entity)) = (&self.crossing, self.entity()) {
            crossing.tell(alert, entity, self.value);
        }
    }

    /// Whether only the Alerting API can tell which key is whose.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        let several = self.sources.as_ref().is_some_and(|sources| sources.0.len() > 1);
        matches!(self.keys, Keys::Joined(_)) && several
    }

    /// Which values of which fields it counts.
    #[must_use]
    pub fn about(&self) -> About {
        let mut about = About::default();
        match (&self.keys, &self.sources) {
            (Keys::Named(named), Some(sources)) => {
                for source in &sources.0 {
                    if let Some(value) = named.get(&source.name) {
                        about.add(source.field.as_deref(), value);
                    }
                }
            }
            // Dashboards names a source after its field.
            (Keys::Named(named), None) => {
                for (name, value) in named {
                    about.add(Some(name.as_str()).filter(|name| name.contains('.')), value);
                }
            }
            (Keys::Single(value), sources) => {
                about.add(sources.as_ref().and_then(Sources::only), value);
            }
            (Keys::Joined(text), Some(sources)) if sources.0.len() == 1 => {
                about.add(sources.only(), &Value::String(text.clone()));
            }
            (Keys::Joined(text), sources) => {
                let parts: Vec<&str> = text.split(',').collect();
                if sources.as_ref().is_none_or(|sources| sources.0.len() == parts.len()) {
                    about.addresses.extend(parts.into_iter().filter_map(address));
                }
            }
        }
        about
    }
}

impl About {
    fn add(&mut self, field: Option<&str>, value: &Value) {
        match (field, value) {
            (_, Value::Null) => {}
            (Some(field), value) => self.fields.push((field.to_owned(), value.clone())),
            (None, Value::String(text)) => self.addresses.extend(address(text)),
            (None, _) => {}
        }
    }
}

/// The text, where it is an IP address.
fn address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|_| text.to_owned())
}

impl Sources {
    /// Reads the aggregation at `path` (`hosts`, `outer>inner`) of a monitor's body.
    fn of(monitor: &Value, path: &str) -> Option<Self> {
        let above = aggregation(monitor, path)?;
        if let Some(sources) = above.pointer("/composite/sources").and_then(Value::as_array) {
            let named = sources.iter().filter_map(|source| source.as_object()?.iter().next());
            let read = named.map(|(name, of)| Source { name: name.clone(), field: field(of) });
            return Some(Self(read.collect()));
        }
        above.get("terms")?;
        Some(Self(vec![Source { name: path.to_owned(), field: field(above) }]))
    }

    fn only(&self) -> Option<&str> {
        match self.0.as_slice() {
            [only] => only.field.as_deref(),
            _ => None,
        }
    }
}

/// The aggregation at `path` (`hosts`, `outer>inner`) of a monitor's body.
fn aggregation<'a>(monitor: &'a Value, path: &str) -> Option<&'a Value> {
    let mut above = monitor.pointer("/inputs/0/search/query")?;
    for name in path.split('>') {
        let below = above.get("aggregations").or_else(|| above.get("aggs"))?;
        above = below.get(name.trim())?;
    }
    Some(above)
}

/// The field whose values are keys; a `.keyword` below a text is that text's.
fn field(aggregation: &Value) -> Option<String> {
    let field = aggregation.get("terms")?.get("field")?.as_str()?;
    Some(field.strip_suffix(".keyword").unwrap_or(field).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A monitor's body whose aggregation has these sources.
    fn monitor(sources: &Value) -> Value {
        json!({"inputs": [{"search": {"query": {"size": 0, "aggregations": {
            "composite_agg": {"composite": {"sources": sources}},
            "hosts": {"terms": {"field": "host.name.keyword"},
                      "aggs": {"ports": {"terms": {"field": "source.port"}}}},
            "days": {"date_histogram": {"field": "firstPacket"}},
        }}}}]})
    }

    fn listed(path: &str, keys: &str) -> Bucket {
        let alert = json!({"bucket_keys": keys, "parent_bucket_path": path});
        Bucket::of_listed(alert.as_object().unwrap()).unwrap()
    }

    /// `field=value` and `ip`, sorted.
    fn told(mut bucket: Bucket, monitor: Option<&Value>) -> Vec<String> {
        if let Some(monitor) = monitor {
            bucket.learn(monitor);
        }
        let About { fields, addresses, .. } = bucket.about();
        let fields = fields.into_iter().map(|(field, value)| format!("{field}={value}"));
        let mut all: Vec<_> = fields.chain(addresses).collect();
        all.sort();
        all
    }

    #[test]
    fn what_the_api_tells_goes_by_the_names_of_the_sources() {
        let sources = json!([{"mod": {"terms": {"field": "event.module"}}}, {"ip": {"terms": {"field": "source.ip"}}},
            {"port": {"terms": {"field": "source.port"}}}, {"when": {"date_histogram": {"field": "firstPacket"}}}]);
        // As 3.4.0 tells it, which is not in the order of the sources.
        let content = json!({"parent_bucket_path": "composite_agg",
            "bucket_keys": ["zeek,1", "1001", "10.0.0.1", "1795219200000"],
            "bucket": {"doc_count": 1, "key": {"mod": "zeek,1", "port": 1001, "ip": "10.0.0.1", "when": 1_795_219_200_000_i64}}});
        let bucket = Bucket::of_content(&content).unwrap();
        let want = ["event.module=\"zeek,1\"", "source.ip=\"10.0.0.1\"", "source.port=1001"];
        assert_eq!(told(bucket.clone(), Some(&monitor(&sources))), want);
        assert_eq!(told(bucket, None), ["10.0.0.1"], "names that are no fields");
        let dashboards = json!({"parent_bucket_path": "composite_agg", "bucket_keys": ["10.0.0.1", "x"],
            "bucket": {"key": {"source.ip": "10.0.0.1", "user": null}}});
        let bucket = Bucket::of_content(&dashboards).unwrap();
        assert_eq!(told(bucket, None), ["source.ip=\"10.0.0.1\""]);
    }

    #[test]
    fn an_entity_that_crosses_a_threshold_is_told_whoever_tells_of_it() {
        let told = json!({"entity": "host", "metric": "bytes", "every": "minute", "operator": "gt",
            "threshold": 9.0});
        let monitor = json!({"inputs": [{"search": {"query": {"aggregations": {"groups": {
            "composite": {"sources": [{"threshold_host": {"terms": {"script": {}}}}]},
            "meta": {THRESHOLD: told}}}}}}]});
        let content = json!({"parent_bucket_path": "groups", "bucket_keys": ["10.0.0.1"],
            "bucket": {"doc_count": 3, "s0": {"value": 10.0}, "key": {"threshold_host": "10.0.0.1"}}});
        for (mut bucket, lacks, want) in [
            (listed("groups", "10.0.0.1"), true, "[> 9 Bytes]"),
            (Bucket::of_content(&content).unwrap(), false, "[10 Bytes > 9 Bytes]"),
        ] {
            let mut alert = Alert::of(crate::alert::Source::OpenSearch);
            bucket.tell(&mut alert);
            assert_eq!(alert.message, None, "of no threshold as far as is known");
            bucket.learn(&monitor);
            assert_eq!(bucket.lacks_value(), lacks);
            bucket.tell(&mut alert);
            let want = format!("Minute traffic crossed by host 10.0.0.1 {want}");
            assert_eq!(alert.message, Some(want));
            assert_eq!(alert.tags, ["host:10.0.0.1"]);
        }
    }

    #[test]
    fn a_bucket_has_the_same_name_whoever_tells_it() {
        let content = json!({"parent_bucket_path": "c", "bucket_keys": ["zeek", "443", "10.0.0.1"],
            "bucket": {"key": {"module": "zeek", "port": 443, "address": "10.0.0.1"}}});
        let told = Bucket::of_content(&content).unwrap();
        assert_eq!(told.name(), listed("c", "zeek,443,10.0.0.1").name());
        assert_ne!(told.name(), listed("c", "zeek,443,10.0.0.2").name());
    }

    #[test]
    fn a_bucket_of_terms_has_one_key() {
        let of = |path: &str, key: Value| {
            let content =
                json!({"parent_bucket_path": path, "bucket_keys": ["k"], "bucket": {"key": key}});
            Bucket::of_content(&content).unwrap()
        };
        let monitor = monitor(&json!([]));
        assert_eq!(told(of("hosts", json!("a,b")), Some(&monitor)), ["host.name=\"a,b\""]);
        assert_eq!(told(of("hosts>ports", json!(53)), Some(&monitor)), ["source.port=53"]);
        assert_eq!(told(of("hosts", Value::Null), Some(&monitor)), ["host.name=\"k\""]);
        assert_eq!(told(of("gone", json!("10.0.0.1")), Some(&monitor)), ["10.0.0.1"]);
        assert_eq!(told(of("days", json!("now")), Some(&monitor)), Vec::<String>::new());
        for none in [json!(null), json!({}), json!({"bucket_keys": ["a", "b"], "bucket": {}})] {
            assert_eq!(Bucket::of_content(&none), None, "{none}");
        }
    }

    #[test]
    fn a_text_is_taken_apart_only_where_it_cannot_mean_two_things() {
        let ip = json!([{"ip": {"terms": {"field": "source.ip"}}}]);
        let uri = json!([{"uri": {"terms": {"field": "network.name"}}}]);
        let both = json!([{"ip": {"terms": {"field": "source.ip"}}}, {"uri": {"terms": {"field": "network.name"}}}]);
        for (keys, sources, want) in [
            ("10.0.0.1", Some(&ip), vec!["source.ip=\"10.0.0.1\""]),
            ("a,b,10.0.0.1", Some(&uri), vec!["network.name=\"a,b,10.0.0.1\""]),
            ("a,10.0.0.1", Some(&both), vec!["10.0.0.1"]),
            ("a,b,10.0.0.1", Some(&both), vec![]),
            ("zeek,10.0.0.1,2001:db8::1", None, vec!["10.0.0.1", "2001:db8::1"]),
            ("zeek,443", None, vec![]),
        ] {
            let monitor = sources.map(monitor);
            assert_eq!(told(listed("composite_agg", keys), monitor.as_ref()), want, "{keys}");
        }
        let mut two = listed("composite_agg", "a,b");
        two.learn(&monitor(&both));
        let mut one = listed("composite_agg", "a,b");
        one.learn(&monitor(&ip));
        assert!(two.is_ambiguous() && !one.is_ambiguous());
        assert_eq!(Bucket::of_listed(json!({"bucket_keys": ""}).as_object().unwrap()), None);
    }
}
