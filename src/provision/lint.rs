//! Says what is wrong with monitors before they fire: each message is rendered on the store, in a dry run of the
//! monitor and in [`hostile`] cases that a dry run cannot bring about, and is read by our own decoder. Nothing is
//! kept or sent.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Error, Settings,
    desired::{CHANNEL_ID, Desired, OLD_CHANNEL_ID},
    loop_guard,
    probe::known_fields,
    shape::{self, Action, Kind},
};
use crate::{
    finding::{self, Finding, State},
    opensearch::{self, Client, alerting, notifications, scripts, searching},
    record::{self, Naming, Receipt, fields::FieldSet},
};

mod endless;
pub mod files;
pub mod hostile;
pub mod judge;

pub use files::Subject;
use judge::{Expected, Fault, Name};

/// What a look at monitors shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// One or more for each monitor.
    pub findings: Vec<Finding>,
    /// What becomes of the messages that are sent to us.
    pub records: Vec<Sample>,
}

/// A message and the record that it would become.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// The file, or the monitor's name.
    pub subject: String,
    /// What fired.
    pub when: String,
    /// The message as the store renders it.
    pub message: String,
    /// `_index` of the record.
    pub index: String,
    /// `_id` of the record.
    pub id: String,
    /// The record.
    pub record: Value,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        finding::write(f, &self.findings)?;
        self.records.iter().try_for_each(|sample| write!(f, "\n{sample}"))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, when, message, index, id, record } = self;
        writeln!(f, "{subject}, {when}: the message\n{}", finding::printable_lines(message))?;
        writeln!(f, "becomes the record {index}/{id}\n{record:#}")
    }
}

/// The record that a message would become if it was received now.
///
/// # Errors
/// In the words of the dead letter that it would become instead.
pub fn sample(
    subject: &str,
    when: &str,
    message: &str,
    received: Timestamp,
    naming: &Naming,
    known: &FieldSet,
) -> Result<Sample, String> {
    let alert = judge::decode(message)?;
    let hash = record::body_hash(message.as_bytes(), 0);
    let record = record::build(&alert, Receipt { received, hash: &hash }, naming, known);
    Ok(Sample {
        subject: subject.to_owned(),
        when: when.to_owned(),
        message: message.to_owned(),
        index: record.index,
        id: record.id,
        record: serde_json::from_str(&record.document).unwrap_or_default(),
    })
}

/// The monitors in the store that send to us, composite ones too.
///
/// # Errors
/// [`Error::Store`].
pub async fn live(client: &Client) -> Result<Vec<Subject>, Error> {
    let mut all =
        alerting::monitors(client).await.map_err(Error::store("cannot list the monitors"))?;
    let workflows = alerting::workflows(client).await;
    all.extend(workflows.map_err(Error::store("cannot list the composite monitors"))?);
    let ours = all
        .into_iter()
        .filter(|one| one.channels().iter().any(|id| [CHANNEL_ID, OLD_CHANNEL_ID].contains(id)));
    Ok(ours.map(|one| Subject { name: one.name().to_owned(), monitor: Ok(one.body) }).collect())
}

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
            Ok(monitor) => monitor,
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
            let what = "it may also find the records of alerts, its own too, and then never ends";
            self.push(Finding::warn(name, what, mend));
        }
        let ends = kind != Kind::Bucket || self.ends(name, monitor).await;
        if kind != Kind::Composite && ends {
            self.dry_run(name, monitor, &ours).await;
        }
        let mut messages = 0;
        for action in &actions {
            let is_ours = ours.iter().any(|one| std::ptr::eq(one.action, action.action));
            messages += self.hostile(name, kind, *action, is_ours).await;
        }
        if self.report.findings.len() == before {
            let what = match ours.len() {
                0 => "sends nothing to us; its query, trigger and messages work".to_owned(),
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

    async fn channel(&mut self, id: &str) -> Channel {
        if let Some(known) = self.channels.get(id) {
            return *known;
        }
        let is_loopback = [CHANNEL_ID, OLD_CHANNEL_ID].contains(&id);
        let channel = match notifications::channel(self.client, id).await {
            Ok(Some(_)) if is_loopback => Channel::Ours { exists: true },
            Ok(Some(config)) => {
                let url = config.webhook.map(|webhook| webhook.url);
                let is_ours = url.as_deref() == Some(self.desired.webhook_url.as_str());
                if is_ours { Channel::Ours { exists: true } } else { Channel::Other }
            }
            Ok(None) if is_loopback => Channel::Ours { exists: false },
            Ok(None) => Channel::Missing,
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
        let indices = monitor.pointer("/inputs/0/search/indices").and_then(Value::as_array);
        let indices: Vec<_> = indices.into_iter().flatten().filter_map(Value::as_str).collect();
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
                // No text: such a field cannot hold it. Or the index is not there, which the run tells.
                Err(_) => {}
            }
        }
        ends
    }

    /// Runs it as it is, for its query and its triggers, and with true triggers, for its messages.
    async fn dry_run(&mut self, name: &str, monitor: &Value, ours: &[Action<'_>]) {
        let report = match alerting::dry_run(self.client, monitor).await {
            Ok(report) => report,
            Err(fault) => return self.push(refused(name, &fault)),
        };
        let faults = faults_of_run(&report, monitor);
        let is_sound = faults.is_empty();
        for Fault { state, what, mend } in faults {
            let subject = name.to_owned();
            self.push(Finding { state, subject, what, mend: Some(mend) });
        }
        if !is_sound {
            return;
        }
        let Ok(report) = alerting::dry_run(self.client, &shape::always_true(monitor)).await else {
            return; // a condition that cannot be replaced; the other cases are left
        };
        for rendered in shape::rendered(&report) {
            let is_this = |action: &&Action<'_>| {
                action.action.get("id").and_then(Value::as_str) == Some(&rendered.action)
            };
            // An action without an id of its own gets one in the run; the only one it must be then.
            let only = if let [only] = ours { Some(only) } else { None };
            let Some(action) = ours.iter().find(is_this).or(only) else { continue };
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

/// A name that the template takes from the context must come through; one written by hand is right as it is.
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

fn refused(name: &str, fault: &opensearch::Error) -> Finding {
    let what = format!("it cannot be run: {fault}");
    match fault.status() {
        Some(401 | 403) => {
            let mend =
                "give the store's user the right cluster:admin/opendistro/alerting/monitor/execute";
            Finding::warn(name, what, mend)
        }
        Some(400 | 405) => {
            Finding::fail(name, what, "correct it; the store refuses such a monitor")
        }
        Some(_) => Finding::fail(name, what, "correct its query"),
        None => {
            let mend = "see whether the store is up; a bucket-level monitor never ends where the key of a bucket holds `{{`";
            Finding::fail(name, what, mend)
        }
    }
}

fn not_rendered(fault: &opensearch::Error) -> Fault {
    let state = State::Fail;
    match fault.status() {
        Some(401 | 403) => Fault {
            state: State::Warn,
            what: format!("it cannot be rendered: {fault}"),
            mend: "give the store's user the right indices:data/read/search/template/render"
                .to_owned(),
        },
        Some(_) => Fault {
            state,
            what: format!("its message is no good Mustache: {fault}"),
            mend: "close each `{{#x}}` by `{{/x}}`, and each `{{` by `}}`".to_owned(),
        },
        None => Fault {
            state,
            what: format!("it cannot be rendered: {fault}"),
            mend: "start the store, or correct OPENSEARCH_URL".to_owned(),
        },
    }
}

/// What the report of a dry run says of the query and of each trigger. An error may be an empty text.
fn faults_of_run(report: &Value, monitor: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let query = [report.pointer("/input_results/error"), report.get("error")];
    if let Some(why) = query.into_iter().flatten().find_map(Value::as_str) {
        let why = if why.is_empty() { "the store does not say why" } else { why };
        faults.push(Fault {
            state: State::Fail,
            what: format!("its query fails: {why}"),
            mend: "correct indices, query and the condition's script; try the query in Dev Tools"
                .to_owned(),
        });
        return faults; // the triggers fail for want of results
    }
    let results = report.get("trigger_results").and_then(Value::as_object).into_iter().flatten();
    for (id, result) in results {
        let Some(error) = result.get("error").and_then(Value::as_str) else { continue };
        let trigger = shape::triggers(monitor)
            .find(|trigger| trigger.get("id").and_then(Value::as_str) == Some(id));
        let name = result.get("name").or_else(|| trigger?.get("name")).and_then(Value::as_str);
        let name = name.unwrap_or(id);
        let (compiles, why) = why_of(error);
        faults.push(if compiles {
            Fault {
                state: State::Warn,
                what: format!("trigger {name:?} throws on what the query finds now: {why}"),
                mend: "let its script look whether what it reads is there".to_owned(),
            }
        } else {
            Fault {
                state: State::Fail,
                what: format!("trigger {name:?} does not compile: {why}"),
                mend: "correct its script".to_owned(),
            }
        });
    }
    faults
}

/// Whether a script compiled, and its innermost reason. A script's error is JSON in a text.
fn why_of(error: &str) -> (bool, String) {
    let Ok(json) = serde_json::from_str::<Value>(error) else {
        return (false, error.to_owned());
    };
    let compiles = json.get("reason").and_then(Value::as_str) != Some("compile error");
    let (mut cause, mut why) = (&json, String::new());
    loop {
        if let Some(reason) = cause.get("reason").and_then(Value::as_str) {
            reason.clone_into(&mut why);
        }
        match cause.get("caused_by") {
            Some(next) if next.get("reason").and_then(Value::as_str).is_some() => cause = next,
            _ => return (compiles, why),
        }
    }
}

/// Looks at all these monitors, one after the other.
///
/// # Errors
/// [`Error`]: a provisioning file cannot be used, or the store does not answer.
pub async fn run(
    client: &Client,
    settings: &Settings,
    naming: &Naming,
    received: Timestamp,
    subjects: &[Subject],
) -> Result<Report, Error> {
    let desired = super::desired(settings)?;
    if let Err(fault) = alerting::monitors(client).await
        && alerting::is_unavailable(&fault)
    {
        let mend = "install the plugin opensearch-alerting, or name an OpenSearch that has it";
        let what =
            format!("{}: it has no Alerting, so nothing can be tried there", client.address());
        return Ok(Report { findings: vec![Finding::fail("store", what, mend)], records: vec![] });
    }
    let mut linter = Linter::new(client, &desired, naming, received).await?;
    for subject in subjects {
        linter.look(subject).await;
    }
    Ok(linter.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_run_says_what_fails() {
        let script = |reason: &str, inner: &str| {
            let error = json!({"type": "script_exception", "reason": reason,
                "caused_by": {"type": "x", "reason": inner, "caused_by": {"type": "y", "reason": null}}});
            json!({"t1": {"name": "over", "error": error.to_string()}})
        };
        for (report, want) in [
            (
                json!({"input_results": {"error": null}, "trigger_results": {"t1": {"error": null}}}),
                vec![],
            ),
            (
                json!({"input_results": {"error": "no such index [x]"}}),
                vec![(State::Fail, "no such index [x]")],
            ),
            (json!({"input_results": {"error": ""}}), vec![(State::Fail, "does not say why")]),
            (
                json!({"trigger_results": script("compile error", "invalid")}),
                vec![(State::Fail, "\"over\" does not compile: invalid")],
            ),
            (
                json!({"trigger_results": script("runtime error", "null")}),
                vec![(State::Warn, "\"over\" throws")],
            ),
            (
                json!({"trigger_results": {"t1": {"error": "odd text"}}}),
                vec![(State::Fail, "\"named\" does not compile: odd text")],
            ),
        ] {
            let monitor =
                json!({"triggers": [{"query_level_trigger": {"id": "t1", "name": "named"}}]});
            let faults = faults_of_run(&report, &monitor);
            assert_eq!(faults.len(), want.len(), "{report}");
            for (fault, (state, what)) in faults.iter().zip(want) {
                assert_eq!(fault.state, state, "{report}");
                assert!(fault.what.contains(what), "{report}: {}", fault.what);
            }
        }
    }
}
