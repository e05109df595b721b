//! What a full run did not see.

use sqlx::{PgExecutor, PgTransaction};

use super::RunId;
use crate::ids::ExternalId;
use crate::store::StoreError;

/// How many records a full run did not see, for the mass-delete brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Not seen, and not looked at since the run started either.
    pub unseen: i64,
    /// Records mirrored, without the deleted ones.
    pub mirrored: i64,
}

/// Records that a full run did not see on any page and that nobody has looked at since it started:
/// to be looked at one by one. In the order of their ids, those after `after`.
///
/// Means nothing before the last page was written.
///
/// - `beside_seen`: only those of whose parent (the id up to its last slash) the run saw another
///   record; where it saw none, the parent itself was out of reach.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn unseen(
    db: impl PgExecutor<'_>,
    run: RunId,
    beside_seen: bool,
    after: Option<&ExternalId>,
    limit: u32,
) -> Result<Vec<ExternalId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"select record.external_id as "external_id: ExternalId"
             from bulk_runs as run join external_integrations as record
               on record.connection_id = run.connection_id and record.record_type = run.record_type
            where run.id = $1 and run.mode = 'full'
              and record.flags & 1 = 0 and record.fetched_at < run.started_at
              and record.seen_in_run is distinct from run.id
              and ($2::text is null or record.external_id > $2)
              and (not $4 or substring(record.external_id from '^.*/') in (
                      select substring(seen.external_id from '^.*/')
                        from bulk_runs as this join external_integrations as seen
                          on seen.connection_id = this.connection_id
                         and seen.record_type = this.record_type
                       where this.id = $1 and seen.seen_in_run = this.id))
            order by record.external_id limit $3"#,
        run as RunId,
        after.map(ExternalId::as_str),
        i64::from(limit),
        beside_seen,
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// How many records [`unseen`] has, and of how many: of those that it would have a say about.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn count_unseen(
    db: impl PgExecutor<'_>,
    run: RunId,
    beside_seen: bool,
) -> Result<Unseen, StoreError> {
    let counts = sqlx::query_as!(
        Unseen,
        r#"select count(*) filter (
                      where run.mode = 'full' and record.fetched_at < run.started_at
                        and record.seen_in_run is distinct from run.id) as "unseen!",
                  count(*) as "mirrored!"
             from bulk_runs as run join external_integrations as record
               on record.connection_id = run.connection_id and record.record_type = run.record_type
            where run.id = $1 and record.flags & 1 = 0
              and (not $2 or substring(record.external_id from '^.*/') in (
                      select substring(seen.external_id from '^.*/')
                        from bulk_runs as this join external_integrations as seen
                          on seen.connection_id = this.connection_id
                         and seen.record_type = this.record_type
                       where this.id = $1 and seen.seen_in_run = this.id))"#,
        run as RunId,
        beside_seen,
    )
    .fetch_one(db)
    .await?;
    Ok(counts)
}

/// Marks the records that [`unseen`] has as suspected, in the transaction that ends the run: so none
/// is forgotten, whatever happens before they are looked at. Not to be on a list is no proof, so it
/// counts for none of the two looks that make a deletion: a row that is missing since later than
/// its last look was marked like this. Returns how many.
///
/// A record that is being written is left out: somebody looks at it now.
///
/// - `limit`: the most that are marked; what is beyond is found by spot checks.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(run.id = %run))]
pub async fn suspect_unseen(
    tx: &mut PgTransaction<'_>,
    run: RunId,
    beside_seen: bool,
    limit: u32,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"with unseen as (
               select record.connection_id, record.record_type, record.external_id
                 from bulk_runs as run join external_integrations as record
                   on record.connection_id = run.connection_id
                  and record.record_type = run.record_type
                where run.id = $1 and run.mode = 'full'
                  and record.flags & 3 = 0 and record.fetched_at < run.started_at
                  and record.seen_in_run is distinct from run.id
                  and (not $3 or substring(record.external_id from '^.*/') in (
                          select substring(seen.external_id from '^.*/')
                            from bulk_runs as this join external_integrations as seen
                              on seen.connection_id = this.connection_id
                             and seen.record_type = this.record_type
                           where this.id = $1 and seen.seen_in_run = this.id))
                order by record.external_id limit $2
                  for no key update of record skip locked)
           update external_integrations as record
              set flags = record.flags | 2, missing_since = clock_timestamp(),
                  next_check_at = null
             from unseen
            where record.connection_id = unseen.connection_id
              and record.record_type = unseen.record_type
              and record.external_id = unseen.external_id"#,
        run as RunId,
        i64::from(limit),
        beside_seen,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}
