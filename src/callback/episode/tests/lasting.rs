//! The episodes of ntopng and Alertmanager, whose messages say when they were so.

use super::*;

/// One of these, said at this minute: `e` engaged, `r` released, `s` stored, and the minute.
fn said(source: Source, id: Option<&str>, series: Option<&str>, what: &str) -> Alert {
    let phase = match &what[..1] {
        "e" => Phase::Engaged,
        "r" => Phase::Released,
        _ => Phase::Stored,
    };
    Alert {
        source,
        series: series.map(str::to_owned),
        as_of: Some(at(what[1..].parse().unwrap())),
        ..alert(phase, id)
    }
}

/// In short, what each of these messages means, each received a minute after the one before.
fn heard(messages: &[Alert]) -> String {
    let mut memory = Memory::default();
    let turns = messages.iter().zip(100..).map(|(alert, minute)| {
        match memory.judge(alert, at(minute)).turn {
            Turn::Begins => "begins",
            Turn::Again => "again",
            Turn::Released => "released",
            Turn::Known => "known",
            Turn::Held(_) => "held",
            Turn::Acknowledged => "acknowledged",
        }
    });
    turns.collect::<Vec<_>>().join(" ")
}

#[test]
fn of_a_series_each_happening_is_told_once() {
    for (what, messages, want) in [
        ("a life", "e1 e2 r3", "begins again released"),
        ("two lives", "e1 r3 e5 r7", "begins released begins released"),
        ("doubled", "e1 e1 r3 r3 e1", "begins again released known known"),
        ("a late refresh", "e1 r3 e2 e3", "begins released known known"),
        ("a release without an engage, and its engage late", "r3 e1 e1", "released begins known"),
        ("the release of the one before comes late", "e1 e5 r3 r7", "begins again known released"),
        ("a late release of what was told to be over", "e1 r3 r2", "begins released known"),
        ("within one instant", "e3 r3 e4", "begins released begins"),
    ] {
        for source in [Source::Ntopng, Source::Alertmanager] {
            let of = |what: &str| said(source, None, Some("host 10.0.0.1 flood"), what);
            let messages: Vec<_> = messages.split(' ').map(of).collect();
            assert_eq!(heard(&messages), want, "{source}: {what}");
        }
    }
}

#[test]
fn of_an_alert_with_an_id_each_happening_is_told_once() {
    let both = [Source::Ntopng, Source::Alertmanager].as_slice();
    for (what, sources, messages, want) in [
        ("a life", both, "e1 e2 r3", "begins again released"),
        ("doubled", both, "e1 e1 r3 r3 e1", "begins again released known known"),
        ("the release first", both, "r3 e1 e2", "released begins known"),
        (
            "ntopng released is over",
            &[Source::Ntopng],
            "e1 r3 e9 r9",
            "begins released known known",
        ),
        (
            "Alertmanager took silence for the end",
            &[Source::Alertmanager],
            "e1 r3 e9 e9 r12",
            "begins released begins again released",
        ),
        (
            "and the first end is told again later",
            &[Source::Alertmanager],
            "e1 r3 e9 r3",
            "begins released begins known",
        ),
    ] {
        for source in sources {
            let of = |what: &str| said(*source, Some("host-1793961200"), None, what);
            let messages: Vec<_> = messages.split(' ').map(of).collect();
            assert_eq!(heard(&messages), want, "{source}: {what}");
        }
    }
}

#[test]
fn one_rule_is_engaged_for_many_hosts_at_once() {
    let with_id = |id: &str, what: &str| said(Source::Ntopng, Some(id), None, what);
    let of_series = |series: &str, what: &str| said(Source::Ntopng, None, Some(series), what);
    for messages in [
        [with_id("a", "e1"), with_id("b", "e2"), with_id("a", "r3"), with_id("b", "r4")],
        [of_series("a", "e1"), of_series("b", "e2"), of_series("a", "r3"), of_series("b", "r4")],
    ] {
        assert_eq!(heard(&messages), "begins begins released released");
    }
}

#[test]
fn what_is_stored_runs_once() {
    let stored = |id: Option<&str>| said(Source::Ntopng, id, None, "s1");
    assert_eq!(
        heard(&[stored(Some("a")), stored(Some("a")), stored(Some("b"))]),
        "begins known begins"
    );
}

#[test]
fn a_restart_forgets_nothing_of_it() {
    let of = |what: &str| said(Source::Ntopng, None, Some("a"), what);
    let mut memory = Memory::default();
    memory.judge(&of("e1"), at(100));
    memory.judge(&of("r3"), at(101));
    let kept =
        memory.changes().episodes.into_iter().filter_map(|(number, one)| Some((number, one?)));
    let text = serde_json::to_string(&kept.collect::<Vec<_>>()).unwrap();
    let kept: Vec<(i64, Episode)> = serde_json::from_str(&text).unwrap();
    let mut memory = Memory::of(kept, 1, []);
    assert_eq!(memory.judge(&of("e2"), at(102)).turn, Turn::Known);
    assert_eq!(memory.judge(&of("e4"), at(103)).turn, Turn::Begins);
}
