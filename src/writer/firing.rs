//! The first firing of an OpenSearch alert has no id: `ctx.alert` is null until after the actions
//! ran. Malcolm's template never tells when an alert began, on which index and `_id` depend; nor
//! which alerts a firing of a bucket- or document-level monitor is about. And a message does not
//! say which of a bucket's keys is whose. All of it is asked from the Alerting API before the
//! records are made.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use tracing::warn;

use crate::{
    alert::{Alert, bucket::Bucket},
    opensearch::{
        Client, Error,
        alert_search::any_of,
        alerting::Family,
        alerts::{self, Page, Query},
        rules::{self, Kind, Rule},
    },
};

mod run;

use run::Told;

/// How long after its receipt an alert is waited for: it is saved when all actions of all triggers
/// of the run ended, and one that hangs takes a minute (Notifications: 5 s to connect, then 50 s).
const PATIENCE: Duration = Duration::from_secs(90);
/// The same for alerts of buckets, which are saved before the actions.
const PATIENCE_WITH_BUCKETS: Duration = Duration::from_secs(5);
/// How long it is waited for while the Alerting API fails.
const PATIENCE_WITH_FAULTS: Duration = Duration::from_secs(30);
/// How soon it is asked again at first, and at last; it shows some 60 ms after the webhook.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_LAST: Duration = Duration::from_secs(2);
/// How long the answer "no such monitor" is believed.
const ABSENT_FOR: Duration = Duration::from_secs(10);
/// How long what is known of a monitor is believed.
const PRESENT_FOR: Duration = Duration::from_mins(1);
/// How many alerts' begins, and how many monitors, are remembered.
const REMEMBERED: usize = 10_000;
/// How many alerts are read at once, and of one firing at most.
const AT_ONCE: usize = 1_000;
const AT_MOST: usize = 10_000;
/// How often they are read, where a page misses some.
const READINGS: usize = 3;
/// How many ids fit into the first line of a request, 4 KiB.
const IDS_AT_ONCE: usize = 50;

/// Whether an alert is ready to become a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// As complete as they get: one, or all that the message is about.
    Ready(Vec<Alert>),
    /// Its id is not to be seen yet: ask again then.
    NotYet(Instant),
    /// The store does not answer, and why. A record made now could get another id than the alert's
    /// next firing.
    StoreAway(String),
}

/// Asks the Alerting API, and remembers what will not change.
pub struct Firings {
    client: Client,
    rules: HashMap<String, (Instant, Option<Arc<Rule>>)>,
    /// When alerts began, and the ids of their rules.
    begins: HashMap<String, (Timestamp, Option<String>)>,
    /// Answers of this batch, by search.
    runs: HashMap<String, Vec<Told>>,
    /// Alerts of this batch that were asked for by their ids.
    known: HashMap<String, Option<Told>>,
    faulty: bool,
    /// Whether searches find all alerts that were there when this batch began.
    is_shown: bool,
}

impl Firings {
    /// Asks through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let (rules, begins) = (HashMap::new(), HashMap::new());
        let (runs, known) = (HashMap::new(), HashMap::new());
        Self { client, rules, begins, runs, known, faulty: false, is_shown: false }
    }

    /// Forgets the alerts that were read for the batch before.
    pub fn begin_batch(&mut self) {
        self.runs.clear();
        self.known.clear();
        self.is_shown = false;
    }

    /// Completes the alert at `place` of a message, as far as the API knows it: fills in id, begin
    /// and what its bucket is about. One without an id becomes all those that it is about.
    pub async fn complete(
        &mut self,
        message: &[&Alert],
        place: usize,
        received: Timestamp,
        now: Timestamp,
    ) -> Readiness {
        let alert = message[place];
        let waited = now.duration_since(received).unsigned_abs();
        let answer = match &alert.id {
            Some(_) => self.fill(message, place).await.map(|alert| Known::All(vec![alert])),
            None => self.find(alert).await,
        };
        match answer {
            Ok(Known::All(alerts)) => Readiness::Ready(alerts),
            Ok(Known::NotYet(patience)) if waited < patience && is_fresh(alert, received) => {
                Readiness::NotYet(Instant::now() + (waited / 8).clamp(AGAIN, AGAIN_AT_LAST))
            }
            Ok(Known::Nothing | Known::NotYet(_)) => Readiness::Ready(vec![alert.clone()]),
            Err(fault) if fault.status().is_none() => Readiness::StoreAway(fault.to_string()),
            Err(fault) => {
                let curable = !matches!(fault.status(), Some(400..=499));
                if !self.faulty {
                    warn!(error = %fault, "cannot ask the Alerting API about an alert; a first firing then gets an id of our own");
                }
                self.faulty = true;
                if curable && waited < PATIENCE_WITH_FAULTS {
                    return Readiness::NotYet(Instant::now() + AGAIN * 10);
                }
                Readiness::Ready(vec![alert.clone()])
            }
        }
    }

    /// An alert whose id is known, with its begin and what its bucket is about.
    async fn fill(&mut self, message: &[&Alert], place: usize) -> Result<Alert, Error> {
        let mut alert = message[place].clone();
        let Some(id) = alert.id.clone() else { return Ok(alert) };
        if let Some((began, rule)) = self.begins.get(&id) {
            alert.began.get_or_insert(*began);
            alert.rule.id = alert.rule.id.or_else(|| rule.clone());
        }
        if alert.began.is_some() && alert.bucket.is_none() {
            return Ok(alert);
        }
        let Some(rule) = self.rule(&alert).await? else { return Ok(alert) };
        learn(&mut alert, &rule);
        let is_unclear = |bucket: &Bucket| bucket.is_ambiguous() || bucket.lacks_value();
        if alert.began.is_some() && !alert.bucket.as_ref().is_some_and(is_unclear) {
            return Ok(alert);
        }
        if !self.known.contains_key(&id) {
            let others = message.iter().skip(place).filter_map(|other| other.id.clone());
            self.read_ids(others.take(IDS_AT_ONCE).collect()).await?;
        }
        if let Some(Some(told)) = self.known.get(&id) {
            let mut told = told.alert.clone();
            learn(&mut told, &rule);
            alert.began = alert.began.or(told.began);
            if let Some(bucket) = told.bucket {
                bucket.tell(&mut alert);
                alert.bucket = Some(bucket);
            }
            self.remember(&alert);
        }
        Ok(alert)
    }

    /// The alerts that a message without an id is about.
    async fn find(&mut self, alert: &Alert) -> Result<Known, Error> {
        let Some(rule) = self.rule(alert).await? else { return Ok(Known::Nothing) };
        let Some(at) = run::instant(alert, rule.kind) else { return Ok(Known::Nothing) };
        let search = run::search(&rule, alert, at);
        if !self.runs.contains_key(&search) {
            if !self.is_shown {
                alerts::show(&self.client).await?;
                self.is_shown = true;
            }
            let told = self.read(&search, AT_MOST).await?;
            self.runs.insert(search.clone(), told);
        }
        self.faulty = false;
        let told = self.runs.get(&search).map(Vec::as_slice).unwrap_or_default();
        let chosen = run::of_run(&rule, alert, at, told);
        if chosen.is_empty() {
            // The next alert of this batch must not be told the same out of memory.
            self.runs.remove(&search);
            // What names a trigger that there is not will never be seen.
            if !run::has_trigger(&rule, alert) {
                return Ok(Known::Nothing);
            }
            let saved_first = rule.kind == Kind::Bucket;
            return Ok(Known::NotYet(if saved_first { PATIENCE_WITH_BUCKETS } else { PATIENCE }));
        }
        let complete = |told: Alert| {
            let mut one = said_of(alert, told);
            learn(&mut one, &rule);
            one
        };
        let alerts: Vec<Alert> = chosen.into_iter().map(complete).collect();
        for alert in &alerts {
            self.remember(alert);
        }
        Ok(Known::All(alerts))
    }

    fn remember(&mut self, alert: &Alert) {
        let (Some(id), Some(began)) = (&alert.id, alert.began) else { return };
        if self.begins.len() >= REMEMBERED {
            self.begins.clear();
        }
        self.begins.insert(id.clone(), (began, alert.rule.id.clone()));
    }

    /// Reads alerts by their ids; what is not there is noted too.
    async fn read_ids(&mut self, ids: Vec<String>) -> Result<(), Error> {
        let search = any_of("_id", &ids.iter().map(String::as_str).collect::<Vec<_>>());
        let told = self.read(&search, ids.len()).await?;
        self.faulty = false;
        self.known.extend(ids.into_iter().map(|id| (id, None)));
        for told in told {
            if let Some(id) = told.alert.id.clone() {
                self.known.insert(id, Some(told));
            }
        }
        Ok(())
    }

    /// Reads all alerts that a search finds, at most so many. While the run saves them again after
    /// its actions their order changes, and a page can miss what the one before did not have; then
    /// they are read once more.
    async fn read(&self, search: &str, most: usize) -> Result<Vec<Told>, Error> {
        let mut told = HashMap::new();
        for _ in 0..READINGS {
            let (mut from, mut total) = (0, 1);
            while from < total {
                let size = AT_ONCE.min(most - from);
                let query = Query { search, newest_by: "start_time", from, size };
                let page = match alerts::page(&self.client, query).await {
                    Err(fault) if fault.is_unavailable() => Page::default(),
                    page => page?,
                };
                total = usize::try_from(page.total).unwrap_or(most).min(most);
                let id = |alert: &Value| alert["id"].as_str().map(str::to_owned);
                told.extend(page.alerts.iter().map(|alert| (id(alert), Told::read(alert))));
                from += size;
            }
            if told.len() >= total {
                break;
            }
        }
        Ok(told.into_values().flatten().collect())
    }

    async fn rule(&mut self, alert: &Alert) -> Result<Option<Arc<Rule>>, Error> {
        let Some(asked) = alert.rule.id.as_ref().or(alert.rule.name.as_ref()) else {
            return Ok(None);
        };
        if let Some((at, rule)) = self.rules.get(asked) {
            let believed = if rule.is_some() { PRESENT_FOR } else { ABSENT_FOR };
            if at.elapsed() < believed {
                return Ok(rule.clone());
            }
        }
        let rule = match (&alert.rule.id, &alert.rule.name) {
            (Some(id), _) => rules::with_id(&self.client, id).await?,
            (None, Some(name)) => self.rule_named(alert, name).await?,
            (None, None) => None,
        };
        let rule = rule.map(Arc::new);
        if self.rules.len() >= REMEMBERED {
            self.rules.clear();
        }
        self.rules.insert(asked.clone(), (Instant::now(), rule.clone()));
        Ok(rule)
    }

    async fn rule_named(&self, alert: &Alert, name: &str) -> Result<Option<Rule>, Error> {
        if !alert.is_composite
            && let Some(rule) = rules::with_name(&self.client, name, Family::Monitor).await?
        {
            return Ok(Some(rule));
        }
        rules::with_name(&self.client, name, Family::Workflow).await
    }
}

/// What the API knows of an alert.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// These they are.
    All(Vec<Alert>),
    /// It will be seen so long after its receipt at the latest.
    NotYet(Duration),
    /// There is nothing to be known.
    Nothing,
}

/// Whether a message came as soon as they do; what was sent again later, or made by hand, names an
/// alert that is there or never will be.
fn is_fresh(alert: &Alert, received: Timestamp) -> bool {
    let about = alert.end.or(alert.start);
    about.is_some_and(|at| (received.as_millisecond() - at.as_millisecond()).abs() < run::WINDOW)
}

/// What the message says, about the alert that the API tells of.
fn said_of(message: &Alert, told: Alert) -> Alert {
    let mut one = message.clone();
    one.id = told.id;
    one.began = told.began;
    one.bucket = told.bucket;
    one.is_composite = told.is_composite;
    // A message of a composite monitor tells nothing of its trigger.
    if one.trigger.id.is_none() && one.trigger.name.is_none() {
        one.severity = told.severity;
        one.trigger = told.trigger;
    }
    one.start = one.start.map(|start| told.began.map_or(start, |began| began.min(start)));
    one
}

/// Takes over what only the monitor tells.
fn learn(alert: &mut Alert, rule: &Rule) {
    if let Some(mut bucket) = alert.bucket.take() {
        bucket.learn(&rule.body);
        bucket.tell(alert);
        alert.bucket = Some(bucket);
    }
    alert.is_composite |= rule.kind == Kind::Composite;
    // Malcolm's message has no id of its monitor; the index's name may want it.
    alert.rule.id.get_or_insert_with(|| rule.id.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Named, Source};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn alert() -> Alert {
        Alert {
            rule: Named { id: Some("m".to_owned()), name: None },
            trigger: Named { id: Some("t".to_owned()), name: None },
            start: Some(at(40)),
            end: Some(at(100)),
            ..Alert::of(Source::OpenSearch)
        }
    }

    #[tokio::test]
    async fn while_the_store_is_away_no_id_is_made_up_however_long_that_takes() {
        let settings = crate::opensearch::Settings {
            url: "http://127.0.0.1:9/".parse().unwrap(),
            login: None,
            verify: true,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(5),
            monitors: crate::opensearch::engine::Settings::default(),
        };
        let mut firings = Firings::new(Client::new(&settings).unwrap());
        let readiness = firings.complete(&[&alert()], 0, at(101), at(86_400)).await;
        assert!(matches!(readiness, Readiness::StoreAway(..)), "{readiness:?}");
    }

    #[test]
    fn only_what_came_soon_after_its_period_can_have_an_alert_that_is_not_saved_yet() {
        let mut alert = alert();
        for (received, want) in [(101, true), (690, true), (710, false), (-690, false)] {
            assert_eq!(is_fresh(&alert, at(received)), want, "{received}");
        }
        (alert.start, alert.end) = (None, None);
        assert!(!is_fresh(&alert, at(101)));
    }

    #[test]
    fn an_alert_of_the_api_keeps_what_the_message_says() {
        let told = Alert {
            id: Some("a".to_owned()),
            began: Some(at(20)),
            severity: 80,
            trigger: Named { id: Some("u".to_owned()), name: Some("other".to_owned()) },
            ..Alert::of(Source::Reconciler)
        };
        let mut message = alert();
        let one = said_of(&message, told.clone());
        assert_eq!(
            (one.id.as_deref(), one.start, one.end),
            (Some("a"), Some(at(20)), Some(at(100)))
        );
        assert_eq!(
            (one.source, one.severity, one.trigger),
            (Source::OpenSearch, 40, message.trigger)
        );
        message.trigger = Named::default();
        let one = said_of(&message, told.clone());
        assert_eq!((one.severity, one.trigger), (80, told.trigger));
    }
}
