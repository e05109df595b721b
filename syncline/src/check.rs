//! `syncline check`.

use anyhow::bail;
use clap::Args;
use common::config::Config;
use common::ids::{ExternalId, Lane, RecordType};
use common::job::{Job, Priority, Task};
use common::store::inbox::{self, Delivery, Source};

use crate::answer::Answer;
use crate::{named, stores};

/// So many records in one call; for more there is `sync`.
const MOST: usize = 10_000;

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Whose records: `platform/name`.
    #[arg(long)]
    connection: Lane,
    /// Their kind.
    #[arg(long)]
    record_type: String,
    /// Their ids; where a platform needs a parent to find a record, `parent/id`.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Writes the request down, which makes it one that is not forgotten, and enqueues it.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let kind = named::record_kind(named::platform_of(lane)?, &arguments.record_type)?;
    if !kind.mirrored {
        bail!("{} is not mirrored, only read for hints: use syncline sync", kind.name);
    }
    let mut ids: Vec<&str> = arguments.ids.iter().map(|id| id.trim()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.first().is_some_and(|id| id.is_empty()) {
        bail!("an id is empty: name records as the platform does");
    }
    if ids.len() > MOST {
        bail!("{} records: {MOST} at the most in one call, or use syncline sync", ids.len());
    }
    let (db, queue) = (stores::postgres(config).await?, stores::redis(config).await?);
    let connection = named::connection(&db, lane).await?;

    let notices: Vec<(RecordType, ExternalId)> =
        ids.into_iter().map(|id| (kind.name.into(), id.into())).collect();
    let delivery = Delivery {
        connection: connection.id,
        priority: Priority::Manual,
        source: Source::Manual,
        trace: "",
        notices: &notices,
    };
    let count = inbox::accept(&db, &delivery).await?;

    let jobs: Vec<Job> = notices
        .into_iter()
        .map(|(record_type, external_id)| Job {
            lane: lane.clone(),
            task: Task::Check { record_type, external_id },
            priority: Priority::Manual,
            trace: String::new(),
        })
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    let mut answer =
        Answer::text(format!("{count} {}{plural} of {lane} will be looked at", kind.name));
    if let Err(error) = queue.enqueue(&jobs).await {
        answer = answer.note(format!("not enqueued ({error}): the scheduler will"));
    }
    Ok(if connection.parked.is_some() {
        answer.note(format!("{lane} is parked: that is after syncline connections unpark {lane}"))
    } else {
        answer
    })
}
