//! What is engaged, as a table for people. What somebody else wrote cannot steer a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{
    cli::printed::cut_to,
    engaged::{Item, Page},
    finding::printable,
};

const HEADING: &str =
    "began                 sev  state         source        entity                    rule: reason";

/// The table, with the sums below it; lines that are too long for the terminal are cut.
pub(super) fn table(page: &Page, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    if let Some(why) = &page.outdated {
        let age = page.age_ms / 1_000;
        writeln!(text, "as of {age} s ago, for the store does not answer: {}\n", printable(why))
            .ok();
    }
    if page.items.is_empty() {
        text.push_str("nothing is engaged\n");
        return text;
    }
    writeln!(text, "{HEADING}").ok();
    for item in &page.items {
        text.push_str(&cut_to(width, line(item)));
    }
    let total = page.total;
    let more = if page.is_more { "more than " } else { "" };
    let of = |counts: &std::collections::BTreeMap<String, u64>| {
        let mut all: Vec<_> = counts.iter().collect();
        all.sort_by_key(|(what, _)| std::cmp::Reverse(what.parse::<i64>().unwrap_or_default()));
        let all = all.into_iter().map(|(what, count)| format!("{} {count}", printable(what)));
        all.collect::<Vec<_>>().join(", ")
    };
    writeln!(text, "\n{more}{total} engaged; by severity: {}", of(&page.counts.severity)).ok();
    if !page.counts.entity.is_empty() {
        writeln!(text, "by entity: {}", of(&page.counts.entity)).ok();
    }
    if page.next.is_some() {
        text.push_str("there are more; raise --limit\n");
    }
    text
}

fn line(item: &Item) -> String {
    let began = item.began.as_deref().unwrap_or("-");
    let began = match began.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => printable(began),
    };
    let state = match (item.stale, item.state.as_str()) {
        (true, "acknowledged") => "ack, stale".to_owned(),
        (true, _) => "stale".to_owned(),
        (false, state) => printable(state),
    };
    let entity = item.entities.first().map_or("-".to_owned(), |entity| printable(entity));
    let (severity, source) = (item.severity, printable(&item.source));
    let mut line = format!("{began:<20}  {severity:>3}  {state:<12}  {source:<12}  {entity:<24}  ");
    line.push_str(&printable(if item.rule.is_empty() { "-" } else { &item.rule }));
    let what = item.reason.as_ref().or(item.message.as_ref());
    if let Some(what) = what.filter(|what| **what != item.rule) {
        line.push_str(": ");
        line.push_str(&printable(what));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let item = Item {
            id: "261122-a".to_owned(),
            index: "s-261122".to_owned(),
            alert: "a".to_owned(),
            state: "engaged".to_owned(),
            stale: true,
            severity: 80,
            source: "ntopng".to_owned(),
            rule: "threshold_cross".to_owned(),
            entities: vec!["host:10.0.0.1".to_owned()],
            began: Some("2026-11-22T00:40:00.000Z".to_owned()),
            message: Some("Minute traffic\u{1b}[2J crossed".to_owned()),
            ..Item::default()
        };
        let counts = |what: &str| [(what.to_owned(), 1)].into_iter().collect();
        Page {
            items: vec![item],
            total: 1,
            counts: crate::engaged::Counts { severity: counts("80"), entity: counts("host") },
            ..Page::default()
        }
    }

    #[test]
    fn lines_stand_under_their_heading_and_are_cut_to_the_terminal() {
        let text = table(&page(), None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[1],
            "2026-11-22T00:40:00Z   80  stale         ntopng        host:10.0.0.1             threshold_cross: Minute traffic\\u{1b}[2J crossed"
        );
        assert_eq!(lines[0].find("rule"), lines[1].find("threshold"));
        assert_eq!(lines[0].find("entity"), lines[1].find("host:"));
        assert_eq!(lines[3..], ["1 engaged; by severity: 80 1", "by entity: host 1"]);
        let cut = table(&page(), Some(60));
        assert_eq!(cut.lines().nth(1).unwrap().chars().count(), 60);
        assert_eq!(table(&Page::default(), None), "nothing is engaged\n");
    }

    #[test]
    fn an_old_answer_says_so_first() {
        let page = Page { outdated: Some("no answer".to_owned()), age_ms: 61_000, ..page() };
        let text = table(&page, None);
        assert!(
            text.starts_with("as of 61 s ago, for the store does not answer: no answer\n"),
            "{text}"
        );
    }
}
