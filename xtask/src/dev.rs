//! `cargo xtask up` and `down`: private servers that stay, for working on this clone.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{Write as _, stdout},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    account::Account,
    lock,
    postgres::{self, Data},
    process::Process,
    redis,
    run_folder::{Base, fits_a_socket},
    server::{self, Server},
    servers::Places,
    signals::Signals,
};

/// The servers of one clone, found again by where the clone lies.
pub struct Dev {
    places: Places,
    folder: PathBuf,
}

impl Dev {
    /// Of the clone with these places.
    pub fn new(places: Places) -> anyhow::Result<Self> {
        let folder = places.own.join("dev");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { places, folder })
    }

    /// Starts what does not run yet, and prints the addresses for a shell.
    pub fn up(&self, signals: &Signals) -> anyhow::Result<()> {
        let lock = lock::acquire(&self.folder.join("lock"), signals)?;
        let programs = self.places.programs(signals)?;
        let folder = self.servers_folder(&programs.account)?;

        let redis = OneServer { folder: folder.join("redis") };
        let (redis_guard, redis_url) =
            redis.reuse_or(|folder| redis::start(&programs, folder, signals))?;
        let postgres = OneServer { folder: folder.join("postgres") };
        let (postgres_guard, database_url) =
            postgres.reuse_or(|folder| postgres::start(&programs, folder, Data::Keep, signals))?;

        let text = format!("export REDIS_URL={redis_url}\nexport DATABASE_URL={database_url}\n");
        Account::Ourselves.write_secret(&self.environment_file(), &text)?;
        for guard in [redis_guard, postgres_guard].into_iter().flatten() {
            guard.leave_running();
        }
        stdout().write_all(text.as_bytes())?;
        eprintln!("xtask: also in {}", self.environment_file().display());
        drop(lock);
        Ok(())
    }

    /// Stops exactly the servers that [`up`](Self::up) started; the data stays.
    pub fn down(&self, signals: &Signals) -> anyhow::Result<()> {
        let lock = lock::acquire(&self.folder.join("lock"), signals)?;
        for folder in self.candidates() {
            if folder.is_dir() {
                server::stop_recorded(&folder)?;
            }
        }
        if self.environment_file().exists() {
            fs::remove_file(self.environment_file())?;
        }
        drop(lock);
        eprintln!("xtask: the servers of {} are stopped", self.folder.display());
        Ok(())
    }

    fn environment_file(&self) -> PathBuf {
        self.folder.join("env")
    }

    /// In the clone; else, where it lies too deep or closed to the servers' user, in a folder for
    /// temporary files.
    fn servers_folder(&self, account: &Account) -> anyhow::Result<PathBuf> {
        let fits = |folder: &PathBuf| {
            fits_a_socket(folder)
                && (folder.is_dir() || fs::create_dir(folder).is_ok())
                && account.can_enter(folder.parent().unwrap_or(folder))
        };
        if fits(&self.folder) {
            return Ok(self.folder.clone());
        }
        Base::all(&self.places.target)
            .iter()
            .filter(|base| base.is_shared() && base.make().is_ok())
            .map(|base| base.path().join(self.shared_name()))
            .find(fits)
            .context("found no folder for the servers")
    }

    /// Every folder that [`servers_folder`](Self::servers_folder) may ever have chosen.
    fn candidates(&self) -> Vec<PathBuf> {
        let bases = Base::all(&self.places.target);
        let shared = bases.iter().filter(|base| base.is_shared());
        let shared = shared.map(|base| base.path().join(self.shared_name()));
        std::iter::once(self.folder.clone()).chain(shared).collect()
    }

    /// The name of this clone's folder among those of other clones.
    fn shared_name(&self) -> String {
        let mut hash = DefaultHasher::new();
        self.folder.hash(&mut hash);
        format!("dev-{:016x}", hash.finish())
    }
}

/// A folder with a server's record and address.
struct OneServer {
    folder: PathBuf,
}

impl OneServer {
    /// The address of the server that runs, or of a new one, which comes with its guard.
    fn reuse_or(
        &self,
        start: impl FnOnce(&Path) -> anyhow::Result<(Server, String)>,
    ) -> anyhow::Result<(Option<Server>, String)> {
        let file = self.folder.join("url");
        let runs = Process::read(&self.folder.join("process")).is_some_and(|p| p.is_alive());
        if runs && let Ok(url) = fs::read_to_string(&file) {
            return Ok((None, url));
        }
        let (server, url) = start(&self.folder)?;
        Account::Ourselves.write_secret(&file, &url)?;
        Ok((Some(server), url))
    }
}
