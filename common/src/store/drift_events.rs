//! Differences that nothing had told us of.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgTransaction};

use super::StoreError;
use super::records::{Judged, Outcome, Trigger, WriteBatch};
use crate::ids::{ConnectionId, ExternalId, Lane, RecordType};

/// One difference that nothing had told us of.
#[derive(Clone, Debug)]
pub struct DriftEvent {
    /// Its number.
    pub id: i64,
    /// Whose record it is.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
    /// How the mirror was wrong.
    pub kind: Outcome,
    /// When it was found.
    pub found_at: Timestamp,
    /// By what kind of look.
    pub found_by: Trigger,
    /// The difference, field by field, as JSON.
    pub diff: Option<String>,
    /// When the mirror became true.
    pub repaired_at: Option<Timestamp>,
}

/// The latest drift, latest first.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn latest(db: impl PgExecutor<'_>, limit: u32) -> Result<Vec<DriftEvent>, StoreError> {
    let rows = sqlx::query!(
        r#"select event.id, event.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", event.record_type as "record_type: RecordType",
                  event.external_id as "external_id: ExternalId", event.kind as "kind: Outcome",
                  event.found_at as "found_at: jiff_sqlx::Timestamp",
                  event.found_by as "found_by: Trigger", event.diff::text as diff,
                  event.repaired_at as "repaired_at: jiff_sqlx::Timestamp"
             from drift_events as event join connections as connection
               on connection.id = event.connection_id
            order by event.found_at desc limit $1"#,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DriftEvent {
            id: row.id,
            connection: row.connection,
            lane: row.lane,
            record_type: row.record_type,
            external_id: row.external_id,
            kind: row.kind,
            found_at: row.found_at.to_jiff(),
            found_by: row.found_by,
            diff: row.diff,
            repaired_at: row.repaired_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

/// Forgets drift that was repaired longer ago than `keep`; returns how many. What is open stays.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune(db: impl PgExecutor<'_>, keep: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from drift_events
          where found_at < clock_timestamp() - make_interval(secs => $1)
            and repaired_at < clock_timestamp() - make_interval(secs => $1)",
        keep.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Those of these records in which drift was repaired as often within the last hour as it may be.
pub(super) async fn repaired_often(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    ids: &[&str],
) -> Result<HashSet<ExternalId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"select external_id as "external_id: ExternalId" from drift_events
            where connection_id = $1 and record_type = $2 and external_id = any($3)
              and found_at > clock_timestamp() - interval '1 hour' and repaired_at is not null
            group by external_id having count(*) >= $4"#,
        batch.connection.0,
        batch.record_type.as_str(),
        ids as &[&str],
        i64::from(batch.repairs_per_hour),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Closes the open drift of records that were written now.
async fn close(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
    operations: &HashMap<ExternalId, i64>,
) -> Result<(), StoreError> {
    let (ids, numbers): (Vec<&str>, Vec<i64>) = judged
        .iter()
        .filter(|judged| judged.outcome.is_answer())
        .filter_map(|judged| {
            Some((judged.external_id(), *operations.get(&judged.look.external_id)?))
        })
        .unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update drift_events as event
            set repaired_at = clock_timestamp(), repaired_by = written.operation
           from unnest($3::text[], $4::bigint[]) as written (external_id, operation)
          where event.connection_id = $1 and event.record_type = $2
            and event.external_id = written.external_id and event.repaired_at is null",
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
        &numbers,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes the drift that a batch found and repaired; the records that had drifted. What was found
/// and left as it is ([`Outcome::Capped`]) stays open until a later write.
///
/// A difference is drift when nobody had told us of it: the look was unprompted, and the record had
/// no notice, neither one that the batch closes nor one that came in while the fetch ran, nor did
/// it change a moment ago ([`WriteBatch::young`]). What the first complete run of a record type
/// creates is an import and no drift.
pub(super) async fn record(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
    operations: &HashMap<ExternalId, i64>,
) -> Result<HashSet<ExternalId>, StoreError> {
    close(tx, batch, judged, operations).await?;
    if !batch.trigger.is_unprompted() {
        return Ok(HashSet::new());
    }
    let mut rows = Rows::default();
    let is_drift = |outcome: Outcome| outcome.is_difference() || outcome == Outcome::Capped;
    for judged in judged.iter().filter(|judged| is_drift(judged.outcome)) {
        if judged.closed.is_none()
            && !judged.is_young(batch)
            && let Some(operation) = operations.get(&judged.look.external_id)
        {
            rows.push(judged, *operation);
        }
    }
    if rows.external_ids.is_empty() {
        return Ok(HashSet::new());
    }
    let written = sqlx::query_scalar!(
        r#"insert into drift_events
                  (connection_id, record_type, external_id, kind, found_by, old_hash, new_hash, diff,
                   repaired_at, repaired_by)
           select $1, $2, drift.external_id, drift.kind, $3, drift.old_hash, drift.new_hash,
                  drift.diff::jsonb, case when drift.operation is not null then clock_timestamp() end,
                  drift.operation
             from unnest($4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[], $9::bigint[])
                  as drift (external_id, kind, old_hash, new_hash, diff, operation)
            where not exists (
                  select from inbox
                   where inbox.connection_id = $1 and inbox.record_type = $2
                     and inbox.external_id = drift.external_id)
              and (drift.kind <> 'created' or exists (
                  select from bulk_runs
                   where bulk_runs.connection_id = $1 and bulk_runs.record_type = $2
                     and bulk_runs.mode = 'full' and bulk_runs.state = 'done'))
               on conflict (connection_id, record_type, external_id) where repaired_at is null
               do nothing
           returning external_id as "external_id: ExternalId""#,
        batch.connection.0,
        batch.record_type.as_str(),
        batch.trigger.as_str(),
        &rows.external_ids as &[&str],
        &rows.kinds as &[&str],
        &rows.old_hashes as &[Option<[u8; 16]>],
        &rows.new_hashes as &[Option<[u8; 16]>],
        &rows.diffs as &[Option<String>],
        &rows.operations as &[Option<i64>],
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(written.into_iter().collect())
}

/// The arrays of [`record`], one element for each row.
#[derive(Default)]
struct Rows<'a> {
    external_ids: Vec<&'a str>,
    kinds: Vec<&'static str>,
    old_hashes: Vec<Option<[u8; 16]>>,
    new_hashes: Vec<Option<[u8; 16]>>,
    diffs: Vec<Option<String>>,
    /// `None` where nothing was repaired.
    operations: Vec<Option<i64>>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, judged: &Judged<'a>, operation: i64) {
        self.external_ids.push(judged.external_id());
        let capped = judged.outcome == Outcome::Capped;
        let kind = if capped { Outcome::Changed } else { judged.outcome };
        self.kinds.push(kind.as_str());
        self.old_hashes.push(judged.old_hash.map(|hash| hash.0));
        self.new_hashes.push(judged.new_hash().map(|hash| hash.0));
        self.diffs.push(judged.diff().map(std::borrow::Cow::into_owned));
        self.operations.push((!capped).then_some(operation));
    }
}
