//! What is learnt of the record types of a connection, and what a look has to be worth.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgTransaction};

use super::StoreError;
use crate::freshness::grid::{GridEvidence, GridPrior};
use crate::freshness::request::price_per_look;
use crate::freshness::{
    Belief as _, EXPLORING, Evidence as _, LEAST_PRICE, NoticeCounts, Notices, Observation,
    WeightRule,
};
use crate::ids::{ConnectionId, ExternalId, RecordType};

const SECONDS_PER_DAY: f64 = 86_400.0;

/// When the records of one type are looked at again, by configuration and platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Planning {
    /// Not before this age.
    pub min_age: Duration,
    /// At this age whatever it is worth.
    pub max_age: Duration,
    /// Records that one request can look at.
    pub looks_per_request: u32,
    /// What each record's freshness is worth; `None`: all alike.
    pub weights: Option<WeightRule>,
}

impl Default for Planning {
    fn default() -> Self {
        let max_age = Duration::from_hours(24 * 30);
        Self { min_age: Duration::ZERO, max_age, looks_per_request: 1, weights: None }
    }
}

/// What is known of a record type on one connection.
#[derive(Clone, Copy, Debug)]
pub struct TypeHabits {
    /// How many of its records change how often.
    pub prior: GridPrior,
    /// When that was fitted last.
    pub fitted_at: Option<Timestamp>,
    /// What its webhooks tell.
    pub counts: NoticeCounts,
    /// Its webhooks seem to fail: nothing is expected of them.
    pub outage: bool,
    /// lambda of the lane, for one request.
    pub price: f64,
}

impl Default for TypeHabits {
    fn default() -> Self {
        Self {
            prior: GridPrior::default(),
            fitted_at: None,
            counts: NoticeCounts::default(),
            outage: false,
            price: LEAST_PRICE,
        }
    }
}

impl TypeHabits {
    /// How far its webhooks can be trusted now.
    pub fn notices(&self) -> Notices {
        if self.outage { Notices::NONE } else { self.counts.notices() }
    }

    /// The evidence on a record after one more observation.
    pub fn observe(&self, evidence: &GridEvidence, seen: &Observation) -> GridEvidence {
        self.observe_after(evidence, 0.0, seen)
    }

    /// The same, after days in which the record is known to have stayed as it was.
    pub fn observe_after(
        &self,
        evidence: &GridEvidence,
        quiet_days: f64,
        seen: &Observation,
    ) -> GridEvidence {
        evidence.observe_after(&self.prior, &self.notices(), quiet_days, seen)
    }

    /// What an observation of a record with this evidence adds to the counts. Nothing while
    /// webhooks fail: what they are worth otherwise is remembered.
    pub fn tell(&self, evidence: &GridEvidence, seen: &Observation) -> NoticeCounts {
        if self.outage {
            return NoticeCounts::default();
        }
        let mean = evidence.belief(&self.prior).mean_per_day();
        let after = self.counts.observe(&self.counts.notices(), mean, seen);
        let before = self.counts;
        NoticeCounts {
            announced: after.announced - before.announced,
            expected: after.expected - before.expected,
            silent: after.silent - before.silent,
            silent_exposure: after.silent_exposure - before.silent_exposure,
            false_notices: after.false_notices - before.false_notices,
            exposure_days: after.exposure_days - before.exposure_days,
        }
    }

    /// The age at which a record is looked at next, in days: where the look is worth its price,
    /// sooner where it explores, within the bounds of `planning`.
    pub fn next_age_days(
        &self,
        evidence: &GridEvidence,
        weight: f64,
        planning: &Planning,
        explores: bool,
    ) -> f64 {
        let price = price_per_look(self.price, f64::from(planning.looks_per_request));
        let belief = evidence.belief(&self.prior);
        let age = belief.planned_age_days(&self.notices(), weight, price, explores);
        let most = planning.max_age.as_secs_f64() / SECONDS_PER_DAY;
        let least = planning.min_age.as_secs_f64() / SECONDS_PER_DAY;
        age.unwrap_or(most).min(most).max(least)
    }
}

/// Whether the look after the one at `verified_at` is made to learn, where the record is worth its
/// looks anyway: one in [`EXPLORING`], drawn from the record and the instant, so that everybody draws
/// the same.
pub fn explores(external_id: &ExternalId, verified_at: Timestamp) -> bool {
    let seed = verified_at.as_microsecond().unsigned_abs();
    let drawn = xxhash_rust::xxh3::xxh3_64_with_seed(external_id.as_str().as_bytes(), seed);
    drawn.is_multiple_of(u64::from(EXPLORING))
}

/// What is known of a record type; what a new one has where nothing is.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn of(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
) -> Result<TypeHabits, StoreError> {
    let row = sqlx::query!(
        r#"select habits.prior as "prior?", habits.fitted_at as "fitted_at?: jiff_sqlx::Timestamp",
                  coalesce(habits.announced, 0) as "announced!",
                  coalesce(habits.expected, 0) as "expected!",
                  coalesce(habits.silent, 0) as "silent!",
                  coalesce(habits.silent_exposure, 0) as "silent_exposure!",
                  coalesce(habits.false_notices, 0) as "false_notices!",
                  coalesce(habits.exposure_days, 0) as "exposure_days!",
                  habits.outage_since is not null as "outage!",
                  price.price as "price?"
             from (select $1::integer as connection_id, $2::text as record_type) as wanted
             left join record_habits as habits
               on habits.connection_id = wanted.connection_id
              and habits.record_type = wanted.record_type
             left join lane_prices as price on price.connection_id = wanted.connection_id"#,
        connection as ConnectionId,
        record_type.as_str(),
    )
    .fetch_one(db)
    .await?;
    Ok(TypeHabits {
        prior: row.prior.as_deref().map(GridPrior::from_stored).unwrap_or_default(),
        fitted_at: row.fitted_at.map(jiff_sqlx::Timestamp::to_jiff),
        counts: NoticeCounts {
            announced: row.announced,
            expected: row.expected,
            silent: row.silent,
            silent_exposure: row.silent_exposure,
            false_notices: row.false_notices,
            exposure_days: row.exposure_days,
        },
        outage: row.outage,
        price: row.price.unwrap_or(LEAST_PRICE),
    })
}

/// What is known of each record type of these connections, without its price, with one statement;
/// those of which nothing is known are left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all(
    db: impl PgExecutor<'_>,
    connections: &[ConnectionId],
) -> Result<HashMap<(ConnectionId, RecordType), TypeHabits>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection_id as "connection: ConnectionId",
                  record_type as "record_type: RecordType", prior,
                  fitted_at as "fitted_at: jiff_sqlx::Timestamp", announced, expected, silent,
                  silent_exposure, false_notices, exposure_days,
                  outage_since is not null as "outage!"
             from record_habits where connection_id = any($1)"#,
        connections as &[ConnectionId],
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let habits = TypeHabits {
                prior: row.prior.as_deref().map(GridPrior::from_stored).unwrap_or_default(),
                fitted_at: row.fitted_at.map(jiff_sqlx::Timestamp::to_jiff),
                counts: NoticeCounts {
                    announced: row.announced,
                    expected: row.expected,
                    silent: row.silent,
                    silent_exposure: row.silent_exposure,
                    false_notices: row.false_notices,
                    exposure_days: row.exposure_days,
                },
                outage: row.outage,
                price: LEAST_PRICE,
            };
            ((row.connection, row.record_type), habits)
        })
        .collect())
}

/// The record types whose webhooks seem to fail, of all connections. Few.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn outages(
    db: impl PgExecutor<'_>,
) -> Result<Vec<(ConnectionId, RecordType)>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection_id as "connection: ConnectionId",
                  record_type as "record_type: RecordType"
             from record_habits where outage_since is not null
            order by connection_id, record_type"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.connection, row.record_type)).collect())
}

/// What one write adds to what is known of its type.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lessons {
    /// To the counts.
    pub(super) counts: NoticeCounts,
    /// Changes that a webhook had announced.
    pub(super) told_changes: i64,
    /// Changes that nothing had told of.
    pub(super) silent_changes: i64,
}

/// Adds them. Sums, so that writes that overlap lose nothing; the last statement of a write, since
/// all writes of a type meet at this row.
pub(super) async fn add(
    tx: &mut PgTransaction<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    lessons: &Lessons,
) -> Result<(), StoreError> {
    let Lessons { counts, told_changes, silent_changes } = lessons;
    sqlx::query!(
        "insert into record_habits as habits
                (connection_id, record_type, announced, expected, silent, silent_exposure,
                 false_notices, exposure_days, told_changes, silent_changes)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (connection_id, record_type) do update
            set announced       = habits.announced + excluded.announced,
                expected        = habits.expected + excluded.expected,
                silent          = greatest(habits.silent + excluded.silent, 0),
                silent_exposure = greatest(habits.silent_exposure + excluded.silent_exposure, 0),
                false_notices   = habits.false_notices + excluded.false_notices,
                exposure_days   = habits.exposure_days + excluded.exposure_days,
                told_changes    = habits.told_changes + excluded.told_changes,
                silent_changes  = habits.silent_changes + excluded.silent_changes",
        connection as ConnectionId,
        record_type.as_str(),
        counts.announced,
        counts.expected,
        counts.silent,
        counts.silent_exposure,
        counts.false_notices,
        counts.exposure_days,
        told_changes,
        silent_changes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes a new prior down, and lets what the counts have fade; `false` when somebody else fitted
/// it meanwhile.
///
/// - `kept`: the share of the counts that is left, 0 to 1.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn fit(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    read: &TypeHabits,
    prior: &GridPrior,
    kept: f64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update record_habits
            set prior = $3, fitted_at = clock_timestamp(),
                announced = announced * $4, expected = expected * $4, silent = silent * $4,
                silent_exposure = silent_exposure * $4, false_notices = false_notices * $4,
                exposure_days = exposure_days * $4
          where connection_id = $1 and record_type = $2 and fitted_at is not distinct from $5",
        connection as ConnectionId,
        record_type.as_str(),
        prior.weights(),
        kept,
        read.fitted_at.map(jiff_sqlx::Timestamp::from) as Option<jiff_sqlx::Timestamp>,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
