//! Asks the store about one monitor after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        Error,
        desired::{CHANNEL_ID, Desired, OLD_CHANNEL_ID},
        loop_guard,
        object::{Key, Object},
        plan::ids,
        probe::known_fields,
        shape::{self, Action, Kind},
    },
    Report, Subject, endless, hostile,
    judge::{self, Expected, Fault, Name},
    outcome::{fault_of_query, faults_of_run, no_index, not_rendered, refused},
    sample,
};
use crate::{
    finding::Finding,
    heartbeat,
    opensearch::{Client, alerting, notifications, scripts, searching},
    record::{Naming, fields::FieldSet},
};

/// How many buckets a dry run may tell of in messages.
const MOST_BUCKETS: usize = 50;

/// Looks at monitors with the help of the store.
pub struct Linter<'a> {
    client: &'a Client,
    desired: &'a Desired,
    naming: &'a Naming,
    known: FieldSet,
    received: Timestamp,
    channels: BTreeMap<String, Channel>,
    report: Report,
}

/// The indices that a monitor searches.
fn indices_of(monitor: &Value) -> Vec<&str> {
    let indices = monitor.pointer("/inputs/0/search/indices").and_then(Value::as_array);
    indices.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What is known of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// It sends to us.
    Ours {
        exists: bool,
    },
    /// It sends somewhere else.
    Other,
    Missing,
    /// The store does not let us look, or has no such API.
    Unknown,
}

impl<'a> Linter<'a> {
    /// Prepares to look; `received` is the time that records are shown with.
    ///
    /// # Errors
    /// [`Error::Store`]: the store does not answer.
    pub async fn new(
        client: &'a Client,
        desired: &'a Desired,
        naming: &'a Naming,
        received: Timestamp,
    ) -> Result<Self, Error> {
        let known = known_fields(client, &desired.sample_index).await;
        let known = known.map_err(Error::store("cannot read the types of the index"))?;
        let (channels, report) = (BTreeMap::new(), Report::default());
        Ok(Self { client, desired, naming, known, received, channels, report })
    }

    /// Everything that was seen.
    #[must_use]
    pub fn finish(self) -> Report {
        self.report
    }

    /// Looks at one monitor.
    pub async fn look(&mut self, subject: &Subject) {
        let name = &subject.name;
        let monitor = match &subject.monitor {
            // With the ids that provisioning gives, by which a run tells which message is whose.
            Ok(monitor) => &ids::filled(monitor.clone(), None),
            Err((what, mend)) => return self.push(Finding::fail(name, what, mend)),
        };
        let Some(kind) = Kind::of(monitor) else {
            let kind = monitor.get("monitor_type").and_then(Value::as_str).unwrap_or_default();
            let what = format!("monitors of the type {kind:?} are not known here");
            return self.push(Finding::warn(name, what, "look at its first record by hand"));
        };
        let before = self.report.findings.len();
        let actions = shape::actions(monitor);
        if actions.is_empty() {
            self.push(Finding::warn(
                name,
                "it has no action: it tells nobody",
                "give its trigger an action",
            ));
        }
        let mut ours = Vec::new();
        for action in &actions {
            match self.channel(action.channel()).await {
                Channel::Ours { exists } => {
                    ours.push(*action);
                    if !exists {
                        let what = format!("the channel {} does not exist yet", action.channel());
                        self.push(Finding::warn(name, what, "run `alertloop provision apply`"));
                    }
                }
                Channel::Missing => {
                    let what = format!(
                        "{} sends to {:?}, which does not exist",
                        told(action),
                        action.channel()
                    );
                    self.push(Finding::fail(name, what, "choose a channel that exists"));
                }
                Channel::Other | Channel::Unknown => {}
            }
        }
        if !ours.is_empty()
            && let Some(mend) = loop_guard::fault(monitor, self.desired)
        {
            let what =
                "it may also find the records of alerts, its own too, and then goes on firing";
            self.push(Finding::warn(name, what, mend));
        }
        let ends = kind != Kind::Bucket || self.ends(name, monitor).await;
        if kind != Kind::Composite && ends {
            self.dry_run(name, kind, monitor, &ours).await;
        }
        let mut messages = 0;
        for action in &actions {
            let is_ours = ours.iter().any(|one| std::ptr::eq(one.action, action.action));
            messages += self.hostile(name, kind, *action, is_ours).await;
        }
        if self.report.findings.len() == before {
            let what = match ours.len() {
                0 => "sends nothing to us; its query, trigger and messages work".to_owned(),
                _ if heartbeat::is_sender(monitor) => {
                    "sends heartbeats, which make no records".to_owned()
                }
                _ => format!(
                    "its messages are JSON that needs no repair, and tell monitor, trigger, period and alert ({messages} rendered)"
                ),
            };
            self.push(Finding::ok(name, what));
        }
    }

    fn push(&mut self, finding: Finding) {
        if !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }

    /// A channel that is not there yet, but may be made from a file.
    fn of_file(&self, id: &str) -> Channel {
        let key = Key::new(Object::Channel, id);
        let Some(file) = self.desired.wanted.iter().find(|one| one.key == key) else {
            return Channel::Missing;
        };
        let url = file.body.pointer("/webhook/url").and_then(Value::as_str);
        let is_ours = url == Some(self.desired.webhook_url.as_str());
        if is_ours { Channel::Ours { exists: false } } else { Channel::Other }
    }

    async fn channel(&mut self, id: &str) -> Channel {
        if let Some(known) = self.channels.get(id) {
            return *known;
        }
        let is_loopback = [CHANNEL_ID, OLD_CHANNEL_ID].contains(&id);
        if self.client.is_builtin().await.unwrap_or(false) {
            // Without channels there is ours, and callbacks, whose names the service knows.
            let is_callback = id.starts_with("callback:");
            return match (is_loopback, is_callback) {
                (true, _) => Channel::Ours { exists: true },
                (false, true) => Channel::Other,
                (false, false) => Channel::Missing,
            };
        }
        let channel = match notifications::channel(self.client, id).await {
            Ok(Some(_)) if is_loopback => Channel::Ours { exists: true },
            Ok(Some(config)) => {
                let url = config.webhook.map(|webhook| webhook.url);
                let is_ours = url.as_deref() == Some(self.desired.webhook_url.as_str());
                if is_ours { Channel::Ours { exists: true } } else { Channel::Other }
            }
            Ok(None) if is_loopback => Channel::Ours { exists: false },
            Ok(None) => self.of_file(id),
            Err(fault) => {
                let mend = "give the store's user the right to read channels";
                let what = format!("channels cannot be looked at: {fault}");
                self.push(Finding::warn(id, what, mend));
                if is_loopback { Channel::Ours { exists: true } } else { Channel::Unknown }
            }
        };
        self.channels.insert(id.to_owned(), channel);
        channel
    }

    /// Whether a run of a bucket-level monitor comes to an end; one that does not is not started.
    async fn ends(&mut self, name: &str, monitor: &Value) -> bool {
        let indices = indices_of(monitor);
        let mut ends = true;
        for field in endless::unguarded(monitor) {
            match searching::finds(self.client, &indices, &endless::search(field)).await {
                Ok(true) => {
                    ends = false;
                    let what = format!(
                        "values of {field} hold `{{{{`, which OpenSearch takes for a template: a run may never end, so none is tried here"
                    );
                    self.push(Finding::fail(name, what, endless::mend(field)));
                }
                Ok(false) => {
                    let what = format!(
                        "a value of {field} with `{{{{` in it, whoever sends it, would make OpenSearch run it without an end"
                    );
                    self.push(Finding::warn(name, what, endless::mend(field)));
                }
                // No text: such a field cannot hold it. Or the index is not there, which the run
                // tells.
                Err(_) => {}
            }
        }
        ends
    }

    /// Whether there is an index to be searched; also where the store does not tell.
    async fn has_index(&self, monitor: &Value) -> bool {
        searching::has_index(self.client, &indices_of(monitor)).await.unwrap_or(true)
    }

    /// Runs it as it is, for its query and its triggers, and with true triggers, for its messages.
    async fn dry_run(&mut self, name: &str, kind: Kind, monitor: &Value, ours: &[Action<'_>]) {
        // The report repeats a message for each bucket that it lists: with thousands of them it takes
        // more memory than a node has. So buckets are counted first, without any message.
        let silent = (kind == Kind::Bucket).then(|| shape::without_actions(monitor));
        let report = match alerting::dry_run(self.client, silent.as_ref().unwrap_or(monitor)).await
        {
            Ok(report) => report,
            Err(fault) => return self.push(refused(name, &fault)),
        };
        let faults = match fault_of_query(&report) {
            Some(_) if kind == Kind::Bucket && !self.has_index(monitor).await => vec![no_index()],
            _ => faults_of_run(&report, monitor),
        };
        let is_sound = faults.is_empty();
        for Fault { state, what, mend } in faults {
            let subject = name.to_owned();
            self.push(Finding { state, subject, what, mend: Some(mend) });
        }
        if !is_sound {
            return;
        }
        if let Some(silent) = silent {
            let report = alerting::dry_run(self.client, &shape::always_true(&silent)).await;
            if report.is_ok_and(|report| shape::buckets(&report) > MOST_BUCKETS) {
                return; // the other cases are left
            }
        }
        let Ok(report) = alerting::dry_run(self.client, &shape::always_true(monitor)).await else {
            return; // a condition that cannot be replaced; the other cases are left
        };
        for rendered in shape::rendered(&report) {
            let is_this = |action: &&Action<'_>| {
                action.action.get("id").and_then(Value::as_str) == Some(&rendered.action)
            };
            let Some(action) = ours.iter().find(is_this) else { continue };
            let Ok(message) = &rendered.message else { continue }; // found in the other cases
            self.sample(name, action, "in a dry run", message);
            let expected = Expected {
                monitor_id: None,
                monitor: name_in(action, "ctx.monitor", shape::name(monitor)),
                trigger: name_in(action, "ctx.trigger", action.trigger_name()),
                has_alert_id: false,
            };
            for Fault { state, what, mend } in judge::judge(message, &expected) {
                let what = format!("{}: in a dry run {what}", told(action));
                self.push(Finding { state, subject: name.to_owned(), what, mend: Some(mend) });
            }
        }
    }

    /// Keeps the first message of each action, with its record.
    fn sample(&mut self, name: &str, action: &Action<'_>, when: &str, message: &str) {
        let action = told(action);
        let mut all = self.report.records.iter();
        if all.all(|known| known.subject != name || !known.when.starts_with(&action)) {
            let when = format!("{action}, {when}");
            let sample = sample(name, &when, message, self.received, self.naming, &self.known);
            self.report.records.extend(sample);
        }
    }

    /// Renders a message in all cases; the number of them.
    async fn hostile(
        &mut self,
        name: &str,
        kind: Kind,
        action: Action<'_>,
        is_ours: bool,
    ) -> usize {
        let mut found: Vec<(Fault, Vec<&'static str>)> = Vec::new();
        let cases = hostile::cases(kind, action.trigger);
        for case in &cases {
            let params = json!({ "ctx": case.ctx });
            let faults = match scripts::render(self.client, action.source(), &params).await {
                Ok(message) if is_ours => {
                    self.sample(name, &action, case.when, &message);
                    judge::judge(&message, &expected(kind, &action, case))
                }
                Ok(_) => Vec::new(),
                Err(fault) => vec![not_rendered(&fault)],
            };
            for fault in faults {
                match found.iter_mut().find(|(known, _)| *known == fault) {
                    Some((_, when)) => when.push(case.when),
                    None => found.push((fault, vec![case.when])),
                }
            }
        }
        for (Fault { state, what, mend }, when) in found {
            let always = when.len() == cases.len();
            let when = if always { String::new() } else { format!(" (on {})", when.join(", ")) };
            let what = format!("{}: {what}{when}", told(&action));
            self.push(Finding { state, subject: name.to_owned(), what, mend: Some(mend) });
        }
        cases.len()
    }
}

fn expected<'a>(kind: Kind, action: &Action<'a>, case: &hostile::Case) -> Expected<'a> {
    let trigger = match kind {
        // Its trigger is not in the context: the author writes the name, or nothing.
        Kind::Composite => Name::MayLack,
        _ => name_in(action, "ctx.trigger", hostile::HOSTILE),
    };
    Expected {
        monitor_id: Some(hostile::MONITOR_ID),
        monitor: name_in(action, "ctx.monitor", hostile::HOSTILE),
        trigger,
        has_alert_id: case.has_alert_id,
    }
}

/// A name that the template takes from the context must come through; one written by hand is right
/// as it is.
fn name_in<'a>(action: &Action<'_>, tag: &str, name: &'a str) -> Name<'a> {
    let source = action.source();
    if source.contains(tag) || source.contains("toJson}}ctx{{") {
        Name::Is(name)
    } else {
        Name::Any
    }
}

/// How an action is called in a finding.
fn told(action: &Action<'_>) -> String {
    format!("action {:?}", action.name())
}
