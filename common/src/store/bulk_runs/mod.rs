//! Bulk syncs and where they stand.

mod lately;
mod read;
mod unseen;

pub use lately::{Extent, Lately, lately};
pub use read::{all_running, latest, running, watermark};
pub use unseen::{Unseen, count_unseen, suspect_unseen, unseen};

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{PgExecutor, PgTransaction};

use super::{StoreError, text_enum};
use crate::ids::{ConnectionId, Lane, RecordType};

/// The row number of a bulk run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_enum! {
    /// What a run reads.
    Mode {
        /// Every record; what it does not see may be gone.
        Full = "full",
        /// What changed since an instant.
        Changes = "changes",
    }
}

text_enum! {
    /// How a run goes.
    State {
        /// A page is due.
        Running = "running",
        /// Every page was written.
        Done = "done",
        /// Waits for a person.
        Halted = "halted",
        /// Given up.
        Failed = "failed",
    }
}

/// A run that is about to start.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Whose records.
    pub connection: ConnectionId,
    /// Their kind.
    pub record_type: RecordType,
    /// From when on changes are read; `None` reads every record.
    pub changed_since: Option<Timestamp>,
}

/// A bulk run as Postgres has it.
#[derive(Clone, Debug)]
pub struct BulkRun {
    /// Its number.
    pub id: RunId,
    /// Whose records.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// What it reads.
    pub mode: Mode,
    /// How it goes.
    pub state: State,
    /// Fixed for the whole run.
    pub changed_since: Option<Timestamp>,
    /// The platform's token for the page that is due; `None` for the first.
    pub cursor: Option<String>,
    /// Pages written so far.
    pub pages: i32,
    /// Records on them.
    pub records_seen: i64,
    /// How many of those were not as mirrored.
    pub records_changed: i64,
    /// From where the next run of changes starts; set when it is done.
    pub watermark: Option<Timestamp>,
    /// Before its first fetch.
    pub started_at: Timestamp,
    /// When the cursor last moved.
    pub moved_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it was halted or failed.
    pub reason: Option<String>,
    /// Pages that the last run of this kind had which was done; `None` where there was none.
    pub expected_pages: Option<i32>,
    /// The planner of the spot checks began it, as a look at what it names: it has no audit.
    pub planned: bool,
    /// What its audit found; `None` before the last sample was judged.
    pub audit: Option<RunAudit>,
}

/// What the audit after a run found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunAudit {
    /// Samples that count.
    pub samples: i32,
    /// Those that were not as the run wrote them.
    pub wrong: i32,
    /// Samples that say nothing.
    pub set_aside: i32,
    /// The share of its records that are right, at least, with a probability of 95 %.
    pub confidence: f64,
}

impl BulkRun {
    /// When it will probably have written its last page; `None` when it does not run, or nobody
    /// knows how many pages there are.
    ///
    /// It has as many as the one before, and goes on at the pace at which it went so far, but not
    /// faster than its quota.
    ///
    /// - `pace`: the shortest time between two pages that the quota allows.
    pub fn ends_at(&self, now: Timestamp, pace: Duration) -> Option<Timestamp> {
        if self.state != State::Running {
            return None;
        }
        let left = self.expected_pages?.saturating_sub(self.pages).max(1);
        let so_far = self.moved_at.duration_since(self.started_at).as_secs_f64();
        let measured = if self.pages > 0 { so_far / f64::from(self.pages) } else { 0.0 };
        let length = f64::from(left) * measured.max(pace.as_secs_f64());
        let length = SignedDuration::try_from_secs_f64(length).ok()?;
        now.checked_add(length).ok()
    }
}

/// What a page adds to its run.
#[derive(Clone, Debug, Default)]
pub struct PageProgress {
    /// The token of the next page; `None` when this was the last. Then [`finish`] follows.
    pub next_cursor: Option<String>,
    /// Records on the page.
    pub seen: u32,
    /// How many of those were not as mirrored.
    pub changed: u32,
    /// The latest time of change on the page, by the platform's clock.
    pub latest_version: Option<Timestamp>,
}

/// Starts a run; `None` when one of that record type is running already.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %new.connection, record.type = %new.record_type))]
pub async fn start(db: impl PgExecutor<'_>, new: &NewRun) -> Result<Option<RunId>, StoreError> {
    begin(db, new, false).await
}

/// The same of a list of changes that the planner of the spot checks wants, as a look at what it
/// names ([`BulkRun::planned`]).
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %new.connection, record.type = %new.record_type))]
pub async fn start_planned(
    db: impl PgExecutor<'_>,
    new: &NewRun,
) -> Result<Option<RunId>, StoreError> {
    begin(db, new, true).await
}

async fn begin(
    db: impl PgExecutor<'_>,
    new: &NewRun,
    planned: bool,
) -> Result<Option<RunId>, StoreError> {
    let mode = if new.changed_since.is_some() { Mode::Changes } else { Mode::Full };
    let id = sqlx::query_scalar!(
        r#"insert into bulk_runs (connection_id, record_type, mode, changed_since, planned)
           values ($1, $2, $3, $4, $5)
               on conflict (connection_id, record_type) where state = 'running' do nothing
           returning id as "id: RunId""#,
        new.connection as ConnectionId,
        new.record_type.as_str(),
        mode.as_str(),
        new.changed_since.map(jiff_sqlx::Timestamp::from) as Option<jiff_sqlx::Timestamp>,
        planned,
    )
    .fetch_optional(db)
    .await?;
    Ok(id)
}

/// Forgets runs that ended longer ago than `keep`; returns how many. Of the lists that the planner
/// began, those that found nothing after a day. The last two of a record type and mode that were done
/// stay: the next run starts from their watermark.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune(db: impl PgExecutor<'_>, keep: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from bulk_runs as run
          where finished_at < clock_timestamp() - make_interval(secs => $1::float8)
                + case when planned and state = 'done' and records_changed = 0
                       then greatest(make_interval(secs => $1) - interval '1 day', interval '0')
                       else interval '0' end
            and (state <> 'done' or exists (
                select from bulk_runs as later
                 where later.connection_id = run.connection_id
                   and later.record_type = run.record_type and later.mode = run.mode
                   and later.state = 'done' and later.id > run.id
                offset 1))",
        keep.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Moves a run to its next page, in the transaction that writes the page.
///
/// `read` is the run as it was before the page was fetched: when it has moved since, the page was
/// written by somebody else, and this transaction must write nothing.
///
/// # Errors
///
/// [`StoreError::RunMovedOn`], or when the database fails. Roll the transaction back then.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %read.id))]
pub async fn advance(
    tx: &mut PgTransaction<'_>,
    read: &BulkRun,
    page: &PageProgress,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update bulk_runs
            set cursor = $4, pages = pages + 1, moved_at = clock_timestamp(),
                records_seen = records_seen + $5, records_changed = records_changed + $6,
                latest_version = greatest(latest_version, $7)
          where id = $1 and state = 'running' and pages = $2 and cursor is not distinct from $3",
        read.id as RunId,
        read.pages,
        read.cursor,
        page.next_cursor,
        i64::from(page.seen),
        i64::from(page.changed),
        page.latest_version.map(jiff_sqlx::Timestamp::from) as Option<jiff_sqlx::Timestamp>,
    )
    .execute(&mut **tx)
    .await?;
    moved(read.id, done.rows_affected())
}

/// Ends a run whose last page was written, best in the same transaction; returns its watermark.
///
/// The watermark is the latest time of change that the platform gave, but no later than `overlap`
/// before the run started (its clock may be ahead, its reads behind) and no earlier than the
/// watermark that the run itself started from.
///
/// # Errors
///
/// [`StoreError::RunMovedOn`] when it is not running, or when the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn finish(
    db: impl PgExecutor<'_>,
    run: RunId,
    overlap: Duration,
) -> Result<Timestamp, StoreError> {
    let watermark = sqlx::query_scalar!(
        r#"update bulk_runs
              set state = 'done', finished_at = clock_timestamp(),
                  watermark = greatest(changed_since,
                      least(latest_version, started_at - make_interval(secs => $2)))
            where id = $1 and state = 'running'
           returning watermark as "watermark!: jiff_sqlx::Timestamp""#,
        run as RunId,
        overlap.as_secs_f64(),
    )
    .fetch_optional(db)
    .await?;
    watermark.map(jiff_sqlx::Timestamp::to_jiff).ok_or(StoreError::RunMovedOn(run))
}

/// Stops a run until a person acts.
///
/// # Errors
///
/// [`StoreError::RunMovedOn`] when it is not running, or when the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn halt(db: impl PgExecutor<'_>, run: RunId, reason: &str) -> Result<(), StoreError> {
    end(db, run, State::Halted, reason).await
}

/// Gives a run up: its pages stay written, the next run starts from the old watermark.
///
/// # Errors
///
/// [`StoreError::RunMovedOn`] when it is not running, or when the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn fail(db: impl PgExecutor<'_>, run: RunId, reason: &str) -> Result<(), StoreError> {
    end(db, run, State::Failed, reason).await
}

async fn end(
    db: impl PgExecutor<'_>,
    run: RunId,
    state: State,
    reason: &str,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update bulk_runs set state = $2, reason = $3, finished_at = clock_timestamp()
          where id = $1 and state = 'running'",
        run as RunId,
        state.as_str(),
        reason,
    )
    .execute(db)
    .await?;
    moved(run, done.rows_affected())
}

fn moved(run: RunId, rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::RunMovedOn(run)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// A run that began at 0, of as many pages as the last one of its kind, 100.
    fn run(pages: i32, moved: i64) -> BulkRun {
        BulkRun {
            id: RunId(1),
            connection: ConnectionId(1),
            lane: "klaviyo/main".parse().unwrap(),
            record_type: "profile".into(),
            mode: Mode::Full,
            state: State::Running,
            changed_since: None,
            cursor: None,
            pages,
            records_seen: 0,
            records_changed: 0,
            watermark: None,
            started_at: at(0),
            moved_at: at(moved),
            finished_at: None,
            reason: None,
            expected_pages: Some(100),
            planned: false,
            audit: None,
        }
    }

    #[test]
    fn a_scan_goes_on_at_its_pace_but_not_faster_than_its_quota() {
        let second = Duration::from_secs(1);
        let ends = |run: &BulkRun, pace| run.ends_at(at(50), pace);
        // 10 pages in 40 s: the other 90 take 360.
        assert_eq!(ends(&run(10, 40), second), Some(at(410)));
        // The first went out in a burst; its quota is a page in 10 s.
        assert_eq!(ends(&run(10, 5), 10 * second), Some(at(950)));
        // Nothing was read yet.
        assert_eq!(ends(&run(0, 0), 2 * second), Some(at(250)));
        // There are more pages than the last time: at least this one.
        assert_eq!(ends(&run(120, 120), second), Some(at(51)));
        let unknown = BulkRun { expected_pages: None, ..run(10, 40) };
        let done = BulkRun { state: State::Done, ..run(100, 40) };
        assert_eq!((ends(&unknown, second), ends(&done, second)), (None, None));
    }
}
