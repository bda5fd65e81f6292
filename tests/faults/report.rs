//! One row for each fault: how often it was injected, and what became of the alerts.

use std::{fs::OpenOptions, io::Write as _};

use crate::ledger::Verdict;

/// Prints a row of the report, and adds it to the file named by `ALERTLOOP_TORTURE_REPORT`.
///
/// `fault` says what broke, `how` by what means, `times` how often, `notes` what else was seen.
pub fn row(fault: &str, how: &str, times: u64, verdict: &Verdict, notes: &str) {
    let Verdict { acknowledged, lost, doubled, .. } = verdict;
    let (lost, doubled) = (lost.len(), doubled.len());
    let row =
        format!("| {fault} | {how} | {times} | {acknowledged} | {lost} | {doubled} | {notes} |");
    println!("REPORT {row}");
    if let Ok(file) = std::env::var("ALERTLOOP_TORTURE_REPORT") {
        let file = OpenOptions::new().create(true).append(true).open(&file);
        writeln!(file.expect("the report's file"), "{row}").expect("a written row");
    }
}
