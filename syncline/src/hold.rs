//! `syncline pause` and `syncline resume`.

use anyhow::bail;
use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::store::connections;

use crate::answer::Answer;
use crate::{named, stores};

/// Arguments of both.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its name: `platform/name`.
    #[arg(long)]
    connection: Lane,
}

/// Why a connection is parked that a person paused. Postgres has it, so that the pause outlives
/// a Redis that is lost.
const PAUSED: &str = "paused by hand";

/// Holds a lane.
pub(crate) async fn pause(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let db = stores::postgres(config).await?;
    let connection = named::connection(&db, lane).await?;
    connections::park(&db, connection.id, PAUSED).await?;
    stores::redis(config).await?.pause(lane).await?;
    Ok(Answer::text(format!("{lane} is paused: what runs is finished, nothing new begins")))
}

/// Ends a pause.
pub(crate) async fn resume(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let db = stores::postgres(config).await?;
    let connection = named::connection(&db, lane).await?;
    match connection.parked {
        Some(parked) if parked.reason != PAUSED => {
            let reason = crate::table::plain(&parked.reason);
            bail!(
                "{lane} is parked ({reason}): mend that, then run syncline connections unpark {lane}"
            );
        }
        _ => connections::unpark(&db, connection.id).await?,
    };
    stores::redis(config).await?.resume(lane).await?;
    Ok(Answer::text(format!("{lane} is not paused any more")))
}
