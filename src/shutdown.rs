//! SIGINT and SIGTERM: the first asks for an orderly stop, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The exit code of a process that was told twice to stop.
pub const AT_ONCE: u8 = 130;

/// The signals that ask for a stop. Each one made sees every signal from then on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// A token that the next signal cancels. From now on a signal does not end the process by itself.
///
/// # Errors
/// When the process may not handle signals.
///
/// # Panics
/// Outside a tokio runtime.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the process, and has nothing to drain"
    )]
    tokio::spawn(async move {
        let name = signals.next().await;
        info!("stopping on {name}; a second signal ends at once");
        cancel.cancel();
    });
    Ok(stop)
}

/// Ends at the second signal from now on.
///
/// # Errors
/// When the process may not handle signals.
pub async fn insisted() -> io::Result<()> {
    let mut signals = Signals::listen()?;
    signals.next().await;
    signals.next().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    fn kill(signal: &str) {
        let kill = format!("kill {signal} {}", process::id());
        let killed = Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.unwrap().success());
    }

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_insists() {
        let stop = on_signal().unwrap();
        let again = on_signal().unwrap();
        let mut insisted = std::pin::pin!(insisted());
        tokio::select! {
            biased;
            _ = &mut insisted => panic!("nobody insisted"),
            () = async {
                kill("-TERM");
                stop.cancelled().await;
                again.cancelled().await;
            } => {}
        }
        tokio::select! {
            biased;
            _ = &mut insisted => panic!("nobody insisted yet"),
            () = tokio::task::yield_now() => {}
        }
        kill("-INT");
        insisted.await.unwrap();
    }
}
