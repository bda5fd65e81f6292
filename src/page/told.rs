//! What came of a form, told on the page that it leads to. It stands in the address (`?told=…`) as a
//! word of ours and a number, so that nobody can have our page say something by a link. Pure.

use super::shown::count;

/// The parameter.
pub const PARAMETER: &str = "told";

/// What came of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// So many dead letters are entries again; so many had only their head left.
    Replayed(u64, u64),
    /// So many dead letters are gone.
    Dropped(u64),
    /// So many deliveries are pending again.
    RunAgain(u64),
    /// An alert is acknowledged.
    Acknowledged,
    /// It was before.
    AlreadyAcknowledged,
    /// It is over.
    Over,
    /// OpenSearch knows no such alert.
    UnknownAlert,
    /// Its monitor is gone.
    MonitorGone,
    /// OpenSearch refused.
    NotAcknowledged,
    /// OpenSearch did not answer.
    NoAnswer,
    /// A monitor is switched on.
    Enabled,
    /// A monitor is switched off.
    Disabled,
    /// Somebody changed the monitor in the same moment.
    Changed,
}

impl Told {
    const PLAIN: [(&'static str, Self); 10] = [
        ("acknowledged", Self::Acknowledged),
        ("already", Self::AlreadyAcknowledged),
        ("over", Self::Over),
        ("unknown", Self::UnknownAlert),
        ("monitor-gone", Self::MonitorGone),
        ("refused", Self::NotAcknowledged),
        ("no-answer", Self::NoAnswer),
        ("enabled", Self::Enabled),
        ("disabled", Self::Disabled),
        ("changed", Self::Changed),
    ];

    /// From a query; nothing where it says nothing of ours.
    #[must_use]
    pub fn of(query: &str) -> Option<Self> {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(name, _)| name == PARAMETER)?;
        if let Some((_, told)) = Self::PLAIN.iter().find(|(word, _)| *word == value) {
            return Some(*told);
        }
        let mut parts = value.split('.');
        let (word, first) = (parts.next()?, parts.next()?.parse().ok()?);
        let second = parts.next().map(str::parse).transpose().ok()?;
        match (word, second) {
            ("replayed", Some(left)) => Some(Self::Replayed(first, left)),
            ("dropped", None) => Some(Self::Dropped(first)),
            ("run-again", None) => Some(Self::RunAgain(first)),
            _ => None,
        }
    }

    /// For an address.
    #[must_use]
    pub fn query(self) -> String {
        let value = match self {
            Self::Replayed(done, left) => format!("replayed.{done}.{left}"),
            Self::Dropped(done) => format!("dropped.{done}"),
            Self::RunAgain(done) => format!("run-again.{done}"),
            told => {
                let known = Self::PLAIN.iter().find(|(_, one)| *one == told);
                known.map_or_else(String::new, |(word, _)| (*word).to_owned())
            }
        };
        format!("{PARAMETER}={value}")
    }

    /// For people.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Replayed(done, 0) => format!(
                "{} replayed: stored at the next try, or back here with the reason.",
                count(done, "dead letter")
            ),
            Self::Replayed(done, left) => format!(
                "{} replayed; {left} left, since only the head of the body is there.",
                count(done, "dead letter")
            ),
            Self::Dropped(done) => format!("{} dropped for good.", count(done, "dead letter")),
            Self::RunAgain(done) => format!(
                "{} to be run again.",
                count(done, "delivery").replace("deliverys", "deliveries")
            ),
            Self::Acknowledged => {
                "The alert is acknowledged: its actions have stopped until it is over.".to_owned()
            }
            Self::AlreadyAcknowledged => "The alert was acknowledged before.".to_owned(),
            Self::Over => "The alert is over, so there is nothing to acknowledge.".to_owned(),
            Self::UnknownAlert => {
                "OpenSearch knows no such alert: only its own alerts can be acknowledged."
                    .to_owned()
            }
            Self::MonitorGone => {
                "The alert's monitor was deleted: it cannot be acknowledged, and ends by itself."
                    .to_owned()
            }
            Self::NotAcknowledged => {
                "OpenSearch does not acknowledge this alert; `alertloop acknowledge` says why."
                    .to_owned()
            }
            Self::NoAnswer => {
                "OpenSearch did not answer: look at the alert again in a moment.".to_owned()
            }
            Self::Enabled => "The monitor is enabled: it runs at its next turn.".to_owned(),
            Self::Disabled => {
                "The monitor is disabled: it does not run until somebody enables it.".to_owned()
            }
            Self::Changed => {
                "Somebody changed the monitor in this moment: look at it, and try again.".to_owned()
            }
        }
    }

    /// For style sheets.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Over | Self::AlreadyAcknowledged | Self::Changed => "warn",
            Self::UnknownAlert | Self::MonitorGone | Self::NotAcknowledged | Self::NoAnswer => {
                "bad"
            }
            _ => "good",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_from_the_address_and_nothing_else_does() {
        let plain = Told::PLAIN.iter().map(|(_, told)| *told);
        for told in plain.chain([Told::Replayed(3, 1), Told::Dropped(1_204), Told::RunAgain(0)]) {
            assert_eq!(Told::of(&told.query()), Some(told));
            assert!(!told.text().is_empty());
        }
        for query in [
            "",
            "told=",
            "told=<b>",
            "told=dropped",
            "told=dropped.x",
            "told=dropped.1.2",
            "told=replayed.1",
            "told=Your+session+has+ended",
            "x=acknowledged",
        ] {
            assert_eq!(Told::of(query), None, "{query}");
        }
        assert_eq!(Told::of("a=b&told=over"), Some(Told::Over));
        assert!(Told::RunAgain(2).text().starts_with("2 deliveries"));
    }
}
