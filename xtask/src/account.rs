//! Who the private servers run as: Postgres refuses to run as root.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// The user whose processes the servers are.
#[derive(Clone, Debug)]
pub enum Account {
    /// The user who called us; not root.
    Ourselves,
    /// We are root and step down to this user.
    Other {
        /// Numeric user id.
        uid: u32,
        /// Numeric group id.
        gid: u32,
    },
}

impl Account {
    /// Ourselves, or for root the first that exists of `postgres` and `nobody`.
    pub fn choose() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| {
                Some(Self::Other { uid: id("-u", name)?, gid: id("-g", name)? })
                    .filter(|account| !matches!(account, Self::Other { uid: 0, .. }))
            })
            .context("Postgres refuses to run as root, and there is no user postgres or nobody")
    }

    /// A command of this user that takes nothing from the settings of other servers.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Self::Other { uid, gid } = *self {
            // The standard library also drops the supplementary groups then.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Whether this user can reach `folder`: every parent must be searchable.
    pub fn can_enter(&self, folder: &Path) -> bool {
        let quietly = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        };
        quietly(self.command(Path::new("true"), Path::new("/")).current_dir(folder))
    }

    /// Makes `folder` for what we write about a server, and in it, as the result, a folder for
    /// what the server writes; keeps what is already there.
    ///
    /// Root never writes where another user could have put a link.
    pub fn create_folders(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let files = folder.join("files");
        for (folder, mode) in [(folder, 0o711), (&files, 0o700)] {
            if !folder.is_dir() {
                fs::create_dir(folder)
                    .with_context(|| format!("cannot make {}", folder.display()))?;
                fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
            }
        }
        self.give(&files)?;
        Ok(files)
    }

    /// Writes a file with a secret that only this user can read.
    pub fn write_secret(&self, file: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        fs::write(file, text)?;
        self.give(file)
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Self::Other { uid, gid } = *self {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} away", path.display()))?;
        }
        Ok(())
    }
}

fn id(what: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([what, name]).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
