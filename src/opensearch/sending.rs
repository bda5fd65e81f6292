//! Sends a message through a channel of Notifications.
//!
//! Notifications itself has no call for that: a client of its REST API can only have it send its own
//! test message. Alerting can: `_execute` takes a monitor that is not saved, and with `dryrun=false`
//! runs its actions. Such a run keeps no alert and touches no monitor. The templates of the action are
//! always the same, so that the store compiles them once, and print the names of monitor and trigger,
//! which hold the message: so nothing in it is taken for a template.
//!
//! Source: `TransportExecuteMonitorAction.kt` and `QueryLevelMonitorRunner.kt` of Alerting; seen on
//! 2.19.4, 3.4.0 and 3.8.0, where a text of 1 MB arrived as it was.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::{
    Client, Error,
    notifications::{self, Delivery},
};

const PATH: &str = "/_plugins/_alerting/monitors/_execute?dryrun=false";

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The channel's receivers were asked; each delivery tells how it went.
    Tried(Vec<Delivery>),
    /// It was not sent, and why.
    Not(String),
}

/// Sends a message through the channel of this id, and waits for what becomes of it.
///
/// # Errors
/// [`Error`]: no answer of the store, or no Alerting in it.
pub async fn send(
    client: &Client,
    channel: &str,
    subject: &str,
    text: &str,
) -> Result<Sent, Error> {
    let answer = client.call(Method::Post, PATH, Some(&monitor(channel, subject, text))).await?;
    Ok(read(&answer))
}

fn monitor(channel: &str, subject: &str, text: &str) -> Value {
    let template = |source: &str| json!({"lang": "mustache", "source": source});
    json!({
        "type": "monitor", "monitor_type": "query_level_monitor", "enabled": false, "name": subject,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}}, "inputs": [],
        "triggers": [{"query_level_trigger": {
            "id": "t", "name": text, "severity": "1",
            "condition": {"script": {"source": "true", "lang": "painless"}},
            "actions": [{
                "id": "a", "name": "send", "destination_id": channel, "throttle_enabled": false,
                "subject_template": template("{{{ctx.monitor.name}}}"),
                "message_template": template("{{{ctx.trigger.name}}}"),
            }],
        }}],
    })
}

fn read(answer: &Value) -> Sent {
    let trigger = &answer["trigger_results"]["t"];
    let action = &trigger["action_results"]["a"];
    let faults = [&answer["error"], &trigger["error"], &answer["input_results"]["error"]];
    if let Some(fault) = faults.into_iter().find_map(Value::as_str) {
        return Sent::Not(fault.to_owned());
    }
    let tried = |text: &str| {
        // Faults have the shape of the errors of a test.
        let body = json!({"error": {"reason": text}}).to_string();
        let deliveries = notifications::deliveries(body.as_bytes());
        if deliveries.is_empty() { Sent::Not(text.to_owned()) } else { Sent::Tried(deliveries) }
    };
    match (action["error"].as_str(), action["output"]["messageId"].as_str()) {
        (Some(fault), _) => tried(fault),
        (None, Some(told)) => Sent::Tried(notifications::deliveries(told.as_bytes())),
        (None, None) => {
            Sent::Not("the store ran the action, and does not say what became of it".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(action: &Value) -> Value {
        json!({"error": null, "input_results": {"error": null},
            "trigger_results": {"t": {"error": null, "action_results": {"a": action}}}})
    }

    #[test]
    fn what_became_of_a_message_is_read_in_all_shapes() {
        let delivery = |status, text: &str| {
            Sent::Tried(vec![Delivery { recipient: None, status, text: text.to_owned() }])
        };
        let told = json!({"status_list": [{"config_id": "c", "email_recipient_status": [],
            "delivery_status": {"status_code": "200", "status_text": "thanks"}}]});
        let failed = json!({"event_status_list": [{"config_id": "c", "email_recipient_status": [],
            "delivery_status": {"status_code": "500", "status_text": "Failed: no"}}]});
        let not = |text: &str| Sent::Not(text.to_owned());
        for (answer, want) in [
            (
                answer(&json!({"error": null, "output": {"messageId": told.to_string()}})),
                delivery(200, "thanks"),
            ),
            (
                answer(&json!({"error": failed.to_string(), "output": {}})),
                delivery(500, "Failed: no"),
            ),
            (answer(&json!({"error": "Unable to find", "output": {}})), not("Unable to find")),
            (json!({"error": "no script", "trigger_results": {}}), not("no script")),
        ] {
            assert_eq!(read(&answer), want, "{answer}");
        }
    }

    #[test]
    fn a_message_is_no_template() {
        let monitor = monitor("c", "subject {{x}}", "text {{{y}}}");
        let trigger = &monitor["triggers"][0]["query_level_trigger"];
        assert_eq!(trigger["name"], "text {{{y}}}");
        assert_eq!(trigger["actions"][0]["message_template"]["source"], "{{{ctx.trigger.name}}}");
    }
}
