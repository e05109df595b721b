//! A fleet of many connections with mirrors, for its scheduler alone: no platform is asked.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use common::config::Config;
use common::fleet::Fleet;
use common::ids::{ConnectionId, Lane};
use common::queue::Ledger;
use sqlx::PgPool;

use crate::config_file::{Addresses, ConfigFolder};

/// Records that are written with one statement.
const AT_ONCE: usize = 20_000;

/// Such a fleet.
#[derive(Debug)]
pub struct Lanes {
    /// As a process has it.
    pub fleet: Fleet,
    /// Its settings.
    pub config: Config,
    /// Its connections, in the order of their names.
    pub connections: Vec<(ConnectionId, Lane)>,
    _folder: ConfigFolder,
}

impl Lanes {
    /// So many Klaviyo accounts of the usual quotas, their lanes open.
    ///
    /// - `namespace`: of their keys.
    ///
    /// # Errors
    ///
    /// When a store cannot be reached.
    pub async fn open(
        redis_url: &str,
        database_url: &str,
        namespace: &str,
        lanes: usize,
    ) -> anyhow::Result<Self> {
        let simulated = simulator::Config::default();
        let secrets = tempfile::Builder::new().prefix("syncline-").tempdir()?;
        let token = secrets.path().join("token");
        fs::write(&token, "a token that nobody asks for")?;
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
        let mut settings = String::new();
        for n in 0..lanes {
            writeln!(
                settings,
                "[connections.\"klaviyo/bench-{n:05}\"]\nbase_url = \"http://127.0.0.1:9\"\n\
                 token_file = \"{}\"",
                token.display()
            )?;
        }
        let folder = ConfigFolder::write(&simulated, &Addresses::nowhere(), &settings, &[])?;
        let config = folder.config(&[
            ("SYNCLINE__REDIS__URL", redis_url),
            ("SYNCLINE__REDIS__NAMESPACE", namespace),
            ("SYNCLINE__POSTGRES__URL", database_url),
            ("SYNCLINE__POSTGRES__MAX_CONNECTIONS", "2"),
        ])?;
        let fleet = Fleet::open(&config).await?;
        let connections: Vec<_> =
            fleet.connections.iter().map(|known| (known.id, known.lane().clone())).collect();
        for (_, lane) in &connections {
            fleet.queue.open(lane, &[Ledger::Empty]).await?;
        }
        Ok(Self { fleet, config, connections, _folder: folder })
    }

    /// Gives a connection so many profiles in place of those that it had. They were looked at a day
    /// ago; the look at the n-th of them is due in n times `apart_seconds`, and at the first `due`
    /// of them since then.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn mirror(
        &self,
        db: &PgPool,
        connection: ConnectionId,
        records: u32,
        due: u32,
        apart_seconds: f64,
    ) -> anyhow::Result<()> {
        sqlx::query("delete from external_integrations where connection_id = $1")
            .bind(connection.0)
            .execute(db)
            .await?;
        let records = i32::try_from(records).context("too many records")?;
        let due = i32::try_from(due).context("too many records")?;
        // No statement may take longer than any other of the fleet.
        for first in (1..=records).step_by(AT_ONCE) {
            let last = first.saturating_add(i32::try_from(AT_ONCE)? - 1).min(records);
            sqlx::query(
                "insert into external_integrations
                        (connection_id, record_type, external_id, payload, content_hash,
                         schema_version, flags, fetched_at, fence, first_seen_at, changed_at,
                         last_verified_at, checks, changes, next_check_at)
                 select $1, 'profile', 'P' || lpad(n::text, 9, '0'), '{}',
                        decode(repeat('00', 16), 'hex'), 1, 0, day.ago, 1, day.ago, day.ago,
                        day.ago, 1, 0, case when n <= $4 then day.ago
                                            else now() + make_interval(secs => n * $5) end
                   from generate_series($2, $3) as n,
                        (select now() - interval '1 day' as ago) as day",
            )
            .bind(connection.0)
            .bind(first)
            .bind(last)
            .bind(due)
            .bind(apart_seconds)
            .execute(db)
            .await?;
        }
        Ok(())
    }

    /// Has Postgres count what it has, as it does by itself after a while.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn analyze(&self, db: &PgPool) -> anyhow::Result<()> {
        sqlx::query("analyze external_integrations").execute(db).await?;
        Ok(())
    }
}
