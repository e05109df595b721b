//! Audit samples: random records, and whether they were mirrored as they are.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{PgExecutor, PgTransaction};

use super::StoreError;
use super::bulk_runs::RunId;
use super::records::{Judged, Outcome, WriteBatch};
use crate::confidence::{Interval, Outcomes, confidence_score};
use crate::ids::{ConnectionId, ExternalId, Lane, RecordType};

/// One in so many of what is said with confidence may be wrong.
pub const ALPHA: f64 = 0.05;

/// Draws records; those that wait for their look already are not drawn again. Returns how many.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn draw(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    ids: &[ExternalId],
) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "insert into quality_samples (connection_id, record_type, external_id, drawn_at)
         select $1, $2, drawn.external_id, clock_timestamp()
           from unnest($3::text[]) as drawn (external_id)
             on conflict do nothing",
        connection as ConnectionId,
        record_type.as_str(),
        ids as &[ExternalId],
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Lets the records of one page of a run take part in its lottery, in the transaction that writes
/// the page: in the end the `most` with the lowest tickets are its audit, each record as likely as
/// any other, however many there are.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn enter(
    tx: &mut PgTransaction<'_>,
    run: RunId,
    connection: ConnectionId,
    record_type: &RecordType,
    ids: &[ExternalId],
    most: u32,
) -> Result<(), StoreError> {
    if most == 0 || ids.is_empty() {
        return Ok(());
    }
    let mut tickets: Vec<(i64, &str)> =
        ids.iter().map(|id| (ticket(run, id), id.as_str())).collect();
    tickets.sort_unstable();
    tickets.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let (tickets, ids): (Vec<i64>, Vec<&str>) = tickets.into_iter().unzip();
    let last = i64::from(most) - 1;
    let entered = sqlx::query!(
        "insert into quality_samples (connection_id, record_type, external_id, run_id, ticket)
         select $2, $3, entry.external_id, $1, entry.ticket
           from unnest($4::text[], $5::bigint[]) as entry (external_id, ticket)
          where entry.ticket < coalesce(
                (select ticket from quality_samples
                  where run_id = $1 and drawn_at is null
                  order by ticket offset $6 limit 1), 9223372036854775807)
             on conflict do nothing",
        run as RunId,
        connection as ConnectionId,
        record_type.as_str(),
        &ids as &[&str],
        &tickets,
        last,
    )
    .execute(&mut **tx)
    .await?;
    if entered.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!(
        "delete from quality_samples
          where run_id = $1 and drawn_at is null
            and ticket > (select ticket from quality_samples
                           where run_id = $1 and drawn_at is null
                           order by ticket offset $2 limit 1)",
        run as RunId,
        last,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The ticket of a record in the lottery of a run.
fn ticket(run: RunId, id: &ExternalId) -> i64 {
    let seed = run.0.cast_unsigned();
    xxhash_rust::xxh3::xxh3_64_with_seed(id.as_str().as_bytes(), seed).cast_signed()
}

/// The run has written its last page: its lottery is over.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn close_lottery(db: impl PgExecutor<'_>, run: RunId) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update quality_samples set drawn_at = clock_timestamp()
          where run_id = $1 and drawn_at is null",
        run as RunId,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// The records that wait longest for their look as a sample.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn waiting(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    limit: u32,
) -> Result<Vec<(RecordType, ExternalId)>, StoreError> {
    let rows = sqlx::query!(
        r#"select record_type as "record_type: RecordType",
                  external_id as "external_id: ExternalId"
             from quality_samples
            where connection_id = $1 and judged_at is null and drawn_at is not null
            order by drawn_at limit $2"#,
        connection as ConnectionId,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.record_type, row.external_id)).collect())
}

/// Those of these connections that have samples which wait for their look, with one statement.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn waited_for(
    db: impl PgExecutor<'_>,
    connections: &[ConnectionId],
) -> Result<HashSet<ConnectionId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"select wanted.id as "connection!: ConnectionId"
             from unnest($1::integer[]) as wanted (id)
            where exists (select from quality_samples
                           where connection_id = wanted.id and judged_at is null
                             and drawn_at is not null)"#,
        connections as &[ConnectionId],
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Sets those aside that waited too long: what is found so late says little about when they were
/// drawn.
///
/// - `within`: of those that are drawn all the time; those of a run wait a day.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn expire(db: impl PgExecutor<'_>, within: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "with expired as (
             update quality_samples set judged_at = clock_timestamp(), verdict = 'expired'
              where id in (
                    select id from quality_samples
                     where judged_at is null
                       and drawn_at < clock_timestamp()
                           - case when run_id is null then make_interval(secs => $1)
                                  else interval '1 day' end
                     limit 10000)
             returning connection_id, record_type, run_id)
         insert into quality_hours as hours
                (connection_id, record_type, hour, samples, wrong, set_aside)
         select connection_id, record_type,
                floor(extract(epoch from clock_timestamp()) / 3600)::bigint, 0, 0, count(*)
           from expired where run_id is null
          group by connection_id, record_type
             on conflict (connection_id, record_type, hour) do update
            set set_aside = hours.set_aside + excluded.set_aside",
        within.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Judges the samples among the records of a batch, as part of its write.
///
/// A sample counts as wrong when the look was unprompted and what it found is drift. It is set
/// aside where somebody told us meanwhile, where the difference is too young to be held against us
/// (in the platform's words, or because we wrote the record so lately that this read may lag behind
/// that one), and where the platform says that it changed after it was drawn.
pub(super) async fn judge(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
    drifted: &HashSet<ExternalId>,
) -> Result<(), StoreError> {
    let (mut ids, mut verdicts, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for judged in judged {
        let drift = drifted.contains(&judged.look.external_id);
        let Some(verdict) = verdict(batch, judged, drift) else { continue };
        ids.push(judged.external_id());
        verdicts.push(verdict);
        versions.push(judged.believable_version(batch).map(jiff_sqlx::Timestamp::from));
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with judged as (
             update quality_samples as sample
                set judged_at = clock_timestamp(),
                    verdict = case when look.verdict = 'wrong' and look.version > sample.drawn_at
                                   then 'changed' else look.verdict end
               from unnest($3::text[], $4::text[], $5::timestamptz[])
                    as look (external_id, verdict, version)
              where sample.connection_id = $1 and sample.record_type = $2
                and sample.external_id = look.external_id
                and sample.judged_at is null and sample.drawn_at <= $6
             returning sample.run_id, sample.verdict)
         insert into quality_hours as hours
                (connection_id, record_type, hour, samples, wrong, set_aside)
         select $1, $2, floor(extract(epoch from clock_timestamp()) / 3600)::bigint,
                count(*) filter (where verdict in ('right', 'wrong')),
                count(*) filter (where verdict = 'wrong'),
                count(*) filter (where verdict not in ('right', 'wrong'))
           from judged where run_id is null
         having count(*) > 0
             on conflict (connection_id, record_type, hour) do update
            set samples   = hours.samples + excluded.samples,
                wrong     = hours.wrong + excluded.wrong,
                set_aside = hours.set_aside + excluded.set_aside",
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
        &verdicts as &[&str],
        &versions as &[Option<jiff_sqlx::Timestamp>],
        jiff_sqlx::Timestamp::from(batch.fetched_at) as jiff_sqlx::Timestamp,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What a look says of a sample; `None`: it waits for another.
fn verdict(batch: &WriteBatch, judged: &Judged<'_>, drift: bool) -> Option<&'static str> {
    let told = !batch.trigger.is_unprompted() || judged.closed.is_some();
    match judged.outcome {
        Outcome::Stale | Outcome::Unclear | Outcome::Suspected => None,
        _ if told => Some("told"),
        Outcome::Capped => Some("wrong"),
        outcome if !outcome.is_difference() => Some("right"),
        _ if !drift || wrote_lately(batch, judged.changed_at()) => Some("young"),
        _ => Some("wrong"),
    }
}

fn wrote_lately(batch: &WriteBatch, changed_at: Timestamp) -> bool {
    let young = SignedDuration::try_from(batch.young).unwrap_or(SignedDuration::MAX);
    batch.fetched_at.duration_since(changed_at) < young
}

/// What the audits of one record type said in some hours.
#[derive(Clone, Debug)]
pub struct Quality {
    /// Whose records.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// Samples that count.
    pub outcomes: Outcomes,
    /// Samples that were set aside.
    pub set_aside: u64,
    /// Of `outcomes`, those since midnight, UTC.
    pub today: Outcomes,
    /// The share of wrong records, however often one looks, with a probability of 95 %.
    pub interval: Interval,
}

/// What the audits of the last `hours` said, by connection and record type.
///
/// A sequence of samples begins anew every hour, and the clock alone chooses which one is shown
/// (`confidence::HourlyOutcomes`).
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn latest(db: impl PgExecutor<'_>, hours: u16) -> Result<Vec<Quality>, StoreError> {
    let rows = sqlx::query!(
        r#"with clock as materialized (
               select floor(extract(epoch from clock_timestamp()) / 3600)::bigint as hour)
           select quality.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane",
                  quality.record_type as "record_type: RecordType",
                  sum(quality.samples)::bigint as "samples!", sum(quality.wrong)::bigint as "wrong!",
                  sum(quality.set_aside)::bigint as "set_aside!",
                  coalesce(sum(quality.samples) filter (where quality.hour >= clock.hour / 24 * 24),
                           0)::bigint as "samples_today!",
                  coalesce(sum(quality.wrong) filter (where quality.hour >= clock.hour / 24 * 24),
                           0)::bigint as "wrong_today!"
             from clock cross join quality_hours as quality
             join connections as connection on connection.id = quality.connection_id
            where quality.hour >= clock.hour - $1
            group by quality.connection_id, connection.lane, quality.record_type
            order by connection.lane, quality.record_type"#,
        i64::from(hours),
    )
    .fetch_all(db)
    .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(rows
        .into_iter()
        .map(|row| {
            let outcomes = Outcomes { samples: count(row.samples), wrong: count(row.wrong) };
            let today =
                Outcomes { samples: count(row.samples_today), wrong: count(row.wrong_today) };
            Quality {
                connection: row.connection,
                lane: row.lane,
                record_type: row.record_type,
                outcomes,
                set_aside: count(row.set_aside),
                today,
                interval: outcomes.interval(ALPHA),
            }
        })
        .collect())
}

/// Writes the confidence scores of runs down whose last sample was judged; which they are.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn score_runs(db: &sqlx::PgPool) -> Result<BTreeMap<i64, f64>, StoreError> {
    let rows = sqlx::query!(
        r#"select run.id as "id: RunId",
                  count(sample.id) filter (where sample.verdict in ('right', 'wrong')) as "samples!",
                  count(sample.id) filter (where sample.verdict = 'wrong') as "wrong!",
                  count(sample.id) filter (where sample.verdict not in ('right', 'wrong'))
                      as "set_aside!"
             from bulk_runs as run join quality_samples as sample on sample.run_id = run.id
            where run.state = 'done' and run.confidence is null
              and run.finished_at > clock_timestamp() - interval '3 days'
            group by run.id
           having count(*) filter (where sample.judged_at is null) = 0
            order by run.id limit 1000"#,
    )
    .fetch_all(db)
    .await?;
    let mut scores = BTreeMap::new();
    for row in rows {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let outcomes = Outcomes { samples: count(row.samples), wrong: count(row.wrong) };
        let score = confidence_score(outcomes, ALPHA);
        sqlx::query!(
            "update bulk_runs
                set audit_samples = $2, audit_wrong = $3, audit_set_aside = $4, confidence = $5
              where id = $1 and confidence is null",
            row.id as RunId,
            i32::try_from(row.samples).unwrap_or(i32::MAX),
            i32::try_from(row.wrong).unwrap_or(i32::MAX),
            i32::try_from(row.set_aside).unwrap_or(i32::MAX),
            score,
        )
        .execute(db)
        .await?;
        scores.insert(row.id.0, score);
    }
    Ok(scores)
}

/// Forgets samples that were judged, and hours that passed, longer ago than `keep`; also those of
/// runs that were halted or failed. Returns how many.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune(db: &sqlx::PgPool, keep: Duration) -> Result<u64, StoreError> {
    let samples = sqlx::query!(
        "delete from quality_samples
          where judged_at < clock_timestamp() - make_interval(secs => $1)
             or drawn_at is null and run_id in (
                select id from bulk_runs where state in ('halted', 'failed'))",
        keep.as_secs_f64(),
    )
    .execute(db)
    .await?;
    let hours = sqlx::query!(
        "delete from quality_hours
          where hour < extract(epoch from clock_timestamp() - make_interval(secs => $1)) / 3600",
        keep.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(samples.rows_affected() + hours.rows_affected())
}
