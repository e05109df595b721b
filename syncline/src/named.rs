//! Things that an operator names.

use anyhow::{anyhow, bail};
use common::ids::Lane;
use common::platform::{self, Platform, RecordKind};
use common::store::connections::{self, Connection};
use sqlx::PgPool;

/// The connection of this name, as Postgres has it.
pub(crate) async fn connection(db: &PgPool, lane: &Lane) -> anyhow::Result<Connection> {
    let mut all = connections::all(db).await?;
    if let Some(found) = all.iter().position(|connection| connection.lane == *lane) {
        return Ok(all.swap_remove(found));
    }
    if all.is_empty() {
        bail!(
            "{lane}: Postgres knows no connection yet; a worker, scheduler or ingress that starts writes those of its configuration down"
        );
    }
    let names: Vec<&str> = all.iter().map(|connection| connection.lane.as_str()).collect();
    bail!("{lane}: no such connection; there are {}", names.join(", "))
}

/// The platform of this name; for arguments.
pub(crate) fn platform(name: &str) -> Result<&'static dyn Platform, String> {
    platform::named(name).ok_or_else(|| {
        let names: Vec<&str> = platform::all().iter().map(|platform| platform.name()).collect();
        format!("no such platform; there are {}", names.join(", "))
    })
}

/// The platform that a connection is on.
pub(crate) fn platform_of(lane: &Lane) -> anyhow::Result<&'static dyn Platform> {
    platform(lane.platform()).map_err(|error| anyhow!("{lane}: {error}"))
}

/// The platform's record type of this name.
pub(crate) fn record_kind(
    platform: &'static dyn Platform,
    name: &str,
) -> anyhow::Result<&'static RecordKind> {
    platform.records().iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = platform.records().iter().map(|kind| kind.name).collect();
        let platform = platform.name();
        anyhow!("{name:?}: no such record type on {platform}; there are {}", names.join(", "))
    })
}
