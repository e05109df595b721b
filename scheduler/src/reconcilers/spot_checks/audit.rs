//! Draws audit samples: a fixed share of all spot checks, of random records, whatever the plan says.

use std::collections::HashMap;
use std::time::Duration;

use common::fleet::Connection;
use common::freshness::{Belief as _, Evidence as _};
use common::ids::{ConnectionId, ExternalId, RecordType};
use common::store::{StoreError, quality, records};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;

use super::choose::{Kind, later};

/// Records from which the population is estimated.
const SAMPLE: u32 = 256;
/// For so long.
const KEPT: Duration = Duration::from_mins(1);
/// A type of which nothing is spot-checked has so many samples an hour.
const LEAST_PER_HOUR: f64 = 6.0;
/// Fewer than this many are not drawn at once, in the mean.
const LEAST_AT_ONCE: f64 = 0.5;
/// Samples that wait for their look at a time, at least and at most.
const IN_FLIGHT: (f64, f64) = (4.0, 500.0);
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What is known of a record type as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    /// How many records it has, nearly.
    pub(super) records: f64,
    /// What reading one of them in a list is worth, in the mean.
    pub(super) value: f64,
    /// Changes of one of them, in the mean, announced or not.
    pub(super) changes_per_day: f64,
    /// As of then.
    pub(super) taken_at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Audit {
    share: f64,
    chance: StdRng,
    populations: HashMap<(ConnectionId, RecordType), Population>,
}

impl Audit {
    /// - `share`: of all spot checks.
    /// - `seed`: of the draws.
    pub(super) fn new(share: f64, seed: u64) -> Self {
        Self { share, chance: StdRng::seed_from_u64(seed), populations: HashMap::new() }
    }

    /// The population of a type, as of a minute ago at most.
    fn known(&self, key: &(ConnectionId, RecordType), now: Timestamp) -> Option<Population> {
        self.populations.get(key).filter(|known| later(known.taken_at, KEPT) > now).copied()
    }

    /// Whether the population of a type is estimated anew with the next pass.
    pub(super) fn is_stale(&self, key: &(ConnectionId, RecordType), now: Timestamp) -> bool {
        self.known(key, now).is_none()
    }

    /// The population of a type, as of a minute ago at most.
    ///
    /// - `listed_at`: what was edited before that is known already, by a list that names edits.
    pub(super) async fn population(
        &mut self,
        db: &PgPool,
        connection: &Connection,
        kind: &Kind,
        listed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Population, StoreError> {
        let key = (connection.id, kind.record_type.clone());
        if let Some(known) = self.known(&key, now) {
            return Ok(known);
        }
        let listed_seconds =
            listed_at.map_or(f64::INFINITY, |at| now.duration_since(at).as_secs_f64().max(0.0));
        let start = self.chance.random();
        let sampled = records::random(db, connection.id, &kind.record_type, start, SAMPLE).await?;
        let notices = kind.habits.notices();
        let (mut count, mut value, mut changes_per_day) = (0.0, 0.0, 0.0);
        for (evidence, weight, age_seconds) in &sampled.records {
            let belief = evidence.belief(&kind.habits.prior);
            let age_days = age_seconds.min(listed_seconds) / SECONDS_PER_DAY;
            count += 1.0;
            value += weight * belief.gain(&notices, age_days).value;
            changes_per_day += belief.mean_per_day();
        }
        if count > 0.0 {
            (value, changes_per_day) = (value / count, changes_per_day / count);
        }
        let records = sampled.population;
        let known = Population { records, value, changes_per_day, taken_at: now };
        self.populations.insert(key, known);
        Ok(known)
    }

    /// Draws as many records of a type as `looks` planned spot checks call for. A window of the
    /// circle of hashes is drawn, its width fixed beforehand: each record is in it with the same
    /// probability, and so is sampled without bias, however many turn out to be in it.
    pub(super) async fn draw(
        &mut self,
        db: &PgPool,
        connection: &Connection,
        kind: &Kind,
        population: Population,
        looks: f64,
        elapsed_hours: f64,
    ) -> Result<u64, StoreError> {
        if self.share <= 0.0 || population.records < 1.0 {
            return Ok(0);
        }
        let mut wanted = looks * self.share / (1.0 - self.share) + LEAST_PER_HOUR * elapsed_hours;
        // Now and then a little more, instead of hardly ever anything with each pass.
        if wanted < LEAST_AT_ONCE {
            if self.chance.random_range(0.0..LEAST_AT_ONCE) >= wanted {
                return Ok(0);
            }
            wanted = LEAST_AT_ONCE;
        }
        let start = self.chance.random();
        let share = wanted / population.records;
        let limit = super::whole(10.0 * wanted + 50.0);
        let record_type = &kind.record_type;
        let ids = records::window(db, connection.id, record_type, start, share, limit).await?;
        quality::draw(db, connection.id, record_type, &ids).await
    }

    /// The samples to have in the queue, those of runs too, the oldest first.
    ///
    /// - `capacity`: looks that the lane can make within the horizon.
    pub(super) async fn waiting(
        &self,
        db: &PgPool,
        connection: &Connection,
        capacity: f64,
    ) -> Result<Vec<(RecordType, ExternalId)>, StoreError> {
        let most = (2.0 * self.share.max(0.05) * capacity).clamp(IN_FLIGHT.0, IN_FLIGHT.1);
        quality::waiting(db, connection.id, super::whole(most)).await
    }
}
