//! Learns what the records of each type have in common: how many change how often.

use std::time::Duration;

use common::fleet::{Connection, Fleet};
use common::freshness::grid::GridEvidence;
use common::freshness::{Evidence as _, NoticeCounts};
use common::ids::RecordType;
use common::store::{self, habits, records};
use jiff::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::Reconcile;

/// How often a type is fitted anew. A new record has no other evidence, and habits change.
const FITTED_EVERY: Duration = Duration::from_hours(1);
/// Random records that it is fitted on.
const SAMPLE: u32 = 1_000;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// See the module.
#[derive(Debug)]
pub struct Learning {
    fleet: Fleet,
    chance: StdRng,
}

impl Learning {
    /// - `chance`: draws the records.
    pub fn new(fleet: Fleet, chance: StdRng) -> Self {
        Self { fleet, chance }
    }

    async fn fit(
        &mut self,
        connection: &Connection,
        record_type: &RecordType,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let db = &self.fleet.db;
        let known = habits::of(db, connection.id, record_type).await?;
        let age = known.fitted_at.map(|at| now.duration_since(at).as_secs_f64());
        let is_due = age.is_none_or(|age| age >= FITTED_EVERY.as_secs_f64());
        if !is_due || known.counts.exposure_days <= 0.0 {
            return Ok(false);
        }
        let start = self.chance.random();
        let sampled = records::random(db, connection.id, record_type, start, SAMPLE).await?;
        let evidence = sampled.records.into_iter().map(|(evidence, _, _)| evidence);
        let prior = GridEvidence::refit(&known.prior, evidence);
        let elapsed_days = age.unwrap_or(0.0) / SECONDS_PER_DAY;
        let whole = NoticeCounts { announced: 1.0, ..NoticeCounts::default() };
        let kept = whole.forget(elapsed_days).announced;
        Ok(habits::fit(db, connection.id, record_type, &known, &prior, kept).await?)
    }
}

impl Reconcile for Learning {
    const NAME: &'static str = "learning";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let now = store::now(&self.fleet.db).await?;
        let connections: Vec<_> = self.fleet.connections.iter().cloned().collect();
        let mut fitted = 0;
        for connection in connections {
            for kind in connection.platform.records().iter().filter(|kind| kind.mirrored) {
                fitted += u64::from(self.fit(&connection, &kind.name.into(), now).await?);
            }
        }
        Ok(fitted)
    }
}
