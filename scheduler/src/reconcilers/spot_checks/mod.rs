//! Spends the quota that nobody else wants where it makes the mirror truest.
//!
//! Each record's row says when a look at it will be worth the lane's price. A pass takes the first
//! of an index on that, works them out again at today's price ([`choose`]), enqueues what is worth
//! it and what the lane can do within the horizon, and moves the price by how much there was of it.
//! Random audit samples get their share besides ([`audit`]), and where reading a whole list is worth
//! more than looking at its records, a scan begins.

mod audit;
mod choose;
mod room;

use std::collections::HashMap;
use std::time::Duration;

use common::config::SchedulerConfig;
use common::fleet::{Connection, Fleet};
use common::freshness::request::{Offer, Way, best};
use common::freshness::{ControllerSettings, LEAST_PRICE, PriceController};
use common::ids::{ConnectionId, ExternalId, RecordType};
use common::job::{Job, Priority, Task};
use common::queue::Depths;
use common::store::bulk_runs::{self, BulkRun, Mode, NewRun};
use common::store::habits::{self, Planning, TypeHabits};
use common::store::records::{self, Replanned};
use common::store::{self, lane_prices};
use jiff::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tracing::info;

use crate::Reconcile;
use audit::{Audit, Population};
use choose::{Choice, Kind, choose, later, moved, next_look};
use room::{MOST_WAITING, left_over, requests_within};

/// Entries of the index that one pass reads, at least and at most.
const ROWS: (f64, f64) = (100.0, 4_000.0);
/// Records that one pass plans anew in the background, at least and at most.
const WALKED: (f64, f64) = (50.0, 1_000.0);
/// A record that was chosen is left alone for a part of the horizon, or for its least age. If its check waits longer than
/// that, it is chosen once more, which changes nothing; if it was lost, that makes up for it.
const RESERVED_PART: u32 = 4;
/// And no shorter than this.
const RESERVED: Duration = Duration::from_secs(2);
/// The background pass goes on once in so many passes, unless it hurries.
const WALK_EVERY: u32 = 10;
/// Of the time to its next look, so much sooner it must come due for the background pass to write.
const WORTH_WRITING: f64 = 0.05;
/// No scan begins by itself so soon after another of its type.
const SCAN_GAP: Duration = Duration::from_mins(10);
/// Looks that were planned wait for a scan that ends within this.
const SCAN_SOON: Duration = Duration::from_mins(10);

/// See the module.
#[derive(Debug)]
pub struct SpotChecks {
    fleet: Fleet,
    horizon: Duration,
    min_age: Duration,
    max_age: Duration,
    audit: Audit,
    lanes: HashMap<ConnectionId, Memory>,
}

/// What is remembered of a lane between two passes. Nothing depends on it: it only saves work.
#[derive(Debug)]
struct Memory {
    /// Of the last requests.
    looks_per_request: f64,
    /// Where the background pass goes on.
    walked: Option<(RecordType, ExternalId)>,
    /// A type's webhooks have begun to fail, or work again: the pass hurries until it was through.
    hurry: bool,
    /// The record types whose webhooks fail.
    outages: Vec<RecordType>,
    /// Passes, and looks that they chose, since the background pass went on.
    passes: u32,
    looks: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            looks_per_request: 1.0,
            walked: None,
            hurry: false,
            outages: Vec::new(),
            passes: 0,
            looks: 0.0,
        }
    }
}

impl SpotChecks {
    /// Keeps as many waiting as the quotas allow within the horizon.
    pub fn new(fleet: Fleet, settings: &SchedulerConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one generator of this process")]
        let seed = rand::make_rng::<StdRng>().random();
        Self {
            audit: Audit::new(settings.audit_share, seed),
            fleet,
            horizon: settings.spot_check_horizon,
            min_age: settings.spot_check_min_age,
            max_age: settings.spot_check_max_age,
            lanes: HashMap::new(),
        }
    }

    async fn lane(&mut self, connection: &Connection, running: &[BulkRun]) -> anyhow::Result<u64> {
        let db = &self.fleet.db;
        let lane = connection.lane();
        let depths = self.fleet.queue.depths(lane).await?;
        if depths.paused || depths.closed || !depths.frozen.is_zero() {
            return Ok(0);
        }
        let now = store::now(db).await?;
        let read = lane_prices::of(db, connection.id).await?;
        let price = read.map_or(LEAST_PRICE, |read| read.price);
        let kinds = self.kinds(connection, running, price, now).await?;
        let most = kinds.iter().map(|kind| kind.requests).fold(0.0, f64::max);
        if kinds.is_empty() {
            return Ok(0);
        }
        let memory = self.lanes.entry(connection.id).or_default();
        let waiting = waiting(&depths) / memory.looks_per_request;
        // A lane that can do less than one request within the horizon has one waiting.
        let capacity =
            left_over(most, &depths).min(MOST_WAITING / memory.looks_per_request).max(1.0);
        let requests = (capacity - waiting).max(0.0);

        let widest = kinds.iter().map(|kind| kind.planning.looks_per_request).max().unwrap_or(1);
        let rows = (2.0 * requests * f64::from(widest)).clamp(ROWS.0, ROWS.1);
        let rows = records::next_due(db, connection.id, whole(rows)).await?;
        let reserve = RESERVED.max((self.horizon / RESERVED_PART).min(self.min_age));
        let choice = choose(&rows, &kinds, now, price, requests, reserve);

        // Reserved first: a check that is enqueued and not reserved is enqueued once more, one that
        // is reserved and not enqueued waits for the reserve to pass.
        records::replan(db, connection.id, &choice.moved).await?;
        let chosen = choice.chosen.iter().filter_map(|place| rows.get(*place));
        let names = chosen.map(|row| (row.record_type.clone(), row.external_id.clone())).collect();
        let mut added = self.enqueue(connection, names).await?;

        let elapsed = read.map_or(0.0, |read| now.duration_since(read.moved_at).as_secs_f64());
        let elapsed_hours = (elapsed / 3_600.0).clamp(0.0, 0.1);
        for kind in &kinds {
            let looks = choice.chosen.iter().filter_map(|place| rows.get(*place));
            let looks = looks.filter(|row| row.record_type == kind.record_type).count();
            let population = self.audit.population(&self.fleet.db, connection, kind, now).await?;
            #[expect(clippy::cast_precision_loss, reason = "some thousand")]
            let looks = looks as f64;
            let db = &self.fleet.db;
            self.audit.draw(db, connection, kind, population, looks, elapsed_hours).await?;
            if population.taken_at == now {
                self.scan_instead(connection, kind, population, &choice, now).await?;
            }
        }
        let db = &self.fleet.db;
        let looks_per_request =
            self.lanes.get(&connection.id).map_or(1.0, |memory| memory.looks_per_request);
        let samples = self.audit.waiting(db, connection, capacity * looks_per_request).await?;
        added += self.enqueue(connection, samples).await?;

        let mut controller = PriceController::new(price, ControllerSettings::default());
        controller.tick(waiting + choice.due_requests, capacity, elapsed_hours);
        lane_prices::set(db, connection.id, read, controller.price(), now).await?;

        let memory = self.lanes.entry(connection.id).or_default();
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let looks = choice.chosen.len() as f64;
        if choice.requests >= 1.0 {
            memory.looks_per_request = looks / choice.requests;
        }
        self.walk(connection, &kinds, looks).await?;
        Ok(added)
    }

    /// What is known of each mirrored type.
    async fn kinds(
        &self,
        connection: &Connection,
        running: &[BulkRun],
        price: f64,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Kind>> {
        let known = habits::all(&self.fleet.db, connection.id).await?;
        let mut kinds = Vec::new();
        for kind in connection.platform.records().iter().filter(|kind| kind.mirrored) {
            let record_type: RecordType = kind.name.into();
            let habits = known.iter().find(|(name, _)| *name == record_type);
            let habits = habits.map_or_else(TypeHabits::default, |(_, habits)| *habits);
            let habits = TypeHabits { price, ..habits };
            let planning = Planning {
                min_age: self.min_age,
                max_age: self.max_age,
                looks_per_request: kind.batch,
                weights: None,
            };
            let run = running
                .iter()
                .find(|run| run.connection == connection.id && run.record_type == record_type);
            let page = format!("scan@{}", kind.name);
            let scanned_by = run
                .filter(|run| run.mode == Mode::Full)
                .and_then(|run| run.ends_at(now, pace(&connection.limits, &page)))
                .filter(|end| *end <= later(now, SCAN_SOON));
            kinds.push(Kind {
                requests: requests_within(&connection.limits, kind.name, self.horizon).max(1.0),
                record_type,
                habits,
                planning,
                scanned_by,
            });
        }
        Ok(kinds)
    }

    async fn enqueue(
        &self,
        connection: &Connection,
        records: Vec<(RecordType, ExternalId)>,
    ) -> anyhow::Result<u64> {
        let job = |(record_type, external_id)| Job {
            lane: connection.lane().clone(),
            task: Task::Check { record_type, external_id },
            priority: Priority::SpotCheck,
            trace: String::new(),
        };
        let jobs: Vec<Job> = records.into_iter().map(job).collect();
        Ok(self.fleet.queue.ensure(&jobs).await?.added)
    }

    /// Starts a scan of a type where a request of it is worth more than one of those that were
    /// chosen. It costs what the last one did; none within [`SCAN_GAP`] of another.
    async fn scan_instead(
        &self,
        connection: &Connection,
        kind: &Kind,
        population: Population,
        choice: &Choice,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        if choice.requests < 1.0 || kind.scanned_by.is_some() {
            return Ok(());
        }
        let db = &self.fleet.db;
        let last = bulk_runs::last_full(db, connection.id, &kind.record_type).await?;
        let Some(last) = last.filter(|last| later(last.began_at, SCAN_GAP) < now) else {
            return Ok(());
        };
        let pages = f64::from(last.pages.max(1));
        let hour = Duration::from_hours(1).as_secs_f64() / self.horizon.as_secs_f64();
        if pages > kind.requests * hour {
            return Ok(());
        }
        let Population { records, value, .. } = population;
        let looks = Offer { way: Way::Batch, value: choice.value, requests: choice.requests };
        let offers = [looks, Offer::scan(value * records, records, records / pages)];
        // Both are worth their price; the question is which is worth more.
        if best(offers, kind.habits.price).is_none_or(|best| best.way != Way::Scan) {
            return Ok(());
        }
        let record_type = kind.record_type.clone();
        let new = NewRun { connection: connection.id, record_type, changed_since: None };
        if let Some(run) = bulk_runs::start(db, &new).await? {
            info!(%run, lane = %connection.lane(), record_type = %new.record_type,
                "a scan is worth more than single looks: bulk run started");
            let job = Job {
                lane: connection.lane().clone(),
                task: Task::Scan { record_type: new.record_type },
                priority: Priority::Bulk,
                trace: String::new(),
            };
            self.fleet.queue.enqueue(&[job]).await?;
        }
        Ok(())
    }

    /// Plans some records anew: a price that fell, or habits that changed, make them due earlier
    /// than they stand in the index. What comes due too early is corrected when it does.
    async fn walk(
        &mut self,
        connection: &Connection,
        kinds: &[Kind],
        looks: f64,
    ) -> anyhow::Result<()> {
        let memory = self.lanes.entry(connection.id).or_default();
        (memory.passes, memory.looks) = (memory.passes + 1, memory.looks + looks);
        let failing = kinds.iter().filter(|kind| kind.habits.outage);
        let failing: Vec<RecordType> = failing.map(|kind| kind.record_type.clone()).collect();
        if failing != memory.outages {
            (memory.outages, memory.hurry, memory.walked) = (failing, true, None);
        }
        if !memory.hurry && memory.passes < WALK_EVERY {
            return Ok(());
        }
        let looks = memory.looks;
        (memory.passes, memory.looks) = (0, 0.0);
        let most = if memory.hurry { WALKED.1 } else { (2.0 * looks).clamp(WALKED.0, WALKED.1) };
        let rows =
            records::walk(&self.fleet.db, connection.id, memory.walked.as_ref(), whole(most))
                .await?;
        let mut sooner: Vec<Replanned> = Vec::new();
        for row in &rows {
            let Some(kind) = kinds.iter().find(|kind| kind.record_type == row.record_type) else {
                continue;
            };
            let at = next_look(row, kind, kind.planning.looks_per_request);
            let is_sooner = row.next_check_at.is_none_or(|was| {
                let whole = was.duration_since(row.last_verified_at).as_secs_f64();
                was.duration_since(at).as_secs_f64() > WORTH_WRITING * whole.max(1.0)
            });
            if is_sooner {
                sooner.push(moved(row, at, false));
            }
        }
        records::replan(&self.fleet.db, connection.id, &sooner).await?;
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        let is_end = (rows.len() as f64) < most.floor();
        let last = rows.into_iter().last().map(|row| (row.record_type, row.external_id));
        memory.walked = if is_end { None } else { last };
        memory.hurry &= !is_end;
        Ok(())
    }
}

/// Spot checks that wait or are being done.
fn waiting(depths: &Depths) -> f64 {
    let [_, _, _, spot_checks] = depths.ready;
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let waiting = spot_checks as f64;
    waiting
}

/// The shortest time between two requests of a kind that its quotas allow in the long run.
fn pace(limits: &common::quota::LaneLimits, kind: &str) -> Duration {
    let between = |quota: &common::quota::Quota| quota.window / quota.limit.max(1);
    limits.drawn_on(kind).map(between).max().unwrap_or_default()
}

fn whole(number: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; none is negative"
    )]
    let whole = number.floor() as u32;
    whole
}

impl Reconcile for SpotChecks {
    const NAME: &'static str = "spot checks";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let mut added = 0;
        let running = bulk_runs::all_running(&self.fleet.db).await?;
        let connections: Vec<_> = self.fleet.connections.iter().cloned().collect();
        for connection in connections {
            added += self.lane(&connection, &running).await?;
        }
        Ok(added)
    }
}
