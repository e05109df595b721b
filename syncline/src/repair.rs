//! `syncline connections repair`.

use anyhow::{Context, bail};
use clap::Args;
use common::config::Config;
use common::fleet::senders::Watch;
use common::fleet::{Connection, Fleet, senders};
use common::ids::Lane;
use common::job::PROBE;
use common::platform::{Call, Repair, Sender};
use common::store::senders as rows;
use common::telemetry::Metrics;

use crate::answer::Answer;
use crate::connections::instant;
use crate::probe::{self, ProbePermits};

/// Webhooks are still not sent.
const STILL_BROKEN: u8 = 1;

/// Arguments of `connections repair`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its name: `platform/name`.
    connection: Lane,
    /// Look, say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Looks at what sends the platform's webhooks, switches it on again if it is off, and has read what
/// was missed meanwhile.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let fleet = Fleet::open(config).await?;
    let api = probe::api(config)?;
    let connection = fleet.connections.get(lane).cloned().with_context(|| probe::unknown(lane))?;
    if connection.endpoint.is_none() {
        bail!("{lane} takes no webhooks: endpoint_id_file is not set");
    }
    let permits = ProbePermits::new(&fleet, &connection);
    let call = Call::new(&api, &connection.account, &permits, PROBE);
    let answer = if arguments.dry_run {
        preview(&fleet, &connection, &call).await
    } else {
        let settings = Watch { repair: true, ..Watch::new(&config.scheduler) };
        mend(&fleet, &connection, &call, settings).await
    };
    fleet.renewals.finish().await;
    answer
}

async fn mend(
    fleet: &Fleet,
    connection: &Connection,
    call: &Call<'_>,
    settings: Watch,
) -> anyhow::Result<Answer> {
    let lane = connection.lane();
    let report = senders::watch(fleet, connection, call, settings, &Metrics::default()).await?;
    let mut text = format!("{lane}: {}", report.found.what);
    match &report.repair {
        None => {}
        Some(Repair::NotDone(why)) => text = format!("{text}\nnot repaired: {why}"),
        Some(Repair::Done) => text = format!("{text}\nrepaired: {}", report.now.what),
    }
    for record_type in &report.reading {
        text = format!("{text}\nscan started: {record_type}");
    }
    Ok(ending(Answer::text(text), &report.now))
}

async fn preview(
    fleet: &Fleet,
    connection: &Connection,
    call: &Call<'_>,
) -> anyhow::Result<Answer> {
    let lane = connection.lane();
    let found = senders::look(connection, call).await?;
    let known = rows::all(&fleet.db).await?.into_iter().find(|row| row.lane == *lane);
    let mut text = format!("{lane}: {}", found.what);
    if found.is_broken() {
        text = format!("{text}\nit would be repaired, where the platform lets us");
    }
    let gap = known.as_ref().and_then(|known| known.gap.clone());
    let types: Vec<String> = match &gap {
        Some(gap) => gap.types.iter().map(ToString::to_string).collect(),
        None if found.is_broken() => {
            connection.platform.gap().kinds.iter().map(ToString::to_string).collect()
        }
        None => Vec::new(),
    };
    if !types.is_empty() {
        let from = gap.map_or_else(|| known.and_then(|known| known.well_at), |gap| gap.from);
        let since = from.map_or_else(
            || "everything, since nobody knows for how long".to_owned(),
            |from| format!("what changed since {}, where that can be asked for", instant(from)),
        );
        text = format!("{text}\nit would be read: {} ({since})", types.join(", "));
    }
    Ok(ending(Answer::text(text), &found))
}

fn ending(answer: Answer, sender: &Sender) -> Answer {
    answer.ends_with(if sender.is_broken() { STILL_BROKEN } else { 0 })
}
