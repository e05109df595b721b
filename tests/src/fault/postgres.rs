//! A Postgres of one story's own, which it may kill.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use common::store;
use secrecy::SecretString;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use xtask::postgres::Data;
use xtask::server::Server;
use xtask::servers::Places;
use xtask::setup::Programs;
use xtask::signals::Signals;

/// How long it may take to be there again after a crash.
const RECOVERY: Duration = Duration::from_secs(30);

/// A server that forgets nothing that it has committed. Stopped when dropped.
pub struct OwnPostgres {
    server: Option<Server>,
    url: String,
    programs: Programs,
    // Dropped last.
    folder: TempDir,
}

impl OwnPostgres {
    /// Starts one with an empty database.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
        let folder = tempfile::tempdir()?;
        // Its user is another one than root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let places = Places { target: folder.path().to_owned(), own: own.join(".syncline") };
        let programs = places.programs(&Signals::ignore())?;
        let mut postgres = Self { server: None, url: String::new(), programs, folder };
        postgres.run()?;
        Ok(postgres)
    }

    /// Where it is, with its password; another address after each start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool in the migrated database, that goes by another address.
    ///
    /// # Errors
    ///
    /// When it cannot be migrated.
    pub async fn migrated(&self, url: String) -> anyhow::Result<PgPool> {
        let db = store::connect(&SecretString::from(url), 10, RECOVERY).await?;
        store::migrate(&db).await?;
        Ok(db)
    }

    /// SIGKILL to the server, and to each of its processes as they notice it.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// After a kill: it recovers what was committed.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + RECOVERY;
        // Not before the last of its processes has noticed.
        while let Err(error) = self.run() {
            if Instant::now() > give_up {
                bail!("Postgres does not come back: {error:#}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let place = self.folder.path().join("postgres");
        let (server, url) =
            xtask::postgres::start(&self.programs, &place, Data::Keep, &Signals::ignore())?;
        (self.server, self.url) = (Some(server), url);
        Ok(())
    }
}
