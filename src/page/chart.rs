//! The chart of alerts over time, as SVG that the service draws: bars by severity, the worst at the
//! bottom. Pure. Who cannot see it has the same as a table.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::history::{Band, Overview};

/// In units of its own; the page scales it.
const WIDTH: u64 = 960;
const HEIGHT: u64 = 150;
const LEFT: u64 = 40;
const BOTTOM: u64 = 20;
/// How many times are written below it.
const LABELS: usize = 6;

/// Drawn, and as a table.
pub struct Chart {
    svg: String,
    /// The rows of the table that have something in them, the newest first.
    pub hours: Vec<Bar>,
    /// All in one sentence.
    pub sentence: String,
}

/// A row of the table.
pub struct Bar {
    /// When it begins, `11-22 03:30`.
    pub name: String,
    /// How many of each severity, the worst first.
    pub counts: [u64; 5],
}

impl Chart {
    /// Of what the store has counted.
    #[must_use]
    pub fn of(overview: &Overview) -> Self {
        let bars: Vec<_> = overview
            .bars
            .iter()
            .map(|bar| Bar {
                name: name(&bar.at),
                counts: Band::ALL.map(|band| bar.counts.of(band)),
            })
            .collect();
        let most = bars.iter().map(|bar| bar.counts.iter().sum::<u64>()).max().unwrap_or(0);
        let counts = Band::ALL.map(|band| (overview.severities.of(band), band.name()));
        let told: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{} {name}", super::shown::number(*count)))
            .collect();
        let sentence = match overview.total {
            0 => "No alert began.".to_owned(),
            total => format!("{} began: {}.", super::shown::count(total, "alert"), told.join(", ")),
        };
        let svg = draw(&bars, most, &sentence);
        let hours = bars.into_iter().rev().filter(|bar| bar.counts.iter().any(|count| *count > 0));
        Self { svg, hours: hours.collect(), sentence }
    }

    /// As SVG. There is nothing in it but our own words and numbers.
    #[must_use]
    pub fn svg(&self) -> &str {
        &self.svg
    }
}

fn draw(bars: &[Bar], most: u64, sentence: &str) -> String {
    let top = round(most.max(4));
    let room = HEIGHT - BOTTOM - 10;
    let across = (WIDTH - LEFT) / u64::try_from(bars.len().max(1)).unwrap_or(1);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{sentence}\">"
    );
    for part in [0, 1, 2] {
        let y = 10 + room - room * part / 2;
        let label = top * part / 2;
        write!(svg, "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{WIDTH}\" y2=\"{y}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>", LEFT - 6, y + 4).ok();
    }
    let every = bars.len().div_ceil(LABELS).max(1);
    for (place, bar) in bars.iter().enumerate() {
        let x = LEFT + u64::try_from(place).unwrap_or(0) * across;
        let mut y = 10 + room;
        for (band, count) in Band::ALL.into_iter().zip(bar.counts).filter(|(_, count)| *count > 0) {
            // What is there is seen, however little it is beside others.
            let height = (count * room / top).max(2).min(y.saturating_sub(10));
            y -= height;
            let width = across.saturating_sub(2).max(1);
            write!(
                svg,
                "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>",
                band.name()
            )
            .ok();
        }
        if place % every == 0 {
            write!(
                svg,
                "<text x=\"{x}\" y=\"{}\">{}</text>",
                HEIGHT - 4,
                bar.name.split(' ').next_back().unwrap_or_default()
            )
            .ok();
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The next even number with at most one digit before its zeros.
fn round(most: u64) -> u64 {
    let mut unit = 1_u64;
    while most > unit * 10 {
        unit *= 10;
    }
    let digits = most.div_ceil(unit);
    (digits + digits % 2) * unit
}

fn name(at: &str) -> String {
    let at = at.parse::<Timestamp>();
    at.map_or_else(|_| "?".to_owned(), |at| at.strftime("%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::BySeverity;

    fn overview(counts: &[BySeverity]) -> Overview {
        let bars = counts.iter().enumerate().map(|(hour, counts)| crate::history::Bar {
            at: format!("2026-11-22T{hour:02}:00:00Z"),
            counts: *counts,
        });
        let severities = counts.iter().fold(BySeverity::default(), |so_far, one| BySeverity {
            critical: so_far.critical + one.critical,
            low: so_far.low + one.low,
            ..so_far
        });
        Overview {
            bars: bars.collect(),
            total: severities.total(),
            severities,
            ..Overview::default()
        }
    }

    #[test]
    fn a_bar_stands_on_the_worst_and_none_leaves_the_picture() {
        let none = BySeverity::default();
        let some = BySeverity { critical: 1, low: 1_000_000, ..none };
        let chart = Chart::of(&overview(&[none, some]));
        assert_eq!(chart.svg().matches("<rect").count(), 2);
        assert!(chart.svg().find("critical").unwrap() < chart.svg().find("\"low\"").unwrap());
        for height in chart.svg().split("height=\"").skip(1) {
            let height: u64 = height.split('"').next().unwrap().parse().unwrap();
            assert!((1..=HEIGHT).contains(&height));
        }
        assert_eq!(chart.sentence, "1,000,001 alerts began: 1 critical, 1,000,000 low.");
        assert_eq!(chart.hours.len(), 1);
        assert_eq!(chart.hours[0].name, "11-22 01:00");
        assert_eq!(Chart::of(&overview(&[none; 24])).sentence, "No alert began.");
        assert_eq!(Chart::of(&overview(&[])).hours.len(), 0);
    }

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (most, want) in [(4, 4), (5, 6), (10, 10), (11, 20), (250, 400), (1_000_001, 2_000_000)]
        {
            assert_eq!(round(most), want, "{most}");
        }
    }
}
