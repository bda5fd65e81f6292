//! Acknowledging alerts in OpenSearch, so that their actions stop: which alert is meant, whether it
//! can be, and what came of it. [`standing`] is pure.
//!
//! Before 3.8 OpenSearch never answers an acknowledgement for a monitor that is gone, and from then
//! on none at all on that node ([`crate::opensearch::acknowledging`]). So alert and monitor are read
//! first, the call has a limit of its own, and after one without an answer no other is made.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    finding::printable,
    heartbeat,
    opensearch::{
        Client, Error, acknowledging, alert_search,
        alerting::{self, Family},
        words,
    },
    silence::sends_to_us,
};

/// How long the store may take for an acknowledgement; it needs some 50 ms.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long an acknowledged alert may still be told as active, and how soon it is read again.
const VISIBLE_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);
/// The most of the store's words that are repeated, in bytes.
const WORDS: usize = 300;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = AcknowledgeOutcome)]
pub enum Outcome {
    /// It is acknowledged by this call.
    Acknowledged,
    /// It was acknowledged before.
    Already,
    /// It is over, so there is nothing to acknowledge.
    Over,
    /// OpenSearch knows no such alert.
    Unknown,
    /// Its monitor was deleted; OpenSearch was not asked.
    MonitorGone,
    /// OpenSearch does not acknowledge it, or we do not ask for it.
    Refused,
    /// OpenSearch did not answer.
    NoAnswer,
}

impl Outcome {
    /// Whether the alert's actions have stopped for the reason that was wanted.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Already)
    }

    /// The word for it, in texts and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Already => "already",
            Self::Over => "over",
            Self::Unknown => "unknown",
            Self::MonitorGone => "monitor-gone",
            Self::Refused => "refused",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// What came of one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Acknowledged)]
pub struct Answered {
    /// The id as it was given.
    pub id: String,
    /// The alert's own id, where there is one.
    pub alert: Option<String>,
    /// The name of its monitor.
    pub monitor: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, and what to do about it.
    pub what: String,
    /// The alert as the API tells it now, where it was acknowledged by this call and its monitor
    /// sends to us, so that it has a record.
    #[serde(skip)]
    pub now: Option<Value>,
}

impl Answered {
    fn settle(&mut self, outcome: Outcome, what: impl Into<String>) {
        self.outcome = outcome;
        self.what = what.into();
    }
}

/// What came of all ids, in their order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Answers(pub Vec<Answered>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &dyn Fn(&Answered) -> usize| self.0.iter().map(text).max().unwrap_or(0);
        let outcomes = width(&|one| one.outcome.name().len());
        let ids = width(&|one| printable(&one.id).chars().count());
        for Answered { id, monitor, outcome, what, .. } in &self.0 {
            let monitor = monitor.as_ref().map(|name| format!("{name:?}: ")).unwrap_or_default();
            let outcome = outcome.name();
            let (id, text) = (printable(id), printable(&format!("{monitor}{what}")));
            writeln!(f, "{outcome:<outcomes$}  {id:<ids$}  {text}")?;
        }
        Ok(())
    }
}

/// Acknowledges alerts, each named by its own id or by its record's `_id`, `yymmdd-ID`. `limit` is
/// how long the store may take for one monitor's.
///
/// # Errors
/// [`Error`], where not even the alerts can be read: then none was acknowledged.
pub async fn acknowledge(
    client: &Client,
    given: &[String],
    limit: Duration,
) -> Result<Vec<Answered>, Error> {
    let known = read(client, given).await?;
    let mut answers = Vec::new();
    let mut groups: Vec<(Owner, Vec<usize>)> = Vec::new();
    for (place, id) in given.iter().enumerate() {
        let (answered, owner) = first_look(id, &known);
        answers.push(answered);
        let Some(owner) = owner else { continue };
        match groups.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, places)) => places.push(place),
            None => groups.push((owner, vec![place])),
        }
    }
    let client = client.within(limit);
    let mut is_stuck = false;
    for (owner, places) in &groups {
        if is_stuck {
            for place in places {
                answers[*place]
                    .settle(Outcome::NoAnswer, "not asked for, after one that was not answered");
            }
            continue;
        }
        is_stuck = ask(&client, owner, places, &mut answers, limit).await;
    }
    Ok(answers)
}

/// The monitor or workflow that an alert belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which API acknowledges it.
    pub family: Family,
    /// Its id.
    pub id: String,
}

/// Whether an alert can be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// By way of this monitor.
    Active(Owner),
    /// No, and why.
    Not(Outcome, String),
}

/// Whether an alert of the Alerting API can be acknowledged.
#[must_use]
pub fn standing(alert: &Value) -> Standing {
    let text = |key: &str| alert[key].as_str().filter(|text| !text.is_empty());
    let at = |key: &str| {
        let at = alert[key].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map(|at| format!(" at {at:.0}")).unwrap_or_default()
    };
    let not = |outcome, what: String| Standing::Not(outcome, what);
    match text("state").unwrap_or_default() {
        "ACTIVE" => {
            // A chained alert has no monitor; one of a delegate has both, and is its monitor's.
            let monitor = text("monitor_id").map(|id| (Family::Monitor, id));
            match monitor.or_else(|| text("workflow_id").map(|id| (Family::Workflow, id))) {
                Some((family, id)) => Standing::Active(Owner { family, id: id.to_owned() }),
                None => not(Outcome::Refused, "OpenSearch does not tell its monitor".to_owned()),
            }
        }
        "ACKNOWLEDGED" => {
            not(Outcome::Already, format!("it was acknowledged{}", at("acknowledged_time")))
        }
        "COMPLETED" => not(Outcome::Over, format!("it was completed{}", at("end_time"))),
        "DELETED" => not(Outcome::Over, "its monitor or trigger was deleted or changed".to_owned()),
        "ERROR" => {
            let message = text("error_message").unwrap_or_default();
            let message = &message[..message.floor_char_boundary(WORDS)];
            let then = if words::failed_action(message).is_some() {
                "after its next good run it can be"
            } else {
                "correct the monitor first"
            };
            let what = "it is in an error, and OpenSearch acknowledges only what is active";
            not(Outcome::Refused, format!("{what}; {then} ({message})"))
        }
        state => not(Outcome::Refused, format!("it is in the state {state:?}")),
    }
}

/// What an id can mean: an alert's own id, or that of a record without its date.
fn meanings(given: &str) -> impl Iterator<Item = &str> {
    let own = given.split_once('-').filter(|(day, own)| {
        day.len() == 6 && day.bytes().all(|byte| byte.is_ascii_digit()) && !own.is_empty()
    });
    std::iter::once(given).chain(own.map(|(_, own)| own))
}

/// Every alert that one of these ids can mean.
async fn read(client: &Client, given: &[String]) -> Result<Vec<Value>, Error> {
    let ids: Vec<&str> = given.iter().flat_map(|id| meanings(id)).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| alert_search::can_be_id(id)).collect();
    let mut found = Vec::new();
    for list in alert_search::lists(&ids) {
        // While an alert is moved to the history it is there twice.
        let size = 2 * list.len();
        found.extend(alert_search::search(client, &alert_search::any_of("_id", list), size).await?);
    }
    Ok(found)
}

fn find<'a>(id: &str, known: &'a [Value]) -> Option<&'a Value> {
    let same = |id: &str| {
        let same = known.iter().filter(|alert| alert["id"] == id);
        same.max_by_key(|alert| !matches!(standing(alert), Standing::Active(_)))
    };
    meanings(id).find_map(same)
}

/// What is known before anything is asked for; with the owner of what may be.
fn first_look(id: &str, known: &[Value]) -> (Answered, Option<Owner>) {
    let nothing = "OpenSearch knows no alert of this id: take an alert's id, or the _id of its record; \
                   a firing that was recorded without an alert has none";
    let mut answered = Answered {
        id: id.to_owned(),
        alert: None,
        monitor: None,
        outcome: Outcome::Unknown,
        what: nothing.to_owned(),
        now: None,
    };
    let Some(alert) = find(id, known) else { return (answered, None) };
    answered.alert = alert["id"].as_str().map(str::to_owned);
    let names =
        ["monitor_name", "workflow_name"].map(|key| alert[key].as_str().unwrap_or_default());
    answered.monitor = names.into_iter().find(|name| !name.is_empty()).map(str::to_owned);
    match standing(alert) {
        Standing::Active(owner) => (answered, Some(owner)),
        Standing::Not(outcome, what) => {
            answered.settle(outcome, what);
            (answered, None)
        }
    }
}

/// Acknowledges the alerts of one monitor; tells whether the store left it without an answer.
async fn ask(
    client: &Client,
    owner: &Owner,
    places: &[usize],
    answers: &mut [Answered],
    limit: Duration,
) -> bool {
    let mut settle = |outcome, what: &str| {
        for place in places {
            answers[*place].settle(outcome, what);
        }
    };
    let monitor = match alerting::get(client, owner.family, &owner.id).await {
        Ok(Some(monitor)) => monitor,
        Ok(None) => {
            let what = "its monitor was deleted, and OpenSearch cannot acknowledge such an alert: it is over";
            settle(Outcome::MonitorGone, what);
            return false;
        }
        Err(fault) => {
            let what = format!("its monitor cannot be read: {fault}");
            let outcome =
                if fault.status().is_some() { Outcome::Refused } else { Outcome::NoAnswer };
            settle(outcome, &what);
            return fault.status().is_none();
        }
    };
    if heartbeat::is_sender(&monitor.body) {
        let what = "it is the heartbeat, which ends when its alert is acknowledged; disable the monitor instead";
        settle(Outcome::Refused, what);
        return false;
    }
    let mut ids: Vec<String> =
        places.iter().filter_map(|place| answers[*place].alert.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
    let said = match acknowledging::acknowledge(client, owner.family, &owner.id, &asked).await {
        Ok(said) => said,
        Err(fault) => {
            let what = match (&fault, fault.status()) {
                (Error::Unreachable(_), _) => unanswered(client, limit, &fault).await,
                (_, Some(403)) => format!(
                    "{fault}; give the store's user the rights of docs/security.md for acknowledging"
                ),
                _ => fault.to_string(),
            };
            let is_silent = matches!(fault, Error::Unreachable(_));
            let outcome = if is_silent { Outcome::NoAnswer } else { Outcome::Refused };
            for place in places {
                answers[*place].settle(outcome, what.as_str());
            }
            return is_silent;
        }
    };
    let now = read_again(client, &ids, &said.success).await;
    for place in places {
        let answered = &mut answers[*place];
        let Some(id) = answered.alert.clone() else { continue };
        let alert = find(&id, &now);
        if said.success.contains(&id) {
            answered.settle(Outcome::Acknowledged, "its actions stop until it is over");
            let is_told = |alert: &&Value| alert["state"] == "ACKNOWLEDGED";
            answered.now = alert.filter(is_told).filter(|_| sends_to_us(&monitor)).cloned();
            continue;
        }
        // It changed since it was read. The state counts; the store's words are for people.
        let why = said.failed.get(&id).map_or("OpenSearch does not say why", String::as_str);
        match alert.map(standing) {
            Some(Standing::Not(outcome, what)) => answered.settle(outcome, what),
            Some(Standing::Active(_)) => answered.settle(Outcome::Refused, why),
            None => answered.settle(Outcome::Over, why),
        }
    }
    false
}

/// What it means that an acknowledgement had no answer: the store is away, or, where its version does
/// that, its acknowledging alone is stuck.
async fn unanswered(client: &Client, limit: Duration, fault: &Error) -> String {
    let what = format!("OpenSearch did not answer within {} s ({fault})", limit.as_secs_f32());
    match client.within(LIMIT).capabilities().await {
        Ok(can) if can.acknowledging_jams() => format!(
            "{what}. It answers other calls, so its acknowledging is stuck: before 3.8 that is so once an alert's \
             monitor was deleted in the same moment, and it stays so until that OpenSearch node is \
             restarted. Restart the node at {}, then ask again",
            client.address()
        ),
        Ok(_) => format!("{what}, though it answers other calls; ask again"),
        Err(_) => format!("{what}, nor other calls"),
    }
}

/// How the alerts stand now; those acknowledged are waited for until they are told so.
async fn read_again(client: &Client, ids: &[String], acknowledged: &[String]) -> Vec<Value> {
    let mut now = Vec::new();
    let visible = async {
        loop {
            // What cannot be read now, the reconciler reads later.
            now = read(client, ids).await.unwrap_or_default();
            let is_active = |id: &String| {
                matches!(find(id, &now).map(standing), Some(Standing::Active(_)) | None)
            };
            if !acknowledged.iter().any(is_active) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    // In vain is no fault: it is acknowledged all the same.
    drop(tokio::time::timeout(VISIBLE_WITHIN, visible).await);
    now
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(id: &str, state: &str) -> Value {
        json!({"id": id, "state": state, "monitor_id": "m", "monitor_name": "Beacons",
               "workflow_id": "", "acknowledged_time": 1_794_038_400_000_i64, "end_time": null,
               "error_message": "Failed running action: refused"})
    }

    #[test]
    fn only_an_active_alert_can_be_acknowledged_and_each_other_says_why() {
        let owner = |family, id: &str| Standing::Active(Owner { family, id: id.to_owned() });
        assert_eq!(standing(&alert("a", "ACTIVE")), owner(Family::Monitor, "m"));
        let mut chained = alert("a", "ACTIVE");
        chained["workflow_id"] = json!("w");
        assert_eq!(standing(&chained), owner(Family::Monitor, "m"), "a delegate's own");
        chained["monitor_id"] = json!("");
        assert_eq!(standing(&chained), owner(Family::Workflow, "w"));
        chained["workflow_id"] = json!(null);
        assert!(matches!(standing(&chained), Standing::Not(Outcome::Refused, _)));
        for (state, outcome, want) in [
            ("ACKNOWLEDGED", Outcome::Already, "acknowledged at 2026-11-07T08:00:00Z"),
            ("COMPLETED", Outcome::Over, "completed"),
            ("DELETED", Outcome::Over, "deleted"),
            ("ERROR", Outcome::Refused, "after its next good run it can be"),
            ("AUDIT", Outcome::Refused, "\"AUDIT\""),
        ] {
            let Standing::Not(seen, what) = standing(&alert("a", state)) else { panic!("{state}") };
            assert_eq!(seen, outcome, "{state}");
            assert!(what.contains(want), "{what}");
        }
    }

    #[test]
    fn a_records_id_means_its_alert_and_an_alerts_own_id_goes_first() {
        for (given, want) in [
            ("R3d9_6-Bo8", vec!["R3d9_6-Bo8"]),
            ("261121-R3d9", vec!["261121-R3d9", "R3d9"]),
            ("261121--R3", vec!["261121--R3", "-R3"]),
            ("261121-", vec!["261121-"]),
            ("26112-R3d9", vec!["26112-R3d9"]),
        ] {
            assert_eq!(meanings(given).collect::<Vec<_>>(), want);
        }
        let known = [alert("R3", "ACTIVE"), alert("261121-R3", "COMPLETED")];
        let (answered, owner) = first_look("261121-R3", &known);
        assert_eq!((answered.outcome, owner), (Outcome::Over, None));
        let (answered, owner) = first_look("261120-R3", &known);
        assert_eq!((answered.alert.as_deref(), owner.is_some()), (Some("R3"), true));
        assert_eq!(answered.monitor.as_deref(), Some("Beacons"));
        let (answered, owner) = first_look("other", &known);
        assert_eq!((answered.outcome, answered.alert, owner), (Outcome::Unknown, None, None));
    }

    #[test]
    fn an_alert_that_is_being_moved_to_the_history_counts_as_moved() {
        for both in [["ACTIVE", "ACKNOWLEDGED"], ["ACKNOWLEDGED", "ACTIVE"]] {
            let known = both.map(|state| alert("a", state));
            assert_eq!(first_look("a", &known).0.outcome, Outcome::Already);
        }
    }

    #[test]
    fn the_answers_stand_in_columns_and_cannot_steer_a_terminal() {
        let one = |id: &str, outcome, monitor: Option<&str>| Answered {
            id: id.to_owned(),
            alert: None,
            monitor: monitor.map(str::to_owned),
            outcome,
            what: "done\n".to_owned(),
            now: None,
        };
        let all = Answers(vec![
            one("a\u{1b}[2J", Outcome::Acknowledged, Some("Be\"a")),
            one("b", Outcome::MonitorGone, None),
        ]);
        let want =
            "acknowledged  a\\u{1b}[2J  \"Be\\\"a\": done\\n\nmonitor-gone  b           done\\n\n";
        assert_eq!(all.to_string(), want);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json[1]["outcome"], "monitor-gone");
        assert!(json[0].get("now").is_none());
    }
}
