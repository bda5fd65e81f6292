//! Every route, in the order of the document.

use serde_json::json;
use utoipa::openapi::HttpMethod::{Get, Post, Put};

use super::{Document, Needs, shapes};
use crate::{
    acknowledge, dead_letters as letters, deliveries, engaged, history,
    http::{
        dead_letters as letters_http, deliveries as deliveries_http, engaged as engaged_http,
        history as history_http, monitors as monitors_http, status,
    },
    monitors,
};

const NO_STORE: &str =
    "The store does not answer, and has not lately; Retry-After tells when to come again";
const NO_SPOOL: &str = "The spool cannot be read or written";
const MISASKED: &str = "It was not asked as it has to be";

pub(super) fn add(api: &mut Document) {
    intake(api);
    alerts(api);
    conditions(api);
    deliveries(api);
    dead_letters(api);
    health(api);
}

fn intake(api: &mut Document) {
    for (method, path, id, what) in [
        (Post, "/alert", "postAlert", "Takes an alert in; its body tells the source"),
        (Post, "/event", "postEvent", "The same, under the name that Malcolm has for it"),
        (Post, "/alert/{source}", "postAlertOf", "Takes an alert of this source in"),
        (Put, "/alert/{source}", "putAlertOf", "The same, for senders that put"),
    ] {
        let route = api.describe(method, path, Needs::Secret).about("intake", id, what).any_body();
        let stored = json!({"result": {"_index": "arkime_sessions3-261122",
            "_id": "261122-4iCoGaIBdHdTp8SCmGsL", "_version": 1, "result": "created"}});
        let route = route
            .answers::<shapes::Received>(
                200,
                "Durable and indexed; or a test or heartbeat",
                Some(stored),
            )
            .answers::<shapes::Received>(202, "Durable; the record follows", None)
            .refuses(413, "The body is too large; its head is kept as a dead letter")
            .refuses(503, "It could not be made durable; send it again");
        api.add(route);
    }
}

fn alerts(api: &mut Document) {
    let route = api
        .describe(Get, "/alerts", Needs::Reader)
        .about("alerts", "listAlerts", "Alerts that are and were, those that began last first")
        .query::<history_http::Asked>()
        .answers::<history::Page>(200, "A page of them", Some(page()))
        .refuses(400, MISASKED)
        .refuses(503, NO_STORE);
    api.add(route);
    let route = api
        .describe(Get, "/alerts/engaged", Needs::Reader)
        .about("alerts", "listEngaged", "What is engaged now")
        .query::<engaged_http::Asked>()
        .answers::<engaged::Page>(200, "A page of them", None)
        .refuses(400, MISASKED)
        .refuses(503, NO_STORE);
    api.add(route);
    let route = api
        .describe(Get, "/alerts/overview", Needs::Reader)
        .about("alerts", "countAlerts", "How many alerts began when, by severity")
        .query::<history_http::Counted>()
        .answers::<history::Overview>(200, "The counts", Some(overview()))
        .refuses(400, MISASKED)
        .refuses(503, NO_STORE);
    api.add(route);
    let route = api
        .describe(Get, "/alerts/{id}", Needs::Reader)
        .about(
            "alerts",
            "showAlert",
            "One alert with its record, its states, its deliveries and its body",
        )
        .answers::<history::Life>(200, "The alert", None)
        .refuses(503, "The store does not answer, or the index of the record is closed or away");
    api.add(route);
    let route = api
        .describe(Post, "/alerts/{id}/acknowledge", Needs::Operator)
        .about("alerts", "acknowledgeAlert", "Acknowledges an alert in OpenSearch")
        .empty_json()
        .answers::<acknowledge::Answered>(200, "It is acknowledged, by this call or before", None)
        .answers::<acknowledge::Answered>(
            409,
            "It cannot be: it is over, or OpenSearch refuses",
            None,
        )
        .answers::<acknowledge::Answered>(504, "OpenSearch did not answer", None)
        .refuses(415, "It was not sent as JSON")
        .refuses(503, "The alert cannot be looked up");
    api.add(route);
}

fn conditions(api: &mut Document) {
    let route = api
        .describe(Get, "/conditions", Needs::Reader)
        .about(
            "conditions",
            "listConditions",
            "The monitors that send to us or that our files describe",
        )
        .query::<monitors_http::Asked>()
        .answers::<monitors::List>(200, "The monitors, by name", Some(monitors_listed()))
        .refuses(400, MISASKED)
        .refuses(503, NO_STORE);
    api.add(route);
    let route = api
        .describe(Get, "/conditions/{id}/history", Needs::Reader)
        .about("conditions", "conditionHistory", "How a monitor's last runs went")
        .answers::<monitors::Past>(200, "Its last runs, the newest first", Some(runs_told()))
        .refuses(503, NO_STORE);
    api.add(route);
    for (verb, id, what) in [
        ("enable", "enableCondition", "Switches a monitor on, and changes nothing else of it"),
        ("disable", "disableCondition", "Switches a monitor off, and changes nothing else of it"),
    ] {
        let route = api
            .describe(Post, &format!("/conditions/{{id}}/{verb}"), Needs::Admin)
            .about("conditions", id, what)
            .empty_json()
            .answers::<monitors::Item>(200, "The monitor as it is now", None)
            .refuses(409, "Somebody else keeps changing it")
            .refuses(415, "It was not sent as JSON")
            .refuses(503, NO_STORE);
        api.add(route);
    }
}

fn deliveries(api: &mut Document) {
    let route = api
        .describe(Get, "/deliveries", Needs::Reader)
        .about("deliveries", "listDeliveries", "What callbacks were run, the newest first")
        .query::<deliveries_http::Asked>()
        .answers::<deliveries::Items>(200, "A page of them", None)
        .refuses(400, MISASKED)
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Get, "/deliveries/{id}", Needs::Reader)
        .about("deliveries", "showDelivery", "One delivery with its tries")
        .answers::<deliveries::Whole>(200, "The delivery", None)
        .refuses(400, MISASKED)
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Post, "/deliveries/replay", Needs::Operator)
        .about("deliveries", "replayDeliveries", "Runs deliveries again")
        .body::<shapes::DeliverySelection>()
        .answers::<shapes::DeliveriesReplayed>(200, "How many", Some(json!({"replayed": 2})))
        .refuses(400, MISASKED)
        .refuses(415, "It was not sent as JSON")
        .refuses(503, NO_SPOOL);
    api.add(route);
}

fn dead_letters(api: &mut Document) {
    let route = api
        .describe(Get, "/dead-letters", Needs::Reader)
        .about("dead letters", "listDeadLetters", "What was refused, the oldest first")
        .query::<letters_http::Asked>()
        .answers::<letters::Items>(200, "A page of them", None)
        .refuses(400, MISASKED)
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Get, "/dead-letters/export", Needs::Reader)
        .about(
            "dead letters",
            "exportDeadLetters",
            "Every dead letter with its body, a line of JSON each",
        )
        .query::<letters_http::Wanted>()
        .answers_text("application/x-ndjson", "The lines")
        .refuses(400, MISASKED)
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Get, "/dead-letters/{id}", Needs::Reader)
        .about("dead letters", "showDeadLetter", "One dead letter with its body")
        .answers::<letters::Whole>(200, "The dead letter", None)
        .refuses(400, MISASKED)
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Post, "/dead-letters/replay", Needs::Operator)
        .about("dead letters", "replayDeadLetters", "Has dead letters stored again")
        .body::<shapes::DeadLetterSelection>()
        .answers::<shapes::DeadLettersReplayed>(
            200,
            "How many",
            Some(json!({"replayed": 2, "left": 0})),
        )
        .refuses(400, MISASKED)
        .refuses(415, "It was not sent as JSON")
        .refuses(503, NO_SPOOL);
    api.add(route);
    let route = api
        .describe(Post, "/dead-letters/drop", Needs::Admin)
        .about("dead letters", "dropDeadLetters", "Removes dead letters for good")
        .body::<shapes::DeadLetterSelection>()
        .answers::<shapes::DeadLettersDropped>(200, "How many", Some(json!({"dropped": 2})))
        .refuses(400, MISASKED)
        .refuses(415, "It was not sent as JSON")
        .refuses(503, NO_SPOOL);
    api.add(route);
}

fn health(api: &mut Document) {
    let route = api
        .describe(Get, "/status", Needs::Reader)
        .about("health", "status", "How this replica fares, whether it is ready or not")
        .answers::<status::Whole>(200, "The status", None);
    api.add(route);
    let route = api
        .describe(Get, "/openapi.json", Needs::Reader)
        .about("health", "openapi", "This document")
        .answers_object("OpenAPI 3.1");
    api.add(route);
    for (path, id) in [("/ready", "ready"), ("/readyz", "readyz")] {
        let route = match path {
            "/ready" => api.describe(Get, path, Needs::Nothing),
            _ => api.bare(Get, path, Needs::Nothing),
        };
        let route = route
            .about("health", id, "Whether alerts can be kept, and what is wrong")
            .answers::<status::Status>(200, "They can; the store may be away meanwhile", None)
            .answers::<status::Status>(503, "They cannot", None);
        api.add(route);
    }
    let route = api
        .describe(Get, "/ping", Needs::Nothing)
        .about("health", "ping", "What Malcolm's health checks ask for")
        .answers::<shapes::Pong>(200, "It is there", Some(json!({"ping": "pong"})));
    api.add(route);
    let route = api
        .bare(Get, "/livez", Needs::Nothing)
        .about("health", "livez", "Whether the process serves at all")
        .answers_text("text/plain", "It does");
    api.add(route);
    let route = api
        .bare(Get, "/metrics", Needs::SecretOrReader)
        .about("health", "metrics", "The metrics, as Prometheus reads them")
        .answers_text("text/plain", "The metrics");
    api.add(route);
}

fn page() -> serde_json::Value {
    json!({
        "items": [{
            "id": "261122-4iCoGaIBdHdTp8SCmGsL", "index": "arkime_sessions3-261122",
            "alert": "4iCoGaIBdHdTp8SCmGsL", "state": "released", "outcome": null, "stale": false,
            "severity": 80, "source": "malcolm", "rule": "Too many notices",
            "rule_id": "Q1uoGaIBdHdTp8SCcGmh", "reason": "more than 5", "entities": ["host:10.0.0.1"],
            "tags": [], "began": "2026-11-22T05:00:00.000Z", "news": "2026-11-22T05:10:00.000Z",
            "ended": "2026-11-22T05:10:00.000Z", "duration_ms": 600_000, "message": null,
            "url": "/dashboards/app/alerting#/monitors/Q1uoGaIBdHdTp8SCcGmh?type=monitor" }],
        "next": null, "total": 1, "is_more": false,
        "asked_at": "2026-11-22T05:31:07.250Z", "age_ms": 0 })
}

fn overview() -> serde_json::Value {
    json!({
        "from": "2026-11-22T05:00:00Z", "to": "2026-11-22T05:02:00Z", "interval_seconds": 60,
        "bars": [
            {"at": "2026-11-22T05:00:00Z",
             "counts": {"critical": 0, "high": 1, "medium": 0, "low": 0, "info": 0}},
            {"at": "2026-11-22T05:01:00Z",
             "counts": {"critical": 0, "high": 0, "medium": 0, "low": 0, "info": 0}}],
        "total": 1, "severities": {"critical": 0, "high": 1, "medium": 0, "low": 0, "info": 0},
        "states": {"released": 1}, "sources": {"malcolm": 1},
        "asked_at": "2026-11-22T05:31:07.250Z", "age_ms": 0 })
}

fn runs_told() -> serde_json::Value {
    json!({
        "id": "Q1uoGaIBdHdTp8SCcGmh", "name": "Too many notices", "engine": "builtin",
        "runs": [{
            "scheduled_at": "2026-11-22T05:30:00.000Z", "started_at": "2026-11-22T05:30:00.120Z",
            "took_ms": 41, "outcome": "fired", "triggers": ["more than 5"], "messages": 1 }] })
}

fn monitors_listed() -> serde_json::Value {
    json!({
        "items": [{
            "id": "Q1uoGaIBdHdTp8SCcGmh", "name": "Too many notices", "kind": "query",
            "enabled": true, "schedule": "every 5 minutes", "last_run": "2026-11-22T05:30:00.120Z",
            "last_alert": "2026-11-22T05:00:00.000Z", "engaged": 0, "sends_to_us": true,
            "file": "conditions/notices.toml", "condition": "notices", "description": null,
            "severity": 80, "trouble": [], "changed_at": "2026-11-21T08:00:00.000Z",
            "url": "/dashboards/app/alerting#/monitors/Q1uoGaIBdHdTp8SCcGmh?type=monitor" }],
        "others": 3, "asked_at": "2026-11-22T05:31:07.250Z", "age_ms": 0, "unknown": [] })
}
