//! Whose alerts become records. Pure.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::{heartbeat, opensearch::alerting::Monitor, provision::desired::is_our_channel};

/// The index of the alerts of ordinary monitors.
const ALERTS: &str = ".opendistro-alerting-alerts";

/// Which monitors count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitors {
    /// Those that send to us.
    #[default]
    Ours,
    /// All.
    All,
}

/// What is known of the monitors and the composite ones (workflows).
#[derive(Debug, Default)]
pub struct Scope {
    all: bool,
    /// Their settings, without what they search and send.
    members: Vec<Monitor>,
    /// What bucket-level monitors make their buckets of: their inputs, by id.
    inputs: HashMap<String, Value>,
    monitors: BTreeSet<String>,
    workflows: BTreeSet<String>,
    /// All that the API lists to us, whether they count or not.
    listed: BTreeSet<String>,
    /// Those that count or did.
    former: BTreeSet<String>,
    /// Every monitor and workflow that is there or was, by id, with its name.
    known: HashMap<String, String>,
}

impl Scope {
    /// Reads which of the monitors and workflows count: those with an action that sends to our
    /// channels, of either spelling, or to one of `channels`, which have our address.
    ///
    /// `before` tells what was known: a monitor that is gone stays known, so that what it left is
    /// told from the alerts of another cluster.
    #[must_use]
    pub fn of(
        which: Monitors,
        monitors: &[Monitor],
        workflows: &[Monitor],
        channels: &BTreeSet<String>,
        before: Self,
    ) -> Self {
        let ours = |id: &str| is_our_channel(id) || channels.contains(id);
        // A heartbeat is no alert; as one it would last for ever.
        let counts = |one: &&Monitor| {
            (which == Monitors::All || one.channels().into_iter().any(ours))
                && !heartbeat::is_sender(&one.body)
        };
        let ids = |list: &[Monitor]| {
            list.iter().filter(counts).map(|one| one.id.clone()).collect::<BTreeSet<_>>()
        };
        let mut known = before.known;
        // Where the alerts of others are kept (security analytics has its own), they are not seen.
        let is_seen = |one: &&Monitor| {
            let index = one.body.pointer("/data_sources/alerts_index").and_then(Value::as_str);
            index.is_none_or(|index| index == ALERTS)
        };
        for one in monitors.iter().chain(workflows).filter(is_seen) {
            known.insert(one.id.clone(), one.name().to_owned());
        }
        let members: Vec<_> =
            monitors.iter().chain(workflows).filter(counts).map(without_searches).collect();
        let inputs = monitors.iter().filter(counts).filter_map(|one| {
            let is_of_buckets = one.body["monitor_type"] == "bucket_level_monitor";
            is_of_buckets.then(|| (one.id.clone(), one.body["inputs"].clone()))
        });
        let inputs = inputs.collect();
        let listed = monitors.iter().chain(workflows).map(|one| one.id.clone()).collect();
        let (monitors, workflows) = (ids(monitors), ids(workflows));
        let mut former = before.former;
        former.extend(monitors.iter().chain(&workflows).cloned());
        let all = which == Monitors::All;
        Self { all, members, inputs, monitors, workflows, listed, former, known }
    }

    /// Whether an alert, as the API tells it, is one of theirs.
    #[must_use]
    pub fn includes(&self, alert: &Value) -> bool {
        let text = |key: &str| alert[key].as_str().unwrap_or_default();
        match text("monitor_id") {
            // An alert of a composite monitor has no monitor.
            "" => self.all || self.workflows.contains(text("workflow_id")),
            monitor => self.all || self.monitors.contains(monitor),
        }
    }

    /// Whether it is one of theirs, or of a monitor that counted before it was deleted or changed.
    #[must_use]
    pub fn included(&self, alert: &Value) -> bool {
        let is_former = |key: &str| {
            alert[key].as_str().is_some_and(|id| !id.is_empty() && self.former.contains(id))
        };
        self.includes(alert) || is_former("monitor_id") || is_former("workflow_id")
    }

    /// The monitors and workflows that count, without what they search and send.
    #[must_use]
    pub fn members(&self) -> &[Monitor] {
        &self.members
    }

    /// Adds to an alert what its record needs of its monitor: what its bucket is made of.
    pub fn complete(&self, alert: &mut Value) {
        let inputs = alert["monitor_id"].as_str().and_then(|id| self.inputs.get(id));
        if let (Some(inputs), Some(alert)) = (inputs.cloned(), alert.as_object_mut()) {
            alert.insert("inputs".to_owned(), inputs);
        }
    }

    /// Whether there is nobody whose alerts could count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.monitors.is_empty() && self.workflows.is_empty()
    }

    /// How many count.
    #[must_use]
    pub fn count(&self) -> usize {
        self.monitors.len() + self.workflows.len()
    }

    /// Narrows a search to them, as far as that is possible.
    #[must_use]
    pub fn narrow(&self, search: &str) -> String {
        if self.all {
            return search.to_owned();
        }
        let monitors: Vec<_> = self.monitors.iter().map(String::as_str).collect();
        let workflows: Vec<_> = self.workflows.iter().map(String::as_str).collect();
        super::query::narrowed(search, &monitors, &workflows)
    }

    /// Whether the API lists the monitor or workflow to us.
    #[must_use]
    pub fn lists(&self, id: &str) -> bool {
        self.listed.contains(id)
    }

    /// The ids of those that have, or had, this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<String> {
        let same = self.known.iter().filter(|(_, known)| *known == name);
        same.map(|(id, _)| id.clone()).collect()
    }

    /// Every monitor and workflow that is there or was, by id, with its name.
    #[must_use]
    pub fn known(&self) -> &HashMap<String, String> {
        &self.known
    }
}

/// A thousand whole monitors take megabytes.
fn without_searches(monitor: &Monitor) -> Monitor {
    let mut body = monitor.body.clone();
    if let Some(body) = body.as_object_mut() {
        for part in ["inputs", "triggers", "user", "ui_metadata"] {
            body.remove(part);
        }
    }
    Monitor { body, ..monitor.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provision::desired::{CHANNEL_ID, OLD_CHANNEL_ID};

    fn monitor(id: &str, channel: &str) -> Monitor {
        let body = json!({"name": format!("name of {id}"), "triggers": [
            {"query_level_trigger": {"actions": [{"destination_id": "pager"}, {"destination_id": channel}]}}]});
        Monitor { id: id.to_owned(), body, ..Monitor::default() }
    }

    fn alert(monitor: &str, workflow: &str) -> Value {
        json!({"monitor_id": monitor, "workflow_id": workflow})
    }

    #[test]
    fn those_that_send_to_us_count_by_any_of_our_channels() {
        let monitors = [
            monitor("a", CHANNEL_ID),
            monitor("b", OLD_CHANNEL_ID),
            monitor("c", "same-address"),
            monitor("d", "elsewhere"),
        ];
        let workflows = [monitor("w", CHANNEL_ID), monitor("x", "elsewhere")];
        let channels = BTreeSet::from(["same-address".to_owned()]);
        let scope = |which| Scope::of(which, &monitors, &workflows, &channels, Scope::default());
        let ours = scope(Monitors::Ours);
        for (monitor, workflow, want) in [
            ("a", "", true),
            ("b", "", true),
            ("c", "", true),
            ("d", "", false),
            ("", "w", true),
            ("", "x", false),
            ("d", "w", false),
            ("gone", "", false),
        ] {
            assert_eq!(ours.includes(&alert(monitor, workflow)), want, "{monitor} {workflow}");
            assert!(scope(Monitors::All).includes(&alert(monitor, workflow)));
        }
        assert!(ours.narrow("x").contains("monitor_id:(\"a\" OR \"b\" OR \"c\")"));
        assert_eq!(scope(Monitors::All).narrow("x"), "x");
        assert!(Scope::default().is_empty() && !ours.is_empty());
    }

    #[test]
    fn a_monitor_that_is_gone_stays_known() {
        let of = |monitors: &[Monitor], before| {
            Scope::of(Monitors::Ours, monitors, &[], &BTreeSet::new(), before)
        };
        let scope = of(&[], of(&[monitor("a", CHANNEL_ID)], Scope::default()));
        assert_eq!(scope.known().get("a").map(String::as_str), Some("name of a"));
        assert!(!scope.includes(&alert("a", "")) && scope.included(&alert("a", "")));
        assert!(!scope.included(&alert("b", "")));
        assert_eq!((scope.named("name of a"), scope.lists("a")), (vec!["a".to_owned()], false));
    }
}
