//! `syncline pause` and `syncline resume`.

use anyhow::bail;
use clap::Args;
use common::config::Config;
use common::ids::Lane;

use crate::answer::Answer;
use crate::{named, stores};

/// Arguments of both.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its name: <platform>/<name>.
    #[arg(long)]
    connection: Lane,
}

/// Holds a lane.
pub(crate) async fn pause(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    named::connection(&stores::postgres(config).await?, lane).await?;
    stores::redis(config).await?.pause(lane).await?;
    Ok(Answer::text(format!("{lane} is paused: what runs is finished, nothing new begins")))
}

/// Ends a pause.
pub(crate) async fn resume(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let connection = named::connection(&stores::postgres(config).await?, lane).await?;
    if let Some(parked) = connection.parked {
        let reason = crate::table::plain(&parked.reason);
        bail!(
            "{lane} is parked ({reason}): mend that, then run syncline connections unpark {lane}"
        );
    }
    stores::redis(config).await?.resume(lane).await?;
    Ok(Answer::text(format!("{lane} is not paused any more")))
}
