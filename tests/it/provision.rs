//! Provisioning against the real store: what is made, what is left alone, and who wins.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alertloop::{
    lease::{ReplicaId, Turn},
    provision::{
        self, Applied, ChannelSecret, Options, Settings, TemplateMode, desired::HANDOVER_ID,
    },
    secrets::WebhookToken,
};
use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use tokio::sync::{MutexGuard, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    store,
    support::{Store, provisioning},
};

const CHANNEL: &str = "malcolm-api-loopback-webhook";
const OLD_CHANNEL: &str = "malcolm-api-loopback-webook";
const TEMPLATE: &str = "alertloop_sessions";
const MONITOR: &str = "Malcolm API Loopback Monitor";
const HEADER: &str = "/webhook/header_params/X-Alertloop-Token";

/// A store in which nothing of ours is left, for one test alone.
struct Fresh {
    store: Store,
    settings: Settings,
    prefix: String,
    _turn: MutexGuard<'static, ()>,
}

impl Fresh {
    async fn new(store: Store) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let turn = provisioning(&store).await;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("provision{}x{number}-", std::process::id());
        let settings = Settings {
            webhook_url: "http://alertloop:5000/mapi/alert".parse().unwrap(),
            index_pattern: format!("{prefix}*"),
            time_field: "firstPacket".to_owned(),
            template: TemplateMode::Auto,
            malcolm_template: format!("{prefix}malcolm_template"),
            may_have_monitors: true,
            dir: None,
        };
        let fresh = Self { store, settings, prefix, _turn: turn };
        fresh.clean().await;
        fresh
    }

    fn turn(&self) -> Turn {
        let (client, pattern) = (self.store.client(), &self.settings.index_pattern);
        Turn::new(client, "provisioner", pattern, &ReplicaId::random())
    }

    async fn clean(&self) {
        for id in [CHANNEL, OLD_CHANNEL, HANDOVER_ID] {
            self.json("DELETE", &format!("/_plugins/_notifications/configs/{id}")).await;
        }
        for id in self.monitor_ids("Malcolm").await {
            self.json("DELETE", &format!("/_plugins/_alerting/monitors/{id}")).await;
        }
        self.json("DELETE", &format!("/_template/{TEMPLATE}")).await;
    }

    async fn json(&self, method: &str, path: &str) -> Value {
        self.store.raw(method, path, Value::Null).await
    }

    async fn apply(&self, token: &WebhookToken) -> Applied {
        self.apply_with(token, false).await
    }

    async fn apply_with(&self, token: &WebhookToken, configured: bool) -> Applied {
        let applied = {
            let secret = ChannelSecret::new(token.clone(), configured);
            provision::apply(&self.store.client(), &self.settings, &secret, Options::default())
                .await
        };
        let applied = applied.unwrap();
        assert!(applied.after.is_in_sync());
        applied
    }

    async fn channel(&self, id: &str) -> Value {
        let mut answer = self.json("GET", &format!("/_plugins/_notifications/configs/{id}")).await;
        answer.pointer_mut("/config_list/0/config").map(Value::take).unwrap_or_default()
    }

    /// Makes a channel as Malcolm's script does.
    async fn malcolms_channel(&self, id: &str) {
        let body = json!({"config_id": id, "name": id, "config": {
            "name": "Malcolm API Loopback Webhook",
            "description": "Malcolm API webhook to index OpenSearch alerts as session documents",
            "config_type": "webhook",
            "webhook": {"url": "http://api:5000/mapi/alert", "method": "POST",
                "header_params": {"Content-Type": "application/json"}}}});
        self.store.raw("POST", "/_plugins/_notifications/configs", body).await;
    }

    async fn monitors(&self, word: &str) -> Vec<Value> {
        let body = json!({"size": 1000, "query": {"match": {"monitor.name": word}}});
        let found = self.store.raw("POST", "/_plugins/_alerting/monitors/_search", body).await;
        found.pointer("/hits/hits").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    async fn monitor_ids(&self, word: &str) -> Vec<String> {
        let found = self.monitors(word).await;
        found.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()).collect()
    }

    async fn monitors_of_our_name(&self) -> Vec<Value> {
        let found = self.monitors(MONITOR).await.into_iter();
        found.filter(|hit| hit["_source"]["name"] == MONITOR).collect()
    }

    async fn make_monitor(&self, body: Value) -> String {
        let made = self.store.raw("POST", "/_plugins/_alerting/monitors", body).await;
        made["_id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }
}

fn done(applied: &Applied) -> Vec<&str> {
    applied.done.iter().map(|step| step.name.as_str()).collect()
}

#[tokio::test]
async fn the_first_run_makes_template_channel_and_monitor() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    let applied = fresh.apply(&token).await;
    assert_eq!(done(&applied), [TEMPLATE, CHANNEL, MONITOR]);
    assert!(applied.token.is(&token) && applied.template_ready);

    let channel = fresh.channel(CHANNEL).await;
    assert_eq!(channel["name"], "Malcolm API Loopback Webhook");
    assert_eq!(channel["webhook"]["url"], "http://alertloop:5000/mapi/alert");
    assert_eq!(channel.pointer(HEADER).unwrap(), token.expose());
    let monitor = &fresh.monitors_of_our_name().await[0]["_source"];
    assert_eq!(monitor["enabled"], false);
    let action = &monitor["triggers"][0]["query_level_trigger"]["actions"][0];
    assert_eq!(action["destination_id"], CHANNEL);

    let index = format!("{}261101", fresh.prefix);
    let record = json!({"firstPacket": "2026-11-01T00:00:00Z", "event": {"hits": 3},
        "conflicts": "x".repeat(40_000)});
    let stored = fresh.store.raw("POST", &format!("/{index}/_doc"), record).await;
    assert_eq!(stored["result"], "created");
    let mapping = fresh.json("GET", &format!("/{index}/_mapping")).await;
    fresh.json("DELETE", &format!("/{index}")).await;
    let fields = &mapping[&index]["mappings"]["properties"];
    assert_eq!(fields["firstPacket"]["type"], "date");
    assert_eq!(fields["event"]["properties"]["severity_tags"]["type"], "keyword");
}

#[tokio::test]
async fn three_runs_leave_one_disabled_monitor_and_nothing_to_do() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    fresh.apply(&token).await;
    for _ in 0..2 {
        assert!(done(&fresh.apply(&token).await).is_empty());
    }
    let monitors = fresh.monitors_of_our_name().await;
    assert_eq!(monitors.len(), 1);
    assert_eq!(monitors[0]["_source"]["enabled"], false);
    let secret = ChannelSecret::new(token.clone(), false);
    let plan =
        provision::look(&fresh.store.client(), &fresh.settings, &secret, Options::default()).await;
    let plan = plan.unwrap().to_string();
    let steps: Vec<_> = plan.lines().collect();
    let (last, steps) = steps.split_last().unwrap();
    assert!(steps.iter().all(|line| line.starts_with("in sync")), "{plan}");
    assert_eq!(*last, "Nothing is to do.");
}

#[tokio::test]
async fn a_monitor_that_a_user_enabled_and_edited_is_left_alone() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    fresh.apply(&token).await;
    let hit = fresh.monitors_of_our_name().await.swap_remove(0);
    let path = format!("/_plugins/_alerting/monitors/{}", hit["_id"].as_str().unwrap());
    let mut body = hit["_source"].clone();
    body["enabled"] = json!(true);
    body["schedule"]["period"]["interval"] = json!(59);
    let put = fresh.store.raw("PUT", &path, body).await;
    assert_eq!(put["monitor"]["enabled"], true, "{put}");
    let before = fresh.json("GET", &path).await;
    assert!(done(&fresh.apply(&token).await).is_empty());
    let after = fresh.json("GET", &path).await;
    assert_eq!(before["_version"], after["_version"]);
    assert_eq!(fresh.monitors_of_our_name().await.len(), 1);
}

#[tokio::test]
async fn channels_that_malcolms_script_made_get_our_secret() {
    let fresh = Fresh::new(store!(alerting)).await;
    fresh.malcolms_channel(CHANNEL).await;
    fresh.malcolms_channel(OLD_CHANNEL).await;
    let token = WebhookToken::generate();
    let applied = fresh.apply(&token).await;
    assert_eq!(done(&applied), [TEMPLATE, CHANNEL, OLD_CHANNEL, MONITOR]);
    for id in [CHANNEL, OLD_CHANNEL] {
        let channel = fresh.channel(id).await;
        assert_eq!(channel.pointer(HEADER).unwrap(), token.expose(), "{id}");
        assert_eq!(channel["webhook"]["header_params"]["Content-Type"], "application/json");
        assert_eq!(channel["webhook"]["url"], "http://alertloop:5000/mapi/alert");
        assert_eq!(channel["name"], "Malcolm API Loopback Webhook");
    }
    assert_eq!(fresh.channel(HANDOVER_ID).await, Value::Null);
}

#[tokio::test]
async fn a_channel_that_a_user_pointed_elsewhere_is_left_alone() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    fresh.apply(&token).await;
    let path = format!("/_plugins/_notifications/configs/{CHANNEL}");
    let mut config = fresh.channel(CHANNEL).await;
    config["webhook"]["url"] = json!("http://users.own:1234/");
    fresh.store.raw("PUT", &path, json!({ "config": config })).await;
    let applied = fresh.apply(&token).await;
    assert!(applied.after.steps[1].is_warning(), "{}", applied.after);
    assert_eq!(fresh.channel(CHANNEL).await, config);
}

#[tokio::test]
async fn a_second_replica_adopts_the_secret_and_a_configured_one_replaces_it() {
    let fresh = Fresh::new(store!(alerting)).await;
    let first = WebhookToken::generate();
    fresh.apply(&first).await;
    let applied = fresh.apply(&WebhookToken::generate()).await;
    assert!(applied.token.is(&first) && done(&applied).is_empty());
    let configured = WebhookToken::generate();
    let applied = fresh.apply_with(&configured, true).await;
    assert_eq!(done(&applied), [CHANNEL]);
    assert!(applied.token.is(&configured));
    assert_eq!(fresh.channel(CHANNEL).await.pointer(HEADER).unwrap(), configured.expose());
}

#[tokio::test]
async fn replicas_that_start_at_once_leave_one_channel_and_one_monitor() {
    let fresh = Fresh::new(store!(alerting)).await;
    for round in 0..6 {
        fresh.clean().await;
        if round % 2 == 1 {
            fresh.malcolms_channel(CHANNEL).await;
            fresh.malcolms_channel(OLD_CHANNEL).await;
        }
        let tokens = [(); 3].map(|()| WebhookToken::generate());
        let (a, b, c) =
            tokio::join!(fresh.apply(&tokens[0]), fresh.apply(&tokens[1]), fresh.apply(&tokens[2]));
        assert!(a.token.is(&b.token) && b.token.is(&c.token), "round {round}");
        let channel = fresh.channel(CHANNEL).await;
        assert_eq!(channel.pointer(HEADER).unwrap(), a.token.expose(), "round {round}");
        assert_eq!(fresh.monitors_of_our_name().await.len(), 1, "round {round}");
        assert_eq!(fresh.channel(HANDOVER_ID).await, Value::Null, "round {round}");
    }
}

#[tokio::test]
async fn a_crash_during_the_handover_is_finished_by_the_next_run() {
    let fresh = Fresh::new(store!(alerting)).await;
    fresh.malcolms_channel(CHANNEL).await;
    let crashed = WebhookToken::generate();
    let body = json!({"config_id": HANDOVER_ID, "config": {"name": "left", "config_type": "webhook",
        "is_enabled": false, "webhook": {"url": "http://alertloop:5000/mapi/alert",
        "header_params": {"X-Alertloop-Token": crashed.expose()}, "method": "POST"}}});
    fresh.store.raw("POST", "/_plugins/_notifications/configs", body).await;
    let applied = fresh.apply(&WebhookToken::generate()).await;
    assert!(applied.token.is(&crashed));
    assert_eq!(fresh.channel(HANDOVER_ID).await, Value::Null);
}

#[tokio::test]
async fn a_monitor_whose_name_shares_words_neither_blocks_nor_doubles_ours() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    fresh.apply(&token).await;
    let hit = fresh.monitors_of_our_name().await.swap_remove(0);
    let mut other = hit["_source"].clone();
    other["name"] = json!("Malcolm API Loopback Monitor 2");
    let path = format!("/_plugins/_alerting/monitors/{}", hit["_id"].as_str().unwrap());
    fresh.json("DELETE", &path).await;
    fresh.make_monitor(other).await;
    assert_eq!(done(&fresh.apply(&token).await), [MONITOR]);
    assert!(done(&fresh.apply(&token).await).is_empty());
    assert_eq!(fresh.monitors_of_our_name().await.len(), 1);
    assert_eq!(fresh.monitor_ids("Malcolm").await.len(), 2);
}

#[tokio::test]
async fn a_template_of_others_is_used_and_ours_blocks_none() {
    let fresh = Fresh::new(store!(alerting)).await;
    let token = WebhookToken::generate();
    let types = json!({"properties": {"firstPacket": {"type": "date"}}});
    let pattern = json!([fresh.settings.index_pattern]);
    let other = format!("{}other", fresh.prefix);

    let legacy = json!({"index_patterns": pattern, "mappings": types});
    fresh.store.raw("PUT", &format!("/_template/{other}"), legacy).await;
    let applied = fresh.apply(&token).await;
    assert!(!done(&applied).contains(&TEMPLATE), "a legacy template covers");
    fresh.json("DELETE", &format!("/_template/{other}")).await;

    let applied = fresh.apply(&token).await;
    assert_eq!(done(&applied), [TEMPLATE]);
    // As Malcolm's: composable, of the same pattern, without a priority.
    let composable = json!({"index_patterns": pattern, "template": {"mappings": types}});
    let path = format!("/_index_template/{other}");
    let made = fresh.store.raw("POST", &path, composable).await;
    assert_eq!(made["acknowledged"], true, "{made}");
    let plan = fresh.apply(&token).await.after;
    fresh.json("DELETE", &path).await;
    assert_eq!(plan.steps[0].name, other, "{plan}");
}

#[tokio::test]
async fn the_known_fields_are_those_that_a_record_would_meet() {
    let fresh = Fresh::new(store!(alerting)).await;
    fresh.apply(&WebhookToken::generate()).await;
    let (client, index) = (fresh.store.client(), format!("{}261101", fresh.prefix));
    let known = provision::known_fields(&client, &index).await.unwrap();
    assert!(known.knows("event.severity_tags") && !known.knows("brand.new"), "from the template");

    let mapping = json!({"mappings": {"properties": {"brand": {"properties":
        {"new": {"type": "keyword"}}}, "any": {"type": "flat_object"}}}});
    fresh.store.raw("PUT", &format!("/{index}"), mapping).await;
    let known = provision::known_fields(&client, &index).await.unwrap();
    fresh.json("DELETE", &format!("/{index}")).await;
    assert!(known.knows("event.hits") && known.knows("brand.new") && known.knows("any.a.b"));

    let other = format!("{}composable", fresh.prefix);
    let composable = json!({"index_patterns": [fresh.settings.index_pattern],
        "template": {"mappings": {"properties": {"only": {"type": "ip"}}}}});
    fresh.store.raw("PUT", &format!("/_index_template/{other}"), composable).await;
    let known = provision::known_fields(&client, &index).await.unwrap();
    fresh.json("DELETE", &format!("/_index_template/{other}")).await;
    assert!(known.knows("only") && !known.knows("event.hits"), "a composable one hides ours");
}

#[tokio::test]
async fn records_wait_until_malcolms_template_is_there() {
    let mut fresh = Fresh::new(store!(alerting)).await;
    fresh.settings.template = TemplateMode::Malcolm;
    let (client, settings) = (fresh.store.client(), fresh.settings.clone());
    let (token, stop) = (WebhookToken::generate(), CancellationToken::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let on_ready = |applied: &Applied| tell.send(applied.template_ready).unwrap();
    let make_template = async {
        assert_eq!(told.recv().await, Some(false));
        let path = format!("/_index_template/{}", settings.malcolm_template);
        let body = json!({"index_patterns": [settings.index_pattern]});
        fresh.store.raw("PUT", &path, body).await;
        assert_eq!(told.recv().await, Some(true));
        fresh.json("DELETE", &path).await;
    };
    let secret = ChannelSecret::new(token.clone(), false);
    let mut turn = fresh.turn();
    let run = provision::run(&client, &settings, &secret, &mut turn, on_ready, &stop);
    tokio::join!(run, make_template);
    assert_eq!(fresh.monitors_of_our_name().await.len(), 1);
}

#[tokio::test]
async fn waiting_for_the_store_ends_when_asked_to() {
    let fresh = Fresh::new(store!(alerting)).await;
    let settings = alertloop::opensearch::Settings {
        url: "http://127.0.0.1:9".parse().unwrap(),
        login: None,
        verify: true,
        ca: None,
        identity: None,
        timeout: Duration::from_secs(5),
        monitors: alertloop::opensearch::engine::Settings::default(),
    };
    let client = alertloop::opensearch::Client::new(&settings).unwrap();
    let (token, stop) = (WebhookToken::generate(), CancellationToken::new());
    let secret = ChannelSecret::new(token.clone(), false);
    let (mut turn, on_ready) = (fresh.turn(), |_: &Applied| panic!("there is no store"));
    let run = provision::run(&client, &fresh.settings, &secret, &mut turn, on_ready, &stop);
    let ((), ()) = tokio::join!(run, async {
        tokio::task::yield_now().await;
        stop.cancel();
    });
}

/// Every body that OpenSearch sends with our message must be JSON.
#[tokio::test]
async fn the_message_is_json_whatever_happens_in_the_monitor() {
    let mut fresh = Fresh::new(store!(alerting)).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let receive = move |headers: HeaderMap, body: Bytes| async move {
        tell.send((headers, body)).unwrap();
        "{}"
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mapi/alert", listener.local_addr().unwrap());
    let route = Router::new().route("/mapi/alert", post(receive));
    let server = tokio::spawn(axum::serve(listener, route).into_future());
    fresh.settings.webhook_url = url.parse().unwrap();
    let token = WebhookToken::generate();
    fresh.apply(&token).await;
    let shipped = fresh.monitors_of_our_name().await.swap_remove(0)["_source"].take();
    let index = format!("{}261101", fresh.prefix);

    let odd = "quo\"te \\ back\nnew\tline \u{1} \u{2028} \u{e9} \u{1f600} <b>&'";
    let script = "/triggers/0/query_level_trigger/condition/script/source";
    let hits = "ctx.results[0].hits.total.value >= 0";
    for (name, trigger, severity, source, delete, want) in [
        ("plain", "plain", "4", "true", false, ""),
        (odd, odd, "a\"b\\", hits, false, ""),
        ("throws", odd, "critical", "ctx.results[7] == 1", false, "IndexOutOfBounds"),
        ("its query fails", "t", "1", hits, true, "Empty list"),
        ("fails, unnoticed", "t", "1", "true", true, ""),
    ] {
        fresh.json("PUT", &format!("/{index}")).await;
        let mut body = shipped.clone();
        body["name"] = json!(format!("Malcolm {name}"));
        *body.pointer_mut(script).unwrap() = json!(source);
        body["triggers"][0]["query_level_trigger"]["name"] = json!(trigger);
        body["triggers"][0]["query_level_trigger"]["severity"] = json!(severity);
        body["triggers"][0]["query_level_trigger"]["actions"][0]["throttle_enabled"] = json!(false);
        body["inputs"][0]["search"]["indices"] = json!([index]);
        let id = fresh.make_monitor(body).await;
        if delete {
            fresh.json("DELETE", &format!("/{index}")).await;
        }
        for run in ["first", "again"] {
            let path = format!("/_plugins/_alerting/monitors/{id}/_execute?dryrun=false");
            fresh.json("POST", &path).await;
            let sent = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
            let (headers, body) = sent.expect("a webhook").unwrap();
            assert_eq!(headers["x-alertloop-token"], token.expose());
            let body: Value = serde_json::from_slice(&body)
                .unwrap_or_else(|fault| panic!("{name}, {run}: {fault}: {body:?}"));
            let alert = &body["alert"];
            assert_eq!(alert["monitor"], json!({"id": id, "name": format!("Malcolm {name}")}));
            assert_eq!(alert["trigger"]["name"], trigger);
            assert_eq!(alert["trigger"]["severity"], severity);
            assert!(alert["error"].as_str().unwrap().contains(want), "{name}: {alert}");
            assert_eq!(alert["results"].as_array().unwrap().len(), usize::from(!delete));
            let is_again = run == "again";
            assert_eq!(alert["alert"] != "", is_again, "{name}, {run}: {alert}");
            assert_eq!(alert["start"] != "", is_again, "{name}, {run}: {alert}");
        }
    }
    server.abort();
    fresh.json("DELETE", &format!("/{index}")).await;
    fresh.clean().await;
}
