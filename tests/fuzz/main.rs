//! Hostile input for everything that reads what others wrote: no panic, no endless work, and what comes
//! out keeps its promises. The bodies of the targets are in `targets`; `fuzz/` gives the same ones to
//! libFuzzer.
//!
//! `cargo test --test fuzz` is the short form. `scripts/torture fuzz` is the long one: it sets
//! `ALERTLOOP_FUZZ_CASES`, how many cases there are in all, and `ALERTLOOP_FUZZ_REPORT`, a file that gets
//! a row of Markdown for each target. A case that fails is kept in `target/fuzz/`, and
//! `ALERTLOOP_FUZZ_REPLAY` runs it alone.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and reads how long it shall be"
)]

mod mutate;
mod properties;
mod runner;
mod seeds;
mod targets;

use targets::ALL;

/// What all targets together get in the short form: some seconds.
const SHORT: u64 = 50_000;

#[test]
fn nothing_that_others_write_makes_a_reader_panic_hang_or_break_its_promise() {
    let cases = std::env::var("ALERTLOOP_FUZZ_CASES");
    let cases = cases.map_or(SHORT, |cases| cases.replace('_', "").parse().expect("a number"));
    let only = std::env::var("ALERTLOOP_FUZZ_ONLY").unwrap_or_default();
    let chosen: Vec<_> = ALL.iter().filter(|target| target.name.contains(&only)).collect();
    assert!(!chosen.is_empty(), "no target's name contains {only}");
    runner::run(&chosen, cases);
}

#[test]
fn a_case_that_failed_is_run_again() {
    let Ok(file) = std::env::var("ALERTLOOP_FUZZ_REPLAY") else {
        // Without one, those that once failed: they are among the seeds.
        for target in ALL {
            for seed in seeds::of(target) {
                (target.run)(&seed);
            }
        }
        return;
    };
    let name = std::path::Path::new(&file).file_name().and_then(|name| name.to_str());
    let name = name.expect("a file of target/fuzz");
    let target = ALL.iter().find(|target| name.starts_with(&format!("{}-", target.name)));
    (target.expect("the name of a target").run)(&std::fs::read(&file).expect("a readable file"));
}

#[test]
fn the_runner_sees_a_panic_and_work_without_end() {
    runner::sees_faults();
}
