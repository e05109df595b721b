//! What a pass reads of all lanes at once: the same statements, however many lanes there are.

use std::collections::{HashMap, HashSet};

use common::ids::{ConnectionId, RecordType};
use common::store::bulk_runs::{self, BulkRun, Lately};
use common::store::habits::{self, TypeHabits};
use common::store::lane_prices::LanePrice;
use common::store::{self, StoreError, lane_prices, quality, records};
use jiff::Timestamp;
use sqlx::PgPool;

use super::memory::Signs;

/// By what it is known which lanes there is something to do in: four statements.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) now: Timestamp,
    first_due: HashMap<ConnectionId, Timestamp>,
    waited_for: HashSet<ConnectionId>,
    outages: HashMap<ConnectionId, Vec<RecordType>>,
}

impl Overview {
    pub(super) async fn read(db: &PgPool, lanes: &[ConnectionId]) -> Result<Self, StoreError> {
        let now = store::now(db).await?;
        let mut outages: HashMap<ConnectionId, Vec<RecordType>> = HashMap::new();
        for (connection, record_type) in habits::outages(db).await? {
            outages.entry(connection).or_default().push(record_type);
        }
        Ok(Self {
            now,
            first_due: records::first_due(db, lanes).await?,
            waited_for: quality::waited_for(db, lanes).await?,
            outages,
        })
    }

    pub(super) fn of(&self, lane: ConnectionId) -> Signs<'_> {
        Signs {
            first_due: self.first_due.get(&lane).copied(),
            has_samples: self.waited_for.contains(&lane),
            outages: self.outages.get(&lane).map_or(&[], Vec::as_slice),
        }
    }
}

/// What is known of the lanes in which something is to be done: four statements.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) prices: HashMap<ConnectionId, LanePrice>,
    pub(super) habits: HashMap<(ConnectionId, RecordType), TypeHabits>,
    /// Scans that go on, of all lanes.
    pub(super) running: HashMap<(ConnectionId, RecordType), BulkRun>,
    /// How lists were read lately, where that is asked.
    pub(super) lately: HashMap<(ConnectionId, RecordType), Lately>,
}

impl Known {
    /// - `lists`: the record types of which it is asked how their lists were read.
    pub(super) async fn read(
        db: &PgPool,
        lanes: &[ConnectionId],
        lists: &[(ConnectionId, RecordType)],
    ) -> Result<Self, StoreError> {
        let running = bulk_runs::all_running(db).await?.into_iter();
        let lately = bulk_runs::lately(db, lists).await?.into_iter();
        Ok(Self {
            prices: lane_prices::of(db, lanes).await?,
            habits: habits::all(db, lanes).await?,
            running: running.map(|run| ((run.connection, run.record_type.clone()), run)).collect(),
            lately: lately.map(|run| ((run.connection, run.record_type.clone()), run)).collect(),
        })
    }
}
