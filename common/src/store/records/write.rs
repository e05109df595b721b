//! Writing what was found: the mirror, its history, its drift and its inbox in one transaction.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::PgTransaction;

use super::judge::{Held, Stamp, judge};
use super::learn::{Lesson, learn};
use super::payload::storable;
use super::stored::content_hash;
use super::{Finding, Flags, Look, MAX_LOOKS, Outcome, Verdict, WriteBatch};
use crate::drift::ContentHash;
use crate::freshness::grid::{EVIDENCE_BYTES, GridEvidence};
use crate::ids::{ExternalId, Fence};
use crate::store::inbox::Closed;
use crate::store::{StoreError, drift_events, habits, inbox, operations, quality};

/// How long a record about which nothing could be said is left out of the spot checks.
const SET_ASIDE: Duration = Duration::from_mins(10);

/// How long a record that we no longer get at is left out of the spot checks.
const LEFT_ALONE: Duration = Duration::from_hours(24);
/// A platform's clock is not further ahead of ours than this.
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Siblings that one write sets aside.
const MOST_SIBLINGS: i64 = 10_000;

/// A look, what the mirror held before it and what became of it.
pub(in crate::store) struct Judged<'a> {
    pub(in crate::store) look: &'a Look,
    /// What the mirror had.
    pub(super) held: Held,
    pub(in crate::store) outcome: Outcome,
    /// The hash before; `None` where there was no record, or a deleted one.
    pub(in crate::store) old_hash: Option<ContentHash>,
    /// The row's payload is what was found, as far as anything of it moved.
    keeps_payload: bool,
    /// What the write closed of its notices.
    pub(in crate::store) closed: Option<Closed>,
}

impl<'a> Judged<'a> {
    pub(in crate::store) fn external_id(&self) -> &'a str {
        self.look.external_id.as_str()
    }

    /// The difference that the caller worked out, fit for jsonb.
    pub(in crate::store) fn diff(&self) -> Option<Cow<'a, str>> {
        match &self.look.finding {
            Finding::Found { diff: Some(diff), .. } => Some(storable(diff.get())),
            _ => None,
        }
    }

    /// Whether the platform says that the record changed less than `batch.young` ago. Its clock may
    /// be ahead by as much; what is to change later than that says nothing.
    pub(in crate::store) fn is_young(&self, batch: &WriteBatch) -> bool {
        let Some(changed_at) = self.version() else { return false };
        let young = SignedDuration::try_from(batch.young).unwrap_or(SignedDuration::MAX);
        batch.fetched_at.duration_since(changed_at).abs() < young
    }

    /// When the record last changed, in the platform's own words; `None` also where that lies
    /// further in the future than a clock is wrong.
    pub(in crate::store) fn believable_version(&self, batch: &WriteBatch) -> Option<Timestamp> {
        self.version().filter(|version| version.duration_since(batch.fetched_at) < MOST_AHEAD)
    }

    fn version(&self) -> Option<Timestamp> {
        match self.look.finding {
            Finding::Found { remote_version, .. } => remote_version,
            _ => None,
        }
    }

    /// When the look began that last found it different, before this one.
    pub(in crate::store) fn changed_at(&self) -> Timestamp {
        self.held.changed_at
    }

    /// The hash after; `None` where the record is gone.
    pub(in crate::store) fn new_hash(&self) -> Option<ContentHash> {
        match self.look.finding {
            Finding::Found { hash, .. } => Some(hash),
            _ => None,
        }
    }
}

/// Writes what a fetch found, and all that follows from it, as part of `tx`; what became of each
/// look, in the order of `batch.looks`.
///
/// Writes are ordered by when their fetch began, then by fence: one that comes late is refused for
/// the records that a later one has written ([`Outcome::Stale`]). In the same transaction go the
/// history, the drift (opened and, as it is repaired here, closed) and the inbox: a notice in
/// `close_notices` is deleted if the look answered its record.
///
/// Fourteen statements at most, however many looks. Rows are locked in the order of their ids, so
/// that writes that overlap wait for each other and never deadlock.
///
/// # Errors
///
/// [`StoreError::TooManyLooks`], or when the database fails. Roll the transaction back then.
#[tracing::instrument(skip_all, err(level = "debug"), fields(
    connection.id = %batch.connection,
    record.type = %batch.record_type,
    trigger = %batch.trigger,
    looks = batch.looks.len(),
))]
pub async fn write(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
) -> Result<Vec<Verdict>, StoreError> {
    if batch.looks.len() > MAX_LOOKS {
        return Err(StoreError::TooManyLooks { looks: batch.looks.len(), max: MAX_LOOKS });
    }
    // Each record once, the last look at it, in the order in which rows are locked.
    let looks: BTreeMap<&str, &Look> =
        batch.looks.iter().map(|look| (look.external_id.as_str(), look)).collect();

    let held = lock(tx, batch, &looks).await?;
    let stamp = Stamp { fetched_at: batch.fetched_at, fence: batch.fence };
    let mut judged: Vec<Judged<'_>> = looks
        .values()
        .map(|look| {
            let held = held.get(&look.external_id).copied().unwrap_or(Held::NOTHING);
            let outcome = judge(&held, &look.finding, stamp, batch.confirm_after);
            Judged {
                look,
                outcome,
                keeps_payload: outcome == Outcome::Unchanged && is_version(&held, &look.finding),
                old_hash: held.hash.filter(|_| !held.flags.contains(Flags::DELETED)),
                closed: None,
                held,
            }
        })
        .collect();

    cap(tx, batch, &mut judged).await?;
    set_aside(tx, batch, &judged).await?;
    leave_alone(tx, batch, &judged).await?;
    close_notices(tx, batch, &mut judged).await?;
    let operations = operations::record(tx, batch, &judged).await?;
    let drifted = drift_events::record(tx, batch, &judged, &operations).await?;
    let known = habits::of(&mut **tx, batch.connection, &batch.record_type).await?;
    let (lessons, sum) = learn(&known, batch, &judged, &drifted);
    update(tx, batch, &judged, &lessons).await?;
    quality::judge(tx, batch, &judged, &drifted).await?;
    habits::add(tx, batch.connection, &batch.record_type, &sum).await?;

    let verdicts: HashMap<&str, Verdict> = judged
        .iter()
        .map(|judged| {
            let drift = drifted.contains(&judged.look.external_id);
            (judged.external_id(), Verdict { outcome: judged.outcome, drift })
        })
        .collect();
    Ok(batch
        .looks
        .iter()
        .filter_map(|look| verdicts.get(look.external_id.as_str()).copied())
        .collect())
}

/// Leaves records as they are in which nobody told of a change, and drift was repaired too often
/// within the hour: they do not settle.
async fn cap(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &mut [Judged<'_>],
) -> Result<(), StoreError> {
    let differ = |judged: &Judged<'_>| judged.outcome == Outcome::Changed;
    let ids: Vec<&str> =
        judged.iter().filter(|judged| differ(judged)).map(Judged::external_id).collect();
    if ids.is_empty() || !batch.trigger.is_unprompted() {
        return Ok(());
    }
    let capped = drift_events::repaired_often(tx, batch, &ids).await?;
    for judged in judged.iter_mut().filter(|judged| differ(judged)) {
        if capped.contains(&judged.look.external_id) {
            judged.outcome = Outcome::Capped;
        }
    }
    Ok(())
}

/// Whether the platform says that the record did not even move since what is mirrored. Then the
/// payload stays; otherwise fields that do not count may have moved with it.
fn is_version(held: &Held, finding: &Finding) -> bool {
    // Postgres keeps microseconds.
    let micros = |version: Option<Timestamp>| version.map(Timestamp::as_microsecond);
    match finding {
        Finding::Found { remote_version, .. } => {
            micros(*remote_version) == micros(held.remote_version)
        }
        _ => true,
    }
}

/// Locks the rows of all records that were judged, adding those that are missing, and reads them.
///
/// Rows are added first: two writers that both find no row then meet at the key, and the second
/// one reads what the first one wrote. An added row is complete after [`update`].
async fn lock(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    looks: &BTreeMap<&str, &Look>,
) -> Result<HashMap<ExternalId, Held>, StoreError> {
    let ids: Vec<&str> =
        looks.iter().filter(|(_, look)| look.finding.is_telling()).map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    sqlx::query!(
        "insert into external_integrations
                (connection_id, record_type, external_id, schema_version, flags, fetched_at, fence,
                 first_seen_at, changed_at, last_verified_at, checks, changes)
         select $1, $2, look.external_id, 0, 0, to_timestamp(0), 0, $4, $4, $4, 0, 0
           from unnest($3::text[]) as look (external_id)
          where not exists (
                select from external_integrations as known
                 where known.connection_id = $1 and known.record_type = $2
                   and known.external_id = look.external_id)
          order by look.external_id
             on conflict do nothing",
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
        jiff_sqlx::Timestamp::from(batch.fetched_at) as jiff_sqlx::Timestamp,
    )
    .execute(&mut **tx)
    .await?;

    let rows = sqlx::query!(
        r#"select external_id as "external_id: ExternalId", content_hash, schema_version, flags,
                  remote_version as "remote_version: jiff_sqlx::Timestamp",
                  fetched_at as "fetched_at: jiff_sqlx::Timestamp", fence as "fence: Fence",
                  missing_since as "missing_since: jiff_sqlx::Timestamp",
                  last_verified_at as "last_verified_at: jiff_sqlx::Timestamp",
                  changed_at as "changed_at: jiff_sqlx::Timestamp", evidence
             from external_integrations
            where connection_id = $1 and record_type = $2 and external_id = any($3)
            order by external_id
              for no key update"#,
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
    )
    .fetch_all(&mut **tx)
    .await?;
    StoreError::expect_rows("external_integrations", ids.len(), rows.len() as u64)?;
    rows.into_iter()
        .map(|row| {
            let held = Held {
                stamp: Stamp { fetched_at: row.fetched_at.to_jiff(), fence: row.fence },
                hash: content_hash(row.content_hash)?,
                schema_version: row.schema_version,
                remote_version: row.remote_version.map(jiff_sqlx::Timestamp::to_jiff),
                flags: Flags(row.flags),
                missing_since: row.missing_since.map(jiff_sqlx::Timestamp::to_jiff),
                last_verified_at: row.last_verified_at.to_jiff(),
                changed_at: row.changed_at.to_jiff(),
                evidence: row.evidence.as_deref().map(GridEvidence::from_bytes),
            };
            Ok((row.external_id, held))
        })
        .collect()
}

/// Brings the rows of all looks up to date that tell something and are not too late.
async fn update(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
    lessons: &[Lesson],
) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    for (judged, lesson) in judged.iter().zip(lessons) {
        if judged.outcome.is_answer() {
            rows.push(judged, lesson);
        }
    }
    if rows.ids.is_empty() {
        return Ok(());
    }
    let done = sqlx::query!(
        "update external_integrations as record
            set payload          = coalesce(look.payload::jsonb, record.payload),
                content_hash     = coalesce(look.hash, record.content_hash),
                schema_version   = coalesce(look.schema_version, record.schema_version),
                remote_version   = coalesce(look.remote_version, record.remote_version),
                flags            = (record.flags & ~3) | look.mark,
                missing_since    = case when look.mark = 0 then null
                                        when record.missing_since <= record.fetched_at
                                        then record.missing_since else $4 end,
                fetched_at       = $4,
                fence            = $5,
                changed_at       = case when look.changed then $4 else record.changed_at end,
                last_verified_at = case when look.mark = 2 then record.last_verified_at else $4 end,
                next_check_at    = look.next_check_at,
                not_before       = null,
                evidence         = coalesce(look.evidence, record.evidence),
                weight           = coalesce(look.weight, record.weight),
                checks           = record.checks + 1,
                changes          = record.changes + look.changed::integer,
                seen_in_run      = case when look.mark = 0 then coalesce($6, record.seen_in_run)
                                        else record.seen_in_run end
           from unnest($3::text[], $7::text[], $8::bytea[], $9::integer[], $10::timestamptz[],
                       $11::integer[], $12::boolean[], $13::timestamptz[], $14::bytea[],
                       $15::real[])
                as look (external_id, payload, hash, schema_version, remote_version, mark, changed,
                         next_check_at, evidence, weight)
          where record.connection_id = $1 and record.record_type = $2
            and record.external_id = look.external_id",
        batch.connection.0,
        batch.record_type.as_str(),
        &rows.ids as &[&str],
        jiff_sqlx::Timestamp::from(batch.fetched_at) as jiff_sqlx::Timestamp,
        batch.fence.0,
        batch.run.map(|run| run.0),
        &rows.payloads as &[Option<Cow<'_, str>>],
        &rows.hashes as &[Option<[u8; 16]>],
        &rows.schema_versions as &[Option<i32>],
        &rows.remote_versions as &[Option<jiff_sqlx::Timestamp>],
        &rows.marks,
        &rows.changed,
        &rows.next_checks as &[Option<jiff_sqlx::Timestamp>],
        &rows.evidence as &[Option<[u8; EVIDENCE_BYTES]>],
        &rows.weights as &[Option<f32>],
    )
    .execute(&mut **tx)
    .await?;
    StoreError::expect_rows("external_integrations", rows.ids.len(), done.rows_affected())
}

/// Records about which nothing could be said are left out of the spot checks for a while: they are
/// not verified, so they would be looked at again and again before all others.
async fn set_aside(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
) -> Result<(), StoreError> {
    let ids: Vec<&str> = judged
        .iter()
        .filter(|judged| matches!(judged.look.finding, Finding::Unclear { .. }))
        .map(Judged::external_id)
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    // A row that another write holds is being told about anyway.
    sqlx::query!(
        "with unclear as (
             select connection_id, record_type, external_id from external_integrations
              where connection_id = $1 and record_type = $2 and external_id = any($3)
                for no key update skip locked)
         update external_integrations as record
            set next_check_at = clock_timestamp() + make_interval(secs => $4),
                not_before = clock_timestamp() + make_interval(secs => $4)
           from unclear
          where record.connection_id = unclear.connection_id
            and record.record_type = unclear.record_type
            and record.external_id = unclear.external_id",
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
        SET_ASIDE.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Records that are out of reach, and their siblings with them, are left out of the spot checks for
/// long: each look at one of them would be refused, and platforms count refusals. At most
/// [`MOST_SIBLINGS`] with one write; the next look sets the next ones aside.
async fn leave_alone(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &[Judged<'_>],
) -> Result<(), StoreError> {
    let ids: Vec<&str> = judged
        .iter()
        .filter(|judged| matches!(judged.look.finding, Finding::OutOfReach { .. }))
        .map(Judged::external_id)
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    // What stands before the last slash, with the slash; a record without one has no siblings.
    let parents: Vec<&str> = ids
        .iter()
        .filter_map(|id| id.get(..=id.rfind('/')?))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    sqlx::query!(
        "with lost as (
             select connection_id, record_type, external_id from external_integrations
              where connection_id = $1 and record_type = $2
                and (external_id = any($3) or substring(external_id from '^.*/') = any($4))
                and (not_before is null
                     or not_before < clock_timestamp() + make_interval(secs => $5) - interval '1 hour')
              limit $6
                for no key update skip locked)
         update external_integrations as record
            set next_check_at = clock_timestamp() + make_interval(secs => $5),
                not_before = clock_timestamp() + make_interval(secs => $5)
           from lost
          where record.connection_id = lost.connection_id
            and record.record_type = lost.record_type
            and record.external_id = lost.external_id",
        batch.connection.0,
        batch.record_type.as_str(),
        &ids as &[&str],
        &parents as &[&str],
        LEFT_ALONE.as_secs_f64(),
        MOST_SIBLINGS,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The arrays of [`update`], one element for each row.
#[derive(Default)]
struct Rows<'a> {
    ids: Vec<&'a str>,
    /// These three are `None` where what is mirrored stays.
    payloads: Vec<Option<Cow<'a, str>>>,
    hashes: Vec<Option<[u8; 16]>>,
    schema_versions: Vec<Option<i32>>,
    remote_versions: Vec<Option<jiff_sqlx::Timestamp>>,
    /// Which of the bits deleted and suspected are set afterwards.
    marks: Vec<i32>,
    /// Whether it counts as a change of the record.
    changed: Vec<bool>,
    /// What was learnt.
    next_checks: Vec<Option<jiff_sqlx::Timestamp>>,
    evidence: Vec<Option<[u8; EVIDENCE_BYTES]>>,
    weights: Vec<Option<f32>>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, judged: &Judged<'a>, lesson: &Lesson) {
        self.ids.push(judged.external_id());
        self.next_checks.push(lesson.next_check_at.map(jiff_sqlx::Timestamp::from));
        self.evidence.push(lesson.evidence.map(|evidence| evidence.to_bytes()));
        #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
        self.weights.push(lesson.weight.map(|weight| weight as f32));
        self.changed.push(matches!(
            judged.outcome,
            Outcome::Changed | Outcome::Deleted | Outcome::Restored
        ));
        if let Finding::Found { payload, hash, schema_version, remote_version, .. } =
            &judged.look.finding
        {
            let keep = judged.keeps_payload;
            self.payloads.push((!keep).then(|| storable(payload.get())));
            self.hashes.push((!keep).then_some(hash.0));
            self.schema_versions.push((!keep).then_some(*schema_version));
            self.remote_versions.push(remote_version.map(jiff_sqlx::Timestamp::from));
            self.marks.push(0);
        } else {
            self.payloads.push(None);
            self.hashes.push(None);
            self.schema_versions.push(None);
            self.remote_versions.push(None);
            let suspected = judged.outcome == Outcome::Suspected;
            self.marks.push(if suspected { Flags::SUSPECTED.0 } else { Flags::DELETED.0 });
        }
    }
}

/// Closes the batch's notices of the records that were answered, and notes which.
async fn close_notices(
    tx: &mut PgTransaction<'_>,
    batch: &WriteBatch,
    judged: &mut [Judged<'_>],
) -> Result<(), StoreError> {
    let answered: Vec<&str> = judged
        .iter()
        .filter(|judged| judged.outcome.is_answer())
        .map(Judged::external_id)
        .collect();
    let closed: HashMap<ExternalId, Closed> =
        inbox::close(tx, batch.connection, &batch.record_type, &batch.close_notices, &answered)
            .await?
            .into_iter()
            .collect();
    for judged in judged {
        judged.closed = closed.get(&judged.look.external_id).copied();
    }
    Ok(())
}
