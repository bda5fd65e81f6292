//! Every call that alertloop makes, and the permissions that the store asks for it.

use alertloop::{lease::document::Document, opensearch::Client};
use opensearch::http::Method;
use serde_json::{Value, json};

use super::user::{LEASES, Permissions, SERIES, STATE, User};
use crate::support::Store;

/// Whether the security plugin wants a permission for the whole cluster: it takes what is said of a
/// whole request from nowhere else.
pub(super) fn is_of_cluster(name: &str) -> bool {
    let starts = ["cluster:", "indices:admin/template/", "indices:admin/index_template/"];
    let whole = [
        "write/bulk",
        "read/mget",
        "read/scroll",
        "read/scroll/clear",
        "read/search/template/render",
    ];
    starts.iter().any(|start| name.starts_with(start))
        || whole.iter().any(|rest| name == format!("indices:data/{rest}"))
}

/// A call that alertloop makes or will make.
pub(super) struct Call {
    /// The indices that it is about.
    pub(super) pattern: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// The lines of a bulk request.
    pub(super) lines: Vec<Value>,
}

impl Call {
    /// The permissions that the store misses for it; any other answer is as good as another here.
    pub(super) async fn missing(&self, client: &Client) -> Vec<String> {
        let answer = if self.lines.is_empty() {
            let answer = client.call(self.method, &self.path, self.body.as_ref()).await;
            answer.map(|answer| answer.to_string())
        } else {
            let lines: Vec<_> = self.lines.iter().map(Value::to_string).collect();
            let body = lines.join("\n") + "\n";
            let answer = client.send_ndjson(&self.path, body.into()).await;
            answer.map(|answer| String::from_utf8_lossy(&answer).into_owned())
        };
        let text = answer.unwrap_or_else(|fault| fault.to_string());
        if text.contains("have read permissions for one or more configured index") {
            // Alerting itself looks whether who makes a monitor may search its index.
            return vec!["indices:data/read/search".to_owned()];
        }
        let Some((_, rest)) = text.split_once("no permissions for [") else { return Vec::new() };
        let (names, _) = rest.split_once("] and ").expect("an end");
        names.split(", ").map(str::to_owned).collect()
    }
}

/// The permissions that a user who had none needs for these calls, and has then.
pub(super) async fn learned(user: &User<'_>, mut calls: Vec<Call>) -> Permissions {
    let (client, mut has) = (user.client(), Permissions::default());
    // Each round gives what the refusals of the round before have named.
    for round in 0.. {
        assert!(round < 12, "it asks for more and more: {has:?}");
        let mut asked = Permissions::default();
        let mut refused = Vec::new();
        for call in calls {
            let missing = call.missing(&client).await;
            for name in &missing {
                let is_new = if is_of_cluster(name) {
                    asked.cluster.insert(name.clone());
                    !has.cluster.contains(name)
                } else {
                    asked.index.entry(call.pattern.clone()).or_default().insert(name.clone());
                    !has.index.get(&call.pattern).is_some_and(|known| known.contains(name))
                };
                assert!(is_new, "{} asks again for {name}", call.path);
            }
            if !missing.is_empty() {
                refused.push(call);
            }
        }
        if refused.is_empty() {
            break;
        }
        has.add(asked);
        user.may(&has).await;
        calls = refused;
    }
    has
}

/// What the calls are about, made by the admin, so that none of them needs another.
pub(super) struct Ground<'a> {
    pub(super) store: &'a Store,
    pub(super) id: String,
    pub(super) monitor: String,
    pub(super) workflow: String,
}

impl<'a> Ground<'a> {
    pub(super) async fn new(store: &'a Store, id: &str) -> Self {
        let made = async |path: &str, body| {
            let made = store.json(Method::Post, path, body).await.expect("an object");
            made["_id"].as_str().unwrap_or_default().to_owned()
        };
        store.json(Method::Delete, &format!("/{STATE}"), Value::Null).await.ok();
        let index = store.index("261120");
        for path in [format!("/{index}/_doc/1"), format!("/{STATE}/_doc/1")] {
            store.json(Method::Put, &path, json!({"a": "x"})).await.expect("a document");
        }
        let lease = Document::new("learn", store.pattern());
        lease.make_index(&store.client()).await.expect("an index");
        let channel = json!({"config_id": id, "config": Self::channel()});
        made("/_plugins/_notifications/configs", channel).await;
        let monitor = Self::monitor(store.pattern(), id);
        let monitor = made("/_plugins/_alerting/monitors", monitor).await;
        let workflow = Self::workflow(id, &monitor);
        let workflow = made("/_plugins/_alerting/workflows", workflow).await;
        Self { store, id: id.to_owned(), monitor, workflow }
    }

    pub(super) fn channel() -> Value {
        json!({"name": "learn", "description": "", "config_type": "webhook",
            "is_enabled": true, "webhook": {"url": "http://127.0.0.1:9/"}})
    }

    pub(super) fn monitor(pattern: &str, name: &str) -> Value {
        json!({"type": "monitor", "monitor_type": "query_level_monitor", "name": name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
            "inputs": [{"search": {"indices": [pattern],
                "query": {"query": {"match_all": {}}}}}],
            "triggers": []})
    }

    pub(super) fn workflow(name: &str, monitor: &str) -> Value {
        let delegates = json!([{"order": 1, "monitor_id": monitor}]);
        json!({"type": "workflow", "workflow_type": "composite", "name": name,
            "enabled": false, "schedule": {"period": {"interval": 1, "unit": "DAYS"}},
            "inputs": [{"composite_input": {"sequence": {"delegates": delegates}}}],
            "triggers": []})
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        let all = [
            self.records(),
            self.alerting(),
            self.notifications(),
            self.templates(),
            self.state(),
            self.leases(),
            self.series(),
        ];
        all.into_iter().flatten().collect()
    }

    pub(super) fn call(&self, method: Method, path: String, body: Value) -> Call {
        let body = (!body.is_null()).then_some(body);
        Call { pattern: self.store.pattern().to_owned(), method, path, body, lines: Vec::new() }
    }

    pub(super) fn get(&self, path: &str) -> Call {
        self.call(Method::Get, path.to_owned(), Value::Null)
    }

    /// Writing records, and what the doctor asks.
    pub(super) fn records(&self) -> Vec<Call> {
        let (pattern, day) = (self.store.pattern(), self.store.index("261121"));
        let document = json!({"firstPacket": 1_794_000_000_000_i64, "event": {"hits": 1}});
        let at = json!({"_index": day, "_id": "1"});
        let known = json!({"_index": self.store.index("261120"), "_id": "1"});
        let script = json!({"source": "ctx._source.a = params.a", "params": {"a": 1}});
        let merge = json!({"script": script, "upsert": document});
        let bulk = |lines: [Value; 2]| Call {
            lines: lines.into(),
            ..self.call(Method::Post, "/_bulk".to_owned(), Value::Null)
        };
        vec![
            self.get("/"),
            bulk([json!({"create": at}), document.clone()]),
            bulk([json!({"index": at}), document]),
            bulk([json!({"update": at}), merge]),
            self.get(&format!("/{}/_mapping", self.store.index("261120"))),
            self.get(&format!("/{pattern}/_settings/index.blocks.*")),
            self.call(Method::Post, format!("/{pattern}/_search"), json!({"size": 0})),
            self.call(Method::Post, "/_mget".to_owned(), json!({"docs": [known]})),
            self.get("/_cluster/settings?include_defaults=true&filter_path=**.host_deny_list"),
            self.get("/_cluster/health"),
            self.get("/_cluster/health/.opendistro-alerting-alert*"),
            self.get("/_nodes/_local/stats/os"),
            self.get("/_nodes/plugins"),
            self.get("/_plugins/_security/authinfo"),
            self.call(Method::Post, "/_nodes/reload_secure_settings".to_owned(), json!({})),
        ]
    }

    pub(super) fn alerting(&self) -> Vec<Call> {
        let (monitors, workflows) =
            ("/_plugins/_alerting/monitors", "/_plugins/_alerting/workflows");
        let all = json!({"query": {"match_all": {}}});
        let monitor = Self::monitor(self.store.pattern(), &self.id);
        let workflow = Self::workflow(&self.id, &self.monitor);
        let (one, flow) =
            (format!("{monitors}/{}", self.monitor), format!("{workflows}/{}", self.workflow));
        let (none, nobody) = (|| Value::Null, json!({"alerts": ["nobody"]}));
        vec![
            self.get("/_plugins/_alerting/destinations"),
            self.get("/_plugins/_alerting/stats"),
            self.get(&format!("{monitors}/alerts")),
            self.get(&one),
            self.call(Method::Post, format!("{monitors}/_search"), all),
            self.call(Method::Post, monitors.to_owned(), monitor.clone()),
            self.call(Method::Put, one.clone(), monitor),
            self.call(Method::Post, format!("{one}/_execute?dryrun=true"), none()),
            self.call(Method::Delete, format!("{monitors}/nobody"), none()),
            self.get(&flow),
            self.call(Method::Post, workflows.to_owned(), workflow.clone()),
            self.call(Method::Put, flow.clone(), workflow),
            self.call(Method::Post, format!("{flow}/_execute?dryrun=true"), json!({})),
            self.call(Method::Delete, format!("{workflows}/nobody"), none()),
            self.call(Method::Post, format!("{one}/_acknowledge/alerts"), nobody.clone()),
            self.call(Method::Post, format!("{flow}/_acknowledge/alerts"), nobody),
        ]
    }

    pub(super) fn notifications(&self) -> Vec<Call> {
        let one = format!("/_plugins/_notifications/configs/{}", self.id);
        let config = json!({"config": Self::channel()});
        let again = json!({"config_id": self.id, "config": Self::channel()});
        let test = format!("/_plugins/_notifications/feature/test/{}", self.id);
        vec![
            self.get(&one),
            self.get("/_plugins/_notifications/configs"),
            self.get("/_plugins/_notifications/channels"),
            self.get("/_plugins/_notifications/features"),
            self.call(Method::Post, "/_plugins/_notifications/configs".to_owned(), again),
            self.call(Method::Put, one, config),
            self.call(Method::Post, test, Value::Null),
            self.call(
                Method::Delete,
                "/_plugins/_notifications/configs/nobody".to_owned(),
                Value::Null,
            ),
        ]
    }

    pub(super) fn templates(&self) -> Vec<Call> {
        let day = self.store.index("261121");
        let simulate = format!("/_index_template/_simulate_index/{day}");
        let message = json!({"source": "{{a}}", "params": {"a": 1}});
        let condition = json!({"script": {"source": "1 + 1"}});
        let mut calls = vec![
            self.call(Method::Post, simulate, Value::Null),
            self.call(Method::Post, "/_render/template".to_owned(), message),
            self.call(Method::Post, "/_scripts/painless/_execute".to_owned(), condition),
        ];
        for family in ["_template", "_index_template"] {
            let one = format!("/{family}/{}", self.id);
            let template = json!({"index_patterns": [format!("{}-*", self.id)]});
            calls.extend([
                self.get(&format!("/{family}")),
                self.call(Method::Put, one, template),
                self.call(Method::Delete, format!("/{family}/nobody"), Value::Null),
            ]);
        }
        calls
    }

    /// The small index that remembers what was provisioned.
    pub(super) fn state(&self) -> Vec<Call> {
        let settings = json!({"settings": {"number_of_shards": 1},
            "mappings": {"dynamic": false, "properties": {"a": {"type": "keyword"}}}});
        let all = json!({"query": {"match_all": {}}});
        let known = format!("/{STATE}/_doc/1?if_seq_no=0&if_primary_term=1");
        let mut calls = vec![
            self.get(&format!("/{STATE}")),
            self.get(&format!("/{STATE}/_mapping")),
            self.get(&format!("/{STATE}/_doc/1")),
            self.call(Method::Put, format!("/{STATE}"), settings),
            self.call(Method::Put, known, json!({"a": "y"})),
            self.call(Method::Post, format!("/{STATE}/_mget"), json!({"ids": ["1"]})),
            self.call(Method::Post, format!("/{STATE}/_search"), all),
            self.call(Method::Post, format!("/{STATE}/_refresh"), Value::Null),
            self.call(Method::Delete, format!("/{STATE}/_doc/nobody"), Value::Null),
        ];
        for call in &mut calls {
            STATE.clone_into(&mut call.pattern);
        }
        calls
    }

    /// The small index of the leases. It is not removed: other tests hold some.
    pub(super) fn leases(&self) -> Vec<Call> {
        let one = format!("/{LEASES}/_doc/{}", self.id);
        let settings = json!({"settings": {"number_of_shards": 1}});
        let mut calls = vec![
            self.get(&one),
            self.call(Method::Put, format!("/{LEASES}"), settings),
            self.call(Method::Put, format!("{one}?op_type=create"), json!({})),
            self.call(Method::Put, format!("{one}?if_seq_no=0&if_primary_term=1"), json!({})),
        ];
        for call in &mut calls {
            LEASES.clone_into(&mut call.pattern);
        }
        calls
    }

    /// The index of what engages and is released. It is not removed: it may be of use to other tests.
    pub(super) fn series(&self) -> Vec<Call> {
        let settings = json!({"settings": {"number_of_shards": 1}});
        let at = json!({"_index": SERIES, "_id": self.id});
        let mut guarded = at.clone();
        guarded["if_seq_no"] = json!(0);
        guarded["if_primary_term"] = json!(1);
        let bulk =
            |lines| Call { lines, ..self.call(Method::Post, "/_bulk".to_owned(), json!({})) };
        let mut calls = vec![
            self.call(Method::Put, format!("/{SERIES}"), settings),
            self.call(Method::Post, "/_mget".to_owned(), json!({"docs": [at]})),
            self.call(Method::Post, format!("/{SERIES}/_search"), json!({})),
            bulk(vec![json!({"create": at}), json!({})]),
            bulk(vec![json!({"index": guarded}), json!({})]),
            bulk(vec![json!({"delete": at})]),
        ];
        for call in &mut calls {
            SERIES.clone_into(&mut call.pattern);
        }
        calls
    }

    /// Removes all of it, and what the calls have made once they were allowed.
    pub(super) async fn clean(&self, name: &str) {
        let mut paths = vec![
            format!("/{STATE}"),
            format!("/{LEASES}/_doc/{}", self.id),
            format!("/{SERIES}/_doc/{}", self.id),
            format!("/_plugins/_alerting/workflows/{}", self.workflow),
            format!("/_plugins/_notifications/configs/{}", self.id),
            format!("/_template/{}", self.id),
            format!("/_index_template/{}", self.id),
        ];
        let search = "/_plugins/_alerting/monitors/_search";
        for kind in ["workflow", "monitor"] {
            let query = json!({"query": {"term": {format!("{kind}.name.keyword"): name}}});
            let found = self.store.json(Method::Post, search, query).await.unwrap_or_default();
            let hits = found["hits"]["hits"].as_array().into_iter().flatten();
            let ids = hits.filter_map(|hit| hit["_id"].as_str());
            paths.extend(ids.map(|id| format!("/_plugins/_alerting/{kind}s/{id}")));
        }
        for path in paths {
            self.store.json(Method::Delete, &path, Value::Null).await.ok();
        }
    }
}
