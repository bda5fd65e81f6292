//! The channels of the Notifications plugin.
//!
//! A channel is read by its id: lists lag by up to a second behind a write on 2.19.

use std::{collections::BTreeMap, fmt};

use opensearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Client, Error, segment};

const CONFIGS: &str = "/_plugins/_notifications/configs";
/// How many channels one call lists.
const PAGE: usize = 500;

/// What a channel is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The name that people see.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// `webhook`, `email`, `slack` and so on.
    pub config_type: String,
    /// Whether it sends at all.
    #[serde(default = "yes")]
    pub is_enabled: bool,
    /// Where a webhook goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// The settings of the other types, as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The settings of a webhook.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// The address that is posted to.
    pub url: String,
    /// Headers that are sent along; secrets stand here in clear.
    #[serde(default)]
    pub header_params: BTreeMap<String, String>,
    /// The HTTP method.
    #[serde(default = "post")]
    pub method: String,
}

fn yes() -> bool {
    true
}

fn post() -> String {
    "POST".to_owned()
}

impl Webhook {
    /// The value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.header_params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a header, in place of any that differs only by the case of its name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.header_params.retain(|key, _| !key.eq_ignore_ascii_case(name));
        self.header_params.insert(name.to_owned(), value.to_owned());
    }
}

impl fmt::Debug for Webhook {
    /// Header values and the URL may hold secrets: only the headers' names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.header_params.keys().collect();
        f.debug_struct("Webhook").field("headers", &headers).finish_non_exhaustive()
    }
}

/// Reads a channel; `None` where there is none of that id.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn channel(client: &Client, id: &str) -> Result<Option<Config>, Error> {
    let path = format!("{CONFIGS}/{}", segment(id));
    let mut answer = match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => return Ok(None),
        answer => answer?,
    };
    match answer.pointer_mut("/config_list/0/config") {
        None => Ok(None),
        Some(config) => serde_json::from_value(config.take())
            .map(Some)
            .map_err(|fault| Error::Malformed(format!("channel {id}: {fault}"))),
    }
}

/// Reads a channel's settings as they are; `None` where there is none of that id.
///
/// # Errors
/// [`Error`].
pub async fn config(client: &Client, id: &str) -> Result<Option<Value>, Error> {
    let path = format!("{CONFIGS}/{}", segment(id));
    let mut answer = match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => return Ok(None),
        answer => answer?,
    };
    Ok(answer.pointer_mut("/config_list/0/config").map(Value::take))
}

/// When a channel was last written, in epoch ms of the cluster's clock; `None` where there is none.
///
/// # Errors
/// [`Error`].
pub async fn written_at(client: &Client, id: &str) -> Result<Option<i64>, Error> {
    let path = format!("{CONFIGS}/{}", segment(id));
    match client.call(Method::Get, &path, None).await {
        Err(fault) if fault.is_not_found() => Ok(None),
        answer => Ok(answer?["config_list"][0]["last_updated_time_ms"].as_i64()),
    }
}

/// Lists all channels, e-mail accounts and groups by id, with their settings as they are.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn configs(client: &Client) -> Result<BTreeMap<String, Value>, Error> {
    let mut all = BTreeMap::new();
    loop {
        let path = format!("{CONFIGS}?from_index={}&max_items={PAGE}", all.len());
        let list = listed(client.call(Method::Get, &path, None).await?)?;
        let (known, is_last) = (all.len(), list.len() < PAGE);
        all.extend(list);
        if is_last || all.len() == known {
            return Ok(all);
        }
    }
}

/// Reads the channels of these ids as they are at this moment, without those that are not there.
///
/// # Errors
/// [`Error`].
pub async fn configs_of(client: &Client, ids: &[&str]) -> Result<BTreeMap<String, Value>, Error> {
    let mut all = BTreeMap::new();
    for ids in parts(ids) {
        let names: Vec<_> = ids.iter().map(|id| segment(id)).collect();
        let path = format!("{CONFIGS}?config_id_list={}", names.join(","));
        match client.call(Method::Get, &path, None).await {
            // One of them at least is not there; which ones, the answer tells in words alone.
            Err(fault) if fault.is_not_found() => {
                for id in ids {
                    all.extend(config(client, id).await?.map(|config| ((*id).to_owned(), config)));
                }
            }
            answer => all.extend(listed(answer?)?),
        }
    }
    Ok(all)
}

/// Ids in parts whose lists fit into the first line of a request, which the store takes up to 4 KiB.
fn parts<'a>(ids: &'a [&'a str]) -> impl Iterator<Item = &'a [&'a str]> {
    const LONGEST: usize = 3_000;
    let mut length = 0;
    let mut is_first = true;
    ids.chunk_by(move |one, next| {
        if std::mem::take(&mut is_first) {
            length = segment(one).len();
        }
        length += segment(next).len() + 1;
        let fits = length <= LONGEST;
        if !fits {
            length = segment(next).len();
        }
        fits
    })
}

fn listed(mut answer: Value) -> Result<Vec<(String, Value)>, Error> {
    let list = answer.get_mut("config_list").map(Value::take);
    let Some(Value::Array(list)) = list else {
        return Err(Error::Malformed("no config_list".to_owned()));
    };
    let named = list.into_iter().filter_map(|mut item| {
        let id = item.get("config_id")?.as_str()?.to_owned();
        Some((id, item.get_mut("config").map(Value::take).unwrap_or_default()))
    });
    Ok(named.collect())
}

/// Creates a channel under an id of our choice; an id that exists is a conflict (409), so exactly
/// one of several creators wins.
///
/// # Errors
/// [`Error`].
pub async fn create(client: &Client, id: &str, config: &impl Serialize) -> Result<(), Error> {
    let body = json!({ "config_id": id, "config": config });
    client.call(Method::Post, CONFIGS, Some(&body)).await.map(drop)
}

/// Replaces a channel; there is no version check.
///
/// # Errors
/// [`Error`].
pub async fn update(client: &Client, id: &str, config: &impl Serialize) -> Result<(), Error> {
    let path = format!("{CONFIGS}/{}", segment(id));
    client.call(Method::Put, &path, Some(&json!({ "config": config }))).await.map(drop)
}

/// Deletes a channel; one that is gone already is success.
///
/// # Errors
/// [`Error`].
pub async fn delete(client: &Client, id: &str) -> Result<(), Error> {
    let path = format!("{CONFIGS}/{}", segment(id));
    match client.call(Method::Delete, &path, None).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.is_not_found() => Ok(()),
        // Of two who delete at once the later is told "delete failed" (408).
        Err(fault) if fault.status() == Some(408) && channel(client, id).await?.is_none() => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// What became of one message of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The e-mail address, where the channel has several.
    pub recipient: Option<String>,
    /// 200 when it was delivered. Otherwise the plugin's own status, not the receiver's.
    pub status: u16,
    /// What the receiver sent back; or, with another status, what went wrong.
    pub text: String,
}

/// Has the store send its test message through a channel; a channel that exists gives at least one
/// delivery, also where it failed.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn send_test(client: &Client, id: &str) -> Result<Vec<Delivery>, Error> {
    let path = format!("/_plugins/_notifications/feature/test/{}", segment(id));
    let (status, body) = client.exchange(Method::Post, &path, None).await?;
    let deliveries = deliveries(&body);
    if deliveries.is_empty() { Err(Error::refused(status, &body)) } else { Ok(deliveries) }
}

/// A failed test is an error whose reason is JSON in a text, under another name than in a good
/// answer.
pub(super) fn deliveries(body: &[u8]) -> Vec<Delivery> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = answer.pointer("/error/reason").and_then(Value::as_str).unwrap_or_default();
    let reason: Value = serde_json::from_str(reason).unwrap_or_default();
    let list = answer.get("status_list").or_else(|| reason.get("event_status_list"));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.flat_map(|channel| {
        let people = channel.get("email_recipient_status").and_then(Value::as_array);
        let people = people.filter(|people| !people.is_empty());
        match people {
            Some(people) => people.iter().filter_map(delivery).collect(),
            None => delivery(channel).into_iter().collect::<Vec<_>>(),
        }
    })
    .collect()
}

fn delivery(json: &Value) -> Option<Delivery> {
    let status = json.get("delivery_status")?;
    Some(Delivery {
        recipient: json.get("recipient").and_then(Value::as_str).map(str::to_owned),
        status: status.get("status_code")?.as_str()?.parse().ok()?,
        text: status.get("status_text").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_test_is_read_in_all_shapes() {
        let reason = json!({"event_status_list": [{"config_id": "c", "email_recipient_status": [],
            "delivery_status": {"status_code": "500", "status_text": "Failed: Unauthorized"}}]});
        let reason = reason.to_string();
        let mail = json!({"config_id": "c", "delivery_status": {"status_code": "207", "status_text": ""},
            "email_recipient_status": [{"recipient": "a@example.org",
                "delivery_status": {"status_code": "200", "status_text": "Success"}}]});
        for (body, want) in [
            (
                json!({"status_list": [{"config_id": "c", "email_recipient_status": [],
                "delivery_status": {"status_code": "200", "status_text": "{}"}}]}),
                vec![(None, 200, "{}")],
            ),
            (
                json!({"error": {"type": "status_exception", "reason": reason}, "status": 500}),
                vec![(None, 500, "Failed: Unauthorized")],
            ),
            (json!({"status_list": [mail]}), vec![(Some("a@example.org"), 200, "Success")]),
            (json!({"error": {"reason": "For input string: \"LOCKED\""}, "status": 400}), vec![]),
            (json!({"error": "no handler", "status": 400}), vec![]),
        ] {
            let read = deliveries(body.to_string().as_bytes());
            let read: Vec<_> = read
                .iter()
                .map(|one| (one.recipient.as_deref(), one.status, one.text.as_str()))
                .collect();
            assert_eq!(read, want, "{body}");
        }
    }

    #[test]
    fn long_lists_of_ids_come_in_parts_that_fit() {
        let ids: Vec<String> = (0..100).map(|n| format!("{n:0>100}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let all: Vec<_> = parts(&ids).collect();
        assert_eq!(all.concat(), ids);
        assert_eq!(all.iter().map(|part| part.len()).collect::<Vec<_>>(), [29, 29, 29, 13]);
        assert_eq!(parts(&ids[..1]).count(), 1);
        assert_eq!(parts(&[]).count(), 0);
    }

    #[test]
    fn a_config_goes_through_unharmed_and_shows_no_secret() -> Result<(), serde_json::Error> {
        let shown = json!({"name": "n", "description": "", "config_type": "webhook",
            "is_enabled": false, "webhook": {"url": "http://api:5000/?key=hidden",
            "header_params": {"x-alertloop-token": "hidden"}, "method": "PUT"}});
        let mut config: Config = serde_json::from_value(shown.clone())?;
        assert_eq!(serde_json::to_value(&config)?, shown);
        assert!(!format!("{config:?}").contains("hidden"));
        let webhook = config.webhook.as_mut().unwrap();
        webhook.set_header("X-Alertloop-Token", "new");
        assert_eq!(webhook.header("x-ALERTLOOP-token"), Some("new"));
        assert_eq!(webhook.header_params.len(), 1);
        let slack = json!({"name": "n", "description": "", "config_type": "slack",
            "is_enabled": true, "slack": {"url": "https://hooks.slack.com/x"}});
        assert_eq!(serde_json::to_value(serde_json::from_value::<Config>(slack.clone())?)?, slack);
        Ok(())
    }
}
