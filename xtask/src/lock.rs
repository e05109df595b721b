//! A file that one process holds at a time; the system frees it when the holder dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use anyhow::Context as _;

use crate::signals::Signals;

/// Takes the lock, waiting as long as its holder needs.
pub fn acquire(file: &Path, signals: &Signals) -> anyhow::Result<File> {
    let mut said = false;
    loop {
        if let Some(lock) = try_acquire(file)? {
            return Ok(lock);
        }
        if !said {
            eprintln!("xtask: waiting for another run to let go of {}", file.display());
            said = true;
        }
        signals.pause(Duration::from_millis(200))?;
    }
}

/// Takes the lock; `None` when another process holds it.
pub fn try_acquire(file: &Path) -> anyhow::Result<Option<File>> {
    let lock = open(file).with_context(|| format!("cannot open {}", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", file.display()))
        }
    }
}

/// Opens, for reading where it is another user's: in a shared folder that is enough to lock it.
fn open(file: &Path) -> io::Result<File> {
    File::open(file).or_else(|_| {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lock");
        let first = try_acquire(&file).unwrap().unwrap();
        assert!(try_acquire(&file).unwrap().is_none());
        drop(first);
        assert!(try_acquire(&file).unwrap().is_some());
    }
}
