//! How a process starts and stops; the same for all of them.

use std::future::Future;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How long blocking work may hold up the end of the process.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The two stages of a stop.
///
/// The first request to stop is *soft*: begin nothing new, finish what runs. It turns *hard* with
/// the second request or when the drain time is over: drop what runs; it is safe to run twice.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    requests: mpsc::Sender<&'static str>,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Stops at SIGTERM and SIGINT.
    ///
    /// - `drain`: from the first signal to the hard stop, if no second one comes before.
    ///
    /// # Errors
    ///
    /// When the system refuses to register the signals.
    pub fn start(drain: Duration) -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = Self::manual(drain);
        let requests = lifecycle.requests.clone();
        lifecycle.tasks.spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                if requests.send(name).await.is_err() {
                    return;
                }
            }
        });
        Ok(lifecycle)
    }

    /// Stops only when [`Lifecycle::stop`] says so; for a fleet inside one process.
    pub fn manual(drain: Duration) -> Self {
        let (requests, received) = mpsc::channel(2);
        let lifecycle = Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            requests,
            tasks: TaskTracker::new(),
        };
        let (soft, hard) = (lifecycle.soft.clone(), lifecycle.hard.clone());
        lifecycle.tasks.spawn(stop_in_two_stages(received, drain, soft, hard));
        lifecycle
    }

    /// Asks for a stop, as a signal would: the first time soft, the second time hard.
    pub fn stop(&self) {
        // A full channel holds the two requests that there can be.
        let _ = self.requests.try_send("stop");
    }

    /// Cancelled when nothing new is to begin.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs is to be dropped; never before [`Lifecycle::soft`].
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }
}

async fn stop_in_two_stages(
    mut requests: mpsc::Receiver<&'static str>,
    drain: Duration,
    soft: CancellationToken,
    hard: CancellationToken,
) {
    let Some(reason) = requests.recv().await else { return };
    info!(reason, drain_ms = drain.as_millis(), "stopping: nothing new begins");
    soft.cancel();
    match timeout(drain, requests.recv()).await {
        Ok(Some(reason)) => warn!(reason, "stopping at once"),
        Ok(None) => return,
        Err(_) => warn!("drain time is over"),
    }
    hard.cancel();
}

/// The `main` of every binary: sets up TLS and the logging of panics, runs `process` to its end on
/// a runtime of its own, and turns the result into an exit code, 0 for a clean stop.
///
/// `process` reads the configuration, starts telemetry, registers signals, runs, and ends telemetry.
pub fn run_main(process: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    // One provider for the whole process. It can only be there already in a test.
    drop(rustls::crypto::ring::default_provider().install_default());
    panic::set_hook(Box::new(log_panic));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(process);
    runtime.shutdown_timeout(LAST_WAIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if tracing::dispatcher::has_been_set() {
        error!("{error:#}");
    } else {
        eprintln!("error: {error:#}");
    }
    ExitCode::FAILURE
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        error!(message, location, thread, "panicked");
    } else {
        eprintln!("thread {thread} panicked at {location}: {message}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn what_runs_may_finish_within_the_drain_time() {
        let lifecycle = Lifecycle::manual(DRAIN);
        assert!(!lifecycle.soft().is_cancelled());

        lifecycle.stop();
        lifecycle.soft().cancelled().await;
        assert!(!lifecycle.hard().is_cancelled());

        let asked = Instant::now();
        lifecycle.hard().cancelled().await;
        assert_eq!(asked.elapsed(), DRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_stops_at_once() {
        let lifecycle = Lifecycle::manual(DRAIN);
        let asked = Instant::now();
        lifecycle.stop();
        lifecycle.stop();
        lifecycle.hard().cancelled().await;
        assert!(lifecycle.soft().is_cancelled());
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn sigterm_begins_a_soft_stop() {
        let lifecycle = Lifecycle::start(DRAIN).unwrap();
        let kill = format!("kill -TERM {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        timeout(DRAIN, lifecycle.soft().cancelled()).await.unwrap();
        assert!(!lifecycle.hard().is_cancelled());
    }

    #[test]
    fn the_exit_code_says_whether_the_stop_was_clean() {
        assert_eq!(run_main(async { Ok(()) }), ExitCode::SUCCESS);
        assert_eq!(run_main(async { anyhow::bail!("no Redis") }), ExitCode::FAILURE);
    }
}
