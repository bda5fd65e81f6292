use serde_json::json;

use super::*;
use crate::alert::Phase;

/// As Alertmanager 0.25 posted it.
fn post() -> Value {
    json!({"receiver": "loop", "status": "firing", "alerts": [
            {"status": "firing",
             "labels": {"alertname": "DiskFilling", "instance": "db-1:9100", "severity": "warning"},
             "annotations": {"summary": "db-1 will be full", "description": "in 4 h",
                             "runbook_url": "https://wiki.lan/disk?token=s3cret"},
             "startsAt": "2026-11-22T01:46:05.932316125Z", "endsAt": "0001-01-01T00:00:00Z",
             "generatorURL": "http://prom.lan:9090/graph?g0.expr=up", "fingerprint": "cc8d4495b2d94cc4"},
            {"status": "resolved", "labels": {"alertname": "DiskFilling", "instance": "[2001:db8::1]:9100"},
             "annotations": {}, "startsAt": "2026-11-22T01:46:05Z", "endsAt": "2026-11-22T01:56:05Z",
             "generatorURL": "", "fingerprint": "153d7548976ef5e1"}],
        "groupLabels": {"alertname": "DiskFilling"}, "commonLabels": {"alertname": "DiskFilling"},
        "commonAnnotations": {}, "externalURL": "http://am.lan:9093", "version": "4",
        "groupKey": "{}:{alertname=\"DiskFilling\"}", "truncatedAlerts": 0})
}

fn read(body: Value) -> Vec<Alert> {
    let Value::Object(object) = body else { panic!("an object") };
    decode(object).into_iter().map(Result::unwrap).collect()
}

/// The only alert of the post, after `change`.
fn one(change: impl Fn(&mut Value)) -> Alert {
    let mut body = post();
    body["alerts"].as_array_mut().unwrap().truncate(1);
    change(&mut body["alerts"][0]);
    read(body).remove(0)
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

fn fields(alert: &Alert) -> Vec<String> {
    let about = alert.about.clone().unwrap_or_default();
    let fields =
        about.fields.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
    fields.chain(about.addresses).chain(about.hosts).collect()
}

#[test]
fn each_alert_has_a_life_of_its_own() {
    let [firing, resolved] = read(post()).try_into().unwrap();
    let start = time("2026-11-22T01:46:05.932Z");
    assert_eq!(
        (firing.phase, firing.id.as_deref()),
        (Phase::Engaged, Some("cc8d4495b2d94cc4-1795311965932"))
    );
    assert_eq!([firing.began, firing.start, firing.end, firing.as_of], [start, start, None, None]);
    assert_eq!(firing.rule.name.as_deref(), Some("DiskFilling"));
    assert_eq!(firing.trigger.name.as_deref(), Some("db-1 will be full"));
    assert_eq!(firing.message.as_deref(), Some("in 4 h"));
    assert_eq!(
        (firing.severity, firing.url.as_deref()),
        (60, Some("http://prom.lan:9090/graph?g0.expr=up"))
    );
    assert_eq!(
        fields(&firing),
        ["host.name=db-1", "rule.reference=https://wiki.lan/disk?token=***"]
    );
    assert_eq!(firing.tags, ["host:db-1", "instance=db-1:9100", "severity=warning"]);

    let end = time("2026-11-22T01:56:05Z");
    assert_eq!((resolved.phase, resolved.severity), (Phase::Released, 40));
    assert_eq!([resolved.end, resolved.as_of], [end; 2]);
    assert_eq!(resolved.began, time("2026-11-22T01:46:05Z"));
    assert_eq!(fields(&resolved), ["host.ip=2001:db8::1"]);
    assert_eq!(resolved.url.as_deref(), Some("http://am.lan:9093"), "better than nothing");
    assert_eq!((resolved.trigger.name, resolved.message), (None, None));
}

#[test]
fn its_states_have_one_id_whatever_else_changes() {
    let firing = one(|_| {});
    let resolved = one(|alert| {
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!("2026-11-22T02:00:00+01:00");
        alert["startsAt"] = json!("2026-11-22T02:46:05.932316125+01:00");
        alert["annotations"] = json!({});
    });
    assert_eq!((firing.id.clone(), firing.began), (resolved.id, resolved.began));
    let next = one(|alert| alert["startsAt"] = json!("2026-11-22T03:00:00Z"));
    assert_ne!(firing.id, next.id, "the next time it fires");
    assert_eq!(resolved.end, time("2026-11-22T01:00:00Z"));
}

#[test]
fn a_post_is_news_of_the_moment_when_it_was_received() {
    let received = time("2026-11-22T06:00:00Z");
    let after = |alert: Alert| {
        let mut alert = alert;
        heard(&mut alert, received.unwrap());
        (alert.end, alert.as_of)
    };
    assert_eq!(after(one(|_| {})), (received, received));
    let ahead = one(|alert| alert["startsAt"] = json!("2026-11-22T06:00:01Z"));
    assert_eq!(after(ahead), (time("2026-11-22T06:00:01Z"), received), "no end before the begin");
    let resolved = |alert: &mut Value| {
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!("2026-11-22T02:00:00Z");
    };
    assert_eq!(after(one(resolved)), (time("2026-11-22T02:00:00Z"), received));
    assert_eq!(after(one(|alert| alert["startsAt"] = Value::Null)), (None, None), "of a series");
}

#[test]
fn what_older_versions_do_not_tell_is_made_up_for() {
    let told = one(|_| {});
    let without = one(|alert| drop(alert.as_object_mut().unwrap().remove("fingerprint")));
    assert_eq!(told.id, without.id);
    for none in [json!("0001-01-01T00:00:00Z"), json!(""), Value::Null] {
        let alert = one(|alert| alert["startsAt"] = none.clone());
        assert_eq!(alert.series.as_deref(), Some("alertmanager:cc8d4495b2d94cc4"), "{none}");
        assert_eq!((alert.id, alert.began, alert.as_of), (None, None, None));
    }
    let over = one(|alert| {
        alert["startsAt"] = Value::Null;
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!("2026-11-22T02:00:00Z");
    });
    let end = time("2026-11-22T02:00:00Z");
    assert_eq!((over.phase, over.start, over.end, over.as_of), (Phase::Released, end, end, end));
    // Of version 3 the group alone had a status.
    let mut body = post();
    body["status"] = json!("resolved");
    for alert in body["alerts"].as_array_mut().unwrap() {
        alert.as_object_mut().unwrap().remove("status");
    }
    assert!(
        read(body).iter().all(|alert| alert.phase == Phase::Released && alert.series.is_none())
    );
}

#[test]
fn grafana_tells_more() {
    let mut body = post();
    body["alerts"].as_array_mut().unwrap().truncate(1);
    for (key, value) in [
        ("orgId", json!(1)),
        ("title", json!("[FIRING:1]")),
        ("state", json!("alerting")),
        ("message", json!("all in words")),
        ("version", json!("1")),
    ] {
        body[key] = value;
    }
    let alert = &mut body["alerts"][0];
    alert["annotations"] = json!({});
    alert["panelURL"] = json!("https://grafana.lan/d/x?viewPanel=2&token=s3cret");
    alert["dashboardURL"] = json!("https://grafana.lan/d/x");
    alert["values"] = json!({"B": 44.2});
    alert["valueString"] = json!("[ metric='' value=44.2 ]");
    let alert = read(body).remove(0);
    assert_eq!(alert.url.as_deref(), Some("https://grafana.lan/d/x?viewPanel=2&token=***"));
    assert_eq!(alert.message.as_deref(), Some("[ metric='' value=44.2 ]"));
    assert!(alert.tags.iter().any(|tag| tag == "grafana"), "{:?}", alert.tags);
    let original = alert.original.unwrap();
    assert!(original.contains("\"B\":44.2") && !original.contains("s3cret"), "{original}");
}

#[test]
fn only_a_test_of_a_contact_point_is_one() {
    let body = |change: &dyn Fn(&mut Value)| {
        let mut body = post();
        body["orgId"] = json!(1);
        body["groupKey"] = json!("webhook-cc8d4495b2d94cc4-1795311965");
        change(&mut body);
        is_test(body.to_string().as_bytes())
    };
    assert!(body(&|_| {}));
    assert!(!body(&|body| body["groupKey"] = json!("{}:{alertname=\"-cc8d4495b2d94cc4-\"}")));
    assert!(!body(&|body| body["groupKey"] = json!("webhook-other-1795311965")));
    assert!(!body(&|body| drop(body.as_object_mut().unwrap().remove("orgId"))));
    assert!(!body(&|body| body["alerts"] = json!([])));
    assert!(!is_test(b"orgId") && !is_test(post().to_string().as_bytes()));
}

#[test]
fn labels_tell_which_host_and_which_traffic() {
    for (labels, want, tags) in [
        (json!({"instance": "10.0.0.1:9100"}), vec!["host.ip=10.0.0.1"], vec!["host:10.0.0.1"]),
        (
            json!({"node": "web-1", "instance": "10.0.0.1:9100", "pod": "shop-7f"}),
            vec!["host.name=web-1", "10.0.0.1", "shop-7f"],
            vec!["host:web-1", "host:10.0.0.1"],
        ),
        (json!({"instance": "localhost:9100"}), vec![], vec![]),
        (
            json!({"instance": "https://shop.example/"}),
            vec!["host.name=shop.example"],
            vec!["host:shop.example"],
        ),
        (
            json!({"src_ip": "10.0.0.1", "dst_ip": "not one", "server_ip": "::ffff:10.0.0.2"}),
            vec!["source.ip=10.0.0.1", "destination.ip=10.0.0.2"],
            vec!["host:10.0.0.1", "host:10.0.0.2"],
        ),
        (
            json!({"ifName": "ge-0/0/1", "network": "10.0.0.0/8"}),
            vec![],
            vec!["interface:ge-0/0/1", "network:10.0.0.0/8"],
        ),
    ] {
        let alert = one(|alert| {
            alert["labels"] = labels.clone();
            alert["annotations"] = json!({});
        });
        assert_eq!(fields(&alert), want, "{labels}");
        let entities: Vec<_> = alert.tags.iter().filter(|tag| !tag.contains('=')).collect();
        assert_eq!(entities, tags, "{labels}");
    }
}

#[test]
fn no_secret_goes_into_a_record() {
    let alert = one(|alert| {
        let text = json!("look at http://h/?token=s3cret");
        for key in ["summary", "description", "runbook_url"] {
            alert["annotations"][key] = text.clone();
        }
        alert["labels"]["probe"] = text.clone();
        alert["labels"]["alertname"] = text;
        alert["generatorURL"] = json!("http://h/?token=s3cret");
    });
    let told = format!("{alert:?}");
    assert!(told.contains("token=***") && !told.contains("s3cret"), "{told}");
}

#[test]
fn a_post_that_left_alerts_out_says_so() {
    let mut body = post();
    assert!(read(body.clone()).iter().all(|alert| !alert.tags.iter().any(|tag| tag == TRUNCATED)));
    for number in [json!(7), json!("7")] {
        body["truncatedAlerts"] = number;
        assert!(
            read(body.clone()).iter().all(|alert| alert.tags.iter().any(|tag| tag == TRUNCATED))
        );
    }
}

#[test]
fn what_has_the_wrong_type_is_read_as_far_as_it_goes_and_what_tells_nothing_is_told() {
    let alert = one(|alert| {
        alert["labels"]["shard"] = json!(7);
        alert["annotations"] = json!("text");
        alert["startsAt"] = json!(1_795_311_965_932_i64);
        alert["generatorURL"] = json!("javascript:alert(1)");
    });
    assert!(alert.tags.iter().any(|tag| tag == "repaired"));
    assert_eq!(alert.url.as_deref(), Some("http://am.lan:9093"));
    assert_eq!(alert.began, time("2026-11-22T01:46:05.932Z"));
    let fault = |body: Value| {
        let Value::Object(object) = body else { panic!() };
        decode(object).remove(0).unwrap_err().to_string()
    };
    for (body, want) in [
        (json!({"alerts": []}), "no alert in it"),
        (json!({"alerts": 7}), "`alerts` is a number"),
        (json!({"alerts": [7]}), "an alert is a number"),
        (json!({"alerts": [{"status": "firing"}]}), "neither labels"),
        (json!({"x": 1}), "keys: x"),
    ] {
        assert!(fault(body.clone()).contains(want), "{body}: {}", fault(body.clone()));
    }
    let mut mixed = post();
    mixed["alerts"][0] = json!(null);
    let Value::Object(mixed) = mixed else { panic!() };
    let read: Vec<_> = decode(mixed).iter().map(Result::is_ok).collect();
    assert_eq!(read, [false, true], "a bad one takes no other with it");
}

#[test]
fn it_is_known_wherever_it_is_posted_to() {
    let alone = json!({"alerts": [{"labels": {}, "startsAt": ""}]});
    for (body, want) in [
        (post(), true),
        (alone, true),
        (json!({"alerts": [], "groupLabels": {}}), true),
        (json!({"version": "0.2", "sharedsecret": "x", "alerts": [{"alert_id": 1}]}), false),
        (json!({"version": "0.2", "alerts": []}), false),
        (json!({"alerts": {}, "groupLabels": {}}), false),
        (json!({"labels": {}}), false),
    ] {
        assert_eq!(recognises(body.as_object().unwrap()), want, "{body}");
    }
}

#[test]
fn what_is_kept_of_the_post_is_json_bounded_and_of_this_alert_alone() {
    let long = "x".repeat(40_000);
    let many: Map<String, Value> =
        (0..5_000).map(|n| (format!("label{n}"), json!("value"))).collect();
    for (labels, group) in [
        (json!({"alertname": "a"}), json!({"alertname": "a"})),
        (json!({"alertname": long}), json!({"alertname": long})),
        (json!(many), json!(many)),
    ] {
        let mut body = post();
        body["alerts"][0]["labels"] = labels;
        body["groupLabels"] = group;
        let original = read(body).remove(0).original.unwrap();
        assert!(original.len() <= 30 << 10, "{}", original.len());
        let kept: Value = serde_json::from_str(&original).unwrap();
        assert_eq!(kept["alerts"].as_array().map(Vec::len), Some(1), "{kept}");
    }
    // However many alerts there are, the group takes no more room than the post.
    let mut body = post();
    body["groupLabels"] = json!({"x": "y".repeat(5_000)});
    let alert = body["alerts"][0].clone();
    body["alerts"] = vec![alert; 8_192].into();
    let kept: usize =
        read(body).iter().filter_map(|alert| Some(alert.original.as_ref()?.len())).sum();
    assert!(kept < 10 << 20, "{kept}");
    let original =
        one(|alert| alert["labels"]["url"] = json!("http://h/?token=s3cret")).original.unwrap();
    assert!(original.contains("token=***") && original.contains("groupKey"), "{original}");
    let again: Value = serde_json::from_str(&original).unwrap();
    assert_eq!(read(again)[0].id, one(|_| {}).id, "it can be posted again");
}
