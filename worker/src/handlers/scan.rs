//! One page of a bulk sync: fetch at the cursor, write the page and move the cursor in one
//! transaction, then wait in line again. Between two pages everything more urgent goes first.

use std::time::Duration;

use common::ids::RecordType;
use common::job::{Job, JobId, Priority, Task};
use common::platform::{Look, Notice, PlatformError, RecordKind, ScanFrom, Unseen};
use common::queue::Outcome;
use common::store::StoreError;
use common::store::bulk_runs::{self, BulkRun, Mode, PageProgress};
use common::store::inbox::{self, Delivery, Source};
use common::store::quality;
use common::store::records::{self, Trigger, Verdict, WriteBatch};
use common::telemetry;
use sqlx::postgres::PgTransaction;
use tracing::{error, info, warn};

use super::check::to_write;
use super::form::Form;
use super::{Failure, Work, unknown};
use crate::outcome::Then;

/// Records that a complete scan did not see are suspected and looked at one by one, so many in all;
/// the rest is found by spot checks.
const MOST_UNSEEN: u32 = 10_000;
/// Of these, so many at a time.
const UNSEEN_PAGE: u32 = 1_000;

/// When a full scan finds more gone than can be right, a person decides.
#[derive(Clone, Copy, Debug)]
pub struct Brake {
    /// Of all records of the type.
    pub share: f64,
    /// Fewer than this many never halt a run.
    pub min: u32,
}

impl Brake {
    #[expect(clippy::cast_precision_loss, reason = "a share of records, for a threshold")]
    fn halts(self, unseen: i64, mirrored: i64) -> bool {
        unseen >= i64::from(self.min) && unseen as f64 > self.share * mirrored as f64
    }
}

/// Reads and writes one page of the run that is running.
pub(super) async fn run(work: &Work<'_>, record_type: &RecordType) -> Result<Vec<Then>, Failure> {
    let db = &work.worker.fleet.db;
    let connection = work.connection;
    let kind = connection.record_kind(record_type.as_str()).ok_or_else(|| unknown(record_type))?;
    let Some(run) = bulk_runs::running(db, connection.id, record_type).await? else {
        // It was finished or halted meanwhile.
        return Ok(vec![Then::Settle(Outcome::Ack)]);
    };
    let name = format!("scan@{record_type}");
    let from = ScanFrom { cursor: run.cursor.clone(), changed_since: run.changed_since };
    let fetched_at = inbox::open_for(db, connection.id, record_type, &[]).await?.now;
    let page = match connection.platform.scan(&work.call(&name), kind, &from).await {
        Ok(page) => page,
        Err(PlatformError::CursorLost) => {
            // What was written stays; the next tick starts anew from the old watermark.
            warn!(lane = %connection.lane(), %record_type, "the platform lost the scan's cursor");
            bulk_runs::fail(db, run.id, "the platform lost the cursor").await?;
            return Ok(vec![Then::Settle(Outcome::Ack)]);
        }
        Err(error) => return Err(error.into()),
    };

    let ids: Vec<_> = page.records.iter().map(|record| record.external_id.clone()).collect();
    let form = Form::of(db, connection.id, kind).await?;
    let stored = records::stored(db, connection.id, record_type, &ids).await?;
    let unseen = page.unseen;
    let looks = page
        .records
        .into_iter()
        .map(|record| to_write(Look::Found(record), &form, &stored, fetched_at))
        .collect();
    let batch = WriteBatch {
        connection: connection.id,
        record_type: record_type.clone(),
        trigger: Trigger::Bulk,
        job_id: work.jobs.first().map_or_else(|| JobId::from(""), |job| job.id.clone()),
        fence: work.fence,
        fetched_at,
        run: Some(run.id),
        listed_since: run.changed_since.filter(|_| kind.lists_edits),
        looks,
        // Notices that came before the fetch are not known by record; they stay open, and their
        // checks find the record as it is now.
        close_notices: Vec::new(),
        confirm_after: work.worker.settings.missing_confirm_after,
        young: connection.account.consistency.young,
        planning: work.planning(kind),
        repairs_per_hour: work.worker.care.repairs_per_hour,
        trace: telemetry::current_traceparent(),
    };
    let last = page.next.is_none();
    let mut tx = db.begin().await?;
    let hints = write_down_hints(work, &page.hints, &mut tx).await?;
    let verdicts = records::write(&mut tx, &batch).await?;
    if kind.mirrored && !run.planned {
        let most = work.worker.care.run_samples;
        quality::enter(&mut tx, run.id, connection.id, record_type, &ids, most).await?;
    }
    let progress = progress(page.next, page.latest, &verdicts);
    match bulk_runs::advance(&mut tx, &run, &progress).await {
        // Another worker, believed dead, has written this page. Nothing of ours is kept.
        Err(StoreError::RunMovedOn { .. }) => return Ok(vec![again()]),
        other => other?,
    }
    let end = if last { Some(end(work, kind, &run, unseen, &mut tx).await?) } else { None };
    tx.commit().await?;
    work.worker.count_verdicts(connection, work.priority, &verdicts);
    if let Err(error) = work.worker.fleet.queue.enqueue(&hints).await {
        warn!(%error, "not enqueued yet: the sweeper will");
    }
    match end {
        None => return Ok(vec![again()]),
        Some(End::Halted) => {}
        Some(End::Done) => {
            let pages = run.pages + 1;
            info!(lane = %connection.lane(), %record_type, mode = %run.mode, pages, "scan done");
            if run.mode == Mode::Full && unseen != Unseen::Keep {
                look_at_unseen(work, kind, &run, unseen).await?;
            }
        }
    }
    Ok(vec![Then::Settle(Outcome::Ack)])
}

/// What the platform says happened to other records is a notice like a webhook, only later: it is
/// written down with the page that told it, so that it is not lost with Redis. The checks that
/// answer it wait in line before the next page, which so never runs far ahead of them.
async fn write_down_hints(
    work: &Work<'_>,
    hints: &[Notice],
    tx: &mut PgTransaction<'_>,
) -> Result<Vec<Job>, Failure> {
    if hints.is_empty() {
        return Ok(Vec::new());
    }
    let trace = telemetry::current_traceparent();
    let notices: Vec<_> =
        hints.iter().map(|hint| (hint.record_type.clone(), hint.external_id.clone())).collect();
    let delivery = Delivery {
        connection: work.connection.id,
        priority: Priority::Bulk,
        source: Source::Webhook,
        trace: &trace,
        notices: &notices,
    };
    inbox::accept(&mut **tx, &delivery).await?;
    let job = |(record_type, external_id)| Job {
        lane: work.connection.lane().clone(),
        task: Task::Check { record_type, external_id },
        priority: Priority::Bulk,
        trace: trace.clone(),
    };
    Ok(notices.into_iter().map(job).collect())
}

/// How a run ended after its last page.
enum End {
    Done,
    Halted,
}

/// Ends the run in the transaction of its last page; or halts it, when so much is missing from it
/// that something else must be wrong.
async fn end(
    work: &Work<'_>,
    kind: &RecordKind,
    run: &BulkRun,
    unseen: Unseen,
    tx: &mut PgTransaction<'_>,
) -> Result<End, Failure> {
    if run.mode == Mode::Full && unseen != Unseen::Keep {
        let beside_seen = unseen == Unseen::SuspectBesideSeen;
        let found = bulk_runs::count_unseen(&mut **tx, run.id, beside_seen).await?;
        if work.worker.brake.halts(found.unseen, found.mirrored) {
            let reason = format!(
                "{} of {} records were not in the scan: see to the platform, then scan again",
                found.unseen, found.mirrored
            );
            error!(lane = %work.connection.lane(), record_type = kind.name, reason, "scan halted");
            bulk_runs::halt(&mut **tx, run.id, &reason).await?;
            return Ok(End::Halted);
        }
        // A crash after this loses none of them: the sweeper knows them by their mark.
        bulk_runs::suspect_unseen(tx, run.id, beside_seen, MOST_UNSEEN).await?;
    }
    bulk_runs::finish(&mut **tx, run.id, work.worker.overlap).await?;
    quality::close_lottery(&mut **tx, run.id).await?;
    Ok(End::Done)
}

/// Back in line for the next page, with the same priority.
fn again() -> Then {
    Then::Settle(Outcome::Again { after: Duration::ZERO, round: 0 })
}

fn progress(
    next_cursor: Option<String>,
    latest_version: Option<jiff::Timestamp>,
    verdicts: &[Verdict],
) -> PageProgress {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    PageProgress {
        next_cursor,
        seen: count(verdicts.len()),
        changed: count(verdicts.iter().filter(|v| v.outcome.is_difference()).count()),
        latest_version,
    }
}

/// Records that a complete scan did not see may be gone, where the platform says that it would
/// have shown them: each is looked at before it is marked.
async fn look_at_unseen(
    work: &Work<'_>,
    kind: &'static RecordKind,
    run: &BulkRun,
    unseen: Unseen,
) -> Result<(), Failure> {
    let fleet = &work.worker.fleet;
    let beside_seen = unseen == Unseen::SuspectBesideSeen;
    let lane = work.connection.lane();
    let mut after = None;
    let mut enqueued = 0;
    while enqueued < MOST_UNSEEN {
        let ids =
            bulk_runs::unseen(&fleet.db, run.id, beside_seen, after.as_ref(), UNSEEN_PAGE).await?;
        let Some(last) = ids.last().cloned() else { break };
        enqueued += u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let jobs: Vec<Job> = ids
            .into_iter()
            .map(|external_id| Job {
                lane: lane.clone(),
                task: Task::Check { record_type: kind.name.into(), external_id },
                priority: Priority::Bulk,
                trace: telemetry::current_traceparent(),
            })
            .collect();
        fleet.queue.enqueue(&jobs).await.map_err(|error| Failure::Store(error.into()))?;
        after = Some(last);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_delete_is_braked_and_a_few_deletions_are_not() {
        let brake = Brake { share: 0.2, min: 50 };
        assert!(!brake.halts(40, 41), "few are looked at one by one, whatever their share");
        assert!(!brake.halts(200, 1_000), "a fifth is not yet too much");
        assert!(brake.halts(201, 1_000));
    }
}
