//! A program of the fleet as a process of its own: started, signalled, killed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, anyhow};
use tokio::process::Child;

/// Names the folder of optimised programs.
const OPTIMISED: &str = "SYNCLINE_OPTIMISED";

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts a program of this workspace.
    ///
    /// - `log`: where its standard error goes; `None` throws it away.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn start(
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        Self::start_file(&binary(name)?, arguments, environment, log)
    }

    /// Starts the program in this file, likewise.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_file(
        file: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stderr = match log {
            Some(log) => {
                let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
                Stdio::from(file)
            }
            None => Stdio::null(),
        };
        let mut command = Command::new(file);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; `None` when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its standard output, once.
    pub fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// `Some` when it has ended.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL: it gets no chance to tidy up.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM").await?;
        self.end().await
    }

    /// Waits for its end, which something else brings about.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Sends a signal by its name: `STOP`, `CONT`.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().ok_or_else(|| anyhow!("{} has ended", self.name))?;
        let sent = tokio::process::Command::new("kill")
            .args([&format!("-{signal}"), &pid.to_string()])
            .status()
            .await?;
        if sent.success() { Ok(()) } else { Err(anyhow!("{} could not be signalled", self.name)) }
    }
}

impl Program {
    /// Where a program of this workspace is.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn path(name: &str) -> anyhow::Result<PathBuf> {
        binary(name)
    }

    /// Where it is as users run it: `cargo xtask test --long` builds some so.
    ///
    /// # Errors
    ///
    /// When nobody says where.
    pub fn optimised(name: &str) -> anyhow::Result<PathBuf> {
        let folder = std::env::var_os(OPTIMISED).with_context(|| {
            format!(
                "{OPTIMISED} names the folder of optimised programs: run cargo xtask test --long"
            )
        })?;
        Ok(Path::new(&folder).join(name))
    }
}

/// The program beside this one, or (for tests) one folder above.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| anyhow!("{name} is not built: run cargo build --workspace --bins"))
}
