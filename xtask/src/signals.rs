//! Ctrl-C and SIGTERM as events, so that servers are stopped by the ordinary way out.

use std::{
    cell::Cell,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals as Incoming,
};

use crate::process::{kill_group, pid_of};

/// Someone asked us to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

enum Event {
    Signal(i32),
    Ended(io::Result<ExitStatus>),
}

/// What the process waits on: a signal, or the end of the one child it runs.
///
/// Every wait of this crate goes through here or is bounded in time, so no signal is ever
/// answered by dying on the spot: the guards of the servers always run.
pub struct Signals {
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// Whether a signal has come during a child's run.
    interrupted: Cell<bool>,
}

impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGHUP from now on.
    pub fn watch() -> anyhow::Result<Self> {
        let signals = Self::ignore();
        let sender = signals.sender.clone();
        let mut incoming =
            Incoming::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        thread::spawn(move || {
            for signal in incoming.forever() {
                if sender.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        });
        Ok(signals)
    }

    /// Listens to nothing: for tests, which share their process with others.
    pub fn ignore() -> Self {
        let (sender, events) = mpsc::channel();
        Self { sender, events, interrupted: Cell::new(false) }
    }

    /// Waits for `duration`, or until a signal comes.
    pub fn pause(&self, duration: Duration) -> Result<(), Interrupted> {
        match self.events.recv_timeout(duration) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Interrupted),
        }
    }

    /// Runs `command` to its end without input.
    ///
    /// The child has a process group of its own, so that a terminal's Ctrl-C reaches it once and
    /// through us: the first signal is passed on, the second kills.
    pub fn run(&self, command: &mut Command) -> anyhow::Result<ExitStatus> {
        let child = self.start(command)?;
        self.wait(child)
    }

    /// Runs a tool that has to succeed; after a signal it is [`Interrupted`], however it ended.
    pub fn run_tool(&self, command: &mut Command) -> anyhow::Result<()> {
        let status = self.run(command)?;
        if self.interrupted.get() {
            return Err(Interrupted.into());
        }
        anyhow::ensure!(status.success(), "{}: {status}", command.get_program().display());
        Ok(())
    }

    /// Starts `command` for [`wait`](Self::wait).
    pub fn start(&self, command: &mut Command) -> anyhow::Result<Child> {
        let program = command.get_program().to_os_string();
        command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))
    }

    /// Waits for the end of a child that [`start`](Self::start) made.
    pub fn wait(&self, mut child: Child) -> anyhow::Result<ExitStatus> {
        let pid = pid_of(&child);
        let sender = self.sender.clone();
        thread::spawn(move || sender.send(Event::Ended(child.wait())));
        let mut asked = false;
        loop {
            match self.events.recv() {
                Ok(Event::Ended(status)) => return Ok(status?),
                Ok(Event::Signal(signal)) => {
                    pass_on(pid, signal, asked);
                    asked = true;
                    self.interrupted.set(true);
                }
                Err(_) => return Err(Interrupted.into()),
            }
        }
    }
}

fn pass_on(pid: Option<Pid>, signal: i32, asked_before: bool) {
    let signal = match signal {
        _ if asked_before => Signal::KILL,
        SIGINT => Signal::INT,
        _ => Signal::TERM,
    };
    kill_group(pid, signal);
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn waiting_shell(script: &str, signals: &[i32]) -> ExitStatus {
        let watched = Signals::ignore();
        let ready = tempfile::tempdir().unwrap();
        let script = format!("{script}; touch ready; while :; do sleep 0.01; done");
        let mut shell = Command::new("sh");
        let child = watched.start(shell.arg("-c").arg(script).current_dir(&ready)).unwrap();
        for signal in signals {
            while !ready.path().join("ready").exists() {
                thread::yield_now();
            }
            watched.sender.send(Event::Signal(*signal)).unwrap();
        }
        watched.wait(child).unwrap()
    }

    #[test]
    fn the_first_signal_is_passed_on_as_it_came() {
        assert_eq!(waiting_shell("trap 'exit 7' INT", &[SIGINT]).code(), Some(7));
        assert_eq!(waiting_shell("trap 'exit 8' TERM", &[SIGTERM]).code(), Some(8));
    }

    #[test]
    fn the_second_signal_kills_a_child_that_does_not_listen() {
        let status = waiting_shell("trap '' INT", &[SIGINT, SIGINT]);
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn a_pause_ends_early_when_a_signal_comes() {
        let signals = Signals::ignore();
        signals.sender.send(Event::Signal(SIGINT)).unwrap();
        assert!(signals.pause(Duration::from_hours(1)).is_err());
        assert!(signals.pause(Duration::ZERO).is_ok());
    }
}
