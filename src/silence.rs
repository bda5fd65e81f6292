//! Monitors that should speak and do not. A monitor that has stopped looks in every list like one
//! that finds nothing; what tells the one from the other stands here, in three [`Reason`]s.
//!
//! [`judge`] and [`quiet`] are pure; [`look`] asks the store: for the runs, for the alerts in an
//! error, and, only where the time without an alert is limited, for those that began lately.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    opensearch::{
        Client, Error, alert_search,
        alerting::Monitor,
        alerts::{self, Failed},
        jobs::{self, Jobs},
        words,
    },
    provision::desired::is_our_channel,
};

mod memory;
pub(crate) mod schedule;
mod watch;

pub use memory::Memory;
use schedule::{Due, Schedule};
pub use watch::{News, Watch};

/// What is allowed besides two intervals: a run takes its time, and the plugin looks only every five
/// minutes for monitors that no node has (`plugins.scheduled_jobs.sweeper.period`).
const GRACE: SignedDuration = SignedDuration::from_mins(6);
/// How many alerts are read at once to see which monitors have one.
const PAGE: usize = 500;
/// The most of the store's words that are repeated, in bytes.
const WORDS: usize = 300;

/// Why a monitor that is enabled says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It does not run, or not any more.
    Late,
    /// It fired, and an action failed: nobody was told, and nobody will be.
    Failed,
    /// It has not fired for longer than is believable.
    Quiet,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Late, Self::Failed, Self::Quiet];

    /// The label in metrics and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Quiet => "quiet",
        }
    }
}

/// One monitor that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Silent {
    /// The monitor's id.
    pub id: String,
    /// The monitor's name.
    pub name: String,
    /// Why.
    pub reason: Reason,
    /// What was seen, for people; without the name.
    pub what: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl Silent {
    fn of(monitor: &Monitor, reason: Reason, what: String, mend: &'static str) -> Self {
        let name = monitor.name().to_owned();
        Self { id: monitor.id.clone(), name, reason, what, mend }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The time.
    pub now: Timestamp,
    /// Whether monitors that do not send to us are looked at too.
    pub all: bool,
    /// After how many days without an alert a monitor is [`Reason::Quiet`]; 0 never.
    pub days: u32,
}

/// Looks for monitors and workflows that say nothing, in the order of `monitors`. Two requests,
/// whatever their number, and with [`Asked::days`] one for some forty of those that have no alert.
///
/// `memory` is that of the caller's last look; a single look has none.
///
/// # Errors
/// [`Error`]; see [`Error::is_unavailable`] for a store without the plugin.
pub async fn look(
    client: &Client,
    monitors: &[Monitor],
    asked: Asked,
    mut memory: Option<&mut Memory>,
) -> Result<Vec<Silent>, Error> {
    let ours = |one: &&Monitor| one.is_enabled() && (asked.all || sends_to_us(one));
    let monitors: Vec<&Monitor> = monitors.iter().filter(ours).collect();
    if monitors.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = jobs::jobs(client).await?;
    let failed =
        newest(alerts::failed(client).await?, |id| monitors.iter().any(|monitor| monitor.id == id));
    let recent = match asked.days {
        0 => None,
        days => Some(recent(client, &monitors, asked.now, days, memory.as_deref_mut()).await?),
    };
    let mut silent = Vec::new();
    for monitor in &monitors {
        let ran = Ran::of(monitor, &jobs);
        let since = memory.as_deref_mut().map(|memory| memory.since(&monitor.id, ran, asked.now));
        silent.extend(judge(monitor, ran, since, asked.now));
        silent.extend(failed.get(&monitor.id).and_then(|failure| lost(monitor, failure)));
        if let Some(recent) = &recent {
            let has_fired = recent.contains(monitor.id.as_str());
            silent.extend(quiet(monitor, has_fired, asked));
        }
    }
    if let Some(memory) = memory {
        memory.keep_only(|id| monitors.iter().any(|monitor| monitor.id == id));
    }
    Ok(silent)
}

/// Whether one of its actions sends to our channel, under either of its ids.
#[must_use]
pub fn sends_to_us(monitor: &Monitor) -> bool {
    monitor.channels().iter().any(|id| is_our_channel(id))
}

/// The newest failure of each of these monitors, by the monitor's id.
#[must_use]
pub fn newest(failed: Vec<Failed>, of_these: impl Fn(&str) -> bool) -> BTreeMap<String, Failed> {
    let mut newest: BTreeMap<String, Failed> = BTreeMap::new();
    for failure in failed.into_iter().filter(|failure| of_these(&failure.monitor_id)) {
        let known = newest.get(&failure.monitor_id);
        if known.is_none_or(|known| known.at < failure.at) {
            newest.insert(failure.monitor_id.clone(), failure);
        }
    }
    newest
}

/// Why an action failed, in the store's words; `None` where the monitor itself did.
#[must_use]
pub fn why_action_failed(failure: &Failed) -> Option<String> {
    let why = words::status_text(words::failed_action(&failure.message)?);
    Some(why[..why.floor_char_boundary(WORDS)].to_owned())
}

/// What the nodes tell of a monitor's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ran then.
    At(Timestamp),
    /// A node has it, and has not run it yet.
    NotYet,
    /// No node has it.
    Nowhere,
    /// Nothing runs in this cluster.
    AllOff,
    /// The node that has it did not answer.
    Unknown,
}

impl Ran {
    pub(crate) fn of(monitor: &Monitor, jobs: &Jobs) -> Self {
        match jobs.last_runs.get(&monitor.id) {
            _ if !jobs.are_on => Self::AllOff,
            Some(Some(at)) => Self::At(*at),
            Some(None) => Self::NotYet,
            None if jobs.are_all => Self::Nowhere,
            None => Self::Unknown,
        }
    }
}

/// Whether an enabled monitor should have run and has not. `since` is how long we know that the nodes
/// tell what they tell now; a single look knows nothing of that, and so says nothing of a monitor
/// that its node has not run yet: with a long interval that is usual after a restart.
#[must_use]
pub fn judge(
    monitor: &Monitor,
    ran: Ran,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Option<Silent> {
    const RESTART: &str = "look into the logs of who runs it (OpenSearch's nodes, or with \
                           ALERTLOOP_MONITORS=builtin alertloop); disabling and enabling the \
                           monitor schedules it again";
    let late = |what, mend| Some(Silent::of(monitor, Reason::Late, what, mend));
    let schedule = Schedule::of(&monitor.body);
    let is_over = |at: Timestamp| at.checked_add(GRACE).is_ok_and(|last| last < now);
    // A monitor that was just made or changed has to find its node first.
    let changed = changed(monitor);
    let from = since.max(changed);
    match ran {
        Ran::AllOff => late(
            "nothing is run in this cluster: plugins.scheduled_jobs.enabled is false".to_owned(),
            "set it to true again (`PUT _cluster/settings`)",
        ),
        Ran::Unknown => None,
        Ran::Nowhere => {
            let is_long = from.is_none_or(is_over);
            let what = || "it is enabled, and no node runs it".to_owned();
            if is_long { late(what(), RESTART) } else { None }
        }
        Ran::NotYet | Ran::At(_) => {
            let last = match ran {
                Ran::At(at) => Some(at),
                _ => since.and(from),
            };
            let due = schedule?.second_due_after(last.unwrap_or(now));
            match (due, last) {
                (Due::Never, _) => {
                    late("its schedule never comes".to_owned(), "correct its schedule")
                }
                (Due::At(due), Some(last)) if is_over(due) => {
                    let since = format!("{last:.0}, and twice since then it should have run");
                    let what = match ran {
                        Ran::At(_) => format!("it ran last at {since}"),
                        _ => format!("it has not run since {since}"),
                    };
                    late(what, RESTART)
                }
                _ => None,
            }
        }
    }
}

/// When it was enabled or written last.
fn changed(monitor: &Monitor) -> Option<Timestamp> {
    let time = |key: &str| Timestamp::from_millisecond(monitor.body.get(key)?.as_i64()?).ok();
    time("enabled_time").max(time("last_update_time"))
}

/// Whether a webhook was lost with this failure.
pub(crate) fn lost(monitor: &Monitor, failure: &Failed) -> Option<Silent> {
    let why = why_action_failed(failure)?;
    let at = failure.at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    let mend = "see `alertloop doctor`, line `webhook`; OpenSearch does not send it again";
    Some(Silent::of(monitor, Reason::Failed, format!("an action failed{at}: {why}"), mend))
}

/// Whether a monitor has been enabled for so long without an alert that it is not believed.
#[must_use]
pub fn quiet(monitor: &Monitor, has_fired: bool, asked: Asked) -> Option<Silent> {
    let is_new = changed(monitor).is_some_and(|at| at > days_before(asked.now, asked.days));
    if has_fired || is_new {
        return None;
    }
    let s = if asked.days == 1 { "" } else { "s" };
    let what = format!("it has not fired for {} day{s}", asked.days);
    let mend = "see whether its query still finds what it should (a renamed field, an index that \
                gets nothing); else raise ALERTLOOP_SILENCE_DAYS";
    Some(Silent::of(monitor, Reason::Quiet, what, mend))
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    let span = SignedDuration::from_hours(24 * i64::from(days));
    now.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The ids of those monitors that have an alert which began or was told within so many days, or
/// which still stands.
async fn recent<'a>(
    client: &Client,
    monitors: &[&'a Monitor],
    now: Timestamp,
    days: u32,
    mut memory: Option<&mut Memory>,
) -> Result<BTreeSet<&'a str>, Error> {
    let from = days_before(now, days);
    let ids = monitors.iter().map(|monitor| monitor.id.as_str());
    let known = |id: &&str| memory.as_deref().is_some_and(|memory| memory.has_fired(id, from));
    let (known, unknown): (Vec<&str>, Vec<&str>) = ids.partition(known);
    let mut fired: BTreeSet<&str> = known.into_iter().collect();
    let ms = from.as_millisecond();
    let lately = format!(
        "(start_time:[{ms} TO *] OR last_notification_time:[{ms} TO *] OR state:ACTIVE OR state:ACKNOWLEDGED)"
    );
    for list in alert_search::lists(&unknown) {
        let mut left = list.to_vec();
        // One that fires all the time may fill the page: the others are asked for once more.
        while !left.is_empty() {
            let [one, other] =
                ["monitor_id", "workflow_id"].map(|field| alert_search::any_of(field, &left));
            let query = format!("({one} OR {other}) AND {lately}");
            let alerts = alert_search::search(client, &query, PAGE).await?;
            let before = left.len();
            for alert in &alerts {
                let owners = ["monitor_id", "workflow_id"].map(|key| alert[key].as_str());
                let is_owner = |id: &str| owners.contains(&Some(id));
                let began =
                    alert["start_time"].as_i64().max(alert["last_notification_time"].as_i64());
                let began = began.and_then(|ms| Timestamp::from_millisecond(ms).ok());
                for id in left.extract_if(.., |id| is_owner(id)) {
                    fired.insert(id);
                    if let (Some(memory), Some(began)) = (memory.as_deref_mut(), began) {
                        memory.fired(id, began);
                    }
                }
            }
            if alerts.len() < PAGE || left.len() == before {
                break;
            }
        }
    }
    Ok(fired)
}

#[cfg(test)]
mod tests;
