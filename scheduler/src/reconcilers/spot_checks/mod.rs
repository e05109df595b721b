//! Spends the quota that nobody else wants where it makes the mirror truest.
//!
//! Each record's row says when a look at it will be worth the lane's price. A pass takes the first
//! of an index on that, works them out again at today's price ([`choose`]), enqueues what is worth
//! it and what the lane can do within the horizon, and moves the price by how much there was of it.
//! Random audit samples get their share besides ([`audit`]), and where reading a list, or a list of
//! what changed, is worth more than looking at records, a run begins ([`lists`]). A lane in which
//! nothing is due costs no statement of its own ([`memory`]).

mod audit;
mod choose;
mod lists;
mod memory;
mod price;
mod room;
mod seen;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::config::SchedulerConfig;
use common::fleet::{Connection, Fleet};
use common::freshness::{ControllerSettings, LEAST_PRICE, PriceController};
use common::ids::{ConnectionId, ExternalId, RecordType};
use common::job::{Job, Priority, Task};
use common::queue::Depths;
use common::store::bulk_runs::{self, Mode, NewRun};
use common::store::habits::{Planning, TypeHabits};
use common::store::lane_prices::{self, LanePrice};
use common::store::records::{self, PlannedRecord};
use jiff::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tracing::info;

use crate::Reconcile;
use audit::Audit;
use choose::{Choice, Kind, choose, later};
use lists::{Reading, worth_reading};
use memory::Memory;
use price::Fitted;
use room::{MOST_WAITING, left_over, requests_within};
use seen::{Known, Overview};
use walk::walk;

const SECONDS_PER_DAY: f64 = 86_400.0;
/// Entries of the index that one pass reads, at least and at most.
const ROWS: (f64, f64) = (100.0, 4_000.0);
/// In so many calls the checks of a pass are enqueued: the most valuable eighth is done first.
const PARTS: usize = 8;
/// A record that was chosen is left alone for a part of the horizon, or for its least age. If its check waits longer than
/// that, it is chosen once more, which changes nothing; if it was lost, that makes up for it.
const RESERVED_PART: u32 = 4;
/// And no shorter than this.
const RESERVED: Duration = Duration::from_secs(2);
/// Looks that were planned wait for a scan that ends within this.
const SCAN_SOON: Duration = Duration::from_mins(10);

/// See the module.
#[derive(Debug)]
pub struct SpotChecks {
    fleet: Fleet,
    horizon: Duration,
    min_age: Duration,
    max_age: Duration,
    overlap: Duration,
    tick: Duration,
    audit: Audit,
    chance: StdRng,
    lanes: HashMap<ConnectionId, Memory>,
}

/// What a pass chose in a lane, and from what.
struct Chosen<'a> {
    rows: &'a [PlannedRecord],
    kinds: &'a [Kind],
    choice: &'a Choice,
}

impl SpotChecks {
    /// Keeps as many waiting as the quotas allow within the horizon.
    pub fn new(fleet: Fleet, settings: &SchedulerConfig) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one generator of this process")]
        let mut chance = rand::make_rng::<StdRng>();
        Self {
            audit: Audit::new(settings.audit_share, chance.random()),
            chance,
            fleet,
            horizon: settings.spot_check_horizon,
            min_age: settings.spot_check_min_age,
            max_age: settings.spot_check_max_age,
            overlap: settings.bulk_overlap,
            tick: settings.tick,
            lanes: HashMap::new(),
        }
    }

    /// What is known of the lanes in which there is something to do.
    async fn known(
        &self,
        connections: &[Arc<Connection>],
        now: Timestamp,
    ) -> anyhow::Result<Known> {
        let ids: Vec<_> = connections.iter().map(|connection| connection.id).collect();
        let types = connections.iter().flat_map(|connection| {
            let mirrored = connection.platform.records().iter().filter(|kind| kind.mirrored);
            mirrored.map(|kind| (connection.id, RecordType::from(kind.name)))
        });
        let lists: Vec<_> = types.filter(|key| self.audit.is_stale(key, now)).collect();
        Ok(Known::read(&self.fleet.db, &ids, &lists).await?)
    }

    async fn lane(
        &mut self,
        connection: &Connection,
        overview: &Overview,
        known: &Known,
    ) -> anyhow::Result<u64> {
        let db = &self.fleet.db.clone();
        let lane = connection.lane();
        let depths = self.fleet.queue.depths(lane).await?;
        if depths.paused || depths.closed || !depths.frozen.is_zero() {
            return Ok(0);
        }
        let (now, signs) = (overview.now, overview.of(connection.id));
        let memory = self.lanes.entry(connection.id).or_default();
        let seen_at = memory.seen_at.replace(now);
        let looks_per_request = memory.looks_per_request;
        let written = known.prices.get(&connection.id).copied();
        let read = memory.price(written);
        let stored = read.map_or(LEAST_PRICE, |read| read.price);
        let mut kinds = self.kinds(connection, known, stored, now);
        let most = kinds.iter().map(|kind| kind.requests).fold(0.0, f64::max);
        if kinds.is_empty() {
            return Ok(0);
        }
        let price = self.price(connection, &kinds, read.map(|read| read.price), most).await?;
        for kind in &mut kinds {
            kind.habits.price = price;
        }
        let waiting = waiting(&depths) / looks_per_request;
        let floors = self.fleet.queue.settings().floors;
        // A lane that can do less than one request within the horizon has one waiting.
        let capacity =
            left_over(most, &depths, floors).min(MOST_WAITING / looks_per_request).max(1.0);
        let requests = (capacity - waiting).max(0.0);

        let widest = kinds.iter().map(|kind| kind.planning.looks_per_request).max().unwrap_or(1);
        let rows = (2.0 * requests * f64::from(widest)).clamp(ROWS.0, ROWS.1);
        let rows = if signs.first_due.is_some_and(|due| due <= now) {
            records::next_due(db, connection.id, whole(rows)).await?
        } else {
            Vec::new()
        };
        let reserve = RESERVED.max((self.horizon / RESERVED_PART).min(self.min_age));
        let choice = choose(&rows, &kinds, now, price, requests, reserve);

        // Reserved first: a check that is enqueued and not reserved is enqueued once more, one that
        // is reserved and not enqueued waits for the reserve to pass.
        records::replan(db, connection.id, &choice.moved).await?;
        let chosen = choice.chosen.iter().filter_map(|place| rows.get(*place));
        let names = chosen.map(|row| (row.record_type.clone(), row.external_id.clone())).collect();
        let mut added = self.enqueue(connection, names).await?;

        let since_seen = seen_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        let seen_hours = (since_seen / 3_600.0).clamp(0.0, 0.1);
        let chosen = Chosen { rows: &rows, kinds: &kinds, choice: &choice };
        let drawn = self.draw_and_read(connection, known, &chosen, seen_hours, now).await?;
        if signs.has_samples || drawn > 0 {
            let looks = capacity * looks_per_request;
            let samples = self.audit.waiting(db, connection, looks).await?;
            added += self.enqueue(connection, samples).await?;
        }

        let elapsed = read.map_or(0.0, |read| now.duration_since(read.moved_at).as_secs_f64());
        let elapsed_hours = (elapsed / 3_600.0).clamp(0.0, 0.1);
        let mut controller = PriceController::new(price, ControllerSettings::default());
        controller.tick(waiting + choice.due_requests, capacity, elapsed_hours);
        let memory = self.lanes.entry(connection.id).or_default();
        let moved = LanePrice { price: controller.price(), moved_at: now };
        if memory.note_price(written, moved) {
            lane_prices::set(db, connection.id, written, moved.price, now).await?;
        }

        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let looks = choice.chosen.len() as f64;
        if choice.requests >= 1.0 {
            memory.looks_per_request = looks / choice.requests;
        }
        memory.looks += looks;
        memory.ticks += (since_seen / self.tick.as_secs_f64().max(1e-3)).max(1.0);
        walk(db, connection.id, memory, &kinds, signs.outages).await?;
        Ok(added)
    }

    /// Where the price of a lane begins, and where it goes when more is known of its types: a new
    /// lane takes the price that fits what is believed of its records; one that has a price follows
    /// when that changes.
    ///
    /// - `most`: requests that the quota allows within the horizon, whoever makes them.
    async fn price(
        &mut self,
        connection: &Connection,
        kinds: &[Kind],
        stored: Option<f64>,
        most: f64,
    ) -> anyhow::Result<f64> {
        let known = self.lanes.get(&connection.id).and_then(|memory| memory.fitted.as_ref());
        if let Some(stored) = stored.filter(|_| known.is_some_and(|fitted| fitted.holds(kinds))) {
            return Ok(stored);
        }
        let then = known.map(|fitted| fitted.then(kinds));
        let drawn = price::draw(&self.fleet.db, connection, kinds, &mut self.chance).await?;
        let requests_per_day = most * SECONDS_PER_DAY / self.horizon.as_secs_f64();
        let fitting = |kinds: &[Kind], start| {
            price::fitting(&price::samples(kinds, &drawn), start, requests_per_day)
        };
        let Some(fitted) = fitting(kinds, stored.unwrap_or(1.0)) else {
            return Ok(stored.unwrap_or(LEAST_PRICE));
        };
        let before = then.and_then(|kinds| fitting(&kinds, fitted));
        // It fell there while there was nothing to look at.
        let stored = stored.filter(|price| *price > 1.001 * LEAST_PRICE);
        self.lanes.entry(connection.id).or_default().fitted = Some(Fitted::by(kinds));
        Ok(price::moved(stored, before, fitted))
    }

    /// Draws audit samples of each type, and once a minute weighs its lists. How many were drawn.
    ///
    /// - `seen_hours`: since the lane was seen to last.
    async fn draw_and_read(
        &mut self,
        connection: &Connection,
        known: &Known,
        chosen: &Chosen<'_>,
        seen_hours: f64,
        now: Timestamp,
    ) -> anyhow::Result<u64> {
        let db = &self.fleet.db.clone();
        let Chosen { rows, kinds, choice } = chosen;
        let mut drawn = 0;
        for kind in *kinds {
            let looks = choice.chosen.iter().filter_map(|place| rows.get(*place));
            let looks = looks.filter(|row| row.record_type == kind.record_type).count();
            let lately = known.lately.get(&(connection.id, kind.record_type.clone()));
            let listed_at = lately.filter(|_| kind.lists_edits).and_then(|run| run.done_began_at);
            let population = self.audit.population(db, connection, kind, listed_at, now).await?;
            #[expect(clippy::cast_precision_loss, reason = "some thousand")]
            let looks = looks as f64;
            drawn += self.audit.draw(db, connection, kind, population, looks, seen_hours).await?;
            let Some(lately) = lately.filter(|_| population.taken_at == now) else { continue };
            let hour = Duration::from_hours(1).as_secs_f64() / self.horizon.as_secs_f64();
            let per_hour = kind.requests * hour;
            let reading =
                worth_reading(kind, &population, lately, choice, per_hour, self.overlap, now);
            if let Some(reading) = reading {
                self.read_list(connection, kind, reading).await?;
            }
        }
        Ok(drawn)
    }

    /// What is known of each mirrored type.
    fn kinds(
        &self,
        connection: &Connection,
        known: &Known,
        price: f64,
        now: Timestamp,
    ) -> Vec<Kind> {
        let mirrored = connection.platform.records().iter().filter(|kind| kind.mirrored);
        mirrored
            .map(|kind| {
                let key = (connection.id, RecordType::from(kind.name));
                let habits = known.habits.get(&key).copied().unwrap_or_default();
                let habits = TypeHabits { price, ..habits };
                let planning = Planning {
                    min_age: self.min_age,
                    max_age: self.max_age,
                    looks_per_request: kind.batch,
                    weights: None,
                };
                let run = known.running.get(&key);
                let page = format!("scan@{}", kind.name);
                let scanned_by = run
                    .filter(|run| run.mode == Mode::Full)
                    .and_then(|run| run.ends_at(now, connection.limits.pace(&page)))
                    .filter(|end| *end <= later(now, SCAN_SOON));
                Kind {
                    requests: requests_within(&connection.limits, kind.name, self.horizon).max(1.0),
                    record_type: key.1,
                    habits,
                    planning,
                    scanned_by,
                    is_being_read: run.is_some(),
                    lists_edits: kind.lists_edits,
                }
            })
            .collect()
    }

    /// In the order in which they are given, roughly: what is enqueued with one call waits in the
    /// order of its ids.
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
        let mut added = 0;
        for part in jobs.chunks(jobs.len().div_ceil(PARTS).max(1)) {
            added += self.fleet.queue.ensure(part).await?.added;
        }
        Ok(added)
    }

    /// Begins a run, unless somebody else has begun one.
    async fn read_list(
        &self,
        connection: &Connection,
        kind: &Kind,
        reading: Reading,
    ) -> anyhow::Result<()> {
        let db = &self.fleet.db;
        let record_type = kind.record_type.clone();
        let changed_since = match reading {
            Reading::Whole => None,
            Reading::ChangesSince(since) => Some(since),
        };
        let new = NewRun { connection: connection.id, record_type, changed_since };
        let begun = match reading {
            Reading::Whole => bulk_runs::start(db, &new).await?,
            Reading::ChangesSince(_) => bulk_runs::start_planned(db, &new).await?,
        };
        let Some(run) = begun else { return Ok(()) };
        info!(%run, lane = %connection.lane(), record_type = %new.record_type, ?reading,
            "reading a list is worth more than looking at records: bulk run started");
        let job = Job {
            lane: connection.lane().clone(),
            task: Task::Scan { record_type: new.record_type },
            priority: Priority::Bulk,
            trace: String::new(),
        };
        self.fleet.queue.enqueue(&[job]).await?;
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
        let all: Vec<_> = self.fleet.connections.iter().cloned().collect();
        let ids: Vec<_> = all.iter().map(|connection| connection.id).collect();
        let overview = Overview::read(&self.fleet.db, &ids).await?;
        let now = overview.now;
        let stirs = |connection: &Arc<Connection>| {
            let memory = self.lanes.get(&connection.id);
            memory.is_none_or(|memory| memory.stirs(connection.id, overview.of(connection.id), now))
        };
        let stirring: Vec<_> = all.into_iter().filter(stirs).collect();
        if stirring.is_empty() {
            return Ok(0);
        }
        let known = self.known(&stirring, now).await?;
        let mut added = 0;
        for connection in stirring {
            added += self.lane(&connection, &overview, &known).await?;
        }
        Ok(added)
    }
}
