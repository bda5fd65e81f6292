//! Runs cases and watches them: a panic, more than a second of work, or too much memory is a fault.

use std::{
    fs,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    mutate::Mutator,
    seeds,
    targets::{ALL, Target},
};

/// What a case may take of a core. Without optimisation all is slower by an order.
const MOST_WORK: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// What this process may take, in MiB: the seeds and the templates are in it too.
const MOST_MEMORY: u64 = 200;
/// As small as the stacks of the service's own threads.
const STACK: usize = 2 << 20;
/// Cases that are taken at once.
const BLOCK: u64 = 64;

/// Runs so many cases in all, shared out among the targets by their weight.
pub fn run(targets: &[&Target], cases: u64) {
    let weights: u64 = targets.iter().map(|target| target.weight).sum();
    let mut faults = Vec::new();
    for target in targets {
        let begun = Instant::now();
        let outcome = run_one(target, (cases * target.weight).div_ceil(weights));
        let memory = memory_peak();
        let seconds = begun.elapsed().as_secs_f64();
        let Outcome { done, slowest, .. } = outcome;
        let slowest = slowest.as_secs_f64() * 1e3;
        let row =
            format!("| `{}` | {done} | {seconds:.0} | {slowest:.0} | {memory} |", target.name);
        println!("{row}");
        if let Ok(report) = std::env::var("ALERTLOOP_FUZZ_REPORT") {
            let report = fs::File::options().append(true).create(true).open(report);
            writeln!(report.expect("a report"), "{row}").expect("a report");
        }
        faults.extend(outcome.faults);
        if memory >= MOST_MEMORY {
            faults.push(format!("{memory} MiB after {}", target.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What became of the cases of a target.
#[derive(Default)]
struct Outcome {
    done: u64,
    /// How much work the worst one was.
    slowest: Duration,
    faults: Vec<String>,
}

/// Each thread ends at its first fault.
fn run_one(target: &Target, cases: u64) -> Outcome {
    let next = AtomicU64::new(0);
    let outcome = Mutex::new(Outcome::default());
    let seeds = seeds::of(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let work = || {
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block * BLOCK >= cases {
                return;
            }
            let mut mutator = Mutator::new(&seeds, target.words, block);
            for _ in 0..BLOCK {
                let ran = run_case(target, &mutator.next());
                let mut outcome = outcome.lock().expect("a lock");
                outcome.done += 1;
                match ran {
                    Ok(took) => outcome.slowest = outcome.slowest.max(took),
                    Err(fault) => return outcome.faults.push(fault),
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for n in 0..threads {
            let thread = thread::Builder::new().name(format!("{}-{n}", target.name));
            thread.stack_size(STACK).spawn_scoped(scope, work).expect("a thread");
        }
    });
    outcome.into_inner().expect("a lock")
}

/// Runs a case; tells how much work it was.
fn run_case(target: &Target, case: &[u8]) -> Result<Duration, String> {
    let begun = work();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(case)));
    let took = work().saturating_sub(begun);
    let again = || format!("run it again with ALERTLOOP_FUZZ_REPLAY={}", kept(target, case));
    match outcome {
        Err(_) => Err(format!("{} fails; {}", target.name, again())),
        Ok(()) if took >= MOST_WORK => Err(format!("{} takes {took:?}; {}", target.name, again())),
        Ok(()) => Ok(took),
    }
}

/// Where a case is kept.
fn kept(target: &Target, case: &[u8]) -> String {
    let folder = std::env::var("CARGO_TARGET_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let folder = folder.join("fuzz");
    fs::create_dir_all(&folder).expect("a folder");
    let hash = blake3::hash(case).to_hex();
    let file = folder.join(format!("{}-{}", target.name, &hash[..16]));
    fs::write(&file, case).expect("a file");
    file.display().to_string()
}

/// What this thread has worked so far: it does not grow while others have the core.
fn work() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.expect("a time"), nanos.expect("a time"))
}

/// The most memory that this process has had, in MiB.
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the process's status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).expect("its peak");
    peak.parse::<u64>().expect("a number") >> 10
}

/// Whether what is watched for is seen at all.
pub fn sees_faults() {
    let of = |run: fn(&[u8])| Target { name: "sees-faults", run, ..ALL[0] };
    let told = |run| run_case(&of(run), b"x").err().unwrap_or_default();
    assert!(told(|_| panic!("as it should")).contains("fails"), "a panic is a fault");
    let works = |_: &[u8]| {
        let begun = work();
        while work().saturating_sub(begun) < MOST_WORK {
            std::hint::black_box(0);
        }
    };
    assert!(told(works).contains("takes"), "work without end is a fault");
    assert_eq!(told(|_| {}), "");
}
