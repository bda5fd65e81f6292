//! A month of made-up alerts: of every source, severity and state, of hosts, interfaces and rules.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use ::opensearch::http::Method;
use alertloop::{
    history::Settings,
    opensearch::{self, Client},
    record::index_name::{IndexName, day},
};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const RECORDS: u64 = 1_000_000;
/// Over so many days they lie.
pub const DAYS: i64 = 30;
const IN_A_REQUEST: u64 = 5_000;
const RULES: u64 = 200;
/// Of so many one is engaged.
const ENGAGED: u64 = 500;

/// The alerts, and how they are asked for.
pub struct Month {
    pub client: Client,
    pub settings: Settings,
    /// How many there are.
    pub records: u64,
    /// When the last one began.
    pub now: Timestamp,
}

impl Month {
    /// Writes as many as `--records` says, or a million, into the OpenSearch of
    /// `ALERTLOOP_TEST_OPENSEARCH`; `None` where it names none.
    pub async fn make() -> Option<Self> {
        let Ok(url) = std::env::var("ALERTLOOP_TEST_OPENSEARCH") else {
            println!("SKIPPED: ALERTLOOP_TEST_OPENSEARCH names no OpenSearch");
            return None;
        };
        let mut arguments = std::env::args().skip_while(|one| one != "--records").skip(1);
        let records = arguments.next().map_or(RECORDS, |text| text.parse().expect("a number"));
        let client = Client::new(&opensearch::Settings {
            url: url.parse().expect("an address"),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: Duration::from_mins(2),
            monitors: alertloop::opensearch::engine::Settings::default(),
        });
        let pattern = format!("bench{:08x}-*", rand::random::<u32>());
        let settings = Settings {
            pattern: pattern.clone(),
            index: IndexName::new(&pattern, "").expect("a name"),
            stale_after: Duration::from_hours(1),
            reconciles: true,
            asks_alerting: false,
        };
        let (client, now) = (client.expect("a client"), Timestamp::now());
        let month = Self { client, settings, records, now };
        let begun = Instant::now();
        fill(&month.client, &month.settings, records, now).await;
        let took = begun.elapsed().as_secs_f64();
        println!("{records} records in {DAYS} daily indices, written in {took:.0} s\n");
        Some(month)
    }

    /// Writes one more that began now, and lets it be seen.
    pub async fn one_more(&self) {
        let mut lines = String::new();
        line(&mut lines, &self.settings, rand::random::<u64>() >> 20, Timestamp::now());
        let sent = self.client.send_ndjson("/_bulk?refresh=true", Bytes::from(lines)).await;
        sent.expect("written");
    }

    /// Removes all that was written.
    pub async fn remove(&self) {
        let list = format!("_cat/indices/{}?h=index&format=json", self.settings.pattern);
        let indices = self.client.call(Method::Get, &list, None).await.expect("indices");
        for index in indices.as_array().into_iter().flatten() {
            let name = index["index"].as_str().expect("a name");
            self.client.call(Method::Delete, name, None).await.expect("deleted");
        }
        let template = format!("_template/{}", self.settings.pattern.trim_end_matches("-*"));
        self.client.call(Method::Delete, &template, None).await.expect("deleted");
    }
}

fn random(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn record(number: u64, began: Timestamp) -> Value {
    let dice = random(number);
    let pick = |of: u64, shift: u32| (dice >> shift) % of;
    let provider = ["malcolm", "ntopng", "ntopng", "ntopng", "graylog", "alertmanager"]
        [usize::try_from(pick(6, 3)).expect("small")];
    let severity = [20, 40, 40, 60, 60, 60, 80, 100][usize::try_from(pick(8, 7)).expect("small")];
    let (host, peer) = (pick(2_000, 11), pick(250, 23));
    let host = format!("10.{}.{}.{}", host / 250, host % 250, 1 + peer / 50);
    let ended = format!(
        "{:.3}",
        began + SignedDuration::from_secs(i64::try_from(pick(3_600, 17)).expect("small"))
    );
    let (action, rule) = match pick(ENGAGED, 29) {
        0 => ("engaged", pick(RULES, 31)),
        one if one % 4 == 0 => ("stored", pick(RULES, 31)),
        _ => ("released", pick(RULES, 31)),
    };
    let began = format!("{began:.3}");
    json!({
        "firstPacket": began, "lastPacket": ended, "ecs": {"version": "1.6.0"},
        "event": {"kind": "alert", "dataset": "alerting", "module": "alerting", "provider": provider,
            "start": began, "end": ended, "ingested": began, "sequence": number, "action": action,
            "hash": format!("{dice:016x}"), "id": format!("k{number:012}"), "severity": severity,
            "risk_score": severity, "risk_score_norm": severity, "severity_tags": "Alert",
            "reason": format!("threshold {} of metric {}", pick(50, 37), pick(100, 41)),
            "url": "/dashboards/app/alerting#/dashboard"},
        "rule": {"id": format!("rule-{rule:04}"), "name": format!("Rule number {rule} of the bench")},
        "message": format!("host {host} crossed threshold {} on interface eth{}", pick(50, 37), pick(8, 43)),
        "tags": [format!("host:{host}"), format!("interface:eth{}", pick(8, 43))],
        "source": {"ip": host}, "related": {"ip": [host]} })
}

/// Writes so many, below the index template that is shipped.
async fn fill(client: &Client, settings: &Settings, records: u64, now: Timestamp) {
    let shipped = include_str!("../../provisioning/templates/alertloop_sessions.json");
    let mut template: Value = serde_json::from_str(shipped).expect("JSON");
    template["index_patterns"] = json!([settings.pattern]);
    template["settings"] = json!({"index": {"number_of_shards": 1, "number_of_replicas": 0}});
    let path = format!("_template/{}", settings.pattern.trim_end_matches("-*"));
    client.call(Method::Put, &path, Some(&template)).await.expect("a template");
    let step = SignedDuration::from_hours(24 * DAYS).as_millis() / i128::from(records);
    let step = i64::try_from(step.max(1)).expect("small");
    let mut from = 0;
    while from < records {
        let mut lines = String::new();
        for number in from..records.min(from + IN_A_REQUEST) {
            let ago = step * i64::try_from(records - number).expect("some");
            line(&mut lines, settings, number, now - SignedDuration::from_millis(ago));
        }
        let answer = client.send_ndjson("/_bulk", Bytes::from(lines)).await.expect("written");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["errors"], false, "{}", answer["items"][0]);
        from += IN_A_REQUEST;
    }
    let path = format!("/{}/_refresh", opensearch::segment(&settings.pattern));
    client.call(Method::Post, &path, None).await.expect("a refresh");
}

fn line(lines: &mut String, settings: &Settings, number: u64, began: Timestamp) {
    let index = settings.index.index(began, |_| None);
    let id = format!("{}-k{number:012}", day(began));
    let action = json!({"create": {"_index": index, "_id": id}});
    writeln!(lines, "{action}\n{}", record(number, began)).expect("a String");
}
