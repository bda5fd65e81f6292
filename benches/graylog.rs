//! How long a Graylog event with a backlog takes to be decoded, and to become a record: `cargo bench
//! --bench graylog`. The baseline is the same body parsed into JSON, which any reader must do at least.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and ends loudly where it cannot go on"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use alertloop::{
    alert::Source,
    intake::{self, Encoding, Envelope},
    record::{self, Naming, Receipt, fields::FieldSet, index_name::IndexName},
};
use serde_json::{Value, json};

const MESSAGES: usize = 500;
const ROUNDS: usize = 200;
/// The bound for one event, backlog and all.
const BOUND: Duration = Duration::from_millis(5);

fn main() {
    let body = event().to_string().into_bytes();
    let kib = body.len() >> 10;
    let envelope = Envelope {
        source: Some(Source::Graylog),
        received: "2026-11-04T10:00:02Z".parse().expect("a time"),
        content_type: "application/json".to_owned(),
        encoding: Encoding::Identity,
        body,
    };
    let parsed = median(|| {
        black_box(serde_json::from_slice::<Value>(&envelope.body).expect("JSON"));
    });
    let decoded = median(|| {
        black_box(intake::decode(&envelope, 20 << 20).expect("alerts"));
    });
    let index = IndexName::new("arkime_sessions3-*", "%{%y%m%d}").expect("a name");
    let naming = Naming { index, time_field: "firstPacket".to_owned() };
    let receipt = Receipt { received: envelope.received, hash: "h" };
    let alerts = intake::decode(&envelope, 20 << 20).expect("alerts");
    let alert = alerts.into_iter().next().expect("one").expect("an alert");
    let made = median(|| {
        black_box(record::build(&alert, receipt, &naming, &FieldSet::everything()));
    });
    println!("an event with {MESSAGES} messages, {kib} KiB; median of {ROUNDS}");
    println!("parse into JSON  {:.2} ms", milliseconds(parsed));
    println!(
        "decode           {:.2} ms; ratio {:.2}",
        milliseconds(decoded),
        decoded.as_secs_f64() / parsed.as_secs_f64()
    );
    println!("make the record  {:.2} ms", milliseconds(made));
    let verdict = if decoded < BOUND { "within" } else { "OVER" };
    println!("{verdict} the bound of {} ms for decoding", BOUND.as_millis());
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            run();
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// As Graylog sends it; the fields are those of a firewall's messages.
fn event() -> Value {
    let message = |n: usize| {
        json!({
            "index": "graylog_41", "id": format!("01KA40B6R8S0T2V4W6X8{n:06}"), "source": format!("fw-{}", n % 7),
            "message": format!("DENY tcp 10.3.{}.9:{} -> 198.51.100.7:23 policy 17 session {n}", n % 256, 40_000 + n),
            "timestamp": "2026-11-04T09:55:01.000Z", "stream_ids": ["5a0c11d2e4b0f3a9c7d81e21"],
            "fields": {
                "gl2_remote_ip": "192.0.2.7", "gl2_remote_port": 40_001, "gl2_source_input": "6a1f20a1be01d2331c8e7b03",
                "gl2_source_node": "7b1e2c88-0a3f-4c55-9d10-5f4e0a6b9c21", "source_ip": format!("10.3.{}.9", n % 256),
                "source_port": 40_000 + n, "destination_ip": "198.51.100.7", "destination_port": 23,
                "network_transport": "tcp", "event_action": "deny", "policy_id": 17, "user_name": format!("user{}", n % 40),
                "gl2_accounted_message_size": 512, "gl2_processing_timestamp": "2026-11-04 09:55:01.200"
            }
        })
    };
    json!({
        "event_definition_id": "66f0a1b2c3d4e5f601234567", "event_definition_type": "aggregation-v1",
        "event_definition_title": "Denies by source", "event_definition_description": "",
        "event": {
            "id": "01KA40B6R8S0T2V4W6X8Y0Z1A3", "timestamp": "2026-11-04T10:00:00.000Z",
            "timerange_start": "2026-11-04T09:55:00.000Z", "timerange_end": "2026-11-04T10:00:00.000Z",
            "source_streams": ["5a0c11d2e4b0f3a9c7d81e21"], "message": "Many denies: count()=500.0",
            "priority": 3, "tags": ["perimeter"], "group_by_fields": {"source_ip": "10.3.0.9"},
            "aggregation_conditions": {"count()": 500.0}, "replay_info": {"query": "action:deny"}
        },
        "backlog": (0..MESSAGES).map(message).collect::<Vec<_>>()
    })
}
