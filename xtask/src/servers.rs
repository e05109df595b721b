//! The private Redis and Postgres of one run.

use std::{path::PathBuf, process::Command};

use crate::{
    postgres::{self, Data},
    redis, releases,
    run_folder::{Base, RunFolder},
    server::Server,
    setup::{self, Programs},
    signals::Signals,
};

/// Both servers, on free ports of the loopback; dropping it stops them and removes their files.
///
/// Nothing here knows of 6379 or 5432, or of any server that we did not start.
pub struct Servers {
    redis_url: String,
    database_url: String,
    programs: Programs,
    /// Other programs for tests, by the variable that names them.
    others: Vec<(&'static str, PathBuf)>,
    // Dropped in this order: first the servers, then the folder they write to.
    _redis: Server,
    _postgres: Server,
    folder: RunFolder,
}

/// Where this clone keeps what it makes.
#[derive(Clone, Debug)]
pub struct Places {
    /// Cargo's target folder: for what goes with a run.
    pub target: PathBuf,
    /// `.syncline` of the clone: for what stays.
    pub own: PathBuf,
}

impl Places {
    /// The server programs, installed where they are missing.
    pub fn programs(&self, signals: &Signals) -> anyhow::Result<Programs> {
        setup::programs(&self.wheels(), signals)
    }

    /// Where wheels lie. The second is for root in a clone that other users cannot enter.
    fn wheels(&self) -> [PathBuf; 2] {
        [self.own.clone(), "/var/cache/syncline".into()]
    }
}

impl Servers {
    /// Finds or installs the programs, starts both servers, and returns when both are ready.
    pub fn start(places: &Places, signals: &Signals) -> anyhow::Result<Self> {
        let programs = places.programs(signals)?;
        let folder = RunFolder::create(&Base::all(&places.target), &programs.account, signals)?;
        let (redis, redis_url) = redis::start(&programs, &folder.path().join("redis"), signals)?;
        let (postgres, database_url) =
            postgres::start(&programs, &folder.path().join("postgres"), Data::Discard, signals)?;
        Ok(Self {
            redis_url,
            database_url,
            programs,
            others: Vec::new(),
            _redis: redis,
            _postgres: postgres,
            folder,
        })
    }

    /// One more Redis, for as long as the guard lives; `name` is its folder's. It must go before
    /// `self` does.
    pub fn another_redis(&self, name: &str, signals: &Signals) -> anyhow::Result<(Server, String)> {
        redis::start(&self.programs, &self.folder.path().join(name), signals)
    }

    /// The same, and what tests start servers of their own with.
    pub fn start_for_tests(places: &Places, signals: &Signals) -> anyhow::Result<Self> {
        let mut servers = Self::start(places, signals)?;
        servers.others = releases::all(&places.wheels(), &servers.programs.account, signals)?;
        Ok(servers)
    }

    /// Tells a command where the servers are, and their programs.
    pub fn give_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .envs(self.others.iter().map(|(variable, program)| (*variable, program)))
            .env("REDIS_URL", &self.redis_url)
            .env("DATABASE_URL", &self.database_url)
            .env("SYNCLINE_REDIS_SERVER", &self.programs.redis)
    }

    /// `redis://default:PASSWORD@127.0.0.1:PORT/`.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// `postgres://ROLE:PASSWORD@127.0.0.1:PORT/DATABASE`; the role is a superuser.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The programs they run from.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }
}
