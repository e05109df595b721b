//! `syncline sync`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::platform::RecordKind;
use common::store;
use common::store::bulk_runs::{self, NewRun, RunId};
use common::store::connections::Connection;
use jiff::Timestamp;
use sqlx::postgres::PgTransaction;

use crate::answer::Answer;
use crate::connections::instant;
use crate::{named, stores};

/// Arguments of `sync`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its name: `platform/name`.
    #[arg(long)]
    connection: Lane,
    /// What is read.
    #[arg(long)]
    record_type: String,
    /// Read every record; finds deletions too.
    #[arg(long, conflicts_with = "changes")]
    full: bool,
    /// Read what changed since the last run; the default. Where that cannot be known, everything
    /// is read.
    #[arg(long)]
    changes: bool,
    /// Read what changed since this time, written 2026-11-20T08:00:00Z: what an outage of the
    /// webhooks may have left out.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["full", "changes"])]
    since: Option<Timestamp>,
}

/// A run that has begun.
pub(crate) struct Begun {
    id: RunId,
    changed_since: Option<Timestamp>,
}

/// Starts a run and enqueues its first page, as the scheduler does.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let lane = &arguments.connection;
    let kind = named::record_kind(named::platform_of(lane)?, &arguments.record_type)?;
    let (db, queue) = (stores::postgres(config).await?, stores::redis(config).await?);
    let connection = named::connection(&db, lane).await?;
    if arguments.full && !kind.mirrored {
        bail!("{} is not mirrored, only read for hints: use --since or --changes", kind.name);
    }
    let overlap = config.scheduler.bulk_overlap;
    let mut tx = db.begin().await?;
    let changed_since = match arguments.since {
        Some(since) => Some(reach_back(&mut tx, &connection, kind, since, overlap).await?),
        None if arguments.full => None,
        None => watermark(&mut tx, &connection, kind, overlap).await?,
    };
    let begun = start(&mut tx, &connection, kind, changed_since).await?;
    tx.commit().await?;
    let Some(begun) = begun else {
        let record_type = kind.name.into();
        let running = bulk_runs::running(&db, connection.id, &record_type).await?;
        let which = running.map_or(String::new(), |run| {
            format!(" (run {}, {} pages since {})", run.id, run.pages, instant(run.started_at))
        });
        bail!("{} of {lane} is being read already{which}: wait until it is done", kind.name);
    };

    let what = match begun.changed_since {
        Some(since) => format!("what changed since {}", instant(since)),
        None if arguments.full => "everything".to_owned(),
        None if !kind.mirrored => {
            "from now on: no run before it has ended; for what was before, use --since".to_owned()
        }
        None if kind.changed_since => "everything: no run before it has ended".to_owned(),
        None => format!("everything: {} cannot say what changed", lane.platform()),
    };
    let mut answer =
        Answer::text(format!("run {} started: {} of {lane}, {what}", begun.id, kind.name));
    if let Err(error) = queue.enqueue(&[scan(lane, kind)]).await {
        answer = answer.note(format!("not enqueued ({error}): the scheduler will"));
    }
    Ok(if connection.parked.is_some() {
        answer
            .note(format!("{lane} is parked: it is read after syncline connections unpark {lane}"))
    } else {
        answer
    })
}

/// Starts a run of what changed since the last one, unless one of that record type is running.
pub(crate) async fn begin(
    tx: &mut PgTransaction<'_>,
    connection: &Connection,
    kind: &RecordKind,
    overlap: Duration,
) -> anyhow::Result<Option<Begun>> {
    let changed_since = watermark(tx, connection, kind, overlap).await?;
    start(tx, connection, kind, changed_since).await
}

async fn start(
    tx: &mut PgTransaction<'_>,
    connection: &Connection,
    kind: &RecordKind,
    changed_since: Option<Timestamp>,
) -> anyhow::Result<Option<Begun>> {
    let new = NewRun { connection: connection.id, record_type: kind.name.into(), changed_since };
    let id = bulk_runs::start(&mut **tx, &new).await?;
    Ok(id.map(|id| Begun { id, changed_since }))
}

/// From where on a run of changes reads; `None` where it has to read everything.
async fn watermark(
    tx: &mut PgTransaction<'_>,
    connection: &Connection,
    kind: &RecordKind,
    overlap: Duration,
) -> anyhow::Result<Option<Timestamp>> {
    if !kind.changed_since {
        return Ok(None);
    }
    let watermark = bulk_runs::watermark(&mut **tx, connection.id, &kind.name.into()).await?;
    Ok(watermark.map(|watermark| watermark - overlap))
}

/// From where on a run reads that is to go back to `since`: no later than any other run of changes
/// would, since the next one starts where this one ends.
async fn reach_back(
    tx: &mut PgTransaction<'_>,
    connection: &Connection,
    kind: &RecordKind,
    since: Timestamp,
    overlap: Duration,
) -> anyhow::Result<Timestamp> {
    let (name, platform) = (kind.name, connection.lane.platform());
    if !kind.changed_since {
        bail!("--since: {platform} cannot say which {name} changed: use --full");
    }
    if since > store::now(&mut **tx).await? {
        bail!("--since: that is in the future");
    }
    match watermark(tx, connection, kind, overlap).await? {
        Some(usual) => Ok(since.min(usual)),
        None if kind.mirrored => {
            bail!("--since: no run of {name} has ended yet: leave it out, and everything is read")
        }
        None => Ok(since),
    }
}

/// The job that reads the next page.
pub(crate) fn scan(lane: &Lane, kind: &RecordKind) -> Job {
    Job {
        lane: lane.clone(),
        task: Task::Scan { record_type: kind.name.into() },
        priority: Priority::Bulk,
        trace: String::new(),
    }
}
