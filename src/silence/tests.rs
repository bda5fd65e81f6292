use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

fn monitor(id: &str, change: impl FnOnce(&mut Value)) -> Monitor {
    let mut body = json!({"name": format!("name of {id}"), "enabled": true,
        "enabled_time": at("01:00:00").as_millisecond(),
        "schedule": {"period": {"interval": 10, "unit": "MINUTES"}}});
    change(&mut body);
    Monitor { id: id.to_owned(), body, ..Monitor::default() }
}

#[test]
fn a_monitor_is_late_when_it_missed_two_runs_and_some_minutes() {
    let now = at("08:00:00");
    let (plain, cron, never, odd) = (
        monitor("m", |_| {}),
        monitor("m", |body| {
            body["schedule"] = json!({"cron": {"expression": "0 * * * *", "timezone": "UTC"}});
        }),
        monitor("m", |body| {
            body["schedule"] = json!({"cron": {"expression": "0 0 30 2 *", "timezone": "UTC"}});
        }),
        monitor("m", |body| body["schedule"] = json!({"moon": "full"})),
    );
    let young = monitor("m", |body| {
        body["last_update_time"] = json!(at("07:55:00").as_millisecond());
    });
    for (monitor, ran, since, want) in [
        (&plain, Ran::At(at("07:50:00")), None, None),
        (&plain, Ran::At(at("07:34:00")), None, None),
        (&plain, Ran::At(at("07:33:59")), None, Some("it ran last at 2026-11-21T07:33:59Z")),
        (&cron, Ran::At(at("06:00:00")), None, None),
        (&cron, Ran::At(at("05:00:02")), None, Some("twice since then")),
        (&never, Ran::NotYet, None, Some("never comes")),
        (&odd, Ran::At(at("01:00:00")), None, None),
        // A restarted node has not run it; how long that is so, only who looked before knows.
        (&plain, Ran::NotYet, None, None),
        (&plain, Ran::NotYet, Some(at("07:40:00")), None),
        (
            &plain,
            Ran::NotYet,
            Some(at("07:30:00")),
            Some("it has not run since 2026-11-21T07:30:00Z"),
        ),
        (&young, Ran::NotYet, Some(at("02:00:00")), None),
        (&plain, Ran::Nowhere, None, Some("no node runs it")),
        (&plain, Ran::Nowhere, Some(at("07:58:00")), None),
        (&plain, Ran::Nowhere, Some(at("07:50:00")), Some("no node runs it")),
        (&odd, Ran::Nowhere, None, Some("no node runs it")),
        (&young, Ran::Nowhere, None, None),
        (&plain, Ran::Unknown, Some(at("02:00:00")), None),
        (&young, Ran::AllOff, None, Some("plugins.scheduled_jobs.enabled")),
    ] {
        let seen = judge(monitor, ran, since, now);
        let what = seen.as_ref().map(|silent| silent.what.as_str());
        assert_eq!(what.is_some(), want.is_some(), "{ran:?} {since:?}: {what:?}");
        assert!(what.unwrap_or_default().contains(want.unwrap_or_default()), "{what:?}");
        assert!(seen.is_none_or(|one| one.reason == Reason::Late && !one.mend.is_empty()));
    }
}

#[test]
fn what_the_nodes_tell_is_known_for_each_monitor() {
    let last_runs = [("ran".to_owned(), Some(at("08:00:00"))), ("waits".to_owned(), None)];
    let jobs = Jobs { are_on: true, are_all: true, last_runs: last_runs.into() };
    let of = |id: &str, jobs: &Jobs| Ran::of(&monitor(id, |_| {}), jobs);
    assert_eq!(of("ran", &jobs), Ran::At(at("08:00:00")));
    assert_eq!((of("waits", &jobs), of("none", &jobs)), (Ran::NotYet, Ran::Nowhere));
    let some = Jobs { are_all: false, ..jobs.clone() };
    assert_eq!((of("waits", &some), of("none", &some)), (Ran::NotYet, Ran::Unknown));
    assert_eq!(of("ran", &Jobs { are_on: false, ..jobs }), Ran::AllOff);
}

#[test]
fn a_monitor_is_quiet_when_it_had_the_time_to_fire_and_did_not() {
    let asked = Asked { now: at("08:00:00"), all: true, days: 3 };
    let enabled = |text: &str| {
        let time: Timestamp = text.parse().unwrap();
        monitor("m", |body| body["enabled_time"] = json!(time.as_millisecond()))
    };
    for (since, has_fired, want) in [
        ("2026-11-18T07:59:00Z", false, true),
        ("2026-11-18T07:59:00Z", true, false),
        ("2026-11-18T08:01:00Z", false, false),
    ] {
        let seen = quiet(&enabled(since), has_fired, asked);
        assert_eq!(seen.is_some(), want, "{since}");
        assert!(seen.is_none_or(|one| one.what == "it has not fired for 3 days"));
    }
}

#[test]
fn only_a_failed_action_is_a_silence_and_the_newest_is_told() {
    let failure = |second: i64, message: &str| Failed {
        monitor_id: "m".to_owned(),
        monitor_name: "name".to_owned(),
        at: Timestamp::from_second(1_800_000_000 + second).ok(),
        message: message.to_owned(),
    };
    let all =
        vec![failure(1, "Failed running action: old"), failure(2, "Failed running action: new")];
    assert!(newest(all.clone(), |_| false).is_empty());
    let newest = newest(all, |id| id == "m");
    let silent = lost(&monitor("m", |_| {}), &newest["m"]).unwrap();
    assert_eq!(silent.what, "an action failed at 2027-01-15T08:00:02Z: new");
    assert_eq!(lost(&monitor("m", |_| {}), &failure(3, "Failed evaluating trigger: x")), None);
}
