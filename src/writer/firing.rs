//! The first firing of an OpenSearch alert has no id: `ctx.alert` is null until after the actions
//! ran. And Malcolm's template never tells when an alert began, on which index and `_id` depend.
//! Both are asked from the Alerting API before the record is made.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::warn;

use crate::{
    alert::Alert,
    opensearch::{
        Client,
        alerts::{self, AlertState, Monitor},
    },
};

/// How long after its receipt an alert's id is waited for; it shows some 60 ms after the webhook.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is waited for while the Alerting API fails.
const PATIENCE_WITH_FAULTS: Duration = Duration::from_secs(30);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long the answer "no such monitor" is believed.
const ABSENT_FOR: Duration = Duration::from_secs(10);
/// How long a monitor's id and type are believed.
const PRESENT_FOR: Duration = Duration::from_mins(1);
/// How many alerts' begins are remembered.
const REMEMBERED: usize = 10_000;

/// Whether an alert is ready to become a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// As complete as it gets.
    Ready,
    /// Its id is not to be seen yet: ask again then.
    NotYet(Instant),
    /// The store does not answer, and why. A record made now could get another id than the alert's
    /// next firing.
    StoreAway(String),
}

/// Asks the Alerting API, and remembers what will not change.
pub struct Firings {
    client: Client,
    monitors: HashMap<String, (Instant, Option<Monitor>)>,
    begins: HashMap<String, Timestamp>,
    /// Answers of this batch, by monitor.
    states: HashMap<String, Vec<AlertState>>,
    faulty: bool,
}

impl Firings {
    /// Asks through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let (monitors, begins, states) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { client, monitors, begins, states, faulty: false }
    }

    /// Forgets the alerts that were read for the batch before.
    pub fn begin_batch(&mut self) {
        self.states.clear();
    }

    /// Fills in the id and the begin of an alert that lacks one, as far as the API knows them.
    pub async fn complete(
        &mut self,
        alert: &mut Alert,
        received: Timestamp,
        now: Timestamp,
    ) -> Readiness {
        if alert.id.is_some() && alert.began.is_some() {
            return Readiness::Ready;
        }
        if let Some(begin) = alert.id.as_ref().and_then(|id| self.begins.get(id)) {
            alert.began = Some(*begin);
            return Readiness::Ready;
        }
        let waited = now.duration_since(received).unsigned_abs();
        match self.ask(alert).await {
            Ok(Known::Alert(state)) => {
                if self.begins.len() >= REMEMBERED {
                    self.begins.clear();
                }
                self.begins.insert(state.id.clone(), state.start_time);
                alert.id = Some(state.id);
                alert.began = Some(state.start_time);
                Readiness::Ready
            }
            Ok(Known::NotYet) if alert.id.is_none() && waited < PATIENCE => {
                Readiness::NotYet(Instant::now() + AGAIN)
            }
            Ok(Known::Nothing | Known::NotYet) => Readiness::Ready,
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
                Readiness::Ready
            }
        }
    }

    async fn ask(&mut self, alert: &Alert) -> Result<Known, crate::opensearch::Error> {
        let Some(monitor) = self.monitor(alert).await? else { return Ok(Known::Nothing) };
        if !self.states.contains_key(&monitor.id) {
            let states = alerts::of_monitor(&self.client, &monitor.id).await?;
            self.states.insert(monitor.id.clone(), states);
        }
        self.faulty = false;
        let states = self.states.get(&monitor.id).map(Vec::as_slice).unwrap_or_default();
        let known = choose(alert, states, monitor.is_query_level);
        if known == Known::NotYet {
            // The next alert of this batch must not be told the same out of memory.
            self.states.remove(&monitor.id);
        }
        Ok(known)
    }

    async fn monitor(
        &mut self,
        alert: &Alert,
    ) -> Result<Option<Monitor>, crate::opensearch::Error> {
        let Some(asked) = alert.rule.id.as_ref().or(alert.rule.name.as_ref()) else {
            return Ok(None);
        };
        if let Some((at, monitor)) = self.monitors.get(asked) {
            let believed = if monitor.is_some() { PRESENT_FOR } else { ABSENT_FOR };
            if at.elapsed() < believed {
                return Ok(monitor.clone());
            }
        }
        let monitor = match (&alert.rule.id, &alert.rule.name) {
            (Some(id), _) => alerts::monitor(&self.client, id).await?,
            (None, Some(name)) => alerts::monitor_named(&self.client, name).await?,
            (None, None) => None,
        };
        if self.monitors.len() >= REMEMBERED {
            self.monitors.clear();
        }
        self.monitors.insert(asked.clone(), (Instant::now(), monitor.clone()));
        Ok(monitor)
    }
}

/// What the API knows of an alert.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// This one it is.
    Alert(AlertState),
    /// It will be seen soon.
    NotYet,
    /// There is nothing to be known.
    Nothing,
}

/// Picks the alert among its monitor's: by its id; else the one whose life covers the end of the
/// period; else the first that began after it, since an alert is made right after its actions ran.
fn choose(alert: &Alert, states: &[AlertState], is_query_level: bool) -> Known {
    if let Some(id) = &alert.id {
        return states
            .iter()
            .find(|state| state.id == *id)
            .map_or(Known::Nothing, |state| Known::Alert(state.clone()));
    }
    // One run of a bucket- or document-level monitor makes many alerts: which one is anybody's guess.
    let Some(end) = alert.end.filter(|_| is_query_level) else { return Known::Nothing };
    let trigger = &alert.trigger;
    let mut own: Vec<&AlertState> = states
        .iter()
        .filter(|state| match (&trigger.id, &trigger.name) {
            (Some(id), _) => state.trigger_id == *id,
            (None, Some(name)) => state.trigger_name == *name,
            (None, None) => false,
        })
        .collect();
    own.sort_by_key(|state| state.start_time);
    let covers = |state: &&&AlertState| {
        state.start_time <= end && state.end_time.is_none_or(|over| over > end)
    };
    let chosen =
        own.iter().find(covers).or_else(|| own.iter().find(|state| state.start_time > end));
    chosen.map_or(Known::NotYet, |state| Known::Alert((*state).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Named, Source};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn alert(id: Option<&str>, end: i64) -> Alert {
        Alert {
            id: id.map(str::to_owned),
            trigger: Named { id: Some("t".to_owned()), name: Some("trigger".to_owned()) },
            end: Some(at(end)),
            ..Alert::of(Source::OpenSearch)
        }
    }

    fn state(id: &str, trigger: &str, start: i64, end: Option<i64>) -> AlertState {
        AlertState {
            id: id.to_owned(),
            trigger_id: trigger.to_owned(),
            trigger_name: "trigger".to_owned(),
            start_time: at(start),
            end_time: end.map(at),
        }
    }

    fn chosen(alert: &Alert, states: &[AlertState], query_level: bool) -> Result<String, Known> {
        match choose(alert, states, query_level) {
            Known::Alert(state) => Ok(state.id),
            other => Err(other),
        }
    }

    #[test]
    fn the_alert_is_told_from_its_monitors_others() {
        let past = state("past", "t", 0, Some(50));
        let other = state("other", "u", 90, None);
        let first = state("first", "t", 101, None);
        let next = state("next", "t", 300, None);
        let all = [next, other.clone(), past.clone(), first.clone()];
        let none = alert(None, 100);
        assert_eq!(chosen(&none, &all, true), Ok("first".to_owned()), "began after the period");
        assert_eq!(
            chosen(&alert(None, 120), &[past.clone(), first], true),
            Ok("first".to_owned()),
            "lives on"
        );
        assert_eq!(chosen(&none, &[past, other], true), Err(Known::NotYet));
        assert_eq!(chosen(&none, &all, false), Err(Known::Nothing), "not of a query-level monitor");
        assert_eq!(chosen(&alert(Some("past"), 40), &all, false), Ok("past".to_owned()));
        assert_eq!(chosen(&alert(Some("gone"), 40), &all, true), Err(Known::Nothing));
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
        };
        let mut firings = Firings::new(Client::new(&settings).unwrap());
        let mut alert = alert(None, 100);
        alert.rule.id = Some("m".to_owned());
        let readiness = firings.complete(&mut alert, at(101), at(86_400)).await;
        assert!(matches!(readiness, Readiness::StoreAway(..)), "{readiness:?}");
    }

    #[test]
    fn a_trigger_without_an_id_is_known_by_its_name() {
        let mut named = alert(None, 100);
        named.trigger.id = None;
        assert_eq!(chosen(&named, &[state("a", "t", 101, None)], true), Ok("a".to_owned()));
        named.trigger.name = None;
        assert_eq!(chosen(&named, &[state("a", "t", 101, None)], true), Err(Known::NotYet));
    }
}
