//! `cargo xtask sqlx`: writes anew what the queries' offline check reads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use crate::{
    cargo::{Workspace, exit_code},
    postgres,
    servers::Servers,
    signals::Signals,
};

/// Migrates a private Postgres and has the compiler describe every query of `common` there.
///
/// The old `.sqlx` is replaced only when all of them are right.
pub fn run(workspace: &Workspace, signals: &Signals) -> anyhow::Result<ExitCode> {
    let servers = Servers::start(&workspace.places(), signals)?;
    for file in migrations(&workspace.root().join("migrations"))? {
        postgres::run_file(servers.programs(), servers.database_url(), &file, signals)?;
    }

    let fresh = tempfile::tempdir_in(workspace.root()).context("cannot make a folder")?;
    let source = workspace.root().join("common/src/lib.rs");
    // Cargo does not know that the answer depends on a database.
    signals.run_tool(Command::new("touch").arg(&source))?;
    let mut check = workspace.cargo(["check", "--package", "common", "--all-targets"]);
    servers.give_to(&mut check).env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", fresh.path());
    let status = signals.run(&mut check)?;
    if !status.success() {
        return Ok(exit_code(status));
    }

    let place = workspace.root().join(".sqlx");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir(&place)?;
    let mut count = 0;
    for entry in fs::read_dir(fresh.path())?.flatten() {
        fs::rename(entry.path(), place.join(entry.file_name()))?;
        count += 1;
    }
    eprintln!("xtask: {count} queries in {}", place.display());
    Ok(ExitCode::SUCCESS)
}

/// The files in the order of their numbers; a folder that is not there holds none.
fn migrations(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort_by_key(|file| (number(file), file.clone()));
    Ok(files)
}

/// `12` of `0012_inbox.sql`; files without a number come last.
fn number(file: &Path) -> u64 {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('_').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_applied_by_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["10_b.sql", "0009_a.sql", "20260101000000_c.sql", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let files = migrations(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["0009_a.sql", "10_b.sql", "20260101000000_c.sql"]);
        assert!(migrations(&folder.path().join("none")).unwrap().is_empty());
    }
}
