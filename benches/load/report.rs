//! What was measured, as aligned lines or as rows of a Markdown table.

/// Named results, in the order in which they are shown.
#[derive(Default)]
pub struct Report {
    lines: Vec<(String, String)>,
}

impl Report {
    pub fn line(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.lines.push((name.into(), value.into()));
    }

    pub fn print(&self, table: bool) {
        if table {
            println!("| measured | value |\n|---|---|");
        }
        for (name, value) in &self.lines {
            if table {
                println!("| {name} | {value} |");
            } else {
                println!("{name:<52} {value}");
            }
        }
    }
}

/// `1234567.8` as `1,234,568`.
pub fn rounded(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle one of `values`; the lower one of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}
