use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// A time of the receipts and of the clocks.
const NOON: i64 = 1_793_966_400_000;

pub(super) fn name((at, kind): Moment) -> Name {
    let key = format!("{at}{kind:?}");
    Name { index: "i".to_owned(), id: format!("261106-{key}"), key }
}

/// A message of this second; `variant` tells messages of the same moment apart.
pub(super) fn message(second: i64, kind: Kind, variant: u8) -> Message {
    let content = json!({"event": {"reason": variant}, "rule": {"name": "r"}});
    Message {
        moment: (second * 1_000, kind),
        is_timed: true,
        received: NOON + i64::from(variant),
        hash: format!("{variant}"),
        content: content.to_string(),
    }
}

/// What the records say at the end, whatever their ids are: start, end, whether it is over, what was
/// said last, and the earliest receipt.
pub(super) type Shown = (String, String, String, u64, String);

pub(super) fn shown(document: &str) -> Shown {
    let document: Value = serde_json::from_str(document).unwrap();
    let event = &document["event"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(
        (&document["firstPacket"], &document["lastPacket"]),
        (&event["start"], &event["end"])
    );
    let (start, end) = (text(&event["start"]), text(&event["end"]));
    let said = event["reason"].as_u64().unwrap();
    (start, end, text(&event["action"]), said, text(&event["ingested"]))
}

/// The same, from the set of all messages, in the most plain way.
pub(super) fn wanted(messages: &[Message]) -> Vec<Shown> {
    let mut moments: BTreeMap<Moment, (u64, i64)> = BTreeMap::new();
    for message in messages {
        let said: u64 = message.hash.parse().unwrap();
        let one = moments.entry(message.moment).or_insert((said, message.received));
        *one = (one.0.max(said), one.1.min(message.received));
    }
    let mut pieces: Vec<Vec<(Moment, (u64, i64))>> = vec![Vec::new()];
    for (moment, told) in moments {
        pieces.last_mut().unwrap().push((moment, told));
        if moment.1 == Kind::Release {
            pieces.push(Vec::new());
        }
    }
    let text = |ms: i64| format!("{:.3}", jiff::Timestamp::from_millisecond(ms).unwrap());
    let mut shown: Vec<Shown> = Vec::new();
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let (first, last) = (piece[0], piece[piece.len() - 1]);
        let action = if last.0.1 == Kind::Release { "released" } else { "engaged" };
        let received = piece.iter().map(|(_, (_, received))| *received).min().unwrap();
        shown.push((text(first.0.0), text(last.0.0), action.to_owned(), last.1.0, text(received)));
    }
    shown.sort();
    shown
}

/// The records: the newest state that was written of each.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<String, Happening>);

impl Records {
    /// As [`REPLACE_SCRIPT`] does it.
    pub(super) fn write(&mut self, one: &Happening) {
        let have = self.0.get(&one.name.id);
        if have.is_none_or(|have| have.sequence < one.sequence) {
            self.0.insert(one.name.id.clone(), one.clone());
        }
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<_> =
            self.0.values().map(|one| shown(&one.document("firstPacket"))).collect();
        all.sort();
        all
    }
}

fn play(messages: &[Message]) -> (Series, Records) {
    let (mut series, mut records) = (Series::default(), Records::default());
    for message in messages {
        let Added::Happenings { touched, .. } = series.add(message, NOON, name) else {
            panic!("nothing is forgotten here");
        };
        for one in &touched {
            records.write(one);
        }
    }
    (series, records)
}

pub(super) fn messages() -> impl Strategy<Value = Vec<Message>> {
    let kind = prop_oneof![3 => Just(Kind::Engage), 2 => Just(Kind::Release)];
    let one = (0..12_i64, kind, 0..4_u8).prop_map(|(at, kind, v)| message(at, kind, v));
    proptest::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_order_and_repetition_ends_with_the_same_records(
        (all, order) in messages().prop_flat_map(|all| {
            let twice: Vec<_> = all.iter().chain(&all).cloned().collect();
            (Just(all), Just(twice).prop_shuffle())
        })
    ) {
        let (series, records) = play(&order);
        prop_assert_eq!(records.shown(), wanted(&all));
        // What is kept of it is the same after the store has had it.
        let text = serde_json::to_string(&series).unwrap();
        let mut again: Series = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&again, &series);
        for message in &order {
            let added = again.add(message, NOON, name);
            let is_known = matches!(added, Added::Happenings { is_news: false, .. });
            prop_assert!(is_known, "{:?} is known", message.moment);
        }
        prop_assert_eq!(again, series);
    }

    #[test]
    fn whoever_repeats_a_message_writes_what_the_first_one_may_have_left_unwritten(
        (all, order, lost) in messages().prop_flat_map(|all| {
            let most = all.len();
            (Just(all.clone()), Just(all).prop_shuffle(), 0..most)
        })
    ) {
        let (mut series, mut records) = (Series::default(), Records::default());
        for (n, message) in order.iter().enumerate() {
            if let Added::Happenings { touched, .. } = series.add(message, NOON, name)
                && n != lost
            {
                for one in &touched {
 records.write(one);
 }
            }
        }
        if let Added::Happenings { touched, .. } = series.add(&order[lost], NOON, name) {
            for one in &touched {
 records.write(one);
 }
        }
        prop_assert_eq!(records.shown(), wanted(&all));
    }
}

/// Engaged (`e`) and released (`r`) at these seconds, in this order of receipt; and what the records
/// say: `start-end`, open ones without an end.
#[test]
fn what_comes_in_which_order_and_what_the_records_are() {
    for (what, order, want) in [
        ("engaged, refreshed, released", "e1 e2 r3", "1-3"),
        ("engaged and refreshed", "e1 e2", "1-"),
        ("a release without an engage", "r3", "3-3"),
        ("the release comes first", "r3 e1", "1-3"),
        ("a refresh comes after the release", "e1 r3 e2", "1-3"),
        ("twice", "e1 e1 r3 r3 e1", "1-3"),
        ("two happenings", "e1 r3 e5 r7", "1-3 5-7"),
        ("the first release comes last", "e1 e5 r7 r3", "1-3 5-7"),
        ("the second engage comes last", "e1 r3 r7 e5", "1-3 5-7"),
        ("a release after a release", "e1 r3 r4", "1-3 4-4"),
        ("within one instant", "r3 e3", "3-3"),
        ("released and engaged within one instant", "e1 e3 r3", "1-3"),
        ("engaged again", "e1 r3 e5", "1-3 5-"),
        ("engaged again, and the release comes late", "e1 e5 r3", "1-3 5-"),
    ] {
        let messages: Vec<_> = order
            .split(' ')
            .map(|one| {
                let kind = if one.starts_with('e') { Kind::Engage } else { Kind::Release };
                message(one[1..].parse().unwrap(), kind, 0)
            })
            .collect();
        let (series, records) = play(&messages);
        let second = |text: &str| text[17..19].trim_start_matches('0').to_owned();
        let short = |(start, end, action, ..): &Shown| {
            let end = if action == "released" { second(end) } else { String::new() };
            format!("{}-{end}", second(start))
        };
        let got: Vec<_> = records.shown().iter().map(short).collect();
        assert_eq!(got.join(" "), want, "{what}");
        assert_eq!(series.is_engaged(), want.ends_with('-'), "{what}");
    }
}

#[test]
fn a_record_has_start_end_and_duration_of_the_whole_and_the_words_of_the_last() {
    let (_, records) = play(&[
        message(1, Kind::Engage, 1),
        message(3, Kind::Release, 3),
        message(2, Kind::Engage, 2),
    ]);
    let one = records.0.values().next().unwrap();
    let document: Value = serde_json::from_str(&one.document("@timestamp")).unwrap();
    assert_eq!(document["event"]["duration"], json!(2_000_000_000_i64));
    assert_eq!(document["event"]["reason"], json!(3));
    assert_eq!(document["event"]["id"], json!("1000Engage"));
    assert_eq!(document["@timestamp"], document["firstPacket"]);
    assert_eq!(document["rule"]["name"], json!("r"));
}

#[test]
fn a_release_without_a_time_that_is_repeated_is_one() {
    let at = |second, kind, hash: &str| Message {
        is_timed: false,
        hash: hash.to_owned(),
        ..message(second, kind, 0)
    };
    let (series, records) = play(&[
        at(1, Kind::Engage, "e"),
        at(3, Kind::Release, "r"),
        at(4, Kind::Release, "r"),
        at(6, Kind::Engage, "e"),
        at(9, Kind::Release, "r"),
    ]);
    assert_eq!(records.0.len(), 2, "{records:?}");
    assert_eq!(series.happenings.len(), 2);
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_older_is_told_to_be_late() {
    let mut series = Series::default();
    let add =
        |series: &mut Series, second, kind, now| series.add(&message(second, kind, 0), now, name);
    for n in 0..100 {
        add(&mut series, n * 10, Kind::Engage, NOON);
        add(&mut series, n * 10 + 5, Kind::Release, NOON);
    }
    // A crash may have left any of them unwritten: none is forgotten at once.
    assert_eq!(series.happenings.len(), 100);
    let later = NOON + SETTLED + 1_000;
    add(&mut series, 2_000, Kind::Engage, later);
    assert_eq!(series.happenings.len(), REMEMBERED);
    assert_eq!(add(&mut series, 0, Kind::Engage, later), Added::TooLate);
    let first_kept = (101 - i64::try_from(REMEMBERED).unwrap()) * 10;
    assert_eq!(add(&mut series, first_kept - 5, Kind::Release, later), Added::TooLate);
    let known = add(&mut series, first_kept, Kind::Engage, later);
    assert!(matches!(known, Added::Happenings { is_news: false, .. }), "{known:?}");
    for second in 2_001..2_500 {
        add(&mut series, second, Kind::Engage, later);
    }
    assert_eq!(series.happenings.last().unwrap().moments.len(), MOMENTS);
    let one = series.happenings.last().unwrap().document("firstPacket");
    assert_eq!(shown(&one).0, "1970-01-01T00:33:20.000Z", "it began with its first moment");
    for second in 3_000..3_000 + i64::try_from(MOST).unwrap() + 50 {
        add(&mut series, second, Kind::Release, later);
    }
    assert!(series.happenings.len() <= MOST);
}

#[test]
fn no_two_happenings_share_a_record() {
    let mut all = BTreeSet::new();
    let mut series = Series::default();
    for (second, kind) in
        [(5, Kind::Release), (1, Kind::Engage), (3, Kind::Release), (4, Kind::Engage)]
    {
        series.add(&message(second, kind, 0), NOON, name);
    }
    for one in &series.happenings {
        assert!(all.insert(one.name.id.clone()), "{series:?}");
    }
    assert_eq!(all.len(), 2);
}
