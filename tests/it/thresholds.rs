//! Threshold crosses on the real store: each metric and kind of entity against a plain computation of
//! what they mean, on generated sessions; and the life of an alert from the crossing to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use alertloop::{
    condition::{
        Condition,
        file::{self, Defaults},
    },
    provision::{self, ChannelSecret, Options, desired::CHANNEL_ID},
    secrets::WebhookToken,
};
use jiff::Timestamp;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::{
    store,
    support::{self, App, Store},
};

mod sessions;

use sessions::{Session, Space};

/// The end of the window in all dry runs: a full hour, and a minute of delay later.
const END: i64 = 1_795_003_200_000;
const NOW: i64 = END + 60_000;

/// Makes a condition of the lines of its file.
fn condition(store: &Store, title: &str, lines: &str) -> Condition {
    let defaults = Defaults { index_pattern: store.pattern(), time_field: "firstPacket" };
    let text = format!("title = \"{title}\"\ntype = \"threshold_cross\"\n{lines}");
    file::read(&text, "it_threshold", defaults).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// The store, with room for the queries of all these tests: each is a template to it, and as shipped it
/// compiles 75 of them in 5 minutes and no more.
async fn roomy(store: Store) -> Store {
    let settings =
        json!({"transient": {"script.context.template.max_compilations_rate": "unlimited"}});
    store.json(Method::Put, "_cluster/settings", settings).await.expect("a setting");
    store.make_template().await;
    store
}

/// Keeps these sessions.
async fn keep(store: &Store, sessions: &[Session]) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for some in sessions.chunks(5_000) {
        let lines = some.iter().map(|session| {
            let to = json!({"index": {"_index": store.index("s")}});
            format!("{to}\n{}\n", session.document())
        });
        let url = format!("{}/_bulk?refresh=true", store.url());
        let request = client.post(url).header("content-type", "application/x-ndjson");
        let answer = request.body(lines.collect::<String>()).send().await.expect("sent");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["errors"], false, "{answer}");
    }
}

/// The entities that a dry run at `now` finds, each with its number.
async fn crossed(store: &Store, condition: &Condition, now: i64) -> BTreeMap<String, f64> {
    let mut monitor = condition.monitor(CHANNEL_ID);
    let trigger = monitor["triggers"][0]["bucket_level_trigger"].as_object_mut().expect("one");
    // As `alerting::dry_run` says: the plugin wants it first, or not at all.
    trigger.remove("id");
    // The report repeats the message for each bucket.
    trigger.insert("actions".to_owned(), json!([]));
    let path = format!("_plugins/_alerting/monitors/_execute?dryrun=true&period_end={now}ms");
    let report = store.json(Method::Post, &path, monitor).await.expect("a report");
    assert_eq!(report["error"], Value::Null, "{report:#}");
    assert_eq!(report["input_results"]["error"], Value::Null, "{report:#}");
    let mut found = BTreeMap::new();
    for trigger in report["trigger_results"].as_object().expect("triggers").values() {
        assert_eq!(trigger["error"], Value::Null, "{report:#}");
        for bucket in trigger["agg_result_buckets"].as_object().into_iter().flatten() {
            let content = &bucket.1["agg_alert_content"];
            let content = if content.is_null() { bucket.1 } else { content };
            let value = content.pointer("/bucket/s0/value").and_then(Value::as_f64);
            let key = content["bucket_keys"][0].as_str().unwrap_or(bucket.0).to_owned();
            found.insert(key, value.unwrap_or_else(|| panic!("no number in {content:#}")));
        }
    }
    found
}

/// Compares what the store finds with the definition, for more and for less than a value that some
/// entity has exactly, and beside it.
async fn agrees(store: &Store, space: &Space, entity: &str, metric: &str, every: &str) {
    let length = BTreeMap::from([("minute", 1), ("5mins", 5), ("hour", 60), ("day", 1_440)])[every];
    let truth = space.truth(entity, metric, END - length * 60_000, END);
    let mut numbers: Vec<f64> = truth.values().copied().collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers[numbers.len() / 2];
    for (operator, threshold) in
        [("gt", middle), ("gt", middle - 1.0), ("lt", middle), ("lt", middle + 1.0)]
    {
        if threshold < 0.0 {
            continue;
        }
        let lines = format!(
            "{}\nmetric = \"{metric}\"\nevery = \"{every}\"\noperator = \"{operator}\"\nthreshold = {threshold:?}",
            Space::who(entity),
        );
        let condition = condition(store, "it: a threshold", &lines);
        let crosses =
            |value: f64| if operator == "gt" { value > threshold } else { value < threshold };
        let want: BTreeMap<_, _> = truth
            .iter()
            .filter(|(_, value)| crosses(**value))
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        let got = crossed(store, &condition, NOW).await;
        assert_eq!(got, want, "{entity} {metric} {every} {operator} {threshold}");
    }
    assert!(numbers[0] < numbers[numbers.len() - 1], "{entity} {metric}: all are the same");
}

/// A document of our own state, by which a listed entity without any session is found.
async fn keep_state(store: &Store) -> String {
    let index = format!("alertloop-state-{}", store.index("it"));
    let path = format!("{index}/_doc/one?refresh=true");
    store.json(Method::Put, &path, json!({"kind": "it"})).await.expect("a document");
    index
}

#[tokio::test]
async fn exactly_those_cross_that_the_definition_says_for_every_metric_and_entity() {
    let store = roomy(store!(alerting)).await;
    let space = Space::new(7, 1_200);
    keep(&store, &space.sessions).await;
    let state = keep_state(&store).await;
    for metric in ["bytes", "packets", "flows", "active", "bytes_sent", "bytes_received"] {
        agrees(&store, &space, "host", metric, "5mins").await;
    }
    for metric in ["packets_sent", "packets_received"] {
        agrees(&store, &space, "host", metric, "minute").await;
        agrees(&store, &space, "network", metric, "minute").await;
    }
    for metric in ["bytes", "flows", "active", "egress", "ingress", "inner"] {
        agrees(&store, &space, "network", metric, "hour").await;
    }
    for metric in ["bytes", "flows", "active"] {
        agrees(&store, &space, "interface", metric, "day").await;
        agrees(&store, &space, "listed", metric, "5mins").await;
    }
    agrees(&store, &space, "scoped", "bytes", "5mins").await;
    agrees(&store, &space, "scoped", "bytes_sent", "5mins").await;
    agrees(&store, &space, "host", "max(network.packets)", "5mins").await;
    agrees(&store, &space, "network", "sum(network.packets)", "5mins").await;
    store.json(Method::Delete, &state, Value::Null).await.expect("removed");
}

#[tokio::test]
async fn of_many_hosts_none_is_left_out_and_of_too_many_that_cross_the_worst_are_told() {
    let store = roomy(store!(alerting)).await;
    let host = |n: u32| Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)));
    let session = |n: u32| Session {
        source: host(2 * n),
        destination: host(2 * n + 1),
        bytes: Some([i64::from(n), 0]),
        packets: [1, 1],
        first: END - 1,
        last: END - 1,
        node: "sensor-1",
        is_ours: false,
    };
    // 60,000 hosts are two pages.
    keep(&store, &(0..30_000).map(session).collect::<Vec<_>>()).await;
    let found = async |threshold: u32, operator: &str| -> BTreeSet<IpAddr> {
        let lines = format!(
            "entity = \"host\"\nmetric = \"bytes\"\nevery = \"minute\"\nthreshold = {threshold}\noperator = \"{operator}\""
        );
        let found = crossed(&store, &condition(&store, "it: pages", &lines), NOW).await;
        found.keys().map(|host| host.parse().expect("an address")).collect()
    };
    let hosts = |range: std::ops::Range<u32>| -> BTreeSet<IpAddr> {
        range.flat_map(|n| [host(2 * n), host(2 * n + 1)]).flatten().collect()
    };
    assert_eq!(found(29_799, "gt").await, hosts(29_800..30_000));
    assert_eq!(found(200, "lt").await, hosts(0..200));
    // Of each page 500, the worst of it; the store cannot keep more of one monitor.
    let worst = found(10, "gt").await;
    assert_eq!(worst.len(), 1_000);
    assert!(worst.is_superset(&hosts(29_750..30_000)), "{worst:?}");
}

#[tokio::test]
async fn lint_has_nothing_to_say_of_them() {
    let store = roomy(store!(alerting)).await;
    keep(&store, &Space::new(3, 20).sessions).await;
    let (dir, settings) = folder(&store, &conditions());
    let subjects = provision::lint::files::provisioned(&settings).expect("files");
    let subjects: Vec<_> =
        subjects.into_iter().filter(|one| one.name.starts_with("conditions/")).collect();
    assert_eq!(subjects.len(), 2);
    let received = Timestamp::from_millisecond(NOW).expect("a time");
    let naming = crate::lint::naming(&store);
    let client = store.client();
    let report = provision::lint::run(&client, &settings, &naming, received, &subjects);
    let report = report.await.expect("a report");
    // The channel is there only while another test provisions it.
    let report = report.to_string();
    let is_said = |line: &&str| line.starts_with("warn ") || line.starts_with("FAIL ");
    let said = report.lines().filter(is_said).filter(|line| !line.contains("does not exist yet"));
    let said: Vec<_> = said.collect();
    assert_eq!(said, Vec::<&str>::new());
    drop(dir);
}

/// A name that no other test has.
fn title(store: &Store, name: &str) -> String {
    format!("{} {name}", store.pattern().replace("-*", ""))
}

/// A folder with these conditions, and what provisioning has to know of it.
fn folder(
    store: &Store,
    conditions: &[(&str, String)],
) -> (tempfile::TempDir, provision::Settings) {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("conditions");
    std::fs::create_dir(&folder).expect("a folder");
    for (name, lines) in conditions {
        let title = title(store, name);
        let text = format!(
            "title = \"{title}\"\nenabled = false\n{}{lines}",
            if lines.contains("type = ") { "" } else { "type = \"threshold_cross\"\ndelay = 0\n" }
        );
        std::fs::write(folder.join(format!("{name}.toml")), text).expect("a file");
    }
    let settings = provision::Settings { dir: Some(dir.path().to_owned()), ..store.provisioning() };
    (dir, settings)
}

/// The service with threshold conditions provisioned, and what runs them.
struct Scene {
    store: Store,
    app: App,
    monitors: BTreeMap<String, String>,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new(store: Store, conditions: &[(&str, String)], more: &[(&str, &str)]) -> Self {
        let (dir, provisioning) = folder(&store, conditions);
        let title = |name: &str| title(&store, name);
        let path = dir.path().to_str().expect("UTF-8").to_owned();
        let mut settings = vec![("ALERTLOOP_PROVISIONING_DIR", path.as_str())];
        settings.extend_from_slice(more);
        let app = App::start_provisioning_with(&store, &settings).await;
        app.wait_until_provisioned().await;
        let titles: Vec<_> = conditions.iter().map(|(name, _)| title(name)).collect();
        let names: Vec<_> = titles.iter().map(String::as_str).collect();
        let family = alertloop::opensearch::alerting::Family::Monitor;
        let found = alertloop::opensearch::alerting::named(&store.client(), family, &names)
            .await
            .expect("monitors");
        assert_eq!(found.len(), conditions.len());
        let secret = ChannelSecret::new(WebhookToken::generate(), false);
        let plan =
            provision::look(&store.client(), &provisioning, &secret, Options::default()).await;
        let plan = plan.expect("a plan").to_string();
        for name in &names {
            let is_changed = |line: &str| line.contains(name) && line.starts_with("update");
            assert!(!plan.lines().any(is_changed), "the store has it in other words: {plan}");
        }
        let of = |(name, _): &(&str, String)| {
            let one = found.iter().find(|one| one.name() == title(name)).expect("a monitor");
            ((*name).to_owned(), one.id.clone())
        };
        let monitors = conditions.iter().map(of).collect();
        Self { store, app, monitors, _dir: dir }
    }

    /// Runs all monitors, for real, with windows that end then.
    async fn run(&self, end: i64) {
        for id in self.monitors.values() {
            let path = format!(
                "_plugins/_alerting/monitors/{id}/_execute?dryrun=false&period_end={end}ms"
            );
            let report = self.store.json(Method::Post, &path, Value::Null).await.expect("a run");
            assert_eq!(report["error"], Value::Null, "{report:#}");
            assert_eq!(report["input_results"]["error"], Value::Null, "{report:#}");
        }
    }

    /// The records of a monitor with this action, by the entity's tag, as soon as they are as wanted.
    async fn wait_for(
        &self,
        name: &str,
        action: &str,
        want: &BTreeSet<String>,
    ) -> BTreeMap<String, Value> {
        let mut seen = BTreeMap::new();
        let mut count = 0;
        let looking = async {
            loop {
                let all = self.store.records().await.into_iter().map(|hit| hit["_source"].clone());
                let own = all.filter(|one| one["rule"]["id"] == json!(self.monitors[name]));
                let own: Vec<_> = own.filter(|one| one["event"]["action"] == action).collect();
                count = own.len();
                let tag = |one: &Value| {
                    let tags =
                        one["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    let mut tags = tags.filter(|tag| tag.contains(':'));
                    tags.next().unwrap_or_default().to_owned()
                };
                seen = own.into_iter().map(|one| (tag(&one), one)).collect();
                if count == want.len() && seen.keys().eq(want.iter()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_mins(1), looking).await.is_ok();
        let letters = if came { Vec::new() } else { self.app.dead_letters().await };
        assert!(
            came,
            "{name} {action}: {count} records, {:?} instead of {want:?}; dead: {letters:#?}",
            seen.keys()
        );
        seen
    }

    /// Waits until an engaged record says this.
    async fn wait_for_reason(&self, name: &str, tag: &str, want: &str) {
        let looking = async {
            loop {
                let all = self.store.records().await;
                let says = |hit: &Value| {
                    let one = &hit["_source"];
                    one["rule"]["id"] == json!(self.monitors[name])
                        && one["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)))
                        && one["event"]["reason"] == want
                };
                if all.iter().any(says) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), looking).await.expect("it says so");
    }

    /// How many alerts of a monitor the store has.
    async fn alerts(&self, name: &str) -> Value {
        let alerts = self.store.alerts(&format!("monitorId={}", self.monitors[name])).await;
        alerts["totalAlerts"].clone()
    }

    async fn end(self) {
        assert_eq!(self.app.dead_letters().await, Vec::<Value>::new());
        for id in self.monitors.values() {
            let path = format!("_plugins/_alerting/monitors/{id}");
            self.store.json(Method::Delete, &path, Value::Null).await.expect("removed");
        }
        self.app.stop().await;
    }
}

fn session(source: IpAddr, destination: IpAddr, bytes: [i64; 2], last: i64) -> Session {
    let (source, destination) = (Some(source), Some(destination));
    Session {
        source,
        destination,
        bytes: Some(bytes),
        packets: [1, 2],
        first: last - 3_000,
        last,
        node: "sensor-1",
        is_ours: false,
    }
}

/// Two conditions, and whom they are about: of 200 hosts, and of 20 networks.
fn conditions() -> [(&'static str, String); 2] {
    let networks: Vec<_> = (0..20).map(|n| format!("\"10.{n}.0.0/16\"")).collect();
    [
        ("hosts", "entity = \"host\"\nmetric = \"bytes\"\nevery = \"minute\"\nthreshold = \"1 MB\"\nseverity = 2\ntags = [\"load\"]".to_owned()),
        ("networks", format!("entity = \"network\"\nnetworks = [{}]\nmetric = \"flows\"\nevery = \"minute\"\noperator = \"lt\"\nthreshold = 3", networks.join(", "))),
    ]
}

const MEGABYTE: i64 = 1_048_576;

/// A minute's sessions: host `10.N.0.H` (20 networks of 10 hosts) sends as much as `of` says to the same
/// peer, which is in none of the networks, and gets as much again; none where it says nothing.
fn minute(end: i64, of: impl Fn(u8, u8) -> Option<i64>) -> Vec<Session> {
    let peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let hosts = (0..20).flat_map(|net| (1..=10).map(move |host| (net, host)));
    let sessions = hosts.filter_map(|(net, host)| {
        let bytes = of(net, host)?;
        let host_address = IpAddr::V4(Ipv4Addr::new(10, net, 0, host));
        // Every other host is the destination.
        let (source, destination) =
            if host % 2 == 0 { (peer, host_address) } else { (host_address, peer) };
        Some(session(
            source,
            destination,
            [bytes / 2, bytes - bytes / 2],
            end - 1 - i64::from(host),
        ))
    });
    sessions.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_cross_are_engaged_and_then_released_and_no_others() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    let scene = Scene::new(store, &conditions(), &[]).await;
    let state = keep_state(&scene.store).await;
    let end = Timestamp::now().as_millisecond() / 60_000 * 60_000;
    // Hosts: exactly on the threshold, one above, one below, none. Networks: two sessions are too few,
    // three are not, and those without any are found too.
    let first = |net: u8, host: u8| match host {
        1 => Some(MEGABYTE),
        2 => Some(MEGABYTE + 1),
        3 if !net.is_multiple_of(3) => Some(MEGABYTE - 1),
        4 if net.is_multiple_of(5) => Some(2 * MEGABYTE),
        _ => None,
    };
    keep(&scene.store, &minute(end, |net, host| first(net, host).filter(|_| net < 18))).await;
    scene.run(end).await;
    let crosses = |net: u8, host: u8| first(net, host).is_some_and(|bytes| bytes > MEGABYTE);
    let hosts = |filter: &dyn Fn(u8, u8) -> bool| -> BTreeSet<String> {
        let all = (0..18).flat_map(|net| (1..=10).map(move |host| (net, host)));
        let mut found: BTreeSet<_> = all
            .filter(|(net, host)| filter(*net, *host))
            .map(|(net, host)| format!("host:10.{net}.0.{host}"))
            .collect();
        if !found.is_empty() {
            found.insert("host:::1".to_owned());
        }
        found
    };
    let engaged = scene.wait_for("hosts", "engaged", &hosts(&crosses)).await;
    let one = &engaged["host:10.5.0.4"];
    assert_eq!(one["event"]["reason"], "Minute traffic crossed by host 10.5.0.4 [2 MB > 1 MB]");
    assert_eq!((&one["message"], &one["event"]["severity"]), (&one["event"]["reason"], &json!(80)));
    assert_eq!(
        (&one["source"]["ip"], &one["related"]["ip"]),
        (&json!("10.5.0.4"), &json!(["10.5.0.4"]))
    );
    assert_eq!(one["tags"], json!(["host:10.5.0.4", "load"]));
    let quiet = |net: u8| {
        let sessions = (1..=10).filter(|host| first(net, *host).is_some()).count();
        net >= 18 || sessions < 3
    };
    let networks = |filter: &dyn Fn(u8) -> bool| -> BTreeSet<String> {
        (0..20).filter(|net| filter(*net)).map(|net| format!("network:10.{net}.0.0/16")).collect()
    };
    let silent = scene.wait_for("networks", "engaged", &networks(&quiet)).await;
    let one = &silent["network:10.19.0.0/16"];
    assert_eq!(
        one["event"]["reason"],
        "Minute flows crossed by network 10.19.0.0/16 [0 Flows < 3 Flows]"
    );
    assert_eq!(one["network"]["name"], "10.19.0.0/16");

    // A minute later some still cross, some are exactly on it, some are gone.
    let end = end + 60_000;
    let second = |net: u8, host: u8| match host {
        2 if net.is_multiple_of(2) => Some(3 * MEGABYTE),
        2 => Some(MEGABYTE),
        _ => None,
    };
    let stays = |net: u8, host: u8| second(net, host).is_some_and(|bytes| bytes > MEGABYTE);
    keep(&scene.store, &minute(end, |net, host| second(net, host).filter(|_| net < 18))).await;
    keep(&scene.store, &minute(end, |net, _| (net == 19).then_some(0))).await;
    scene.run(end).await;
    let over = |net: u8, host: u8| crosses(net, host) && !stays(net, host);
    let mut released = hosts(&over);
    released.remove("host:::1");
    let released = scene.wait_for("hosts", "released", &released).await;
    for record in released.values() {
        assert!(record["event"]["duration"].as_i64() > Some(0), "{record:#}");
    }
    let still = scene.wait_for("hosts", "engaged", &hosts(&stays)).await;
    let want = "Minute traffic crossed by host 10.4.0.2 [3 MB > 1 MB]";
    scene.wait_for_reason("hosts", "host:10.4.0.2", want).await;
    assert_eq!(still.len() + released.len(), engaged.len(), "no other record was made");
    scene
        .wait_for("networks", "released", &BTreeSet::from(["network:10.19.0.0/16".to_owned()]))
        .await;
    scene.store.json(Method::Delete, &state, Value::Null).await.expect("removed");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_whose_webhook_is_lost_is_told_by_the_alerting_api_alone() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    // Nobody listens there.
    let lost = [
        ("ALERTLOOP_WEBHOOK_URL", "http://127.0.0.1:9/mapi/alert"),
        ("ALERTLOOP_RECONCILE_INTERVAL", "1s"),
    ];
    let [hosts, _] = conditions();
    let scene = Scene::new(store, &[hosts], &lost).await;
    let end = Timestamp::now().as_millisecond() / 60_000 * 60_000;
    keep(
        &scene.store,
        &minute(end, |net, host| (net == 7 && host == 3).then_some(MEGABYTE * 5 / 2)),
    )
    .await;
    scene.run(end).await;
    let both = BTreeSet::from(["host:10.7.0.3".to_owned(), "host:::1".to_owned()]);
    let engaged = scene.wait_for("hosts", "engaged", &both).await;
    let one = &engaged["host:10.7.0.3"];
    assert_eq!(one["event"]["reason"], "Minute traffic crossed by host 10.7.0.3 [2.5 MB > 1 MB]");
    assert_eq!(
        (&one["source"]["ip"], &one["related"]["ip"]),
        (&json!("10.7.0.3"), &json!(["10.7.0.3"]))
    );
    assert_eq!(one["tags"], json!(["host:10.7.0.3", "reconciled"]));
    scene.run(end + 60_000).await;
    scene.wait_for("hosts", "released", &both).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_store_can_keep_do_not_become_more_at_each_run() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    let [hosts, _] = conditions();
    let scene = Scene::new(store, &[hosts], &[]).await;
    let end = Timestamp::now().as_millisecond() / 60_000 * 60_000;
    let peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let one = |n: u32| {
        let host = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        session(host, peer, [2 * MEGABYTE + i64::from(n), 0], end - 1)
    };
    keep(&scene.store, &(0..700).map(one).collect::<Vec<_>>()).await;
    // The peer has all of it, and then those with the most.
    let mut want: BTreeSet<_> =
        (201..700).map(|n: u32| format!("host:10.0.{}.{}", n / 256, n % 256)).collect();
    want.insert("host:::1".to_owned());
    for _ in 0..2 {
        scene.run(end).await;
        scene.wait_for("hosts", "engaged", &want).await;
    }
    assert_eq!(scene.alerts("hosts").await, 500);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_groups_of_an_aggregation() {
    let store = roomy(store!(alerting)).await;
    let _alone = support::provisioning(&store).await;
    let groups = "type = \"aggregation\"\ngroup_by = [\"source.ip\"]\ntime = 1\nconditions = \"sum(network.bytes) > 1000 and count() < 2\"";
    let scene = Scene::new(store, &[("groups", groups.to_owned())], &[]).await;
    let end = Timestamp::now().as_millisecond() / 60_000 * 60_000;
    let peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let host = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
    let one = |n: u32| session(host(n), peer, [MEGABYTE + i64::from(n), 0], end - 1);
    let mut sessions: Vec<_> = (0..700).map(one).collect();
    // Those with the most do not fire, as they have two sessions.
    sessions.extend((700..800).flat_map(|n| [one(n), one(n)]));
    keep(&scene.store, &sessions).await;
    let want: BTreeSet<_> = (200..700).map(|n| host(n).to_string()).collect();
    for _ in 0..2 {
        scene.run(end).await;
        let looking = async {
            loop {
                let all = scene.store.records().await;
                let all = all.iter().map(|hit| &hit["_source"]);
                let own = all.filter(|one| one["rule"]["id"] == json!(scene.monitors["groups"]));
                let own: Vec<_> = own.map(|one| one["source"]["ip"].as_str()).collect();
                let seen: BTreeSet<_> = own.iter().flatten().map(|ip| (*ip).to_owned()).collect();
                if own.len() == want.len() && seen == want {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_mins(1), looking).await;
        came.expect("a record of each of the 500 with the most, and no other");
    }
    assert_eq!(scene.alerts("groups").await, 500);
    scene.end().await;
}
