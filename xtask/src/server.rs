//! A server we started: stopped when its guard goes, whatever the reason.

use std::{
    fs::{self, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::Context as _;
use rustix::process::{Signal, kill_process};

use crate::{
    process::{LOOK_EVERY, Process, kill_group, pid_of, wait_until},
    signals::Signals,
};

/// How often a server is started again when another program took its port first.
const STARTS_MAX: usize = 5;

/// How many looks, [`LOOK_EVERY`] apart, a server has to become ready: a minute.
const LOOKS_MAX: usize = 3_000;

/// What both servers take for "stop now, and let clients wait no longer": Redis exits on it,
/// Postgres calls it a fast shutdown.
const STOP: Signal = Signal::INT;

/// A running server; dropping it stops it.
pub struct Server {
    child: Option<Child>,
    record: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts a server on a free port of the loopback and waits until it is ready.
    ///
    /// `command` makes the command for a port; `is_ready` looks whether this very server answers
    /// there. The port is free when it is chosen; should another program be faster, a new one is
    /// chosen.
    pub fn start(
        folder: &Path,
        signals: &Signals,
        mut command: impl FnMut(u16) -> anyhow::Result<Command>,
        is_ready: impl Fn(u16) -> bool,
    ) -> anyhow::Result<(Self, u16)> {
        for _ in 0..STARTS_MAX {
            let port = free_port()?;
            let mut server = Self::spawn(&mut command(port)?, folder)?;
            match server.wait_until_ready(signals, || is_ready(port))? {
                None => return Ok((server, port)),
                Some(_) if server.log_text().contains("Address already in use") => {}
                Some(status) => {
                    anyhow::bail!("the server ended at once ({status}):\n{}", server.log_text())
                }
            }
        }
        anyhow::bail!("{STARTS_MAX} ports in a row were taken by other programs")
    }

    fn spawn(command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let mut options = OpenOptions::new();
        let output = options.write(true).create(true).truncate(true).mode(0o600).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A terminal's Ctrl-C is for us: we stop the servers when those who use them are done.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let server = Self { child: Some(child), record: folder.join("process"), log };
        if let Some(child) = &server.child
            && let Ok(process) = Process::of(child)
        {
            process.write(&server.record)?;
        }
        Ok(server)
    }

    /// `None` when it is ready, its status when it ended instead.
    fn wait_until_ready(
        &mut self,
        signals: &Signals,
        is_ready: impl Fn() -> bool,
    ) -> anyhow::Result<Option<ExitStatus>> {
        for _ in 0..LOOKS_MAX {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Ok(Some(status));
            }
            if is_ready() {
                return Ok(None);
            }
            signals.pause(LOOK_EVERY)?;
        }
        anyhow::bail!("the server did not become ready within a minute:\n{}", self.log_text())
    }

    fn log_text(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// SIGKILL, as a crash would: it gets no chance to tidy up.
    pub fn kill(mut self) {
        if let Some(mut child) = self.child.take() {
            kill_group(pid_of(&child), Signal::KILL);
            drop(child.wait());
        }
    }

    /// Gives the guard up: the server goes on after us, and its record says which it is.
    pub fn leave_running(mut self) {
        self.child = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if matches!(child.try_wait(), Ok(None)) {
            let asked = pid_of(&child).is_some_and(|pid| kill_process(pid, STOP).is_ok());
            if !asked || !wait_until(|| !matches!(child.try_wait(), Ok(None))) {
                kill_group(pid_of(&child), Signal::KILL);
                drop(child.wait());
            }
        }
        drop(fs::remove_file(&self.record));
    }
}

/// Stops the servers whose records lie in the folders of `folder`.
pub fn stop_recorded(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir()) {
        let record = entry.path().join("process");
        // Another user's folder is an error here, not a folder without a server.
        record.try_exists().with_context(|| format!("cannot look at {}", record.display()))?;
        if let Some(process) = Process::read(&record) {
            process.stop(STOP)?;
            fs::remove_file(&record)?;
        }
    }
    Ok(())
}

/// A port that is free right now. Never a server's usual one: the system hands out high numbers.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn a_server_that_lost_its_port_is_started_on_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut ports = Vec::new();
        let scripts =
            ["echo 'bind: Address already in use'; exit 1", "echo ready; exec sleep 1000"];
        let (server, port) = Server::start(
            folder.path(),
            &Signals::ignore(),
            |port| {
                ports.push(port);
                Ok(shell(scripts[ports.len() - 1]))
            },
            |_| fs::read_to_string(folder.path().join("log")).unwrap() == "ready\n",
        )
        .unwrap();
        assert_eq!(ports.len(), 2);
        assert_eq!(port, ports[1]);
        drop(server);
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let start = Server::start(
            folder.path(),
            &Signals::ignore(),
            |_| Ok(shell("echo 'bad setting'; exit 3")),
            |_| false,
        );
        let text = start.err().unwrap().to_string();
        assert!(text.contains("bad setting"), "{text}");
    }

    #[test]
    fn a_server_ends_with_its_guard_also_in_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let result = std::panic::catch_unwind(|| {
            let started = Server::start(
                folder.path(),
                &Signals::ignore(),
                |_| Ok(shell("exec sleep 1000")),
                |_| true,
            );
            let (_server, _) = started.unwrap();
            let process = Process::read(&folder.path().join("process")).unwrap();
            assert!(process.is_alive());
            std::panic::panic_any(process);
        });
        let process = result.unwrap_err().downcast::<Process>().unwrap();
        assert!(!process.is_alive());
        assert!(!folder.path().join("process").exists());
    }
}
