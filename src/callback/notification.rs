//! A callback that sends its text through a channel of OpenSearch Notifications: whatever kind of
//! channel it is, and with what the channel holds.
//!
//! What a channel's receiver refuses for good cannot be told from what it cannot take now, since the
//! store answers both alike. So all of it is tried again, for as long as the callback is.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Notice, Outcome, Ran,
    model::Model,
    template::{Escape, Template},
};
use crate::opensearch::{
    Client, Error,
    notifications::{self, Config, Delivery},
    sending::{self, Sent},
};

const SUBJECT: &str = include_str!("email/subject.txt");
const TEXT: &str = include_str!("email/text.txt");
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is kept, in bytes.
const LONGEST: usize = 2_048;

/// What `[[callback]]` says for `type = "opensearch"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Id of the channel.
    pub channel: String,
    /// Template of the subject, for channels that have one.
    pub subject: Option<String>,
    /// Template of the text.
    pub text: Option<String>,
    /// Limit of one run: `30s`.
    pub timeout: Option<String>,
}

/// A message that is ready but for its alert.
#[derive(Clone, Debug)]
pub struct Notification {
    channel: String,
    subject: Template,
    text: Template,
    /// What is sent where those two fail.
    usual: (Template, Template),
    /// Limit of one run, from connecting to the store to its answer.
    pub timeout: Duration,
}

impl Settings {
    /// Makes the callback.
    ///
    /// # Errors
    /// All that is wrong, each as `key: what`.
    pub fn build(self) -> Result<Notification, Vec<String>> {
        let mut faults = Vec::new();
        let channel = self.channel.trim().to_owned();
        if channel.is_empty() {
            faults.push("channel: needs the id of a channel of Notifications".to_owned());
        }
        let mut template = |name: &str, text: Option<&str>, usual: &str| {
            let template = Template::compile(text.unwrap_or(usual), Escape::None);
            template.map_err(|fault| faults.push(format!("{name}: {fault}"))).ok()
        };
        let subject = template("subject", self.subject.as_deref(), SUBJECT);
        let text = template("text", self.text.as_deref(), TEXT);
        let usual = template("subject", None, SUBJECT).zip(template("text", None, TEXT));
        let timeout = self.timeout.as_deref().map_or(Ok(TIMEOUT), crate::config::limit);
        let timeout = timeout.map_err(|what| faults.push(format!("timeout: {what}"))).ok();
        match (subject, text, usual, timeout) {
            (Some(subject), Some(text), Some(usual), Some(timeout)) if faults.is_empty() => {
                Ok(Notification { channel, subject, text, usual, timeout })
            }
            _ => Err(faults),
        }
    }
}

impl Notification {
    /// Has the store send the message of an alert.
    pub async fn run(&self, client: &Client, notice: &Notice) -> Ran {
        let (subject, text) = match self.message(notice) {
            Ok(message) => message,
            Err(why) => {
                return Ran { outcome: Outcome::Refused(why), status: None, answer: String::new() };
            }
        };
        let client = client.within(self.timeout);
        let sent = sending::send(&client, &self.channel, &subject, &text).await;
        // The store says badly that the channel is off or gone, and in other words with each version.
        let channel = match &sent {
            Ok(Sent::Not(_)) => notifications::channel(&client, &self.channel).await.ok(),
            _ => None,
        };
        judged(&self.channel, sent, channel.as_ref())
    }

    /// The message as it would be sent.
    ///
    /// # Errors
    /// Why it cannot be made of this alert.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        let (subject, text) = self.message(notice)?;
        Ok(format!("Channel: {}\nSubject: {subject}\n\n{text}", self.channel))
    }

    fn message(&self, notice: &Notice) -> Result<(String, String), String> {
        let model = Model::of(notice);
        let (usual_subject, usual_text) = &self.usual;
        let subject =
            self.subject.render_model(&model).or_else(|_| usual_subject.render_model(&model));
        let subject = subject.map_err(|fault| format!("subject: {fault}"))?;
        let text = self.text.render_or(usual_text, &model);
        let text = match text.map_err(|fault| format!("text: {fault}"))? {
            // The store would refuse it for good: "Message content missing".
            text if text.trim().is_empty() => {
                usual_text.render_model(&model).map_err(|fault| format!("text: {fault}"))?
            }
            text => text,
        };
        Ok((subject.replace(char::is_control, " "), text))
    }
}

/// What the store's answer means; `known` is the channel as it is, where that was asked for and told.
fn judged(channel: &str, sent: Result<Sent, Error>, known: Option<&Option<Config>>) -> Ran {
    let (outcome, status, answer) = match sent {
        Ok(Sent::Tried(deliveries)) => tried(&deliveries),
        Ok(Sent::Not(why)) => (Outcome::Again(unsent(channel, &why, known)), None, why),
        Err(fault) if fault.is_unavailable() => {
            let status = fault.status().map(i32::from);
            let why = format!("the store cannot send it; has it the Alerting plugin? ({fault})");
            (Outcome::Again(why), status, String::new())
        }
        Err(fault) => {
            let status = fault.status().map(i32::from);
            (Outcome::Again(fault.to_string()), status, String::new())
        }
    };
    let answer = answer[..answer.floor_char_boundary(LONGEST)].to_owned();
    Ran { outcome, status, answer }
}

fn tried(deliveries: &[Delivery]) -> (Outcome, Option<i32>, String) {
    let told: Vec<String> = deliveries
        .iter()
        .map(|one| match &one.recipient {
            Some(recipient) => format!("{recipient}: {} {}", one.status, one.text),
            None => format!("{} {}", one.status, one.text),
        })
        .collect();
    let told = told.join("; ");
    let is_good = |one: &&Delivery| (200..300).contains(&one.status);
    let status = |one: &Delivery| Some(i32::from(one.status));
    match deliveries.iter().find(|one| !is_good(one)) {
        // Another try would send it again to those who have it.
        Some(_) if deliveries.iter().any(|one| is_good(&one)) => {
            (Outcome::Delivered, Some(207), told)
        }
        Some(failed) => {
            (Outcome::Again(format!("the channel failed: {told}")), status(failed), told)
        }
        None => (Outcome::Delivered, deliveries.first().and_then(status), told),
    }
}

/// Why nothing was sent, with what to do about it.
fn unsent(channel: &str, why: &str, known: Option<&Option<Config>>) -> String {
    match known {
        Some(None) => format!("there is no channel {channel}; make it, or correct `channel`"),
        Some(Some(config)) if !config.is_enabled => {
            format!("the channel {channel} is switched off; switch it on in Dashboards")
        }
        _ => format!("the store did not send it: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::sample::{bare, sample};

    fn delivery(recipient: Option<&str>, status: u16) -> Delivery {
        Delivery { recipient: recipient.map(str::to_owned), status, text: "said".to_owned() }
    }

    #[test]
    fn what_the_store_says_decides() {
        let again = |why: &str| Outcome::Again(why.to_owned());
        let not = |why: &str| Ok(Sent::Not(why.to_owned()));
        let known = |is_enabled: bool| -> Option<Config> {
            let config =
                serde_json::json!({"name": "c", "config_type": "slack", "is_enabled": is_enabled});
            serde_json::from_value(config).ok()
        };
        for (known, want) in [
            (Some(known(false)), "the channel c is switched off; switch it on in Dashboards"),
            (Some(None), "there is no channel c; make it, or correct `channel`"),
            (Some(known(true)), "the store did not send it: why"),
            (None, "the store did not send it: why"),
        ] {
            assert_eq!(judged("c", not("why"), known.as_ref()).outcome, again(want));
        }
        for (sent, outcome, status) in [
            (Ok(Sent::Tried(vec![delivery(None, 200)])), Outcome::Delivered, Some(200)),
            (
                Ok(Sent::Tried(vec![delivery(None, 500)])),
                again("the channel failed: 500 said"),
                Some(500),
            ),
            (
                Ok(Sent::Tried(vec![delivery(Some("a@x"), 200), delivery(Some("b@x"), 550)])),
                Outcome::Delivered,
                Some(207),
            ),
            (
                Err(Error::Status { status: 403, reason: "no rights".to_owned() }),
                again("the store answered 403: no rights"),
                Some(403),
            ),
        ] {
            let ran = judged("c", sent, None);
            assert_eq!((ran.outcome, ran.status), (outcome, status));
        }
    }

    #[test]
    fn a_text_that_comes_out_empty_is_the_usual_one() {
        // The store sends no empty text ("Message content missing"), however often it is asked.
        let toml = "channel = 'c'\ntext = '${if backlog}${backlog_size} messages${end} '";
        let message = toml::from_str::<Settings>(toml).map(Settings::build).unwrap().unwrap();
        let usual = toml::from_str::<Settings>("channel = 'c'").map(Settings::build);
        assert_eq!(message.message(&bare()), usual.unwrap().unwrap().message(&bare()));
        assert_eq!(message.message(&sample()).unwrap().1, "2 messages ");
    }

    #[test]
    fn the_settings_are_checked_at_load() {
        let build = |toml: &str| toml::from_str::<Settings>(toml).map(Settings::build);
        let message = build("channel = 'c'").unwrap().unwrap();
        for notice in [sample(), bare()] {
            assert!(message.render(&notice).unwrap().starts_with("Channel: c\nSubject: "));
        }
        let faults = build("channel = ' '\ntext = '{{ no }}'\ntimeout = 'x'").unwrap().unwrap_err();
        let faults = faults.join("\n");
        for want in ["channel: needs", "text: line 1: unknown no", "timeout: needs"] {
            assert!(faults.contains(want), "{want}: {faults}");
        }
        assert!(build("channel = 'c'\nurl = 'x'").is_err());
    }
}
