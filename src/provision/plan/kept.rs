//! All objects but the loopback channel and the template of the sessions: what the file says, what
//! was applied last and what is there, three ways.
//!
//! A user's edit shows as a difference between what the store had after our last write and what it
//! has now; a changed file as a difference between what was applied and what the file says. Neither
//! needs to know how the store rewrites what it is sent. Only where nothing is known of an object
//! (it was there before us, or our index was lost) file and store are compared directly.

use serde_json::{Value, json};

use super::{Action, Options, Step, Work, Write, ids};
use crate::{
    opensearch::{alerting::Family, builtin},
    provision::{
        canonical::canonical,
        diff::{Difference, changes, diff, paths},
        ledger::{Entry, Pending},
        object::{Found, Key, Object, Wanted},
        placeholder::{fill, fill_monitors},
        probe::Live,
        sealed::{self, Hidden},
    },
    secrets::WebhookToken,
};

/// What planning these objects needs to know.
pub(super) struct Kept<'a> {
    pub live: &'a Live,
    pub token: &'a WebhookToken,
    pub options: Options,
    /// Why the store can have neither channels nor monitors, if so.
    pub no_alerting: Option<&'static str>,
}

impl Kept<'_> {
    /// What happens to the object of a file; `all` are those of all files.
    pub(super) fn step(&self, wanted: &Wanted, all: &[Wanted]) -> Step {
        let key = &wanted.key;
        let needs_alerting = !matches!(key.object, Object::Template | Object::LegacyTemplate);
        if let Some(reason) = self.no_alerting.filter(|_| needs_alerting) {
            return Step::of(wanted, Action::Unavailable { reason: reason.to_owned() }, None);
        }
        if let Some(reason) = self.beyond_us(wanted) {
            return Step::of(wanted, Action::Unavailable { reason }, None);
        }
        let entry = self.live.ledger.get(key);
        let found = self.live.objects.get(key).map(Vec::as_slice).unwrap_or_default();
        let (wanted, unknown) = self.filled_in(wanted);
        let wanted = &wanted;
        if let Some(name) = unknown.first() {
            let key = Key::new(Object::Monitor, name.clone());
            return if all.iter().any(|one| one.key == key) {
                let action = match found {
                    [] => Action::Create,
                    _ => Action::Update { reason: format!("after {key}"), diff: Vec::new() },
                };
                Step::of(wanted, action, Some(Work::Await))
            } else {
                Step::of(wanted, Action::warn(format!("it runs {key}, which is not there")), None)
            };
        }
        match found {
            [] => Step::of(wanted, Action::Create, Some(Work::Make(self.write(wanted, None)))),
            [one] => self.existing(wanted, one, entry),
            several => self.several(wanted, several, entry),
        }
    }

    /// Why only the plugins can hold an object, where alertloop runs the monitors itself.
    fn beyond_us(&self, wanted: &Wanted) -> Option<String> {
        if !self.live.is_builtin {
            return None;
        }
        match wanted.key.object {
            Object::Template | Object::LegacyTemplate => None,
            Object::Monitor => builtin::beyond_us(Family::Monitor, &wanted.body),
            Object::Workflow => builtin::beyond_us(Family::Workflow, &wanted.body),
            Object::Channel => Some(
                "alertloop runs the monitors itself, without channels; a callback sends the same"
                    .to_owned(),
            ),
        }
    }

    /// The object with the secret and the monitors' ids filled in; and the names of those monitors
    /// that are not there.
    fn filled_in(&self, wanted: &Wanted) -> (Wanted, Vec<String>) {
        let token = |name: &str| Ok((name == "token").then(|| self.token.expose().to_owned()));
        let (mut wanted, mut unknown) = (wanted.clone(), Vec::new());
        match wanted.key.object {
            // Nothing else may carry the secret.
            Object::Channel => {
                let body = wanted.body.take();
                wanted.body = fill(body, &token).unwrap_or_default();
                wanted.hidden.add(self.token.expose());
            }
            Object::Workflow => {
                unknown = fill_monitors(&mut wanted.body, &|name| {
                    let key = Key::new(Object::Monitor, name);
                    Some(self.live.objects.get(&key)?.first()?.id.clone())
                });
            }
            _ => {}
        }
        (wanted, unknown)
    }

    /// An object that is there.
    fn existing(&self, wanted: &Wanted, live: &Found, entry: Option<&Entry>) -> Step {
        let theirs = canonical(wanted.key.object, &live.body);
        let ours = canonical(wanted.key.object, &wanted.body);
        let of = |action, work| Step::of(wanted, action, work);
        let by_file = || diff(&ours, &theirs);
        let Some(entry) = entry.filter(|entry| is_known(entry, live, &theirs)) else {
            let differences = by_file();
            if differences.is_empty() {
                let entry = Entry::new(wanted.key.clone());
                // What was begun and is not this one is forgotten by taking its place.
                let seen = self.live.ledger.get(&wanted.key).and_then(|entry| entry.seen);
                let entry = self.noted(Entry { seen, ..entry }, wanted, live, theirs);
                return of(Action::InSync, Some(Work::Note(entry)));
            }
            if self.options.force {
                return self.update(wanted, live, "taken over", differences);
            }
            let reason = format!(
                "it exists, and not from this file; it differs in {}; --force takes it over",
                paths(&differences)
            );
            let diff = sealed::lines(wanted.key.object, differences, &wanted.hidden);
            return of(Action::Leave { reason, warning: false, diff }, None);
        };
        let digest = entry.digest(&ours);
        let arrived =
            entry.pending.as_ref().filter(|begun| has_arrived(begun, entry, live, &theirs));
        let edits = match arrived {
            Some(_) => Vec::new(),
            None => self.edits(entry, &theirs),
        };
        let applied = arrived.map_or(&entry.applied, |begun| &begun.digest);
        if edits.is_empty() && *applied == digest {
            let is_noted = entry.pending.is_none()
                && entry.id == live.id
                && entry.store_version == self.live.about.version;
            let note = || Work::Note(self.noted(entry.clone(), wanted, live, theirs.clone()));
            return of(Action::InSync, (!is_noted).then(note));
        }
        // What only the store has is no difference, unless our file had it.
        let mut differences = by_file();
        differences.extend(taken_out(&entry.said, &ours, &like_said(entry, &theirs)));
        if edits.is_empty() && !(differences.is_empty() && arrived.is_none()) {
            return self.update(wanted, live, "the file changed", differences);
        }
        if *applied != digest && differences.is_empty() {
            // The file says it in another form, or now says what the user made of it, as after an
            // export.
            let entry = self.noted(entry.clone(), wanted, live, theirs.clone());
            return of(Action::InSync, Some(Work::Note(entry)));
        }
        if self.options.force {
            return self.update(wanted, live, "taken over from a user", differences);
        }
        let too = if *applied == digest { "" } else { ", and its file changed too" };
        let reason = format!("edited by a user: {}{too}; --force undoes it", paths(&edits));
        let diff = sealed::lines(wanted.key.object, edits, &wanted.hidden);
        of(Action::Leave { reason, warning: false, diff }, None)
    }

    /// What a user changed since our last write.
    fn edits(&self, entry: &Entry, theirs: &Value) -> Vec<Difference> {
        let theirs = entry.sealed_like(&entry.observed, theirs.clone());
        if entry.store_version == self.live.about.version {
            return changes(&entry.observed, &theirs);
        }
        // Another version of the store may show more of it.
        let mut found = diff(&entry.observed, &theirs);
        for one in &mut found {
            std::mem::swap(&mut one.live, &mut one.desired);
        }
        found
    }

    fn update(
        &self,
        wanted: &Wanted,
        live: &Found,
        reason: &str,
        differences: Vec<Difference>,
    ) -> Step {
        let diff = sealed::lines(wanted.key.object, differences, &wanted.hidden);
        let action = Action::Update { reason: reason.to_owned(), diff };
        let work = Work::Change(self.write(wanted, Some(live)), live.clone());
        Step::of(wanted, action, Some(work))
    }

    /// The body on its way to the store.
    fn write(&self, wanted: &Wanted, live: Option<&Found>) -> Write {
        let entry = self.live.ledger.get(&wanted.key).cloned();
        let mut entry = entry.unwrap_or_else(|| Entry::new(wanted.key.clone()));
        let is_ours =
            |live: &Found| is_known(&entry, live, &canonical(wanted.key.object, &live.body));
        // What is taken over was made by somebody else, also where one of ours was there before.
        entry.made &= live.is_none_or(is_ours);
        let said = canonical(wanted.key.object, &wanted.body);
        let digest = entry.digest(&said);
        let live = live.map(|live| &live.body);
        let mut body = wanted.body.clone();
        if matches!(wanted.key.object, Object::Monitor | Object::Workflow) {
            body = ids::filled(body, live);
            let kind = if wanted.key.object == Object::Workflow { "workflow" } else { "monitor" };
            body["type"] = json!(kind);
        }
        if let Some(switch) = wanted.key.object.switch()
            && let Some(is_on) = live.and_then(|live| live.get(switch))
        {
            body[switch] = is_on.clone();
        }
        Write { entry, body, said, digest, hidden: wanted.hidden.clone() }
    }

    /// The entry of an object that is as the file says.
    fn noted(&self, entry: Entry, wanted: &Wanted, live: &Found, theirs: Value) -> Entry {
        let ours = canonical(wanted.key.object, &wanted.body);
        Entry {
            id: live.id.clone(),
            applied: entry.digest(&ours),
            said: entry.sealed(ours, &wanted.hidden),
            observed: entry.sealed(theirs, &wanted.hidden),
            store_version: self.live.about.version.clone(),
            pending: None,
            ..entry
        }
    }

    /// More than one of a name. Monitors have no ids of our choice, so whoever makes one at the same
    /// time as we do leaves a second: ours gives way, as long as nobody has touched it.
    fn several(&self, wanted: &Wanted, all: &[Found], entry: Option<&Entry>) -> Step {
        let object = wanted.key.object;
        let is_mine = |one: &&Found| {
            entry.is_some_and(|entry| is_known(entry, one, &canonical(object, &one.body)))
        };
        let untouched = |one: &Found, entry: &Entry| {
            let theirs = canonical(object, &one.body);
            let is_off = one.body.get("enabled") == Some(&json!(false));
            let arrived = |begun: &Pending| has_arrived(begun, entry, one, &theirs);
            is_off
                && (entry.pending.as_ref().is_some_and(arrived)
                    || self.edits(entry, &theirs).is_empty())
        };
        if let Some(entry) = entry
            && let Some(mine) = all.iter().find(is_mine)
        {
            let others = || all.iter().filter(|one| one.id != mine.id);
            if let Some(copy) = others().find(|one| is_copy(mine, one, object)) {
                let reason = "a copy of ours, from a run that was cut off".to_owned();
                let work = Work::Remove(wanted.key.clone(), copy.clone(), None);
                return Step::of(wanted, Action::Delete { reason }, Some(work));
            }
            if untouched(mine, entry) {
                let reason = "somebody else made one of this name; ours gives way".to_owned();
                let work = Work::Remove(wanted.key.clone(), mine.clone(), Some(entry.clone()));
                return Step::of(wanted, Action::Delete { reason }, Some(work));
            }
        }
        let ids: Vec<_> = all.iter().map(|one| one.id.as_str()).collect();
        let reason = format!("{} have this name: {}", all.len(), ids.join(", "));
        Step::of(wanted, Action::warn(reason), None)
    }

    /// What happens to objects that no file describes any more.
    pub(super) fn orphans(&self, wanted: &[Wanted]) -> Vec<Step> {
        let is_orphan =
            |key: &Key| self.live.can_have(key.object) && wanted.iter().all(|one| one.key != *key);
        let orphans = self.live.ledger.values().filter(|entry| is_orphan(&entry.key));
        // Whatever refers to another goes first.
        let mut orphans: Vec<_> = orphans.collect();
        orphans.sort_by_key(|entry| std::cmp::Reverse(self.rank(entry)));
        orphans.into_iter().map(|entry| self.orphan(entry)).collect()
    }

    fn rank(&self, entry: &Entry) -> (Object, bool) {
        let found = self.live.objects.get(&entry.key).and_then(|all| all.first());
        let body = found.map(|found| found.body.clone()).unwrap_or_default();
        let hidden = Hidden::default();
        Wanted { key: entry.key.clone(), file: String::new(), body, hidden }.rank()
    }

    fn orphan(&self, entry: &Entry) -> Step {
        let Key { object, name } = &entry.key;
        let step = |action, work| Step::new(*object, name, action, work);
        let all = self.live.objects.get(&entry.key).into_iter().flatten();
        let known = |one: &&Found| is_known(entry, one, &canonical(*object, &one.body));
        let Some(live) = all.into_iter().find(known) else {
            let reason = "no file has it any more, and it is gone";
            return step(Action::leave(reason), Some(Work::Forget(entry.clone())));
        };
        if !entry.made {
            let reason = "no file has it any more; it was not made by us, and stays";
            return step(Action::leave(reason), Some(Work::Forget(entry.clone())));
        }
        let theirs = canonical(*object, &live.body);
        let arrived = |begun: &Pending| has_arrived(begun, entry, live, &theirs);
        let is_edited =
            !entry.pending.as_ref().is_some_and(arrived) && !self.edits(entry, &theirs).is_empty();
        if !self.options.prune {
            return step(Action::leave("no file has it any more; --prune removes it"), None);
        }
        if is_edited && !self.options.force {
            let reason = "no file has it any more, but a user edited it; --force removes it";
            return step(Action::leave(reason), None);
        }
        let reason = "no file has it any more".to_owned();
        let work = Work::Remove(entry.key.clone(), live.clone(), Some(entry.clone()));
        step(Action::Delete { reason }, Some(work))
    }
}

/// What is live, with a seal wherever the file had a secret.
fn like_said(entry: &Entry, theirs: &Value) -> Value {
    entry.sealed_like(&entry.said, theirs.clone())
}

/// What a file said, says no more, and is still there.
fn taken_out(said: &Value, ours: &Value, theirs: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    find_taken_out([said, ours, theirs], "", &mut found);
    found
}

fn find_taken_out([said, ours, theirs]: [&Value; 3], path: &str, found: &mut Vec<Difference>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (said, ours, theirs) {
        (Value::Object(said), Value::Object(ours), Value::Object(theirs)) => {
            for (key, said) in said {
                match (ours.get(key), theirs.get(key)) {
                    (_, None | Some(Value::Null)) => {}
                    (Some(ours), Some(theirs)) => {
                        find_taken_out([said, ours, theirs], &below(key), found);
                    }
                    (None, Some(theirs)) => found.push(Difference {
                        path: below(key),
                        live: theirs.clone(),
                        desired: Value::Null,
                    }),
                }
            }
        }
        (Value::Array(said), Value::Array(ours), Value::Array(theirs)) => {
            for (at, ((said, ours), theirs)) in said.iter().zip(ours).zip(theirs).enumerate() {
                find_taken_out([said, ours, theirs], &below(&at.to_string()), found);
            }
        }
        _ => {}
    }
}

/// Whether an entry speaks of this very object: what was begun may have been made by somebody else,
/// and so may one of another id, in place of ours that is gone.
fn is_known(entry: &Entry, live: &Found, theirs: &Value) -> bool {
    let arrived = |begun: &Pending| has_arrived(begun, entry, live, theirs);
    !entry.applied.is_empty() && entry.id == live.id || entry.pending.as_ref().is_some_and(arrived)
}

/// Whether a write that nobody noted the end of has reached the store: the object is what was sent
/// or, as the store rewrites queries, carries its ids and was written just once more.
fn has_arrived(begun: &Pending, entry: &Entry, live: &Found, theirs: &Value) -> bool {
    let is_the_one = entry.id.is_empty() || entry.id == live.id;
    let ids = ids::all(theirs);
    let is_next =
        live.version == begun.version + 1 && !ids.is_empty() && ids == ids::all(&begun.body);
    let is_same = || diff(&begun.body, &entry.sealed_like(&begun.body, theirs.clone())).is_empty();
    is_the_one && (is_next || is_same())
}

/// Whether `other` is what a run left that made the same as another, and died before it saw that.
fn is_copy(mine: &Found, other: &Found, object: Object) -> bool {
    let ids = ids::all(&mine.body);
    other.version == 1
        && other.body.get("enabled") == Some(&json!(false))
        && !ids.is_empty()
        && ids == ids::all(&other.body)
        && changes(&canonical(object, &mine.body), &canonical(object, &other.body)).is_empty()
}

#[cfg(test)]
mod tests;
