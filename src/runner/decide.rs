//! Decides what a run of a monitor brings: asks the store's engines, and makes of their answers what the
//! Alerting plugin would have made.
//!
//! The files below it are pure; this one asks: one search, one script for each trigger of a query-level
//! monitor, one more search for each trigger of a bucket-level one that has buckets, and one rendering for
//! each text of an action that is done.
//!
//! Source: `QueryLevelMonitorRunner.kt`, `BucketLevelMonitorRunner.kt`, `MonitorRunner.kt` of Alerting.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::decision::{Alert, Decision, Message, Period, Question};
use crate::opensearch::{
    Client, Error,
    alerting::Monitor,
    scripts::{self, Refusal},
    segment,
};

pub mod alert;
pub mod bucket;
mod bucket_level;
pub mod context;
pub mod fault;
pub mod filter;
pub mod lucene;
pub mod outcome;
pub mod period;
pub mod script;
pub mod shape;
pub mod template;
pub mod throttle;

pub use alert::left_over;

use alert::Did;
use context::Known;
use fault::Fault;
use outcome::{Done, Found, Judged, Outcome};
use script::Script;
use shape::{Action, Kind, Trigger};
use template::Template;

/// Decides what a run brings. What goes wrong is in the decision.
pub async fn decide(client: &Client, question: &Question<'_>) -> Decision {
    let Question { monitor, period, now, alerts, destinations } = *question;
    let monitor = shape::identified(monitor);
    let known = Known { monitor: &monitor, period, now };
    let run = Run { client, known, alerts, destinations: Some(destinations) };
    run.outcome().await.decision()
}

/// Runs a monitor once, as it stands here, without keeping or sending anything: the report of
/// [`crate::opensearch::alerting::dry_run`] on a store without the plugin.
///
/// # Errors
/// [`Error`]: no answer of the store; 400 for a monitor that cannot be run here, or whose search cannot be
/// parsed.
pub async fn dry_run(client: &Client, monitor: &Value, now: Timestamp) -> Result<Value, Error> {
    dry_run_of(client, monitor, period::ending_at(monitor, now), now).await
}

/// As [`dry_run`], of a period.
///
/// # Errors
/// As [`dry_run`].
pub async fn dry_run_of(
    client: &Client,
    monitor: &Value,
    period: Period,
    now: Timestamp,
) -> Result<Value, Error> {
    shape::check(monitor)?;
    let monitor = Monitor { version: 1, body: monitor.clone(), ..Monitor::default() };
    let monitor = shape::identified(&monitor);
    let known = Known { monitor: &monitor, period, now };
    let run = Run { client, known, alerts: &[], destinations: None };
    let outcome = run.outcome().await;
    if let Some(refused) = outcome.error.as_ref().and_then(Fault::refused) {
        return Err(refused);
    }
    Ok(outcome.report(known))
}

/// One run.
#[derive(Clone, Copy)]
struct Run<'a> {
    client: &'a Client,
    known: Known<'a>,
    alerts: &'a [Alert],
    /// `None` where nothing is sent.
    destinations: Option<&'a [String]>,
}

impl Run<'_> {
    async fn outcome(&self) -> Outcome {
        let mut outcome = match Kind::of(&self.known.monitor.body) {
            Ok(Kind::Query) => self.of_query().await,
            Ok(Kind::Bucket) => self.of_buckets().await,
            Err(kind) => {
                let error = Some(shape::not_run(&kind));
                return Outcome { error, ..Outcome::default() };
            }
        };
        // The plugin does so when the monitor is changed; a run that comes later finds what was left.
        outcome.alerts.extend(left_over(Some(&self.known.monitor.body), self.alerts));
        outcome
    }

    fn now(&self) -> Timestamp {
        self.known.now
    }

    fn is_dry(&self) -> bool {
        self.destinations.is_none()
    }

    async fn of_query(&self) -> Outcome {
        let mut outcome = Outcome::default();
        match self.search().await {
            Ok(found) => outcome.results.push(found),
            Err(fault) => outcome.error = Some(fault),
        }
        for trigger in shape::triggers(&self.known.monitor.body) {
            self.judge(trigger, &mut outcome).await;
        }
        outcome
    }

    /// Evaluates a trigger of a query-level monitor, does its actions, and leads its alert on.
    async fn judge(&self, trigger: Trigger<'_>, outcome: &mut Outcome) {
        let mut alerts = self.alerts.iter();
        let current = alerts.find(|alert| alert.body["trigger_id"] == trigger.id());
        let current = current.map(|alert| &alert.body);
        let (results, search_error) = (outcome.results.as_slice(), outcome.error.as_ref());
        let (fires, error) = match self.evaluate(trigger, results, current, search_error).await {
            Ok(fires) => (fires, None),
            // What cannot be evaluated has to be looked at.
            Err(fault) => (true, Some(fault)),
        };
        let is_acknowledged = current.is_some_and(|alert| alert["state"] == "ACKNOWLEDGED");
        let is_quiet = is_acknowledged && error.is_none() && search_error.is_none();
        let mut actions = Vec::new();
        if fires && !is_quiet {
            let ctx = self.known.of_message(trigger, results, current, error.as_ref());
            for action in trigger.actions() {
                actions.push(self.act(action, &ctx, current).await);
            }
        }
        let judged = Judged {
            id: trigger.id().to_owned(),
            name: trigger.name().to_owned(),
            error,
            found: Found::Query { fires, actions },
        };
        self.lead_on(trigger, current, &judged, outcome);
        outcome.triggers.push(judged);
    }

    fn lead_on(
        &self,
        trigger: Trigger<'_>,
        current: Option<&Value>,
        judged: &Judged,
        outcome: &mut Outcome,
    ) {
        let Found::Query { fires, actions } = &judged.found else { return };
        let error =
            outcome.error.as_ref().map(|fault| fault::of_alert("Failed fetching inputs", fault));
        let error = error.or_else(|| judged.error_of_alert());
        let did: Vec<_> = actions.iter().map(did).collect();
        let Known { monitor, period, .. } = self.known;
        let id = match current {
            Some(alert) => shape::text(alert, "id").to_owned(),
            None => alert::id(&monitor.id, trigger.id(), None, period.end),
        };
        let fresh = || alert::fresh(self.known, trigger, &id, None);
        let body = alert::of_query(current, *fires, error.as_deref(), &did, self.now(), fresh);
        for (action, done) in trigger.actions().into_iter().zip(actions) {
            outcome.messages.extend(message(trigger, action, done, vec![id.clone()]));
        }
        outcome.alerts.extend(body.map(|body| Alert { id, body }));
    }

    /// Whether a trigger of a query-level monitor fires.
    async fn evaluate(
        &self,
        trigger: Trigger<'_>,
        results: &[Value],
        alert: Option<&Value>,
        error: Option<&Fault>,
    ) -> Result<bool, Fault> {
        let script = Script::of(shape::text(trigger.script(), "source"));
        let ctx = self.known.of_trigger(trigger, results, alert, error);
        let request = script.request(&trigger.script()["params"], ctx);
        match scripts::executed(self.client, &request).await {
            Ok(printed) => script.verdict(&printed),
            Err(refusal) => Err(script.mended(fault_of(&refusal), !results.is_empty())),
        }
    }

    /// Does an action: renders what it says, where it is due and there is somebody to tell.
    async fn act(&self, action: Action<'_>, ctx: &Value, alert: Option<&Value>) -> Done {
        let done = |output, at, error| Done {
            id: action.id().to_owned(),
            name: action.name().to_owned(),
            output,
            at,
            error,
        };
        if !throttle::is_due(action, alert, self.now()) {
            return done(None, None, None);
        }
        match self.told(action, ctx).await {
            Ok(output) => done(Some(output), Some(self.now()), None),
            Err(fault) => done(None, Some(self.now()), Some(fault)),
        }
    }

    /// Subject and message of an action.
    async fn told(&self, action: Action<'_>, ctx: &Value) -> Result<(String, String), Fault> {
        let subject = match action.subject() {
            Some(template) => self.rendered(template, ctx).await?,
            None => String::new(),
        };
        let message = self.rendered(action.message(), ctx).await?;
        let id = action.destination();
        if message.is_empty() {
            let why = format!("Message content missing in the Destination with id: {id}");
            return Err(Fault::java("illegal_state_exception", why));
        }
        if self.destinations.is_some_and(|known| !known.iter().any(|one| one == id)) {
            let why = format!(
                "Unable to find a Notification Channel or Destination config with id [{id}]"
            );
            return Err(Fault::java("illegal_state_exception", why));
        }
        Ok((subject, message))
    }

    async fn rendered(&self, template: &Value, ctx: &Value) -> Result<String, Fault> {
        match Template::of(template, ctx) {
            Template::Plain(text) => Ok(text),
            Template::Request(request) => {
                let rendered = scripts::rendered(self.client, &request).await;
                rendered.map_err(|refusal| fault_of(&refusal))
            }
        }
    }

    /// The search of the monitor, for the period.
    async fn search(&self) -> Result<Value, Fault> {
        let Some((indices, search)) = shape::search(&self.known.monitor.body) else {
            return Err(shape::without_search());
        };
        let search = self.filled(search).await?;
        self.found(&indices, &search).await
    }

    /// The search with the period in it, as every store reads it.
    async fn filled(&self, search: &Value) -> Result<Value, Fault> {
        let period = self.known.period;
        if let Ok(filled) = period::filled(search, period) {
            return Ok(period::modern(filled));
        }
        let request = json!({"source": search.to_string(), "params": period::values(period)});
        let text = scripts::rendered(self.client, &request).await;
        let text = text.map_err(|refusal| fault_of(&refusal))?;
        let filled = serde_json::from_str(&text).map_err(|fault| {
            Fault::java("illegal_argument_exception", format!("the rendered search: {fault}"))
        })?;
        Ok(period::modern(filled))
    }

    async fn found(&self, indices: &[&str], search: &Value) -> Result<Value, Fault> {
        let path = match indices {
            [] => "/_search".to_owned(),
            names => format!("/{}/_search", segment(&names.join(","))),
        };
        let answer = scripts::ask(self.client, &path, search).await;
        let answer = answer.map_err(|refusal| fault_of(&refusal))?;
        serde_json::from_slice(&answer)
            .map_err(|fault| Fault::unanswered(&Error::Malformed(fault.to_string())))
    }
}

fn fault_of(refusal: &Refusal) -> Fault {
    match refusal {
        Refusal::Answered(status, body) => Fault::answered(*status, body),
        Refusal::Failed(error) => Fault::unanswered(error),
    }
}

fn did(done: &Done) -> Did {
    Did { action: done.id.clone(), at: done.at }
}

/// What is to be sent of what was done.
fn message(
    trigger: Trigger<'_>,
    action: Action<'_>,
    done: &Done,
    alerts: Vec<String>,
) -> Option<Message> {
    let (subject, body) = done.output.clone()?;
    Some(Message {
        destination: action.destination().to_owned(),
        subject: Some(subject).filter(|subject| !subject.is_empty()),
        body,
        action: action.id().to_owned(),
        trigger: trigger.id().to_owned(),
        alerts,
    })
}
