//! A role: whether it is as it is shipped, as we left it, or as somebody made it.
//!
//! What we write carries a mark in its description, made from the permissions. A role whose
//! permissions still fit the mark is ours to update; any other is left to whoever changed it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Step, Work};
use crate::{
    opensearch::{access::Kind, engine::DEFAULT_PREFIX},
    provision::plan::Action,
};

/// The indices that the shipped roles are for.
const PATTERN: &str = "arkime_sessions3-*";
/// The role for the built-in engine; its indices have a prefix of the installation's choice.
pub const MONITORS: &str = "alertloop_monitors";
const FILES: [(&str, &str); 4] = [
    ("alertloop", include_str!("../../provisioning/security/alertloop.json")),
    (
        "alertloop_provisioning",
        include_str!("../../provisioning/security/alertloop_provisioning.json"),
    ),
    (MONITORS, include_str!("../../provisioning/security/alertloop_monitors.json")),
    ("alertloop_keystore", include_str!("../../provisioning/security/alertloop_keystore.json")),
];

/// A role as it should be.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it is for.
    description: String,
    /// Its permissions.
    substance: Value,
}

/// The shipped role of this name, for the session indices of this installation, and with the prefix of
/// the built-in engine's own.
///
/// # Errors
/// When there is none of this name.
pub fn shipped(name: &str, pattern: &str, prefix: &str) -> anyhow::Result<Role> {
    let names = FILES.map(|(name, _)| name).join(", ");
    let found = FILES.iter().find(|(known, _)| *known == name);
    let (_, text) = found.with_context(|| format!("no role {name:?} is shipped, only {names}"))?;
    let mut role: Value = serde_json::from_str(text).context("a shipped role is not JSON")?;
    for part in role["index_permissions"].as_array_mut().into_iter().flatten() {
        for index in part["index_patterns"].as_array_mut().into_iter().flatten() {
            let own = index.as_str().and_then(|index| index.strip_prefix(DEFAULT_PREFIX));
            if index == PATTERN {
                *index = json!(pattern);
            } else if let Some(own) = own.filter(|_| name == MONITORS) {
                *index = json!(format!("{prefix}{own}"));
            }
        }
    }
    let description = role["description"].as_str().unwrap_or_default().to_owned();
    Ok(Role { name: name.to_owned(), description, substance: substance(&role) })
}

/// What happens to a role.
pub(super) fn step(role: &Role, live: Option<&Value>, force: bool) -> Step {
    let action = action(role, live, force);
    let is_done = matches!(action, Action::Create | Action::Update { .. });
    let work = is_done.then(|| Work::Put(Kind::Role, role.name.clone(), role.body()));
    Step { object: "role", name: role.name.clone(), action, work }
}

fn action(role: &Role, live: Option<&Value>, force: bool) -> Action {
    let Some(live) = live else { return Action::Create };
    let found = substance(live);
    if found == role.substance {
        return Action::InSync;
    }
    let diff = diff(&found, &role.substance);
    let is = |flag: &str| live.get(flag).and_then(Value::as_bool) == Some(true);
    if is("reserved") || is("hidden") || is("static") {
        let reason = "reserved: change it in the files that it comes from".to_owned();
        return Action::Leave { reason, warning: true, diff };
    }
    let description = live.get("description").and_then(Value::as_str).unwrap_or_default();
    if description.ends_with(&mark(&found)) {
        return Action::Update {
            reason: "of an earlier version or index pattern".to_owned(),
            diff,
        };
    }
    if force {
        return Action::Update { reason: "edited; taken over by --force".to_owned(), diff };
    }
    let reason = "edited, or made by hand; --force makes it as shipped".to_owned();
    Action::Leave { reason, warning: true, diff }
}

impl Role {
    fn body(&self) -> Value {
        let mut body = self.substance.clone();
        body["description"] = json!(format!("{} {}", self.description, mark(&self.substance)));
        body
    }
}

fn mark(substance: &Value) -> String {
    let hash = blake3::hash(substance.to_string().as_bytes()).to_hex();
    format!("[alertloop {}]", &hash[..12])
}

/// What a role allows, in one form: lists are sorted, and what is empty says nothing.
fn substance(role: &Value) -> Value {
    let parts = role.get("index_permissions").and_then(Value::as_array).into_iter().flatten();
    let parts = parts.map(|part| {
        json!({"index_patterns": list(&part["index_patterns"]),
            "allowed_actions": list(&part["allowed_actions"]),
            "dls": part["dls"].as_str().unwrap_or_default(),
            "fls": list(&part["fls"]), "masked_fields": list(&part["masked_fields"])})
    });
    let mut parts: Vec<Value> = parts.collect();
    parts.sort_by_key(Value::to_string);
    let tenants = role["tenant_permissions"].as_array().cloned().unwrap_or_default();
    json!({"cluster_permissions": list(&role["cluster_permissions"]),
        "index_permissions": parts, "tenant_permissions": tenants})
}

fn list(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What is missing (`+`) and what there is besides (`-`).
fn diff(found: &Value, wanted: &Value) -> Vec<String> {
    let (found, wanted) = (grants(found), grants(wanted));
    let missing = wanted.difference(&found).map(|grant| format!("+ {grant}"));
    let besides = found.difference(&wanted).map(|grant| format!("- {grant}"));
    missing.chain(besides).collect()
}

/// Each permission as a line.
fn grants(substance: &Value) -> BTreeSet<String> {
    let mut all: BTreeSet<String> =
        list(&substance["cluster_permissions"]).into_iter().map(str::to_owned).collect();
    for part in substance["index_permissions"].as_array().into_iter().flatten() {
        let indices = list(&part["index_patterns"]).into_iter().collect::<Vec<_>>().join(", ");
        let limits = ["dls", "fls", "masked_fields"].into_iter().filter(|limit| {
            let limit = &part[*limit];
            limit.as_str() != Some("") && limit.as_array().is_none_or(|list| !list.is_empty())
        });
        let limits: Vec<_> = limits.collect();
        let limited = if limits.is_empty() {
            String::new()
        } else {
            format!(" (limited by {})", limits.join(", "))
        };
        let actions = list(&part["allowed_actions"]);
        all.extend(actions.iter().map(|action| format!("{action} on {indices}{limited}")));
    }
    let tenants = substance["tenant_permissions"].as_array().into_iter().flatten();
    all.extend(tenants.map(|tenant| format!("tenant {tenant}")));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        shipped("alertloop", "logs-*", "alertloop").unwrap()
    }

    /// As the store gives it back.
    fn live(body: &Value) -> Value {
        let mut live = body.clone();
        for (flag, value) in [("reserved", false), ("hidden", false), ("static", false)] {
            live[flag] = json!(value);
        }
        for part in live["index_permissions"].as_array_mut().unwrap() {
            part["dls"] = Value::Null;
            part["allowed_actions"].as_array_mut().unwrap().reverse();
        }
        live
    }

    #[test]
    fn the_indices_of_the_built_in_engine_go_by_their_prefix_and_no_others_do() {
        let role = shipped(MONITORS, "logs-*", "soc").unwrap().substance.to_string();
        assert!(role.contains("\"soc-monitors\"") && role.contains("\"logs-*\""), "{role}");
        assert!(!role.contains("\"alertloop-"), "{role}");
        let role = shipped("alertloop", "logs-*", "soc").unwrap().substance.to_string();
        assert!(role.contains("\"alertloop-state\""), "{role}");
    }

    #[test]
    fn a_role_is_for_the_indices_of_this_installation() {
        let role = role();
        let text = role.body().to_string();
        assert!(text.contains("logs-*") && text.contains("alertloop-state"), "{text}");
        assert!(!text.contains(PATTERN), "{text}");
        assert!(shipped("admin", "logs-*", "alertloop").is_err());
    }

    #[test]
    fn what_we_left_is_updated_and_what_somebody_edited_is_left() {
        let role = role();
        let ours = live(&role.body());
        let older = {
            let mut older = role.clone();
            let all = older.substance["cluster_permissions"].as_array_mut().unwrap();
            all.retain(|name| name != "cluster:monitor/main");
            live(&older.body())
        };
        let edit = |change: fn(&mut Value)| {
            let mut edited = ours.clone();
            change(&mut edited);
            edited
        };
        let wider = edit(|role| role["index_permissions"][0]["index_patterns"] = json!(["*"]));
        let narrower = edit(|role| {
            role["cluster_permissions"].as_array_mut().unwrap().clear();
        });
        let limited = edit(|role| role["index_permissions"][0]["dls"] = json!("{}"));
        let tenant = edit(|role| role["tenant_permissions"] = json!([{"tenant_patterns": ["x"]}]));
        let by_hand = edit(|role| role["description"] = json!(""));
        let mut older_by_hand = older.clone();
        older_by_hand["description"] = json!("ours");
        let mut reserved = older.clone();
        reserved["reserved"] = json!(true);
        for (live, force, want) in [
            (None, false, "create"),
            (Some(&ours), false, "in sync"),
            (Some(&by_hand), false, "in sync"),
            (Some(&older), false, "update: + cluster:monitor/main"),
            (Some(&older_by_hand), false, "leave: + cluster:monitor/main"),
            (Some(&older_by_hand), true, "update: + cluster:monitor/main"),
            (Some(&wider), false, "leave"),
            (Some(&wider), true, "update"),
            (Some(&narrower), false, "leave"),
            (Some(&limited), false, "leave"),
            (Some(&tenant), false, "leave"),
            (Some(&reserved), true, "leave"),
        ] {
            let action = action(&role, live, force);
            let told = match &action {
                Action::Create => "create".to_owned(),
                Action::InSync => "in sync".to_owned(),
                Action::Update { diff, .. } => format!("update: {}", diff.join("; ")),
                Action::Leave { diff, .. } => format!("leave: {}", diff.join("; ")),
                other => format!("{other:?}"),
            };
            assert!(told.starts_with(want), "{told}, not {want}");
            let step = step(&role, live, force);
            assert_eq!(step.work.is_some(), want.starts_with(['c', 'u']), "{want}");
        }
    }
}
