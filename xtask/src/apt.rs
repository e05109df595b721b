//! Server programs from Debian's and Ubuntu's packages, without their services.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::{
    find::{self, Found, Usable, Wanted},
    lock,
    signals::{Interrupted, Signals},
};

/// Keeps packages from starting services; consulted by `invoke-rc.d` (its manual page).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Made by Syncline's set-up for the time of one installation.\nexit 101\n";

/// Keeps `postgresql` from making a cluster of its own; read through `createcluster.conf`.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/syncline.conf";
const NO_CLUSTER_TEXT: &str = "create_main_cluster = false\n";

/// The package with the server program.
pub fn package(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Redis => "redis-server",
        Wanted::Postgres => "postgresql",
    }
}

/// Installs the packages of what is missing, and looks again.
pub fn install(missing: &[Wanted], usable: Usable<'_>, signals: &Signals) -> anyhow::Result<Found> {
    anyhow::ensure!(Path::new("/usr/bin/apt-get").exists(), "this system has no apt-get");
    let root = Root::get()?;
    // One installation at a time, whatever clone it comes from.
    let lock = lock::acquire(&std::env::temp_dir().join("syncline-apt.lock"), signals)?;
    let packages: Vec<_> = missing.iter().map(|wanted| package(*wanted)).collect();
    eprintln!(
        "xtask: installing {} with apt-get{}, without starting their services",
        packages.join(" and "),
        if matches!(root, Root::Sudo) { " through sudo" } else { "" },
    );
    let redis_was_there = Path::new("/lib/systemd/system/redis-server.service").exists();

    let no_services = TemporaryFile::put(root, POLICY, POLICY_TEXT, "755")?;
    let no_cluster = TemporaryFile::put(root, NO_CLUSTER, NO_CLUSTER_TEXT, "644")?;
    let result = apt_get(root, &packages, signals);
    drop((no_services, no_cluster));

    if missing.contains(&Wanted::Redis) && !redis_was_there {
        // Nor at the next boot. No harm where it does not work: it is not our server then either.
        let mut disable = root.command(&["update-rc.d", "redis-server", "disable"]);
        drop(disable.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
    drop(lock);
    result?;
    Ok(find::in_folders(&find::system_folders(), usable))
}

fn apt_get(root: Root, packages: &[&str], signals: &Signals) -> anyhow::Result<()> {
    // A list that cannot be renewed is often still good enough.
    let updated = signals.run_tool(&mut apt_get_command(root, &["update"]));
    if let Err(error) = updated {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        eprintln!("xtask: apt-get update: {error:#}");
    }
    for package in packages {
        let install = ["install", "--yes", "--no-install-recommends", package];
        signals
            .run_tool(&mut apt_get_command(root, &install))
            .with_context(|| format!("apt-get install {package}"))?;
    }
    Ok(())
}

fn apt_get_command(root: Root, args: &[&str]) -> Command {
    let mut command = root.command(&[
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "--quiet=2",
        "--option=DPkg::Lock::Timeout=300",
        "--option=Acquire::Retries=3",
        "--option=Dpkg::Use-Pty=0",
    ]);
    // The command's own output may be read by a shell.
    command.args(args).stdout(io::stderr());
    command
}

/// How we act as root.
#[derive(Clone, Copy)]
enum Root {
    Directly,
    Sudo,
}

impl Root {
    fn get() -> anyhow::Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Directly);
        }
        let sudo = Self::Sudo.command(&["true"]).stderr(Stdio::null()).status();
        anyhow::ensure!(
            sudo.is_ok_and(|status| status.success()),
            "not root, and sudo is missing or would ask for a password"
        );
        Ok(Self::Sudo)
    }

    fn command(self, words: &[&str]) -> Command {
        let words: Vec<&str> = match self {
            Self::Directly => words.to_vec(),
            Self::Sudo => ["sudo", "-n"].iter().chain(words).copied().collect(),
        };
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or("true"));
        command.args(words).stdin(Stdio::null());
        command
    }

    fn run(self, words: &[&str]) -> anyhow::Result<()> {
        let status = self.command(words).stdout(io::stderr()).status()?;
        anyhow::ensure!(status.success(), "{}: {status}", words.join(" "));
        Ok(())
    }
}

/// A file of the system's configuration that did not exist before and does not afterwards.
struct TemporaryFile {
    root: Root,
    file: &'static str,
    made_folder: bool,
}

impl TemporaryFile {
    /// `None` when someone else's file is there: it stays as it is.
    fn put(root: Root, file: &'static str, text: &str, mode: &str) -> anyhow::Result<Option<Self>> {
        // One that says the same was left by a run that was killed.
        if Path::new(file).exists() && fs::read_to_string(file).ok().as_deref() != Some(text) {
            return Ok(None);
        }
        let folder = parent(file);
        let made_folder = !Path::new(folder).exists();
        let source = tempfile::NamedTempFile::new()?;
        fs::write(&source, text)?;
        let source = source.path().to_str().context("the temporary folder's name is not text")?;
        let guard = Self { root, file, made_folder };
        root.run(&["mkdir", "-p", folder])?;
        root.run(&["install", "-m", mode, source, file])?;
        Ok(Some(guard))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let mut result = self.root.run(&["rm", "-f", self.file]);
        if self.made_folder {
            let folder = parent(self.file);
            result = result
                .and_then(|()| self.root.run(&["rmdir", "--ignore-fail-on-non-empty", folder]));
        }
        if let Err(error) = result {
            eprintln!("xtask: please remove {} by hand: {error:#}", self.file);
        }
    }
}

fn parent(file: &str) -> &str {
    file.rsplit_once('/').map_or("/", |(folder, _)| folder)
}
