//! One object of each kind, how its file changes, and how a user changes the live one.

use alertloop::provision::object::Object;
use serde_json::{Value, json};

/// One object: its file, how the file changes, and how a user changes the live one.
pub struct Life {
    pub object: Object,
    pub file: String,
    pub name: String,
    pub body: Value,
    /// A pointer into the file's body, from the object's own, and another value for it.
    pub change: (&'static str, Value),
}

impl Life {
    pub fn channel(
        id: &str,
        config_type: &str,
        part: &Value,
        change: (&'static str, Value),
    ) -> Self {
        let config = json!({"name": id, "config_type": config_type, (config_type): part});
        Self {
            object: Object::Channel,
            file: format!("channels/{id}.json"),
            name: id.to_owned(),
            body: json!({ "config_id": id, "config": config }),
            change,
        }
    }

    pub fn monitor(file: &str, body: Value, change: (&'static str, Value)) -> Self {
        let is_workflow = body["type"] == "workflow";
        let object = if is_workflow { Object::Workflow } else { Object::Monitor };
        let name = body["name"].as_str().unwrap().to_owned();
        Self { object, file: format!("monitors/{file}.json"), name, body, change }
    }

    pub fn template(
        object: Object,
        name: &str,
        body: Value,
        change: (&'static str, Value),
    ) -> Self {
        Self { object, file: format!("templates/{name}.json"), name: name.to_owned(), body, change }
    }

    pub fn changed(&self) -> Value {
        let mut body = self.body.clone();
        let own = if self.object == Object::Channel { &mut body["config"] } else { &mut body };
        *own.pointer_mut(self.change.0).unwrap() = self.change.1.clone();
        body
    }

    /// The switch and something else, changed by a user.
    pub fn edit(&self, live: &mut Value) {
        match self.object {
            Object::Template => live["priority"] = json!(77),
            Object::LegacyTemplate => live["order"] = json!(77),
            Object::Channel => live["description"] = json!("a user's own words"),
            Object::Monitor | Object::Workflow => {
                live["schedule"] = json!({"period": {"interval": 59, "unit": "MINUTES"}});
            }
        }
        if let Some(switch) = self.object.switch() {
            live[switch] = json!(live[switch] != true);
        }
    }
}

pub fn action(name: &str) -> Value {
    json!({"name": name, "destination_id": "nowhere", "throttle_enabled": false,
        "message_template": {"source": "{{ctx.monitor.name}}"}})
}

pub fn search(prefix: &str, query: &Value) -> Value {
    json!([{"search": {"indices": [format!("{prefix}-idx")], "query": query}}])
}

pub fn minutes(interval: u32) -> Value {
    json!({"period": {"interval": interval, "unit": "MINUTES"}})
}

/// One of each kind, in short forms that the store rewrites.
pub fn lives(prefix: &str) -> Vec<Life> {
    let monitors = basic_monitors(prefix).into_iter().chain([workflow(prefix)]);
    channels(prefix).into_iter().chain(monitors).chain(templates(prefix)).collect()
}

fn channels(prefix: &str) -> Vec<Life> {
    let name = |kind: &str| format!("{prefix}{kind}");
    let mut channels = vec![
        Life::channel(
            &name("webhook"),
            "webhook",
            &json!({"url": "http://h:1?k=v", "header_params": {"X-Token": "${token}", "Accept": "a/b"}}),
            ("/webhook/header_params/Accept", json!("c/d")),
        ),
        Life::channel(
            &name("slack"),
            "slack",
            &json!({"url": "https://hooks.slack.com/services/a"}),
            ("/slack/url", json!("https://hooks.slack.com/services/b")),
        ),
        Life::channel(
            &name("chime"),
            "chime",
            &json!({"url": "https://hooks.chime.aws/incomingwebhooks/a?token=b"}),
            ("/name", json!("another name")),
        ),
        Life::channel(
            &name("teams"),
            "microsoft_teams",
            &json!({"url": "https://x.webhook.office.com/webhookb2/a"}),
            ("/description", json!("words")),
        ),
        Life::channel(
            &name("account"),
            "smtp_account",
            &json!({"host": "mail", "port": "25",
            "method": "start_tls", "from_address": "a@example.org"}),
            ("/smtp_account/port", json!(26)),
        ),
        Life::channel(
            &name("group"),
            "email_group",
            &json!({"recipient_list": [{"recipient": "a@example.org"}]}),
            ("/email_group/recipient_list", json!([{"recipient": "b@example.org"}])),
        ),
        Life::channel(
            &name("email"),
            "email",
            &json!({"email_account_id": name("account"),
            "recipient_list": [{"recipient": "c@example.org"}], "email_group_id_list": [name("group")]}),
            ("/email/recipient_list/0/recipient", json!("d@example.org")),
        ),
        Life::channel(
            &name("sns"),
            "sns",
            &json!({"topic_arn": "arn:aws:sns:us-west-2:012345678989:a"}),
            ("/sns/topic_arn", json!("arn:aws:sns:us-west-2:012345678989:b")),
        ),
        Life::channel(
            &name("ses"),
            "ses_account",
            &json!({"region": "us-east-1",
            "role_arn": "arn:aws:iam::012345678912:role/a", "from_address": "a@example.org"}),
            ("/ses_account/region", json!("us-east-2")),
        ),
    ];
    channels[3].body["config"]["description"] = json!("first words");
    channels
}

fn basic_monitors(prefix: &str) -> Vec<Life> {
    let name = |kind: &str| format!("{prefix}{kind}");
    let query = json!({"size": 0, "query": {"bool": {
        "filter": {"range": {"firstPacket": {"gte": "now-1h", "lt": "now"}}},
        "must": [{"term": {"a": 1}}, {"match": {"b": "c"}}, {"wildcard": {"w": "x*"}},
            {"query_string": {"query": "x:1 AND y:2"}}, {"terms": {"t": [1, 2]}},
            {"exists": {"field": "e"}}],
        "must_not": {"prefix": {"p": "q"}}}},
        "aggs": {"by": {"terms": {"field": "a", "size": 3}, "aggs": {"n": {"avg": {"field": "x"}}}}}});
    let composite = json!({"size": 0, "query": {"match_all": {}}, "aggregations": {"by":
        {"composite": {"sources": [{"ip": {"terms": {"field": "source.ip"}}}]}}}});
    vec![
        Life::monitor(
            "a_query",
            json!({"type": "monitor", "name": name("query"), "enabled": false,
            "monitor_type": "query_level_monitor", "schedule": minutes(5),
            "inputs": search(prefix, &query), "triggers": [{"query_level_trigger": {"name": "t",
                "severity": 1, "condition": {"script": {"source": "true", "lang": "painless"}},
                "actions": [action("a"), action("b")]}}]}),
            ("/triggers/0/query_level_trigger/severity", json!("2")),
        ),
        Life::monitor(
            "b_bucket",
            json!({"type": "monitor", "name": name("bucket"), "enabled": true,
            "monitor_type": "bucket_level_monitor",
            "schedule": {"cron": {"expression": "0 12 * * *", "timezone": "Europe/Berlin"}},
            "inputs": search(prefix, &composite), "triggers": [{"bucket_level_trigger": {"name": "t",
                "severity": "3", "condition": {"buckets_path": {"_count": "_count"},
                    "parent_bucket_path": "by", "script": {"source": "params._count > 3"}},
                "actions": [action("a")]}}]}),
            (
                "/triggers/0/bucket_level_trigger/condition/script/source",
                json!("params._count > 4"),
            ),
        ),
        Life::monitor(
            "c_doc",
            json!({"type": "monitor", "name": name("doc"), "enabled": false,
            "monitor_type": "doc_level_monitor", "schedule": minutes(5),
            "inputs": [{"doc_level_input": {"description": "d", "indices": [format!("{prefix}-idx")],
                "queries": [{"id": "q", "name": "q", "query": "a:1", "tags": ["x"]}]}}],
            "triggers": [{"document_level_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"source": "query[name=q]", "lang": "painless"}},
                "actions": [action("a")]}}]}),
            ("/inputs/0/doc_level_input/queries/0/query", json!("a:2")),
        ),
    ]
}

fn workflow(prefix: &str) -> Life {
    let name = |kind: &str| format!("{prefix}{kind}");
    let composite_monitor = |kind: &str| format!("${{monitor:{prefix}{kind}}}");
    let (first, second) = (composite_monitor("query"), composite_monitor("doc"));
    Life::monitor(
        "d_workflow",
        json!({"type": "workflow", "name": name("workflow"),
            "workflow_type": "composite", "enabled": false, "schedule": minutes(5),
            "inputs": [{"composite_input": {"sequence": {"delegates": [
                {"order": 1, "monitor_id": first}, {"order": 2, "monitor_id": second}]}}}],
            "triggers": [{"chained_alert_trigger": {"name": "t", "severity": "1",
                "condition": {"script": {"lang": "painless",
                    "source": format!("(monitor[id={first}] && monitor[id={second}])")}},
                "actions": [action("a")]}}]}),
        ("/triggers/0/chained_alert_trigger/severity", json!("4")),
    )
}

fn templates(prefix: &str) -> [Life; 2] {
    let name = |kind: &str| format!("{prefix}{kind}");
    let mapping = json!({"properties": {"a": {"type": "keyword", "ignore_above": 10}}});
    let patterns = [format!("{prefix}t-*")];
    [
        Life::template(
            Object::Template,
            &name("new"),
            json!({"index_patterns": patterns[0],
            "priority": 5, "version": 3, "template": {"mappings": mapping,
                "settings": {"number_of_shards": 1, "index": {"refresh_interval": "5s"}}}}),
            ("/template/settings/number_of_shards", json!(2)),
        ),
        Life::template(
            Object::LegacyTemplate,
            &name("old"),
            json!({"index_patterns": patterns,
            "order": 5, "mappings": mapping, "settings": {"index.refresh_interval": "5s"}}),
            ("/order", json!(6)),
        ),
    ]
}
