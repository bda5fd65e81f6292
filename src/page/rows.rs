//! Alerts as rows of a table: the same in every list, and in what live updates send.

use askama::Template;

use super::shown::{When, source};
use crate::history::{Band, Item};

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of its record.
    pub id: String,
    /// `_index` and `_id`: one of each.
    pub key: String,
    /// When it began.
    pub began: Option<When>,
    /// How severe.
    pub severity: Band,
    /// Its rule.
    pub rule: String,
    /// What fired.
    pub reason: Option<String>,
    /// Its state.
    pub state: String,
    /// Whether it is stale.
    pub stale: bool,
    /// Its source.
    pub source: String,
}

impl Row {
    /// Of an alert.
    #[must_use]
    pub fn of(item: &Item) -> Self {
        Self {
            id: item.id.clone(),
            key: format!("{}/{}", item.index, item.id),
            began: When::maybe(item.began.as_deref()),
            severity: Band::of(item.severity),
            rule: if item.rule.is_empty() {
                "without a rule".to_owned()
            } else {
                item.rule.clone()
            },
            reason: item.reason.clone().filter(|reason| *reason != item.rule),
            state: state(item),
            stale: item.stale,
            source: source(&item.source).to_owned(),
        }
    }
}

/// The state in words.
#[must_use]
pub fn state(item: &Item) -> String {
    match item.outcome.as_deref() {
        Some("failure") => format!("{}, its monitor failed", item.state),
        _ => item.state.clone(),
    }
}

/// A list of alerts.
pub struct List {
    /// What it is, for who cannot see it.
    pub name: &'static str,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What is said where it is empty.
    pub none: &'static str,
    /// Whether live updates go into it.
    pub is_live: bool,
    /// How many it has at most.
    pub most: usize,
}

impl List {
    /// The rows as they are sent by live updates too; `base` leads to the root.
    #[must_use]
    pub fn rows(&self, base: &str) -> String {
        rows(&self.rows, base)
    }
}

#[derive(Template)]
#[template(path = "rows.html")]
struct Rows<'a> {
    rows: &'a [Row],
    base: &'a str,
}

/// Rows of a table's body.
#[must_use]
pub fn rows(rows: &[Row], base: &str) -> String {
    // Into memory: it cannot fail.
    Rows { rows, base }.render().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_wrote_is_text_in_a_row_and_one_word_in_its_address() {
        let item = Item {
            id: "261122-a/../\"b".to_owned(),
            index: "s-261122".to_owned(),
            state: "engaged".to_owned(),
            rule: "<script>alert(1)</script>".to_owned(),
            reason: Some("\u{202e}x' onload='y".to_owned()),
            began: Some("<img src=x>".to_owned()),
            source: "malcolm".to_owned(),
            severity: 80,
            ..Item::default()
        };
        let html = rows(&[Row::of(&item)], "../");
        assert!(html.contains("href=\"../alerts/261122-a%2F..%2F%22b\""), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("\\u{202e}x&#39;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("opensearch") && html.contains("tag high"), "{html}");
    }
}
