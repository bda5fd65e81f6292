use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::alert::{
    Named,
    occasion::{Condition, Occasion},
};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

mod lasting;

fn alert(phase: Phase, id: Option<&str>) -> Alert {
    let named = |name: &str| Named { id: None, name: Some(name.to_owned()) };
    Alert {
        id: id.map(str::to_owned),
        rule: named("Beacons"),
        trigger: named("over 9"),
        phase,
        ..Alert::of(Source::OpenSearch)
    }
}

/// The same, of a condition with these parameters.
fn met(phase: Phase, id: Option<&str>, parameters: &serde_json::Value) -> Alert {
    let parameters = parameters.as_object().unwrap().clone();
    let condition = Condition { parameters, ..Condition::default() };
    let occasion = Some(Box::new(Occasion { condition, ..Occasion::default() }));
    Alert { occasion, ..alert(phase, id) }
}

/// What each of these messages means; they come at these minutes.
fn turns(messages: &[(i64, Alert)]) -> Vec<Turn> {
    let mut memory = Memory::default();
    messages.iter().map(|(minute, alert)| memory.judge(alert, at(*minute)).turn).collect()
}

#[test]
fn an_alert_is_told_once_whether_its_first_message_has_its_id_or_not() {
    use Phase::{Acknowledged, Engaged, Released};
    let one = |phase, id| alert(phase, id);
    for (what, messages, want) in [
        (
            "a first firing has no id, the next ones have",
            vec![
                (0, one(Engaged, None)),
                (1, one(Engaged, Some("a"))),
                (2, one(Engaged, Some("a"))),
            ],
            vec![Turn::Begins, Turn::Again, Turn::Again],
        ),
        (
            "each message without an id is a new alert",
            vec![(0, one(Engaged, None)), (1, one(Engaged, None)), (2, one(Engaged, Some("b")))],
            vec![Turn::Begins, Turn::Begins, Turn::Again],
        ),
        (
            "another id is another alert",
            vec![(0, one(Engaged, Some("a"))), (1, one(Engaged, Some("b")))],
            vec![Turn::Begins, Turn::Begins],
        ),
        (
            "the end is told once, and what comes late is not news",
            vec![
                (0, one(Engaged, None)),
                (1, one(Released, Some("a"))),
                (2, one(Released, Some("a"))),
                (3, one(Engaged, Some("a"))),
                (4, one(Engaged, None)),
            ],
            vec![Turn::Begins, Turn::Released, Turn::Known, Turn::Known, Turn::Begins],
        ),
        (
            "acknowledged once, and then it may end",
            vec![
                (0, one(Engaged, Some("a"))),
                (1, one(Acknowledged, Some("a"))),
                (2, one(Acknowledged, Some("a"))),
                (3, one(Released, Some("a"))),
                (4, one(Acknowledged, Some("a"))),
            ],
            vec![Turn::Begins, Turn::Acknowledged, Turn::Known, Turn::Released, Turn::Known],
        ),
        (
            "a begin that comes after the end is told, once",
            vec![
                (0, one(Released, Some("a"))),
                (1, one(Engaged, Some("a"))),
                (2, one(Engaged, Some("a"))),
                (3, one(Released, Some("a"))),
            ],
            vec![Turn::Released, Turn::Begins, Turn::Known, Turn::Known],
        ),
        (
            "a begin that comes after the acknowledgement is told, once",
            vec![
                (0, one(Acknowledged, Some("a"))),
                (1, one(Engaged, Some("a"))),
                (2, one(Engaged, Some("a"))),
            ],
            vec![Turn::Acknowledged, Turn::Begins, Turn::Again],
        ),
    ] {
        assert_eq!(turns(&messages), want, "{what}");
    }
}

#[test]
fn what_the_reconciler_read_back_is_the_same_alert() {
    let read_back = |phase, id| Alert { source: Source::Reconciler, ..alert(phase, Some(id)) };
    let messages = [
        (0, read_back(Phase::Engaged, "a")),
        (1, alert(Phase::Engaged, Some("a"))),
        (2, read_back(Phase::Released, "a")),
    ];
    assert_eq!(turns(&messages), [Turn::Begins, Turn::Again, Turn::Released]);
    // Its rule has its id, too.
    let mut other = read_back(Phase::Released, "b");
    other.rule.id = Some("monitor".to_owned());
    assert_eq!(
        turns(&[(0, alert(Phase::Engaged, None)), (1, other)]),
        [Turn::Begins, Turn::Released]
    );
}

#[test]
fn buckets_have_lives_of_their_own() {
    let of = |id: Option<&str>, key: &str| {
        let listed = json!({"bucket_keys": key, "parent_bucket_path": "p"});
        let bucket = crate::alert::bucket::Bucket::of_listed(listed.as_object().unwrap());
        Alert { bucket, ..alert(Phase::Engaged, id) }
    };
    let messages =
        [(0, of(None, "x")), (0, of(None, "y")), (1, of(Some("1"), "y")), (1, of(Some("2"), "x"))];
    assert_eq!(turns(&messages), [Turn::Begins, Turn::Begins, Turn::Again, Turn::Again]);
}

#[test]
fn what_has_no_life_is_told_each_time_unless_it_has_the_same_id() {
    let stored = |id| Alert { source: Source::Graylog, ..alert(Phase::Stored, id) };
    let messages =
        [(0, stored(None)), (1, stored(None)), (2, stored(Some("e"))), (3, stored(Some("e")))];
    assert_eq!(turns(&messages), [Turn::Begins, Turn::Begins, Turn::Begins, Turn::Known]);
}

#[test]
fn within_the_grace_after_the_end_nobody_is_told() {
    let grace = json!({"grace": 10});
    let begin = |id| met(Phase::Engaged, id, &grace);
    let end = |id| alert(Phase::Released, Some(id));
    for (what, messages, want) in [
        (
            "at its boundary",
            vec![
                (0, begin(Some("a"))),
                (5, end("a")),
                (14, begin(Some("b"))),
                (30, end("b")),
                (40, begin(Some("c"))),
            ],
            // What was held was never told, so its end is not told either.
            vec![Turn::Begins, Turn::Released, Turn::Held(at(15)), Turn::Known, Turn::Begins],
        ),
        (
            "one that outlives the grace is told then",
            vec![
                (0, begin(None)),
                (1, end("a")),
                (2, begin(None)),
                (5, begin(Some("b"))),
                (11, begin(Some("b"))),
                (12, begin(Some("b"))),
            ],
            vec![
                Turn::Begins,
                Turn::Released,
                Turn::Held(at(11)),
                Turn::Known,
                Turn::Begins,
                Turn::Again,
            ],
        ),
        (
            "an alert whose end nobody told ended with its last message",
            vec![(0, begin(Some("a"))), (3, begin(Some("a"))), (12, begin(Some("b")))],
            vec![Turn::Begins, Turn::Again, Turn::Held(at(13))],
        ),
        (
            "the reconciler does not tell the condition, which is remembered",
            vec![
                (0, begin(Some("a"))),
                (1, end("a")),
                (2, Alert { source: Source::Reconciler, ..alert(Phase::Engaged, Some("b")) }),
            ],
            vec![Turn::Begins, Turn::Released, Turn::Held(at(11))],
        ),
    ] {
        assert_eq!(turns(&messages), want, "{what}");
    }
    let zero = met(Phase::Engaged, Some("b"), &json!({"grace": 0}));
    assert_eq!(turns(&[(0, begin(Some("a"))), (1, end("a")), (1, zero)])[2], Turn::Begins);
}

#[test]
fn an_end_in_the_future_is_now() {
    let mut end = alert(Phase::Released, Some("a"));
    end.end = Some(at(500));
    let messages = [
        (0, met(Phase::Engaged, Some("a"), &json!({"grace": 1}))),
        (5, end),
        (6, met(Phase::Engaged, Some("b"), &json!({"grace": 1}))),
    ];
    assert_eq!(turns(&messages)[2], Turn::Begins);
}

#[test]
fn graylog_has_waited_for_its_grace_itself() {
    let mut alert = met(Phase::Stored, None, &json!({"grace": 7, "repeat_notifications": true}));
    assert_eq!(Terms::of(&alert).map(|terms| (terms.grace, terms.repeat)), Some((7, true)));
    alert.source = Source::Graylog;
    assert_eq!(Terms::of(&alert).map(|terms| terms.grace), Some(0));
    assert_eq!(Terms::of(&Alert::of(Source::OpenSearch)), None);
}

#[test]
fn what_was_kept_goes_on_where_it_was() {
    let mut memory = Memory::default();
    let message = [7; 16];
    assert!(!memory.is_repeated(message));
    assert!(memory.is_repeated(message));
    memory.judge(&met(Phase::Engaged, None, &json!({"grace": 10, "callbacks": ["x"]})), at(0));
    memory.judge(&alert(Phase::Released, Some("a")), at(1));
    let Changes { episodes, messages } = memory.changes();
    assert_eq!(messages, [message]);
    assert_eq!(memory.changes(), Changes::default(), "each is told once");

    let kept = episodes.into_iter().filter_map(|(number, one)| Some((number, one?)));
    let texts = kept.map(|(number, one)| (number, serde_json::to_string(&one).unwrap()));
    let read = texts.map(|(number, text)| (number, serde_json::from_str(&text).unwrap()));
    let mut again = Memory::of(read, 7, messages);
    assert!(again.is_repeated(message));
    let judged = again.judge(&alert(Phase::Engaged, Some("b")), at(2));
    assert_eq!((judged.turn, judged.episode), (Turn::Held(at(11)), Some(8)));
    assert_eq!(judged.terms.callbacks, ["x"]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut memory = Memory::default();
    let mut last = None;
    for number in 0..i64::try_from(MOST).unwrap() + 5 {
        let id = number.to_string();
        last = memory.judge(&alert(Phase::Engaged, Some(&id)), at(0)).episode;
    }
    assert_eq!(memory.episodes.len(), MOST);
    assert_eq!((memory.by_alert.len(), memory.latest.len()), (MOST, 1));
    let forgotten = memory.changes().episodes.values().filter(|one| one.is_none()).count();
    assert_eq!(forgotten, 5);
    memory.judge(&alert(Phase::Stored, None), at(31 * 24 * 60));
    assert!(memory.episodes.is_empty(), "{last:?}");
    for number in 0..u64::try_from(MESSAGES).unwrap() + 3 {
        let mut message = [0; 16];
        message[..8].copy_from_slice(&number.to_be_bytes());
        memory.is_repeated(message);
    }
    assert_eq!((memory.messages.len(), memory.order.len()), (MESSAGES, MESSAGES));
}
