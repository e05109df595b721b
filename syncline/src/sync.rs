//! `syncline sync`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use common::config::Config;
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::platform::RecordKind;
use common::store::bulk_runs::{self, Mode, NewRun, RunId};
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
    let mode = if arguments.full { Mode::Full } else { Mode::Changes };
    let mut tx = db.begin().await?;
    let begun = begin(&mut tx, &connection, kind, mode, config.scheduler.bulk_overlap).await?;
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

/// Starts a run, unless one of that record type is running.
pub(crate) async fn begin(
    tx: &mut PgTransaction<'_>,
    connection: &Connection,
    kind: &RecordKind,
    mode: Mode,
    overlap: Duration,
) -> anyhow::Result<Option<Begun>> {
    let record_type = kind.name.into();
    let changed_since = match mode {
        Mode::Changes if kind.changed_since => {
            bulk_runs::watermark(&mut **tx, connection.id, &record_type)
                .await?
                .map(|watermark| watermark - overlap)
        }
        Mode::Changes | Mode::Full => None,
    };
    let new = NewRun { connection: connection.id, record_type, changed_since };
    let id = bulk_runs::start(&mut **tx, &new).await?;
    Ok(id.map(|id| Begun { id, changed_since }))
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
