//! The ids of triggers and actions. An alert belongs to a trigger's id, and the store makes new ids
//! at each write that has none: so those that a file leaves out are kept, or made from the names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fills in the ids that a monitor's file leaves out: those that the live one has under the same
/// names, else such as every replica would make.
pub(in crate::provision) fn filled(mut body: Value, live: Option<&Value>) -> Value {
    let monitor = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let live_triggers = live.map(triggers).unwrap_or_default();
    let mut trigger_names = Names::default();
    for trigger in triggers_mut(&mut body) {
        let name = name_of(trigger).to_owned();
        let place = trigger_names.take(&name);
        let live = namesake(&live_triggers, &name, place);
        fill(trigger, live, &[&monitor, &name], place);
        let live_actions = live.map(actions).unwrap_or_default();
        let mut action_names = Names::default();
        let actions = trigger.get_mut("actions").and_then(Value::as_array_mut);
        for action in actions.into_iter().flatten().filter_map(Value::as_object_mut) {
            let action_name = name_of(action).to_owned();
            let action_place = action_names.take(&action_name);
            let live = namesake(&live_actions, &action_name, action_place);
            // The second trigger of a name is another one, and so are its actions.
            let parent = if place == 0 { name.clone() } else { format!("{name}#{place}") };
            fill(action, live, &[&monitor, &parent, &action_name], action_place);
        }
    }
    body
}

/// How often each name came so far: the store lets several have the same, but not the same id.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn take(&mut self, name: &str) -> usize {
        let count = self.0.entry(name.to_owned()).or_default();
        *count += 1;
        *count - 1
    }
}

fn namesake<'a>(
    all: &[&'a Map<String, Value>],
    name: &str,
    place: usize,
) -> Option<&'a Map<String, Value>> {
    all.iter().copied().filter(|one| name_of(one) == name).nth(place)
}

/// The ids of all triggers and actions, in order.
pub(super) fn all(body: &Value) -> Vec<&str> {
    let of_one = |trigger| std::iter::once(trigger).chain(actions(trigger));
    let maps = triggers(body).into_iter().flat_map(of_one);
    maps.filter_map(|map| map.get("id")?.as_str()).collect()
}

fn fill(
    map: &mut Map<String, Value>,
    live: Option<&Map<String, Value>>,
    names: &[&str],
    place: usize,
) {
    if map.get("id").and_then(Value::as_str).is_some_and(|id| !id.is_empty()) {
        return;
    }
    let id = live.and_then(|live| live.get("id")).cloned().unwrap_or_else(|| {
        let names = if place == 0 { json!(names) } else { json!([names, place]) };
        let hash = blake3::hash(names.to_string().as_bytes()).to_hex();
        json!(format!("alertloop-{}", &hash[..20]))
    });
    map.insert("id".to_owned(), id);
}

/// A trigger is wrapped in an object whose one key is its kind.
fn triggers(body: &Value) -> Vec<&Map<String, Value>> {
    let all = body.get("triggers").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|wrapped| wrapped.as_object()?.values().next()?.as_object()).collect()
}

fn triggers_mut(body: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let all = body.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten();
    all.filter_map(|wrapped| wrapped.as_object_mut()?.values_mut().next()?.as_object_mut())
}

fn actions(trigger: &Map<String, Value>) -> Vec<&Map<String, Value>> {
    let all = trigger.get("actions").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_object).collect()
}

fn name_of(map: &Map<String, Value>) -> &str {
    map.get("name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(trigger: &Value) -> Value {
        json!({"name": "m", "triggers": [{"query_level_trigger": trigger}]})
    }

    #[test]
    fn given_ids_stay_live_ones_are_kept_and_the_rest_are_the_same_everywhere() {
        let file =
            monitor(&json!({"name": "t", "actions": [{"name": "a"}, {"name": "b", "id": "B"}]}));
        let live = monitor(&json!({"name": "t", "id": "T", "actions": [{"name": "a", "id": "A"},
            {"name": "b", "id": "other"}]}));
        assert_eq!(all(&filled(file.clone(), Some(&live))), ["T", "A", "B"]);
        let fresh = filled(file.clone(), None);
        assert_eq!(filled(file, None), fresh);
        let ids = all(&fresh);
        assert!(ids[0].starts_with("alertloop-") && ids[0] != ids[1] && ids[2] == "B", "{ids:?}");
    }

    #[test]
    fn several_of_one_name_get_an_id_each() {
        let trigger = json!({"query_level_trigger": {"name": "t",
            "actions": [{"name": "a"}, {"name": "a"}]}});
        let file = json!({"name": "m", "triggers": [trigger, trigger]});
        let fresh = filled(file.clone(), None);
        let ids = all(&fresh);
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 6, "{ids:?}");
        let mut live = fresh.clone();
        live["triggers"][1]["query_level_trigger"]["id"] = json!("T");
        live["triggers"][1]["query_level_trigger"]["actions"][1]["id"] = json!("A");
        assert_eq!(all(&filled(file, Some(&live))), all(&live));
    }
}
