//! Whether processors are short: where the store runs beside us, what the writer gives it to do is
//! taken from the intake.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long a look is believed.
const BELIEVED_FOR: Duration = Duration::from_millis(50);
/// Processors are short from this share of the time on that threads of ours wait for one, all of
/// them together.
const SHORT: f64 = 0.25;

/// Looks at how long our threads wait for a processor.
#[derive(Default)]
pub struct Processor {
    seen: Option<(Instant, Duration)>,
    is_short: bool,
}

impl Processor {
    /// Whether processors are short at present; no, where the system does not tell.
    pub fn is_short(&mut self) -> bool {
        let now = Instant::now();
        match self.seen {
            Some((at, _)) if now - at < BELIEVED_FOR => return self.is_short,
            Some((at, before)) => {
                let waited = waited().saturating_sub(before);
                self.is_short = waited.as_secs_f64() > SHORT * (now - at).as_secs_f64();
            }
            None => {}
        }
        self.seen = Some((now, waited()));
        self.is_short
    }
}

/// How long all threads of this process were ready to run and did not, since each began.
///
/// Source: `/proc/PID/task/TID/schedstat`: nanoseconds run, nanoseconds waited, times run.
fn waited() -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_while_many_threads_want_to_run_and_not_before() {
        let busy = std::sync::atomic::AtomicBool::new(true);
        let mut processor = Processor::default();
        assert!(!processor.is_short(), "nothing is known yet");
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            for _ in 0..cores * 4 {
                scope.spawn(|| {
                    while busy.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let begun = Instant::now();
            while !processor.is_short() {
                assert!(begun.elapsed().as_secs() < 20, "threads wait, and it is not seen");
                std::thread::sleep(BELIEVED_FOR);
            }
            busy.store(false, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
