//! Three replicas on one store: what each does between a read and a write, who loses a race, who is
//! killed between the series and its records, and whose requests come late is drawn by lot. At the end
//! the records are those of the set of all messages.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{
    tests::{Records, message, messages, name, wanted},
    *,
};

const NOW: i64 = 1_793_966_400_000;

#[derive(Clone, Debug)]
enum Step {
    /// Goes one step on: read, write the series, or write one of the records.
    On(usize),
    /// Its write takes effect, but it is told that it failed.
    Unanswered(usize),
    /// `kill -9`: what it took from its spool is still there.
    Crash(usize),
    /// Its clock jumps by so many ms.
    Clock(usize, i64),
}

#[derive(Default)]
struct Replica {
    spool: VecDeque<Vec<Message>>,
    clock: i64,
    at_work: Option<Work>,
}

enum Work {
    /// The series as it was read, with its messages added, and the version that was read.
    Added { series: Series, version: u64, is_news: bool, records: Vec<Happening> },
    /// The series is written; these records are not yet.
    Writing(Vec<Happening>),
}

#[derive(Default)]
struct Store {
    series: Series,
    version: u64,
    records: Records,
}

impl Replica {
    /// Gives whether there was anything to do.
    fn step(&mut self, store: &mut Store, is_answered: bool) -> bool {
        self.at_work = match self.at_work.take() {
            None => {
                let Some(batch) = self.spool.front() else { return false };
                let mut series = store.series.clone();
                let (mut records, mut changed) = (Vec::new(), false);
                for message in batch {
                    match series.add(message, NOW + self.clock, name) {
                        Added::Happenings { touched, is_news } => {
                            records.extend(touched);
                            changed |= is_news;
                        }
                        Added::TooLate => unreachable!("so few are not forgotten"),
                    }
                }
                Some(Work::Added { series, version: store.version, is_news: changed, records })
            }
            Some(Work::Added { is_news: false, records, .. }) => Some(Work::Writing(records)),
            Some(Work::Added { version, .. }) if version != store.version => None,
            Some(Work::Added { series, records, .. }) => {
                store.series = series;
                store.version += 1;
                is_answered.then_some(Work::Writing(records))
            }
            Some(Work::Writing(mut records)) => {
                if let Some(one) = records.pop() {
                    store.records.write(&one);
                    Some(Work::Writing(records))
                } else {
                    self.spool.pop_front();
                    None
                }
            }
        };
        true
    }
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..3_usize;
    prop_oneof![
        12 => who().prop_map(Step::On),
        1 => who().prop_map(Step::Unanswered),
        1 => who().prop_map(Step::Crash),
        1 => (who(), -5_000..5_000_i64).prop_map(|(who, ms)| Step::Clock(who, ms)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn replicas_that_race_and_crash_end_with_the_right_records(
        all in messages(),
        // Who gets each message; some come to several replicas.
        places in proptest::collection::vec((0..3_usize, any::<bool>(), 1..4_usize), 12),
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut replicas: [Replica; 3] = Default::default();
        let mut rest = all.as_slice();
        for (who, is_doubled, size) in &places {
            let (batch, others) = rest.split_at((*size).min(rest.len()));
            rest = others;
            replicas[*who].spool.push_back(batch.to_vec());
            if *is_doubled {
                replicas[(who + 1) % 3].spool.push_front(batch.to_vec());
            }
        }
        let mut store = Store::default();
        for step in steps {
            match step {
                Step::On(who) => drop(replicas[who].step(&mut store, true)),
                Step::Unanswered(who) => drop(replicas[who].step(&mut store, false)),
                Step::Crash(who) => replicas[who].at_work = None,
                Step::Clock(who, ms) => replicas[who].clock += ms,
            }
        }
        for replica in &mut replicas {
            while replica.step(&mut store, true) {}
        }
        prop_assert_eq!(store.records.shown(), wanted(&all));
    }
}

#[test]
fn the_model_sees_a_record_that_is_written_over_by_an_older_state() {
    let (mut series, mut records) = (Series::default(), Records::default());
    let all = [message(1, Kind::Engage, 0), message(2, Kind::Release, 0)];
    let states: Vec<_> = all
        .iter()
        .flat_map(|message| match series.add(message, NOW, name) {
            Added::Happenings { touched, .. } => touched,
            Added::TooLate => Vec::new(),
        })
        .collect();
    records.write(&states[0]);
    assert_ne!(records.shown(), wanted(&all));
    for state in states.iter().rev() {
        records.write(state);
    }
    assert_eq!(records.shown(), wanted(&all), "the older state changes nothing");
}
