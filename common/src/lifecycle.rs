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

/// How long the stages of a stop may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grace {
    /// For what stands in front to see that this process is not ready any more, and to send what comes
    /// elsewhere.
    pub leave: Duration,
    /// For what runs to end.
    pub drain: Duration,
}

/// The stages of a stop.
///
/// With the first request to stop the process is *leaving*: it says that it is not ready, and goes on.
/// When its time for that is over the stop is *soft*: begin nothing new, finish what runs. It turns
/// *hard* with the second request or when the drain time is over: drop what runs; it is safe to run twice.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    leaving: CancellationToken,
    soft: CancellationToken,
    hard: CancellationToken,
    requests: mpsc::Sender<&'static str>,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// Stops at SIGTERM and SIGINT.
    ///
    /// - `grace`: from the first signal to the hard stop, if no second one comes before.
    ///
    /// # Errors
    ///
    /// When the system refuses to register the signals.
    pub fn start(grace: Grace) -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = Self::when_told(grace);
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
    /// What is in front of it is there too, so it leaves at once.
    pub fn manual(drain: Duration) -> Self {
        Self::when_told(Grace { drain, ..Grace::default() })
    }

    fn when_told(grace: Grace) -> Self {
        let (requests, received) = mpsc::channel(2);
        let lifecycle = Self {
            leaving: CancellationToken::new(),
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            requests,
            tasks: TaskTracker::new(),
        };
        let stages = Stages {
            leaving: lifecycle.leaving.clone(),
            soft: lifecycle.soft.clone(),
            hard: lifecycle.hard.clone(),
        };
        lifecycle.tasks.spawn(stages.pass(received, grace));
        lifecycle
    }

    /// Asks for a stop, as a signal would: the first time soft, the second time hard.
    pub fn stop(&self) {
        // A full channel holds the two requests that there can be.
        let _ = self.requests.try_send("stop");
    }

    /// Cancelled when the process is to say that it is not ready: before all else that a stop does.
    pub fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Cancelled when nothing new is to begin; never before [`Lifecycle::leaving`].
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs is to be dropped; never before [`Lifecycle::soft`].
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }
}

/// What a stop cancels, in this order.
struct Stages {
    leaving: CancellationToken,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stages {
    async fn pass(self, mut requests: mpsc::Receiver<&'static str>, grace: Grace) {
        let Some(reason) = requests.recv().await else { return };
        self.leaving.cancel();
        if !grace.leave.is_zero() {
            info!(reason, leave_ms = grace.leave.as_millis(), "stopping: not ready any more");
            match timeout(grace.leave, requests.recv()).await {
                Ok(Some(reason)) => return self.at_once(reason),
                Ok(None) => return,
                Err(_) => {}
            }
        }
        info!(reason, drain_ms = grace.drain.as_millis(), "stopping: nothing new begins");
        self.soft.cancel();
        match timeout(grace.drain, requests.recv()).await {
            Ok(Some(reason)) => return self.at_once(reason),
            Ok(None) => return,
            Err(_) => warn!("drain time is over"),
        }
        self.hard.cancel();
    }

    fn at_once(&self, reason: &str) {
        warn!(reason, "stopping at once");
        self.soft.cancel();
        self.hard.cancel();
    }
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
    const LEAVE: Duration = Duration::from_secs(5);

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
    async fn who_leaves_goes_on_until_it_has_been_seen() {
        let lifecycle = Lifecycle::when_told(Grace { leave: LEAVE, drain: DRAIN });
        lifecycle.stop();
        lifecycle.leaving().cancelled().await;
        assert!(!lifecycle.soft().is_cancelled());

        let asked = Instant::now();
        lifecycle.soft().cancelled().await;
        assert_eq!(asked.elapsed(), LEAVE);
        lifecycle.hard().cancelled().await;
        assert_eq!(asked.elapsed(), LEAVE + DRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_stops_at_once() {
        for leave in [Duration::ZERO, LEAVE] {
            let lifecycle = Lifecycle::when_told(Grace { leave, drain: DRAIN });
            let asked = Instant::now();
            lifecycle.stop();
            lifecycle.stop();
            lifecycle.hard().cancelled().await;
            assert!(lifecycle.leaving().is_cancelled() && lifecycle.soft().is_cancelled());
            assert_eq!(asked.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test]
    async fn sigterm_begins_a_soft_stop() {
        let lifecycle = Lifecycle::start(Grace { drain: DRAIN, ..Grace::default() }).unwrap();
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
