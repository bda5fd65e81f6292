//! How many files and connections the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::Limits;

/// What the rest of the process needs: the spool, the store, callbacks.
const REST: u64 = 256;

/// Asks for as many as this process may have, and gives the limits that hold with them.
pub(super) fn within(limits: Limits) -> Limits {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where that is refused, what is allowed now is what there is.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
    let allowed = getrlimit(Resource::Nofile).current;
    let (fits, connections) = cut(limits.connections, allowed);
    if !fits {
        warn!(
            allowed,
            connections,
            "this process may open too few files for ALERTLOOP_MAX_CONNECTIONS: fewer connections are taken; to mend, raise its limit (LimitNOFILE, --ulimit nofile)"
        );
    }
    Limits { connections, ..limits }
}

/// Whether so many connections fit, and how many do. `None` allows any number.
fn cut(wanted: usize, allowed: Option<u64>) -> (bool, usize) {
    let Some(allowed) = allowed else { return (true, wanted) };
    // Half of very few is left to the rest.
    let room = allowed.saturating_sub(REST).max(allowed / 2).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    (wanted <= room, wanted.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        for (wanted, allowed, want) in [
            (4_096, None, (true, 4_096)),
            (4_096, Some(20_000), (true, 4_096)),
            (4_096, Some(1_024), (false, 768)),
            (4_096, Some(200), (false, 100)),
            (1, Some(1), (true, 1)),
        ] {
            assert_eq!(cut(wanted, allowed), want, "{wanted} {allowed:?}");
        }
    }
}
