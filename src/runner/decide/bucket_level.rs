//! A run of a bucket-level monitor: page after page of groups, then the actions, then the alerts.
//!
//! As in the plugin, `ctx.results` of a message is the last page, and the report has the first one; an alert
//! whose bucket was on no page is over, unless the trigger failed. Nothing that a bucket-level trigger or its
//! action does wrong makes an alert of its own.
//!
//! Source: `BucketLevelMonitorRunner.kt` of Alerting.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    super::decision::Alert,
    Run, alert,
    bucket::{self, Chosen},
    context::Alerts,
    did,
    fault::{self, Fault},
    message,
    outcome::{Done, Found, Judged, Outcome},
    shape::{self, Action, Category, Scope, Trigger},
};

/// How many alerts an action is done for one by one; more are told in one message
/// (`plugins.alerting.max_actionable_alert_count`, as shipped).
const MOST_BY_ALERT: usize = 50;

/// What is known of a trigger while pages come.
struct Watched<'a> {
    trigger: Trigger<'a>,
    /// The alerts whose buckets did not come yet.
    current: BTreeMap<String, &'a Value>,
    chosen: Map<String, Value>,
    deduped: Vec<Value>,
    new: Vec<Value>,
    error: Option<Fault>,
    page: Page,
}

/// Which page of groups comes next.
#[derive(Clone, Debug, PartialEq)]
enum Page {
    First,
    /// Behind these keys.
    Behind(Value),
    /// None: the one behind these keys was the last.
    Over(Option<Value>),
}

impl Page {
    fn after(&self) -> Option<&Value> {
        match self {
            Self::First | Self::Over(None) => None,
            Self::Behind(after) | Self::Over(Some(after)) => Some(after),
        }
    }

    /// What comes behind an answer with these keys at its end. Keys that do not change lead nowhere.
    fn next(&self, after: Option<Value>) -> Self {
        match (self, after) {
            (Self::First, after) => after.map_or(Self::Over(None), Self::Behind),
            (Self::Behind(last), Some(after)) if *last != after => Self::Behind(after),
            (Self::Behind(last), _) => Self::Over(Some(last.clone())),
            (over, _) => over.clone(),
        }
    }
}

impl<'a> Run<'a> {
    pub(super) async fn of_buckets(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let triggers = shape::triggers(&self.known.monitor.body);
        let mut watched: Vec<_> = triggers.into_iter().map(|one| self.watched(one)).collect();
        let (mut results, mut error);
        let mut is_first = true;
        loop {
            (results, error) = self.page(&mut watched).await;
            if is_first {
                outcome.results.clone_from(&results);
                outcome.error.clone_from(&error);
                is_first = false;
            }
            let is_over = |one: &Watched<'_>| !matches!(one.page, Page::Behind(_));
            if error.is_some() || watched.iter().all(is_over) {
                break;
            }
        }
        for one in watched {
            self.conclude(one, &results, error.as_ref(), &mut outcome).await;
        }
        outcome
    }

    fn watched(&self, trigger: Trigger<'a>) -> Watched<'a> {
        let of_trigger = self.alerts.iter().filter(|one| one.body["trigger_id"] == trigger.id());
        let current = of_trigger.filter_map(|one| Some((bucket::of_alert(&one.body)?, &one.body)));
        Watched {
            trigger,
            current: current.collect(),
            chosen: Map::new(),
            deduped: Vec::new(),
            new: Vec::new(),
            error: None,
            page: Page::First,
        }
    }

    /// Looks at one page: `ctx.results`, and why there are none.
    async fn page(&self, watched: &mut [Watched<'_>]) -> (Vec<Value>, Option<Fault>) {
        match self.looked_at(watched).await {
            Ok(answer) => (vec![answer], None),
            Err(fault) => {
                for one in watched {
                    let why = "Empty list doesn't contain element at index 0.";
                    one.error = Some(Fault::java("index_out_of_bounds_exception", why));
                }
                (Vec::new(), Some(fault))
            }
        }
    }

    async fn looked_at(&self, watched: &mut [Watched<'_>]) -> Result<Value, Fault> {
        let Some((indices, search)) = shape::search(&self.known.monitor.body) else {
            return Err(shape::without_search());
        };
        let mut search = self.filled(search).await?;
        for one in &*watched {
            // Behind the filling in: a key is no template.
            bucket::begin_behind(&mut search, &bucket::path(one.trigger), one.page.after())?;
        }
        let found = self.found(&indices, &search).await?;
        let mut answer = found.clone();
        for one in watched {
            let path = bucket::path(one.trigger);
            match bucket::found(&found, &path) {
                Ok(all) => {
                    let left = self.left(&indices, &search, one.trigger, all).await?;
                    self.take_in(one, all, &left, &mut answer);
                }
                Err(fault) => one.error = Some(fault),
            }
            one.page = one.page.next(bucket::after(&found, &path));
        }
        Ok(answer)
    }

    /// The buckets that a trigger's script leaves of these.
    async fn left(
        &self,
        indices: &[&str],
        search: &Value,
        trigger: Trigger<'_>,
        all: &[Value],
    ) -> Result<Vec<Value>, Fault> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let Some(narrow) = bucket::chosen_only(search, trigger) else { return Ok(Vec::new()) };
        let answer = self.found(indices, &narrow).await?;
        Ok(bucket::found(&answer, &bucket::path(trigger))?.to_vec())
    }

    fn take_in(&self, one: &mut Watched<'_>, all: &[Value], left: &[Value], answer: &mut Value) {
        let places = match bucket::places(one.trigger, all, left) {
            Ok(places) => places,
            Err(fault) => {
                one.error = Some(fault);
                return;
            }
        };
        bucket::note(answer, one.trigger, &places);
        let chosen = match bucket::chosen(one.trigger, all, &places) {
            Ok(chosen) => chosen,
            Err(fault) => {
                one.error = Some(fault);
                return;
            }
        };
        for Chosen { keys, content } in chosen {
            one.chosen.insert(keys.clone(), json!({"agg_alert_content": content}));
            if one.error.is_some() {
                continue;
            }
            if let Some(current) = one.current.remove(&keys) {
                let mut current = current.clone();
                current["agg_alert_content"] = content;
                one.deduped.push(current);
            } else {
                one.new.push(self.new_alert(one.trigger, &keys, content));
            }
        }
    }

    fn new_alert(&self, trigger: Trigger<'_>, keys: &str, content: Value) -> Value {
        let end = self.known.period.end;
        let id = alert::id(&self.known.monitor.id, trigger.id(), Some(keys), end);
        // What is not kept has no id, as in the plugin.
        let id = if self.is_dry() { "" } else { &id };
        alert::fresh(self.known, trigger, id, Some(content))
    }

    /// Does the actions of a trigger, and leads its alerts on.
    async fn conclude(
        &self,
        one: Watched<'_>,
        results: &[Value],
        search_error: Option<&Fault>,
        outcome: &mut Outcome,
    ) {
        let Watched { trigger, current, chosen, deduped, new, error, .. } = one;
        let mut told = Told {
            run: self,
            trigger,
            results,
            error: error.as_ref(),
            completed: Vec::new(),
            left: current.values().map(|alert| (*alert).clone()).collect(),
            deduped: deduped
                .iter()
                .filter(|alert| alert["state"] != "ACKNOWLEDGED")
                .cloned()
                .collect(),
            new,
            done: Vec::new(),
            touched: BTreeSet::new(),
        };
        if error.is_none() {
            told.completed =
                told.left.iter().map(|one| alert::completed(one, self.now())).collect();
        }
        for action in trigger.actions() {
            told.act(action, outcome).await;
        }
        let Told { completed, left, new, done, touched, .. } = told;
        let judged = Judged {
            id: trigger.id().to_owned(),
            name: trigger.name().to_owned(),
            error,
            found: Found::Buckets { chosen, actions: done },
        };
        let error = search_error.map(|fault| fault::of_alert("Failed fetching inputs", fault));
        let error = error.or_else(|| judged.error_of_alert());
        let over = if judged.error.is_some() { left } else { completed };
        for alert in deduped.into_iter().chain(new).chain(over) {
            outcome.alerts.extend(self.led_on(alert, &judged, &touched, error.as_deref()));
        }
        outcome.triggers.push(judged);
    }

    /// An alert after the run; `None` where nothing of it changed.
    fn led_on(
        &self,
        body: Value,
        judged: &Judged,
        touched: &BTreeSet<String>,
        error: Option<&str>,
    ) -> Option<Alert> {
        let Found::Buckets { actions, .. } = &judged.found else { return None };
        let keys = bucket::of_alert(&body)?;
        let body = if touched.contains(&keys) {
            let of_bucket = actions.iter().filter(|(bucket, _)| *bucket == keys);
            let did: Vec<_> = of_bucket.map(|(_, done)| did(done)).collect();
            alert::told(&body, error, &did, self.now())
        } else {
            body
        };
        let id = shape::text(&body, "id").to_owned();
        let is_same = self.alerts.iter().any(|alert| alert.id == id && alert.body == body);
        (!is_same).then_some(Alert { id, body })
    }
}

/// The actions of one trigger.
struct Told<'a, 'b> {
    run: &'b Run<'a>,
    trigger: Trigger<'b>,
    results: &'b [Value],
    error: Option<&'b Fault>,
    deduped: Vec<Value>,
    new: Vec<Value>,
    completed: Vec<Value>,
    /// The alerts whose buckets did not come.
    left: Vec<Value>,
    /// What was done, by the keys of the bucket.
    done: Vec<(String, Done)>,
    /// The keys of the alerts that were told of.
    touched: BTreeSet<String>,
}

impl Told<'_, '_> {
    async fn act(&mut self, action: Action<'_>, outcome: &mut Outcome) {
        let count = self.deduped.len() + self.new.len() + self.completed.len();
        match action.scope() {
            Scope::PerAlert(categories) if self.error.is_none() && count <= MOST_BY_ALERT => {
                for category in categories {
                    self.for_each(action, category, outcome).await;
                }
            }
            _ if count > 0 || self.error.is_some() => self.for_all(action, outcome).await,
            _ => {}
        }
    }

    async fn for_each(&mut self, action: Action<'_>, category: Category, outcome: &mut Outcome) {
        let list = match category {
            Category::Deduped => self.deduped.clone(),
            Category::New => self.new.clone(),
            Category::Completed => self.completed.clone(),
        };
        for alert in list {
            let mut alerts = Alerts::default();
            match category {
                Category::Deduped => alerts.deduped.push(alert.clone()),
                Category::New => alerts.new.push(alert.clone()),
                Category::Completed => alerts.completed.push(alert.clone()),
            }
            let done = self.one(action, &alerts, Some(&alert)).await;
            let told = vec![shape::text(&alert, "id").to_owned()];
            outcome.messages.extend(message(self.trigger, action, &done, told));
            self.note(&alert, done);
        }
    }

    async fn for_all(&mut self, action: Action<'_>, outcome: &mut Outcome) {
        let alerts = Alerts {
            new: self.new.clone(),
            deduped: self.deduped.clone(),
            completed: self.completed.clone(),
        };
        // There is no throttle for all.
        let done = self.one(action, &alerts, None).await;
        let all: Vec<_> =
            [alerts.deduped, alerts.new, alerts.completed].into_iter().flatten().collect();
        let told = all.iter().map(|alert| shape::text(alert, "id").to_owned()).collect();
        outcome.messages.extend(message(self.trigger, action, &done, told));
        let noted = if self.error.is_some() { self.left.clone() } else { all };
        for alert in noted {
            self.note(&alert, done.clone());
        }
    }

    async fn one(&self, action: Action<'_>, alerts: &Alerts, alert: Option<&Value>) -> Done {
        let ctx = self.run.known.of_buckets(self.trigger, self.results, alerts, self.error);
        self.run.act(action, &ctx, alert).await
    }

    fn note(&mut self, alert: &Value, done: Done) {
        let Some(keys) = bucket::of_alert(alert) else { return };
        self.touched.insert(keys.clone());
        self.done.push((keys, done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_until_there_is_no_other() {
        let key = |key: &str| json!({"k": key});
        for (page, after, want) in [
            (Page::First, None, Page::Over(None)),
            (Page::First, Some(key("a")), Page::Behind(key("a"))),
            (Page::Behind(key("a")), Some(key("b")), Page::Behind(key("b"))),
            (Page::Behind(key("a")), None, Page::Over(Some(key("a")))),
            (Page::Behind(key("a")), Some(key("a")), Page::Over(Some(key("a")))),
            (Page::Over(Some(key("a"))), Some(key("c")), Page::Over(Some(key("a")))),
        ] {
            assert_eq!(page.next(after), want);
        }
        assert_eq!(Page::Over(Some(key("a"))).after(), Some(&key("a")));
    }
}
