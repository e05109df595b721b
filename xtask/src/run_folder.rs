//! The folder of one run: where it lies, who holds it, and what dead runs left behind.

use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{account::Account, lock, server, signals::Signals};

/// A unix socket's path has at most 107 bytes (unix(7)); Postgres' own part of it, below the run
/// folder, is at most `/postgres/files/.s.PGSQL.65535`.
const PATH_BYTES_MAX: usize = 107 - "/postgres/files/.s.PGSQL.65535".len();

/// A folder that nobody else uses, removed when dropped.
///
/// The lock inside is held as long as this process lives, however it dies: a folder whose lock
/// is free was left behind.
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes a folder below the first of `bases` that will do, and clears up below all of them.
    pub fn create(bases: &[Base], account: &Account, signals: &Signals) -> anyhow::Result<Self> {
        for base in bases {
            if base.holds_folders_of_ours() {
                // Creating and clearing up take turns, so nothing half made is cleared up.
                let turn = lock::acquire(&base.path.join("lock"), signals)?;
                clear_up(&base.path);
                drop(turn);
            }
        }
        for base in bases {
            if base.make().is_ok() && base.is_short_enough() && account.can_enter(&base.path) {
                let turn = lock::acquire(&base.path.join("lock"), signals)?;
                let folder = Self::create_in(&base.path);
                drop(turn);
                return folder;
            }
        }
        anyhow::bail!("found no folder for the servers that their user can enter")
    }

    fn create_in(base: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("run-{}-", std::process::id()))
            .tempdir_in(base)
            .with_context(|| format!("cannot make a folder in {}", base.display()))?;
        // The servers' user passes through; what is inside is closed by its own modes.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let lock = lock::try_acquire(&folder.path().join("lock"))?
            .context("a new folder is already taken")?;
        Ok(Self { path: folder.keep(), _lock: lock })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A folder in which run folders may be made.
#[derive(Clone, Debug)]
pub struct Base {
    path: PathBuf,
    /// Others can write beside it, so what is already there may be a trap.
    shared: bool,
}

impl Base {
    /// Below `target`, else below the system's folders for temporary files.
    pub fn all(target: &Path) -> Vec<Self> {
        let name = format!("syncline-{}", rustix::process::geteuid().as_raw());
        let mut bases = vec![Self { path: target.join("syncline"), shared: false }];
        for temporary in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
            let path = temporary.join(&name);
            if !bases.iter().any(|base| base.path == path) {
                bases.push(Self { path, shared: true });
            }
        }
        bases
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it lies in a folder that other users write to as well.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Makes it unless it is there; an error when it is, and not ours.
    pub fn make(&self) -> anyhow::Result<()> {
        if !self.shared {
            fs::create_dir_all(&self.path)?;
        } else if !self.path.exists() {
            fs::DirBuilder::new().mode(0o711).create(&self.path)?;
        }
        anyhow::ensure!(self.holds_folders_of_ours(), "{} is not ours", self.path.display());
        Ok(())
    }

    fn holds_folders_of_ours(&self) -> bool {
        is_our_folder(&self.path) || (!self.shared && self.path.is_dir())
    }

    fn is_short_enough(&self) -> bool {
        // The longest name of a run folder.
        fits_a_socket(&self.path.join("run-4194304-abcdef"))
    }
}

/// Whether Postgres can have its socket below this folder.
pub fn fits_a_socket(folder: &Path) -> bool {
    folder.as_os_str().len() <= PATH_BYTES_MAX
}

/// Stops the servers and removes the folders of runs that have died.
fn clear_up(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let is_run = folder.file_name().is_some_and(|n| n.to_string_lossy().starts_with("run-"));
        if is_run && is_our_folder(&folder) && lock_is_free(&folder) {
            eprintln!("xtask: clearing up after a run that died: {}", folder.display());
            if let Err(error) = server::stop_recorded(&folder)
                .and_then(|()| fs::remove_dir_all(&folder).map_err(Into::into))
            {
                eprintln!("xtask: could not clear up: {error:#}");
            }
        }
    }
}

fn lock_is_free(folder: &Path) -> bool {
    matches!(lock::try_acquire(&folder.join("lock")), Ok(Some(_)))
}

fn is_our_folder(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::Process;

    fn base(folder: &Path) -> Base {
        Base { path: folder.join("syncline"), shared: false }
    }

    #[test]
    fn a_run_folder_is_its_own_and_goes_with_its_guard() {
        let root = tempfile::tempdir().unwrap();
        let bases = [base(root.path())];
        let create = || RunFolder::create(&bases, &Account::Ourselves, &Signals::ignore()).unwrap();
        let (one, two) = (create(), create());
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        assert!(path.is_dir());
        drop(one);
        assert!(!path.exists());
        assert!(two.path().is_dir());
    }

    #[test]
    fn a_folder_too_deep_for_a_socket_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let deep = base(&root.path().join("d".repeat(80)));
        let short = base(root.path());
        let bases = [deep, short.clone()];
        let run = RunFolder::create(&bases, &Account::Ourselves, &Signals::ignore()).unwrap();
        assert!(run.path().starts_with(&short.path));
    }

    #[test]
    fn what_a_dead_run_left_is_stopped_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let bases = [base(root.path())];
        let signals = Signals::ignore();
        let create = || RunFolder::create(&bases, &Account::Ourselves, &signals).unwrap();

        let living = create();
        let left = bases[0].path.join("run-1-dead");
        fs::create_dir_all(left.join("redis")).unwrap();
        let mut orphan = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let process = Process::of(&orphan).unwrap();
        process.write(&left.join("redis/process")).unwrap();
        let reaper = std::thread::spawn(move || orphan.wait());

        drop(create());
        assert!(!process.is_alive());
        assert!(!left.exists());
        assert!(living.path().is_dir(), "a living run was cleared up");
        drop(reaper.join());
    }

    #[test]
    fn a_link_in_a_shared_folder_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let other = root.path().join("elsewhere");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, root.path().join("syncline")).unwrap();
        assert!(Base { shared: true, ..base(root.path()) }.make().is_err());
    }
}
