use serde_json::{Value, json};

use super::*;
use crate::{
    opensearch::cluster::About,
    provision::{ledger::Pending, probe::Channels},
};

const NAME: &str = "m";

fn key() -> Key {
    Key::new(Object::Monitor, NAME)
}

/// A monitor as its file describes it.
fn file(interval: u32) -> Value {
    json!({"name": NAME, "enabled": false, "schedule": {"period": {"interval": interval}},
        "inputs": [{"search": {"query": {"query": {"term": {"a": 1}}}}}],
        "triggers": [{"query_level_trigger": {"id": "t", "name": "t", "actions": []}}]})
}

/// As the store gives it back, after so many writes.
fn found(interval: u32, version: u64) -> Found {
    let mut body = file(interval);
    body["last_update_time"] = json!(version);
    body["inputs"][0]["search"]["query"]["query"]["term"]["a"] = json!({"value": 1, "boost": 1.0});
    body["owner"] = json!("alerting");
    Found { id: "id1".to_owned(), version, seq_no: version, primary_term: 1, body }
}

/// What is known after the file with this interval was applied.
fn known(interval: u32) -> Entry {
    let mut entry = Entry::new(key());
    entry.applied = entry.digest(&canonical(Object::Monitor, &file(interval)));
    entry.said = canonical(Object::Monitor, &file(interval));
    entry.observed =
        entry.sealed(canonical(Object::Monitor, &found(interval, 1).body), &Hidden::default());
    (entry.id, entry.made, entry.seen) = ("id1".to_owned(), true, Some((1, 1)));
    "3.4.0".clone_into(&mut entry.store_version);
    entry
}

/// What is known while the file with this interval is being written.
fn begun(before: Entry, interval: u32, version: u64) -> Entry {
    let canonical = canonical(Object::Monitor, &file(interval));
    let digest = before.digest(&canonical);
    Entry { pending: Some(Pending { digest, version, body: canonical }), made: true, ..before }
}

fn live(found: Vec<Found>, entry: Option<Entry>) -> Live {
    Live {
        about: About { is_opensearch: true, version: "3.4.0".to_owned() },
        channels: Some(Channels::default()),
        has_alerting: true,
        objects: if found.is_empty() { [].into() } else { [(key(), found)].into() },
        ledger: entry.into_iter().map(|entry| (key(), entry)).collect(),
        ..Live::default()
    }
}

fn step_of(live: &Live, interval: u32, options: Options) -> Step {
    let token = "0123456789abcdef".parse().unwrap();
    let kept = Kept { live, token: &token, options, no_alerting: None };
    let wanted = Wanted {
        key: key(),
        file: "monitors/m.json".to_owned(),
        body: file(interval),
        hidden: Hidden::default(),
    };
    kept.step(&wanted, std::slice::from_ref(&wanted))
}

/// The step in short: what happens, and what is written.
fn short(step: &Step) -> String {
    let text = step.to_string();
    let first = text.lines().next().unwrap_or_default();
    let words = first.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{words} [{}]", step.work.as_ref().map_or("-".to_owned(), |work| format!("{work:?}")))
}

fn check(name: &str, live: &Live, interval: u32, options: Options, want: &str) {
    let step = step_of(live, interval, options);
    assert_eq!(short(&step), want, "{name}: {step}");
    assert!(!step.is_warning(), "{name}");
}

#[test]
fn three_ways_decide_who_wins() {
    let with_must_not = |mut found: Found| {
        found.body["inputs"][0]["search"]["query"]["query"]["must_not"] = json!([]);
        found.body["inputs"][0]["search"]["query"]["extra"] = json!({"x": 1});
        found
    };
    let switched_on = |mut found: Found| {
        found.body["enabled"] = json!(true);
        found
    };
    let force = Options { force: true, ..Options::default() };
    let none = Options::default();
    for (name, live, interval, options, want) in [
        ("nothing is there", live(vec![], None), 5, none, "create monitor m [Make]"),
        ("it was deleted", live(vec![], Some(known(5))), 5, none, "create monitor m [Make]"),
        ("as applied", live(vec![found(5, 1)], Some(known(5))), 5, none, "in sync monitor m [-]"),
        (
            "switched on",
            live(vec![switched_on(found(5, 2))], Some(known(5))),
            5,
            none,
            "in sync monitor m [-]",
        ),
        ("not known, the same", live(vec![found(5, 1)], None), 5, none, "in sync monitor m [Note]"),
        (
            "not known, another",
            live(vec![found(6, 1)], None),
            5,
            none,
            "leave monitor m (it exists, and not from this file; it differs in schedule.period.interval; --force takes it over) [-]",
        ),
        (
            "not known, forced",
            live(vec![found(6, 1)], None),
            5,
            force,
            "update monitor m (taken over) [Change]",
        ),
        (
            "the file changed",
            live(vec![found(5, 1)], Some(known(5))),
            6,
            none,
            "update monitor m (the file changed) [Change]",
        ),
        (
            "a user changed it",
            live(vec![found(7, 2)], Some(known(5))),
            5,
            none,
            "leave monitor m (edited by a user: schedule.period.interval; --force undoes it) [-]",
        ),
        (
            "a user added to it",
            live(vec![with_must_not(found(5, 2))], Some(known(5))),
            5,
            none,
            "leave monitor m (edited by a user: inputs.0.search.query.extra; --force undoes it) [-]",
        ),
        (
            "both changed",
            live(vec![found(7, 2)], Some(known(5))),
            6,
            none,
            "leave monitor m (edited by a user: schedule.period.interval, and its file changed too; --force undoes it) [-]",
        ),
        (
            "both changed, forced",
            live(vec![found(7, 2)], Some(known(5))),
            6,
            force,
            "update monitor m (taken over from a user) [Change]",
        ),
        (
            "the file was brought to the edit",
            live(vec![found(7, 2)], Some(known(5))),
            7,
            none,
            "in sync monitor m [Note]",
        ),
    ] {
        check(name, &live, interval, options, want);
    }
}

#[test]
fn a_run_that_was_cut_off_is_gone_on_with() {
    let none = Options::default();
    for (name, live, interval, options, want) in [
        (
            "cut off before it was made",
            live(vec![], Some(begun(Entry::new(key()), 5, 0))),
            5,
            none,
            "create monitor m [Make]",
        ),
        (
            "cut off after it was made",
            live(vec![found(5, 1)], Some(begun(Entry::new(key()), 5, 0))),
            5,
            none,
            "in sync monitor m [Note]",
        ),
        (
            "made by somebody else meanwhile",
            live(vec![Found { version: 3, ..found(9, 3) }], Some(begun(Entry::new(key()), 5, 0))),
            5,
            none,
            "leave monitor m (it exists, and not from this file; it differs in schedule.period.interval; --force takes it over) [-]",
        ),
        (
            "cut off before a change",
            live(vec![found(5, 1)], Some(begun(known(5), 6, 1))),
            6,
            none,
            "update monitor m (the file changed) [Change]",
        ),
        (
            "cut off after a change",
            live(vec![found(6, 2)], Some(begun(known(5), 6, 1))),
            6,
            none,
            "in sync monitor m [Note]",
        ),
        (
            "cut off, and the file has changed again",
            live(vec![found(6, 2)], Some(begun(known(5), 6, 1))),
            7,
            none,
            "update monitor m (the file changed) [Change]",
        ),
    ] {
        check(name, &live, interval, options, want);
    }
}

/// The ledger speaks of one id, and the object that is there now has another.
#[test]
fn what_took_the_place_of_ours_is_not_ours() {
    let other = |found: Found| Found { id: "id2".to_owned(), ..found };
    let made_again = |interval| Entry { id: String::new(), ..begun(known(5), interval, 0) };
    let none = Options::default();
    for (name, found, entry, interval, want) in [
        (
            "made again by a user, the same",
            other(found(5, 1)),
            known(5),
            5,
            "in sync monitor m [Note]",
        ),
        (
            "made again by a user, another",
            other(found(7, 1)),
            known(5),
            5,
            "leave monitor m (it exists, and not from this file; it differs in schedule.period.interval; --force takes it over) [-]",
        ),
        (
            "made again by a run that was cut off",
            other(found(6, 1)),
            made_again(6),
            6,
            "in sync monitor m [Note]",
        ),
    ] {
        check(name, &live(vec![found], Some(entry)), interval, none, want);
    }
    let same = live(vec![other(found(5, 1))], Some(known(5)));
    let Some(Work::Note(entry)) = step_of(&same, 5, none).work else { panic!("no note") };
    assert_eq!((entry.made, entry.id.as_str()), (false, "id2"), "so --prune leaves it");
    let another = live(vec![other(found(7, 1))], Some(known(5)));
    let options = Options { prune: true, force: true, ..none };
    let Some(Work::Change(write, _)) = step_of(&another, 5, options).work else { panic!("none") };
    assert!(!write.entry.made, "what is taken over was not made by us");
    let token = "0123456789abcdef".parse().unwrap();
    let kept = Kept { live: &same, token: &token, options, no_alerting: None };
    let steps: Vec<_> = kept.orphans(&[]).iter().map(short).collect();
    assert_eq!(steps, ["leave monitor m (no file has it any more, and it is gone) [Forget]"]);
}

#[test]
fn a_newer_store_that_shows_more_is_no_edit() {
    let mut newer = found(5, 1);
    newer.body["new_default"] = json!({"of": "the store"});
    let mut live = live(vec![newer], Some(known(5)));
    assert_eq!(
        short(&step_of(&live, 5, Options::default())),
        "leave monitor m (edited by a user: new_default; --force undoes it) [-]"
    );
    "3.8.0".clone_into(&mut live.about.version);
    assert_eq!(short(&step_of(&live, 5, Options::default())), "in sync monitor m [Note]");
}

#[test]
fn of_two_of_a_name_a_copy_goes_then_ours_gives_way_unless_it_is_in_use() {
    let other = |interval, version| Found { id: "id2".to_owned(), ..found(interval, version) };
    let theirs = || {
        let mut found = other(9, 1);
        found.body["triggers"][0]["query_level_trigger"]["id"] = json!("theirs");
        found
    };
    let mut running = found(5, 2);
    running.body["enabled"] = json!(true);
    for (name, found, entry, want, gone) in [
        ("a copy", vec![found(5, 1), other(5, 1)], Some(known(5)), "delete", Some("id2")),
        ("somebody else's", vec![found(5, 1), theirs()], Some(known(5)), "delete", Some("id1")),
        // In the order of their writing: a user's, then ours, which was switched on meanwhile.
        ("a user's copy", vec![other(5, 2), running.clone()], Some(known(5)), "leave", None),
        ("ours runs", vec![running, theirs()], Some(known(5)), "leave", None),
        ("ours is edited", vec![found(6, 2), theirs()], Some(known(5)), "leave", None),
        ("none is known", vec![found(5, 1), theirs()], None, "leave", None),
    ] {
        let step = step_of(&live(found, entry), 5, Options::default());
        assert!(step.to_string().starts_with(want), "{name}: {step}");
        let removed = match &step.work {
            Some(Work::Remove(_, found, _)) => Some(found.id.as_str()),
            _ => None,
        };
        assert_eq!(removed, gone, "{name}");
        assert_eq!(step.is_warning(), gone.is_none(), "{name}");
    }
}

#[test]
fn only_what_we_made_is_removed() {
    let token = "0123456789abcdef".parse().unwrap();
    let prune = Options { prune: true, ..Options::default() };
    let force = Options { force: true, ..prune };
    let adopted = || Entry { made: false, ..known(5) };
    for (name, live, options, want) in [
        (
            "kept",
            live(vec![found(5, 1)], Some(known(5))),
            Options::default(),
            "leave monitor m (no file has it any more; --prune removes it) [-]",
        ),
        (
            "removed",
            live(vec![found(5, 1)], Some(known(5))),
            prune,
            "delete monitor m (no file has it any more) [Remove]",
        ),
        (
            "edited",
            live(vec![found(6, 2)], Some(known(5))),
            prune,
            "leave monitor m (no file has it any more, but a user edited it; --force removes it) [-]",
        ),
        (
            "edited, forced",
            live(vec![found(6, 2)], Some(known(5))),
            force,
            "delete monitor m (no file has it any more) [Remove]",
        ),
        (
            "there before us",
            live(vec![found(5, 1)], Some(adopted())),
            force,
            "leave monitor m (no file has it any more; it was not made by us, and stays) [Forget]",
        ),
        (
            "gone already",
            live(vec![], Some(known(5))),
            prune,
            "leave monitor m (no file has it any more, and it is gone) [Forget]",
        ),
    ] {
        let kept = Kept { live: &live, token: &token, options, no_alerting: None };
        let steps: Vec<_> = kept.orphans(&[]).iter().map(short).collect();
        assert_eq!(steps, [want], "{name}");
    }
}

#[test]
fn what_a_file_leaves_out_goes_and_another_form_of_it_is_no_change() {
    let mut before = known(5);
    let mut said = file(5);
    said["throttled"] = json!({"by": "us", "for": 3});
    let mut there = found(5, 1);
    there.body["throttled"] = said["throttled"].clone();
    before.said = canonical(Object::Monitor, &said);
    before.applied = before.digest(&before.said);
    before.observed = canonical(Object::Monitor, &there.body);

    let step = step_of(&live(vec![there.clone()], Some(before.clone())), 5, Options::default());
    assert_eq!(short(&step), "update monitor m (the file changed) [Change]");
    assert!(step.to_string().contains("- throttled: {"), "{step}");
    // A user changed the rest as the file does: what the file leaves out is still to go.
    let mut edited = there.clone();
    edited.body["schedule"]["period"]["interval"] = json!(7);
    let step = step_of(&live(vec![edited], Some(before.clone())), 7, Options::default());
    assert!(step.to_string().contains("and its file changed too"), "{step}");

    // The long form of what was applied, as an export writes it.
    before.said["inputs"] = canonical(Object::Monitor, &found(5, 1).body)["inputs"].clone();
    before.said.as_object_mut().unwrap().remove("throttled");
    let step = step_of(&live(vec![there], Some(before)), 5, Options::default());
    assert_eq!(short(&step), "in sync monitor m [Note]");
}
