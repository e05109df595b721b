//! What sends a platform's webhooks to us, as it was found, and what was missed while it did not.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgTransaction};

use super::{StoreError, text_enum};
use crate::ids::{ConnectionId, Lane, RecordType};

/// Longest sentence that is kept, in characters.
const LONGEST_WHAT: usize = 300;

text_enum! {
    /// Whether it sends.
    State {
        /// It does.
        Ok = "ok",
        /// It does, and its last deliveries failed.
        Failing = "failing",
        /// It is there and does not.
        Off = "off",
        /// There is none.
        Missing = "missing",
        /// The platform would not say.
        Unknown = "unknown",
    }
}

impl State {
    /// Whether webhooks are sent, as far as we were told.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Ok | Self::Failing)
    }

    /// Whether they are not.
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Off | Self::Missing)
    }
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Whose sender it is.
    pub connection: ConnectionId,
    /// Whether it sends.
    pub state: State,
    /// The same for people.
    pub what: &'a str,
    /// When the look began, by this server's clock.
    pub began_at: Timestamp,
    /// How long from now the next look is due.
    pub next_in: Duration,
    /// The record types that have to be read when it does not send.
    pub told_of: &'a [&'a str],
}

/// A sender as Postgres has it.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Whose it is.
    pub lane: Lane,
    /// Whether it sends.
    pub state: State,
    /// The same for people.
    pub what: String,
    /// Since when it is in this state, as far as we have looked.
    pub since: Timestamp,
    /// When the last look began.
    pub looked_at: Timestamp,
    /// When the last look began that found it sending.
    pub well_at: Option<Timestamp>,
    /// What was missed and is not being read yet.
    pub gap: Option<Gap>,
}

/// What was missed and is not being read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of these record types.
    pub types: Vec<RecordType>,
    /// From this time on; `None` where nobody knows since when.
    pub from: Option<Timestamp>,
}

/// Writes down what a look found; whether any look has ever found it sending. `None`: this one began
/// before the last one, is too late and has changed nothing.
///
/// A sender that is found broken opens a gap, from the last look that found it sending; a gap that
/// is open stays. Nobody misses what never was there.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %found.connection))]
pub async fn note(db: impl PgExecutor<'_>, found: &Found<'_>) -> Result<Option<bool>, StoreError> {
    let what: String = found.what.chars().filter(|c| *c != '\0').take(LONGEST_WHAT).collect();
    let ever_well = sqlx::query_scalar!(
        r#"insert into webhook_senders as s
                (connection_id, state, what, since, looked_at, due_at, well_at, gap_types)
         values ($1, $2, $3, clock_timestamp(), $4,
                 clock_timestamp() + make_interval(secs => $5),
                 case when $6 then $4::timestamptz end,
                 case when $2 = 'off' then $8::text[] else '{}' end)
         on conflict (connection_id) do update
            set state = excluded.state, what = excluded.what,
                since = case when s.state = excluded.state then s.since else excluded.since end,
                looked_at = excluded.looked_at, due_at = excluded.due_at,
                well_at = coalesce(excluded.well_at, s.well_at),
                gap_from = case when $7 and s.gap_types = '{}' then s.well_at else s.gap_from end,
                gap_types = case when $7 and (excluded.state = 'off' or s.well_at is not null)
                                 then $8 else s.gap_types end
          where s.looked_at <= excluded.looked_at
         returning well_at is not null as "ever_well!""#,
        found.connection as ConnectionId,
        found.state.as_str(),
        what,
        jiff_sqlx::Timestamp::from(found.began_at) as jiff_sqlx::Timestamp,
        found.next_in.as_secs_f64(),
        found.state.sends(),
        found.state.is_broken(),
        found.told_of as &[&str],
    )
    .fetch_optional(db)
    .await?;
    Ok(ever_well)
}

/// The connections whose next look is not due yet.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn not_due(db: impl PgExecutor<'_>) -> Result<Vec<ConnectionId>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select connection_id as "id: ConnectionId" from webhook_senders
            where due_at > clock_timestamp()"#
    )
    .fetch_all(db)
    .await?)
}

/// Every sender that was looked at, by lane.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all(db: impl PgExecutor<'_>) -> Result<Vec<Sender>, StoreError> {
    let rows = sqlx::query!(
        r#"select lane as "lane: Lane", state as "state: State", what,
                  since as "since: jiff_sqlx::Timestamp",
                  looked_at as "looked_at: jiff_sqlx::Timestamp",
                  well_at as "well_at: jiff_sqlx::Timestamp",
                  gap_types as "gap_types: Vec<String>", gap_from as "gap_from: jiff_sqlx::Timestamp"
             from webhook_senders join connections on id = connection_id
            order by lane"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Sender {
            lane: row.lane,
            state: row.state,
            what: row.what,
            since: row.since.to_jiff(),
            looked_at: row.looked_at.to_jiff(),
            well_at: row.well_at.map(jiff_sqlx::Timestamp::to_jiff),
            gap: gap_of(row.gap_types, row.gap_from),
        })
        .collect())
}

/// What of a connection was missed and is not being read yet. The row is locked until the
/// transaction ends, so that only one reads it.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn lock_gap(
    tx: &mut PgTransaction<'_>,
    connection: ConnectionId,
) -> Result<Option<Gap>, StoreError> {
    let row = sqlx::query!(
        r#"select gap_types as "gap_types: Vec<String>", gap_from as "gap_from: jiff_sqlx::Timestamp"
             from webhook_senders where connection_id = $1 for update"#,
        connection as ConnectionId,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.and_then(|row| gap_of(row.gap_types, row.gap_from)))
}

/// Says which record types of a gap are still to be read; none closes it. The row is locked by
/// [`lock_gap`].
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn narrow_gap(
    tx: &mut PgTransaction<'_>,
    connection: ConnectionId,
    left: &[RecordType],
) -> Result<(), StoreError> {
    let left: Vec<&str> = left.iter().map(RecordType::as_str).collect();
    let done = sqlx::query!(
        "update webhook_senders
            set gap_types = $2, gap_from = case when $2::text[] <> '{}' then gap_from end
          where connection_id = $1",
        connection as ConnectionId,
        &left as &[&str],
    )
    .execute(&mut **tx)
    .await?;
    StoreError::expect_rows("webhook_senders", 1, done.rows_affected())
}

fn gap_of(types: Vec<String>, from: Option<jiff_sqlx::Timestamp>) -> Option<Gap> {
    let types: Vec<RecordType> = types.into_iter().map(RecordType::new).collect();
    (!types.is_empty()).then(|| Gap { types, from: from.map(jiff_sqlx::Timestamp::to_jiff) })
}
