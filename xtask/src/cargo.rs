//! The clone we work in, and cargo there.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::Context as _;

use crate::servers::Places;

/// The clone of the repository that `cargo xtask` was called in.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    binaries: PathBuf,
}

impl Workspace {
    /// From what `cargo run` tells us, so that a program shared by two clones serves the right one.
    pub fn current() -> anyhow::Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("xtask has no parent folder")?.to_owned();
        let program = std::env::current_exe()?;
        let binaries = program.parent().context("xtask lies in no folder")?.to_owned();
        Ok(Self { root, binaries })
    }

    /// The folder with the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts the program `name`: beside this one.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Where this clone keeps what it makes.
    pub fn places(&self) -> Places {
        let target = self.binaries.parent().unwrap_or(&self.binaries).to_owned();
        Places { target, own: self.root.join(".syncline") }
    }

    /// `cargo ARGS` in this clone; queries are checked against `.sqlx`, not against a database.
    pub fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(args).env("SQLX_OFFLINE", "true");
        // `cargo run` told us about this package. Build scripts that watch these variables (that
        // of ring does) would run again, and all that depends on them would be built again,
        // whenever cargo is called now by us and now by hand.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Whether `cargo NAME` is installed.
    pub fn has_subcommand(&self, name: &str) -> bool {
        let mut command = self.cargo([name, "--version"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// A child's status as our own: its code, or as shells do 128 and the signal that ended it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
