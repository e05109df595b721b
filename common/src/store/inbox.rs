//! Notices: webhooks and manual requests that no write has answered yet.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgTransaction};

use super::{StoreError, text_enum};
use crate::ids::{ConnectionId, ExternalId, Lane, RecordType};
use crate::job::Priority;

/// The most notices that one fetch answers; more of them stay open and lead to another look.
const MAX_OPEN: i64 = 10_000;

text_enum! {
    /// Who told us.
    Source {
        /// The platform.
        Webhook = "webhook",
        /// A person.
        Manual = "manual",
    }
}

/// What one webhook or one manual request says is to be looked at.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// Whose records they are.
    pub connection: ConnectionId,
    /// How urgent it is.
    pub priority: Priority,
    /// Who said so.
    pub source: Source,
    /// The W3C `traceparent` of the request that brought it, or empty.
    pub trace: &'a str,
    /// The records that it names.
    pub notices: &'a [(RecordType, ExternalId)],
}

/// Notices that were open at one moment, and that moment.
#[derive(Clone, Debug)]
pub struct OpenNotices {
    /// The server's clock: the fetch that comes next began at this time or later.
    pub now: Timestamp,
    /// The notices, oldest first.
    pub notices: Vec<OpenNotice>,
}

/// A notice that no write has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenNotice {
    /// Its number, by which a write closes it.
    pub id: i64,
    /// The record that it names.
    pub external_id: ExternalId,
    /// When it came in.
    pub received_at: Timestamp,
}

/// A record with open notices, for the sweeper.
#[derive(Clone, Debug)]
pub struct OpenRecord {
    /// Whose record it is.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
    /// The most urgent of its notices on this page.
    pub priority: Priority,
    /// That notice's `traceparent`, or empty.
    pub trace: String,
}

/// One page of the sweep.
#[derive(Clone, Debug)]
pub struct SweepPage {
    /// Each record once.
    pub records: Vec<OpenRecord>,
    /// Where the next page starts; `None` when this one is empty, the end.
    pub next: Option<i64>,
}

/// What a write closed for one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// How many notices.
    pub(super) count: i32,
    /// When the first of them came in.
    pub(super) first: Timestamp,
}

/// Takes a delivery in; returns the number of notices. Its commit is the point of acceptance.
///
/// # Errors
///
/// When the database fails. The delivery is then not accepted.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %delivery.connection))]
pub async fn accept(db: impl PgExecutor<'_>, delivery: &Delivery<'_>) -> Result<usize, StoreError> {
    let (record_types, external_ids): (Vec<&str>, Vec<&str>) = delivery
        .notices
        .iter()
        .map(|(record_type, external_id)| (record_type.as_str(), external_id.as_str()))
        .unzip();
    let done = sqlx::query!(
        "with delivery as materialized (select gen_random_uuid() as id)
         insert into inbox
                (connection_id, record_type, external_id, priority, source, delivery, trace)
         select $1, notice.record_type, notice.external_id, $2, $3, delivery.id, $4
           from delivery, unnest($5::text[], $6::text[]) as notice (record_type, external_id)",
        delivery.connection as ConnectionId,
        i16::from(delivery.priority.number()),
        delivery.source.as_str(),
        delivery.trace,
        &record_types as &[&str],
        &external_ids as &[&str],
    )
    .execute(db)
    .await?;
    StoreError::expect_rows("inbox", delivery.notices.len(), done.rows_affected())?;
    Ok(delivery.notices.len())
}

/// The notices of these records that are open now, before they are fetched, and the server's time.
///
/// The write closes exactly these: a notice that comes in while the fetch runs, which the answer
/// may or may not know of, stays open. Numbers decide, not clocks.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn open_for(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    external_ids: &[ExternalId],
) -> Result<OpenNotices, StoreError> {
    // The time is asked for in the statement that takes the snapshot, so there is always a row.
    let rows = sqlx::query!(
        r#"select clock.now as "now!: jiff_sqlx::Timestamp", open.id as "id?",
                  open.external_id as "external_id?: ExternalId",
                  open.received_at as "received_at?: jiff_sqlx::Timestamp"
             from (select clock_timestamp() as now) as clock
             left join (
                  select id, external_id, received_at from inbox
                   where connection_id = $1 and record_type = $2 and external_id = any($3)
                   order by id limit $4) as open on true
            order by open.id"#,
        connection as ConnectionId,
        record_type.as_str(),
        external_ids as &[ExternalId],
        MAX_OPEN,
    )
    .fetch_all(db)
    .await?;

    let now = rows.first().ok_or(sqlx::Error::RowNotFound)?.now.to_jiff();
    let notices = rows
        .into_iter()
        .filter_map(|row| {
            Some(OpenNotice {
                id: row.id?,
                external_id: row.external_id?,
                received_at: row.received_at?.to_jiff(),
            })
        })
        .collect();
    Ok(OpenNotices { now, notices })
}

/// One page of all records whose notices have been open for at least `age`; start with `after` 0.
///
/// Numbers are given before the commit, so a sweep may miss one that commits late: start again from
/// 0 each time.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn sweep(
    db: impl PgExecutor<'_>,
    after: i64,
    age: Duration,
    limit: u32,
) -> Result<SweepPage, StoreError> {
    let rows = sqlx::query!(
        r#"with page as (
               select * from inbox
                where id > $1 and received_at <= clock_timestamp() - make_interval(secs => $2)
                order by id limit $3)
           select page.connection_id as "connection: ConnectionId", connections.lane as "lane: Lane",
                  page.record_type as "record_type: RecordType",
                  page.external_id as "external_id: ExternalId",
                  min(page.priority) as "priority!", max(page.id) as "last_id!",
                  (array_agg(page.trace order by page.priority, page.id))[1] as "trace!"
             from page join connections on connections.id = page.connection_id
            group by page.connection_id, connections.lane, page.record_type, page.external_id
            order by min(page.priority), min(page.id)"#,
        after,
        age.as_secs_f64(),
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;

    let next = rows.iter().map(|row| row.last_id).max();
    let records = rows
        .into_iter()
        .map(|row| {
            Ok(OpenRecord {
                connection: row.connection,
                lane: row.lane,
                record_type: row.record_type,
                external_id: row.external_id,
                priority: super::priority(row.priority)?,
                trace: row.trace,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(SweepPage { records, next })
}

/// How many notices of a connection are open.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn count_open(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
) -> Result<i64, StoreError> {
    let open = sqlx::query_scalar!(
        r#"select count(*) as "open!" from inbox where connection_id = $1"#,
        connection as ConnectionId,
    )
    .fetch_one(db)
    .await?;
    Ok(open)
}

/// Closes those of `notices` that name one of `external_ids`; what was closed, by record.
pub(super) async fn close(
    tx: &mut PgTransaction<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    notices: &[i64],
    external_ids: &[&str],
) -> Result<Vec<(ExternalId, Closed)>, StoreError> {
    if notices.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"with closed as (
               delete from inbox
                where id = any($1) and connection_id = $2 and record_type = $3
                  and external_id = any($4)
               returning external_id, received_at)
           select external_id as "external_id: ExternalId", count(*)::integer as "count!",
                  min(received_at) as "first!: jiff_sqlx::Timestamp"
             from closed group by external_id"#,
        notices,
        connection as ConnectionId,
        record_type.as_str(),
        external_ids as &[&str],
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.external_id, Closed { count: row.count, first: row.first.to_jiff() }))
        .collect())
}
