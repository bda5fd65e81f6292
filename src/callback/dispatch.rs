//! Which callbacks an alert has at this turn of its life. Pure.

use jiff::Timestamp;

use super::{
    episode::{Judged, Memory, MessageHash, Turn},
    matching::{Action, Match},
};
use crate::alert::{Alert, Source};

/// What is known of a callback when it is decided whether it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub matching: Match,
    /// Whether it runs at each message.
    pub repeat: bool,
}

/// What is due for an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Name of the callback.
    pub callback: String,
    /// For what.
    pub action: Action,
    /// Whether it runs.
    pub state: DueState,
    /// Number of the alert's episode.
    pub episode: Option<i64>,
}

/// Whether a callback that is due runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DueState {
    /// As soon as it can.
    Pending,
    /// It does not, because of the grace that ends then.
    Held(Timestamp),
    /// It cannot: the condition names a callback that is not configured.
    Unknown,
}

/// What is due for the alerts of a message that was received then. Of the same message nothing is
/// due twice.
pub fn decide(
    message: MessageHash,
    alerts: &[&Alert],
    received: Timestamp,
    candidates: &[Candidate],
    memory: &mut Memory,
) -> Vec<Vec<Due>> {
    let concerns = |alert: &Alert| {
        let any = |one: &Candidate| {
            let named = std::slice::from_ref(&one.name);
            one.matching.admits(&one.name, alert, &[])
                || one.matching.admits(&one.name, alert, named)
        };
        candidates.iter().any(any)
            || super::episode::Terms::of(alert).is_some_and(|terms| !terms.callbacks.is_empty())
    };
    // Nothing is remembered of what no callback is for: most alerts, perhaps.
    let concerned: Vec<bool> = alerts.iter().map(|alert| concerns(alert)).collect();
    // Alertmanager says the same again when an alert that it took for over fires on.
    let is_known_otherwise =
        |alert: &&&Alert| alert.source == Source::Alertmanager && alert.id.is_some();
    let may_say_it_again = alerts.iter().filter(is_known_otherwise).count() == alerts.len();
    if !concerned.contains(&true) || (!may_say_it_again && memory.is_repeated(message)) {
        return alerts.iter().map(|_| Vec::new()).collect();
    }
    let of = |(alert, concerned): (&&Alert, bool)| {
        if concerned { due(alert, received, candidates, memory) } else { Vec::new() }
    };
    alerts.iter().zip(concerned).map(of).collect()
}

fn due(
    alert: &Alert,
    received: Timestamp,
    candidates: &[Candidate],
    memory: &mut Memory,
) -> Vec<Due> {
    let Judged { turn, episode, terms } = memory.judge(alert, received);
    let action = Action::of(alert.phase);
    let state = match turn {
        Turn::Known => return Vec::new(),
        Turn::Held(until) => DueState::Held(until),
        Turn::Begins | Turn::Again | Turn::Acknowledged | Turn::Released => DueState::Pending,
    };
    let named = &terms.callbacks;
    let runs = |one: &&Candidate| {
        one.matching.actions.contains(&action)
            && (turn != Turn::Again || one.repeat || terms.repeat)
            && one.matching.admits(&one.name, alert, named)
    };
    let known = candidates.iter().filter(runs).map(|one| (one.name.clone(), state.clone()));
    let is_missing =
        |name: &&String| turn == Turn::Begins && !candidates.iter().any(|one| one.name == **name);
    let missing = named.iter().filter(is_missing).map(|name| (name.clone(), DueState::Unknown));
    let due = |(callback, state)| Due { callback, action, state, episode };
    known.chain(missing).map(due).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::{
        Phase,
        occasion::{Condition, Occasion},
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn candidate(name: &str, actions: &[Action], repeat: bool) -> Candidate {
        let matching = Match { actions: actions.to_vec(), ..Match::default() };
        Candidate { name: name.to_owned(), matching, repeat }
    }

    fn alert(phase: Phase, parameters: &serde_json::Value) -> Alert {
        let parameters = parameters.as_object().unwrap().clone();
        let condition = Condition { parameters, ..Condition::default() };
        Alert {
            id: Some("a".to_owned()),
            phase,
            occasion: Some(Box::new(Occasion { condition, ..Occasion::default() })),
            ..Alert::of(Source::OpenSearch)
        }
    }

    /// Who is due for each of these messages in turn; `~` before those that do not run.
    fn told(candidates: &[Candidate], messages: &[Alert]) -> Vec<Vec<String>> {
        let mut memory = Memory::default();
        let mut number = 0_u8;
        let mut one = |alert: &Alert| {
            number += 1;
            let due = decide([number; 16], &[alert], NOW, candidates, &mut memory).remove(0);
            let told = |due: Due| match due.state {
                DueState::Pending => due.callback,
                DueState::Held(_) => format!("~{}", due.callback),
                DueState::Unknown => format!("?{}", due.callback),
            };
            due.into_iter().map(told).collect()
        };
        messages.iter().map(&mut one).collect()
    }

    #[test]
    fn each_callback_runs_at_its_turns() {
        use Phase::{Acknowledged, Engaged, Released, Stored};
        let candidates = [
            candidate("usual", &Action::USUAL, false),
            candidate("again", &Action::USUAL, true),
            candidate("end", &[Action::Released], false),
            candidate("noted", &[Action::Acknowledged], true),
        ];
        let none = json!({});
        let life = [Engaged, Engaged, Acknowledged, Acknowledged, Released, Released];
        let messages: Vec<_> = life.iter().map(|phase| alert(*phase, &none)).collect();
        let want =
            [vec!["usual", "again"], vec!["again"], vec!["noted"], vec![], vec!["end"], vec![]];
        assert_eq!(told(&candidates, &messages), want);
        assert_eq!(told(&candidates, &[alert(Stored, &none)]), [["usual", "again"]]);
        let repeating = json!({"repeat_notifications": true});
        let messages = [alert(Engaged, &repeating), alert(Engaged, &repeating)];
        assert_eq!(told(&candidates, &messages), [["usual", "again"], ["usual", "again"]]);
    }

    #[test]
    fn a_condition_that_names_its_callbacks_has_no_others() {
        let candidates =
            [candidate("one", &Action::USUAL, false), candidate("two", &Action::USUAL, false)];
        let named = json!({"callbacks": ["two", "gone"]});
        let messages = [alert(Phase::Engaged, &named), alert(Phase::Engaged, &named)];
        assert_eq!(told(&candidates, &messages), [vec!["two", "?gone"], vec![]]);
    }

    #[test]
    fn what_is_held_is_told_as_held() {
        let candidates = [candidate("one", &Action::USUAL, true)];
        let grace = json!({"grace": 5});
        let mut next = alert(Phase::Engaged, &grace);
        next.id = Some("b".to_owned());
        let messages = [alert(Phase::Engaged, &grace), alert(Phase::Released, &grace), next];
        assert_eq!(told(&candidates, &messages), [vec!["one"], vec![], vec!["~one"]]);
    }

    #[test]
    fn the_same_message_again_runs_nothing_and_what_no_callback_is_for_is_not_remembered() {
        let candidates = [candidate("one", &Action::USUAL, true)];
        let mut memory = Memory::default();
        let alert = Alert::of(Source::OpenSearch);
        let again = |memory: &mut Memory| {
            decide([1; 16], &[&alert], NOW, &candidates, memory).iter().map(Vec::len).sum::<usize>()
        };
        assert_eq!((again(&mut memory), again(&mut memory)), (1, 0));
        let mut nobody = candidates.clone();
        nobody[0].matching.min_severity = 99;
        let mut memory = Memory::default();
        assert!(decide([1; 16], &[&alert], NOW, &nobody, &mut memory)[0].is_empty());
        assert_eq!(memory.changes(), crate::callback::episode::Changes::default());
    }

    #[test]
    fn alertmanager_may_say_the_same_again_when_it_took_silence_for_the_end() {
        let candidates = [candidate("one", &Action::USUAL, false)];
        let mut memory = Memory::default();
        let mut heard = |message: u8, phase: Phase, minute: i64| {
            let received = Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
            let (id, as_of) = (Some("a-1".to_owned()), Some(received));
            let alert = Alert { id, phase, as_of, ..Alert::of(Source::Alertmanager) };
            decide([message; 16], &[&alert], received, &candidates, &mut memory)[0].len()
        };
        let (firing, resolved) = (1, 2);
        assert_eq!(heard(firing, Phase::Engaged, 0), 1);
        assert_eq!(heard(firing, Phase::Engaged, 1), 0, "a repeat");
        heard(resolved, Phase::Released, 5);
        assert_eq!(heard(firing, Phase::Engaged, 9), 1);
    }
}
