//! The history: what was done to which record, and why.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgTransaction};

use super::StoreError;
use super::records::{Finding, Judged, Outcome, Trigger, WriteBatch};
use crate::ids::{ConnectionId, ExternalId, Fence, RecordType};

/// One entry of a record's history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number.
    pub id: i64,
    /// When it was written.
    pub at: Timestamp,
    /// Why somebody looked.
    pub trigger: Trigger,
    /// What became of the record.
    pub outcome: Outcome,
    /// Notices that it answered.
    pub notices_closed: i32,
    /// When the first of them came in.
    pub first_notice_at: Option<Timestamp>,
    /// When the fetch began.
    pub fetched_at: Timestamp,
    /// The fence of the lease it was written under.
    pub fence: Fence,
    /// `traceparent` of the span that wrote it, or empty.
    pub trace: String,
    /// The difference, or the reason, as JSON.
    pub detail: Option<String>,
}

/// The history of one record, latest first.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn history(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    external_id: &ExternalId,
    limit: u32,
) -> Result<Vec<Operation>, StoreError> {
    let rows = sqlx::query!(
        r#"select id, at as "at: jiff_sqlx::Timestamp", trigger as "trigger: Trigger",
                  outcome as "outcome!: Outcome", notices_closed,
                  first_notice_at as "first_notice_at: jiff_sqlx::Timestamp",
                  fetched_at as "fetched_at: jiff_sqlx::Timestamp", fence as "fence: Fence", trace,
                  detail::text
             from sync_operations
            where connection_id = $1 and record_type = $2 and external_id = $3
            order by at desc, id desc limit $4"#,
        connection as ConnectionId,
        record_type.as_str(),
        external_id.as_str(),
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Operation {
            id: row.id,
            at: row.at.to_jiff(),
            trigger: row.trigger,
            outcome: row.outcome,
            notices_closed: row.notices_closed,
            first_notice_at: row.first_notice_at.map(jiff_sqlx::Timestamp::to_jiff),
            fetched_at: row.fetched_at.to_jiff(),
            fence: row.fence,
            trace: row.trace,
            detail: row.detail,
        })
        .collect())
}

/// Partitions are there so many days before they are needed.
pub const DAYS_AHEAD: u16 = 3;

/// Makes the partitions of today and the `days_ahead` days after it, by UTC; returns how many are
/// new. Without them nothing fails: rows then go to the default partition and are moved later.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn ensure_partitions(
    db: impl PgExecutor<'_>,
    days_ahead: u16,
) -> Result<i32, StoreError> {
    let created = sqlx::query_scalar!(
        r#"select ensure_sync_operations_partitions($1) as "created!""#,
        i32::from(days_ahead),
    )
    .fetch_one(db)
    .await?;
    Ok(created)
}

/// Drops the history of the days that ended more than `keep` ago; returns how many.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn drop_partitions(db: impl PgExecutor<'_>, keep: Duration) -> Result<i32, StoreError> {
    let dropped = sqlx::query_scalar!(
        r#"select drop_sync_operations_partitions(make_interval(secs => $1)) as "dropped!""#,
        keep.as_secs_f64(),
    )
    .fetch_one(db)
    .await?;
    Ok(dropped)
}

/// The arrays of [`record`], one element for each row.
#[derive(Default)]
struct Rows<'a> {
    /// `None` for the summary of a page.
    external_ids: Vec<Option<&'a str>>,
    outcomes: Vec<Option<&'static str>>,
    notices_closed: Vec<i32>,
    first_notices: Vec<Option<jiff_sqlx::Timestamp>>,
    details: Vec<Option<String>>,
}

impl<'a> Rows<'a> {
    fn push_record(&mut self, judged: &Judged<'a>) {
        self.external_ids.push(Some(judged.external_id()));
        self.outcomes.push(Some(judged.outcome.as_str()));
        self.notices_closed.push(judged.closed.map_or(0, |closed| closed.count));
        self.first_notices.push(judged.closed.map(|closed| closed.first.into()));
        self.details.push(match &judged.look.finding {
            Finding::Unclear { reason } | Finding::OutOfReach { reason } => {
                Some(serde_json::json!({ "reason": reason }).to_string())
            }
            _ if judged.outcome.is_answer() || judged.outcome == Outcome::Capped => {
                judged.diff().map(|diff| format!(r#"{{"diff":{diff}}}"#))
            }
            _ => None,
        });
    }

    /// How many records of a page came to which outcome.
    fn push_page(&mut self, judged: &[Judged<'a>]) {
        let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
        for judged in judged {
            *outcomes.entry(judged.outcome.as_str()).or_default() += 1;
        }
        self.external_ids.push(None);
        self.outcomes.push(None);
        self.notices_closed.push(0);
        self.first_notices.push(None);
        self.details.push(Some(serde_json::json!(outcomes).to_string()));
    }
}

/// Writes the history of a batch; the number of each record's entry.
///
/// A page of a bulk run is summed up in one row: of its records, only those have a row of their own
/// that were not as mirrored, or had notices.
pub(super) async fn record(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
) -> Result<HashMap<ExternalId, i64>, StoreError> {
    let mut rows = Rows::default();
    for judged in judged {
        let as_mirrored = matches!(judged.outcome, Outcome::Unchanged | Outcome::Rehashed);
        if batch.run.is_none() || !as_mirrored || judged.closed.is_some() {
            rows.push_record(judged);
        }
    }
    if batch.run.is_some() {
        rows.push_page(judged);
    }
    if rows.external_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let written = sqlx::query!(
        r#"insert into sync_operations
                  (connection_id, record_type, external_id, kind, trigger, outcome, notices_closed,
                   first_notice_at, fetched_at, fence, job_id, trace, detail)
           select $1, $2, entry.external_id,
                  case when entry.external_id is null then 'page' else 'record' end,
                  $3, entry.outcome, entry.notices_closed, entry.first_notice_at, $4, $5, $6, $7,
                  entry.detail::jsonb
             from unnest($8::text[], $9::text[], $10::integer[], $11::timestamptz[], $12::text[])
                  as entry (external_id, outcome, notices_closed, first_notice_at, detail)
           returning id, external_id as "external_id: ExternalId""#,
        batch.connection.0,
        batch.record_type.as_str(),
        batch.trigger.as_str(),
        jiff_sqlx::Timestamp::from(batch.fetched_at) as jiff_sqlx::Timestamp,
        batch.fence.0,
        batch.job_id.as_str(),
        batch.trace,
        &rows.external_ids as &[Option<&str>],
        &rows.outcomes as &[Option<&str>],
        &rows.notices_closed,
        &rows.first_notices as &[Option<jiff_sqlx::Timestamp>],
        &rows.details as &[Option<String>],
    )
    .fetch_all(&mut **tx)
    .await?;
    StoreError::expect_rows("sync_operations", rows.external_ids.len(), written.len() as u64)?;
    Ok(written.into_iter().filter_map(|row| Some((row.external_id?, row.id))).collect())
}
