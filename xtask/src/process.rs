//! A running process that can be told from a later one with the same number.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often the state of a process is looked at while waiting for it.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process by its number and the moment it started: numbers come round again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    started: String,
}

impl Process {
    /// The child as it runs now; an error when it has already ended.
    pub fn of(child: &Child) -> anyhow::Result<Self> {
        let pid = pid_of(child).context("the process has no number")?;
        let started = started_at(pid).context("the process ended at once")?;
        Ok(Self { pid, started })
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        started_at(self.pid).as_ref() == Some(&self.started)
    }

    /// Asks with `signal`, waits up to ten seconds, then kills; returns once it is gone.
    pub fn stop(&self, signal: Signal) -> anyhow::Result<()> {
        for signal in [signal, Signal::KILL] {
            if !self.is_alive() {
                return Ok(());
            }
            match kill_process(self.pid, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => {
                    let pid = self.pid.as_raw_nonzero();
                    return Err(error).with_context(|| format!("cannot stop process {pid}"));
                }
            }
            if wait_until(|| !self.is_alive()) {
                return Ok(());
            }
        }
        anyhow::bail!("process {} does not end", self.pid.as_raw_nonzero())
    }

    /// Writes it down for a later run.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        fs::write(file, format!("{} {}\n", self.pid.as_raw_nonzero(), self.started))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// What [`write`](Self::write) left; `None` when there is nothing readable.
    pub fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (pid, started) = text.trim_end().split_once(' ')?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?)?, started: started.to_owned() })
    }
}

/// The number of a child.
pub fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Signals the whole group that `leader` leads; one that has ended is no error.
pub fn kill_group(leader: Option<Pid>, signal: Signal) {
    if let Some(leader) = leader
        && let Err(error) = kill_process_group(leader, signal)
        && error != rustix::io::Errno::SRCH
    {
        eprintln!("xtask: cannot signal process {}: {error}", leader.as_raw_nonzero());
    }
}

/// Looks every [`LOOK_EVERY`] whether `condition` holds; `false` after ten seconds.
pub fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..500 {
        if condition() {
            return true;
        }
        pause();
    }
    false
}

#[expect(
    clippy::disallowed_methods,
    reason = "guards wait here for their child: there is no runtime, and a signal must not cut it short"
)]
fn pause() {
    thread::sleep(LOOK_EVERY);
}

/// When a living process started, in whatever form the system tells; `None` for one that ended.
fn started_at(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    if !Path::new("/proc/self/stat").exists() {
        let ps = Command::new("ps").args(["-o", "lstart=", "-p"]).arg(pid.to_string()).output();
        let started = String::from_utf8(ps.ok()?.stdout).ok()?.trim().to_owned();
        return (!started.is_empty()).then_some(started);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(format!("{} {}", boot.trim(), start_ticks(&stat)?))
}

/// Field 22 of `/proc/PID/stat` (proc(5)): clock ticks from boot to start; `None` for a zombie.
fn start_ticks(stat: &str) -> Option<&str> {
    // The name, field 2, is in parentheses and may hold both spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5177 2 3";

    #[test]
    fn the_start_is_read_past_a_name_with_spaces_and_parentheses() {
        assert_eq!(start_ticks(STAT), Some("5177"));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert_eq!(start_ticks(&STAT.replace(") S", ") Z")), None);
    }

    #[test]
    fn a_process_written_down_is_recognised_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("process");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        Process::of(&child).unwrap().write(&file).unwrap();
        let found = Process::read(&file).unwrap();
        assert!(found.is_alive());

        // The reader is not the parent as a rule; here it is, and has to reap the child itself.
        let reaper = thread::spawn(move || child.wait());
        found.stop(Signal::TERM).unwrap();
        assert!(!found.is_alive());
        drop(reaper.join());
    }

    #[test]
    fn a_later_process_with_the_same_number_is_not_touched() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut other = Process::of(&child).unwrap();
        other.started = "another time".to_owned();
        other.stop(Signal::KILL).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it was killed");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
