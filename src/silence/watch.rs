//! Says once that a monitor says nothing, and once that it speaks again.

use std::collections::BTreeMap;

use metrics::gauge;
use tracing::{info, warn};

use super::{Asked, Memory, Reason, Silent, look};
use crate::{
    opensearch::{Client, Error, alerting::Monitor},
    telemetry,
};

/// What has to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It says nothing from now on.
    Began(Silent),
    /// It is no longer so.
    Over(Silent),
}

/// Looks again and again, for a part that does so as long as it is the only one.
#[derive(Debug, Default)]
pub struct Watch {
    memory: Memory,
    said: BTreeMap<(String, Reason), Silent>,
}

impl Watch {
    /// Looks once, and tells what is new in the log and how it is in the metrics.
    ///
    /// # Errors
    /// [`Error`]; then nothing is said and nothing forgotten.
    pub async fn look(
        &mut self,
        client: &Client,
        monitors: &[Monitor],
        asked: Asked,
    ) -> Result<(), Error> {
        let silent = look(client, monitors, asked, Some(&mut self.memory)).await?;
        count(&silent);
        for news in self.news(silent) {
            say(&news);
        }
        Ok(())
    }

    /// Somebody else looks from now on.
    pub fn rest(&mut self) {
        *self = Self::default();
        count(&[]);
    }

    /// What is different from the last time.
    fn news(&mut self, silent: Vec<Silent>) -> Vec<News> {
        let now: BTreeMap<_, _> =
            silent.into_iter().map(|one| ((one.id.clone(), one.reason), one)).collect();
        let before = std::mem::replace(&mut self.said, now);
        let began = self.said.iter().filter(|(key, _)| !before.contains_key(key));
        let began: Vec<_> = began.map(|(_, one)| News::Began(one.clone())).collect();
        let over = before.into_iter().filter(|(key, _)| !self.said.contains_key(key));
        over.map(|(_, one)| News::Over(one)).chain(began).collect()
    }
}

fn count(silent: &[Silent]) {
    for reason in Reason::ALL {
        let count = silent.iter().filter(|one| one.reason == reason).count();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(telemetry::SILENT_MONITORS, "reason" => reason.name()).set(count as f64);
    }
}

fn say(news: &News) {
    match news {
        News::Began(Silent { id, name, reason, what, mend }) => warn!(
            rule.id = id,
            rule.name = name,
            reason = reason.name(),
            "the monitor {name:?} says nothing: {what}; to mend: {mend}"
        ),
        News::Over(Silent { id, name, reason, .. }) => info!(
            rule.id = id,
            rule.name = name,
            reason = reason.name(),
            "the monitor {name:?} is no longer {}",
            reason.name()
        ),
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn silent(id: &str, reason: Reason, what: &str) -> Silent {
        let (id, name) = (id.to_owned(), format!("name of {id}"));
        Silent { id, name, reason, what: what.to_owned(), mend: "mend it" }
    }

    #[test]
    fn each_reason_has_its_count_and_none_stays() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let one = silent("a", Reason::Late, "");
            count(&[one.clone(), Silent { id: "b".to_owned(), ..one }]);
            assert!(handle.render().contains("alertloop_silent_monitors{reason=\"late\"} 2"));
            count(&[]);
        });
        for reason in ["late", "failed", "quiet"] {
            let line = format!("alertloop_silent_monitors{{reason=\"{reason}\"}} 0");
            assert!(handle.render().contains(&line), "{}", handle.render());
        }
    }

    #[test]
    fn each_silence_is_said_when_it_begins_and_when_it_is_over_and_not_between() {
        let mut watch = Watch::default();
        let late = silent("a", Reason::Late, "ran at 8");
        let failed = silent("a", Reason::Failed, "refused");
        assert_eq!(watch.news(vec![late.clone()]), [News::Began(late.clone())]);
        assert_eq!(watch.news(vec![silent("a", Reason::Late, "ran at 9")]), []);
        let both = vec![failed.clone(), late];
        assert_eq!(watch.news(both), [News::Began(failed.clone())]);
        let Some(News::Over(over)) = watch.news(vec![failed.clone()]).pop() else { panic!() };
        assert_eq!((over.id.as_str(), over.reason), ("a", Reason::Late));
        assert_eq!(watch.news(vec![]), [News::Over(failed.clone())]);
        assert_eq!(watch.news(vec![failed.clone()]), [News::Began(failed)]);
        watch.rest();
        assert_eq!(watch.news(vec![]), []);
    }
}
