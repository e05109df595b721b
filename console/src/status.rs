//! How things stand: what Postgres and Redis say, put together by connection.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use common::fleet::page_pace;
use common::ids::{Lane, RecordType};
use common::queue::Depths;
use common::quota::LaneLimits;
use common::store::alerts::{self, Alert};
use common::store::bulk_runs::{self, BulkRun};
use common::store::overview::{self, Overview, RecordCounts};
use common::store::quality::{self, Quality};
use common::store::{self, StoreError, connections};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;
use tracing::warn;

use crate::Sources;
use crate::words;

/// Of operations and drift.
const PERIOD: Duration = Duration::from_hours(1);
/// All that Postgres is asked. It reads whole tables.
const POSTGRES_WITHIN: Duration = Duration::from_secs(10);
/// All that Redis is asked.
const REDIS_WITHIN: Duration = Duration::from_secs(3);
/// Of random samples.
const QUALITY_HOURS: u16 = 24;
/// The latest bulk runs that are shown; those that run are shown besides.
const LATEST_RUNS: u32 = 20;
/// The oldest open alerts that are shown.
const OPEN_ALERTS: u32 = 50;
/// Longest text from a failure that is shown, in characters.
const LONGEST_FAILURE: usize = 300;

/// How things stand.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Postgres' clock; `None` while it is away.
    pub(crate) at: Option<Timestamp>,
    pub(crate) postgres: Store,
    pub(crate) redis: Store,
    /// By name.
    pub(crate) connections: Vec<Connection>,
    /// What a person should act on, the oldest first. `None` while Postgres is away.
    pub(crate) alerts: Option<Vec<Notable>>,
    /// Those that run, and the latest others; latest first. `None` while Postgres is away.
    pub(crate) bulk_runs: Option<Vec<Run>>,
}

/// An open alert.
#[derive(Debug, Serialize)]
pub(crate) struct Notable {
    /// `None` where it concerns the whole fleet.
    pub(crate) connection: Option<Lane>,
    pub(crate) kind: String,
    /// Of what; may be empty.
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) raised_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) count: i64,
}

/// Whether a store answers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Store {
    pub(crate) answers: bool,
    /// Why it does not.
    pub(crate) failure: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Connection {
    pub(crate) name: Lane,
    /// Why nothing is sent for it now; empty while it works. Without one of the stores some of
    /// this is not known.
    pub(crate) held: Vec<Hold>,
    /// `None` while Redis is away.
    pub(crate) queue: Option<Queue>,
    /// `None` while Postgres is away, or has never heard of the connection.
    pub(crate) mirror: Option<Mirror>,
}

/// Why nothing is sent.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub(crate) enum Hold {
    /// Until a person acts.
    Parked { reason: String, since: Timestamp },
    /// Until a person resumes it.
    Paused,
    /// The platform refused.
    Frozen { for_seconds: u64 },
    /// Redis was lost, and what was sent before has to be known or past first.
    LedgerClosed,
}

/// What waits in Redis.
#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    pub(crate) webhook: u64,
    pub(crate) manual: u64,
    pub(crate) bulk: u64,
    pub(crate) spot_check: u64,
    pub(crate) delayed: u64,
    pub(crate) leased: u64,
    pub(crate) oldest_seconds: f64,
}

/// What Postgres has.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Mirror {
    pub(crate) open_notices: i64,
    pub(crate) dead_letters: i64,
    /// In the last hour.
    pub(crate) drift_found: i64,
    /// Of those.
    pub(crate) drift_repaired: i64,
    pub(crate) records: Vec<Records>,
    /// Of the last hour.
    pub(crate) operations: Vec<Operations>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Records {
    pub(crate) record_type: RecordType,
    pub(crate) present: i64,
    /// Missing at the last look; part of `present`.
    pub(crate) suspected: i64,
    pub(crate) deleted: i64,
    pub(crate) oldest_verified_at: Option<Timestamp>,
    /// What random samples of the last day say; `None` where there were none.
    pub(crate) drift: Option<Drift>,
}

/// How wrong the mirror of a record type is: shares of its records.
#[derive(Debug, Serialize)]
pub(crate) struct Drift {
    pub(crate) samples: u64,
    pub(crate) wrong: u64,
    pub(crate) rate: f64,
    /// With a probability of 95 % it is between these, however often one looks.
    pub(crate) at_least: f64,
    pub(crate) at_most: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Operations {
    pub(crate) trigger: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) count: i64,
}

/// A bulk run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) id: i64,
    pub(crate) connection: Lane,
    pub(crate) record_type: RecordType,
    pub(crate) mode: &'static str,
    pub(crate) state: &'static str,
    pub(crate) pages: i32,
    pub(crate) records_seen: i64,
    pub(crate) records_changed: i64,
    pub(crate) started_at: Timestamp,
    pub(crate) moved_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    /// Why it was halted or failed.
    pub(crate) reason: Option<String>,
    /// Pages that the last run like it had.
    pub(crate) expected_pages: Option<i32>,
    /// When it will probably end.
    pub(crate) ends_at: Option<Timestamp>,
    /// The share of its records that are right, at least, by its audit.
    pub(crate) confidence: Option<f64>,
    pub(crate) audit_samples: Option<i32>,
}

/// What Postgres said.
struct Told {
    at: Timestamp,
    connections: Vec<connections::Connection>,
    overview: Overview,
    alerts: Vec<Alert>,
    runs: Vec<BulkRun>,
    quality: Vec<Quality>,
}

impl Status {
    /// Asks both stores, each within its time; never fails, and says what is missing.
    pub(crate) async fn gather(sources: &Sources) -> Self {
        let (told, postgres) = Store::ask("Postgres", POSTGRES_WITHIN, told(sources)).await;
        let mut names = sources.lanes.clone();
        names.extend(told.iter().flat_map(|told| &told.connections).map(|c| c.lane.clone()));
        names.sort();
        names.dedup();
        let counting = try_join_all(names.iter().map(|lane| sources.queue.depths(lane)));
        let (depths, redis) = Store::ask("Redis", REDIS_WITHIN, counting).await;

        let mut depths = depths.map(Vec::into_iter);
        let mut connections: Vec<Connection> = names
            .into_iter()
            .map(|lane| Connection::new(lane, depths.as_mut().and_then(Iterator::next)))
            .collect();
        let Some(told) = told else {
            return Self { at: None, postgres, redis, connections, alerts: None, bulk_runs: None };
        };
        let mut mirrors = mirrors(&told);
        for connection in &mut connections {
            connection.mirror = mirrors.remove(&connection.name);
        }
        for known in told.connections {
            let Some(parked) = known.parked else { continue };
            let mut same = connections.iter_mut().filter(|c| c.name == known.lane);
            if let Some(connection) = same.next() {
                connection.park(parked);
            }
        }
        let alerts = Some(told.alerts.into_iter().map(Notable::from).collect());
        let bulk_runs = Some(
            told.runs.into_iter().map(|run| Run::new(run, &sources.limits, told.at)).collect(),
        );
        Self { at: Some(told.at), postgres, redis, connections, alerts, bulk_runs }
    }

    /// Whether both stores have answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.postgres.answers && self.redis.answers
    }
}

async fn told(sources: &Sources) -> Result<Told, StoreError> {
    let db = &sources.db;
    let connections = connections::all(db).await?;
    let overview = overview::overview(db, PERIOD).await?;
    let alerts = alerts::open(db, OPEN_ALERTS).await?;
    let mut runs = bulk_runs::latest(db, LATEST_RUNS).await?;
    let quality = quality::latest(db, QUALITY_HOURS).await?;
    let running = bulk_runs::all_running(db).await?;
    runs.extend(running);
    runs.sort_by_key(|run| std::cmp::Reverse(run.id));
    runs.dedup_by_key(|run| run.id);
    // The time comes last, so that nothing shown is in its future.
    Ok(Told { at: store::now(db).await?, connections, overview, alerts, runs, quality })
}

impl Store {
    async fn ask<T, E: Error + 'static>(
        name: &str,
        within: Duration,
        question: impl Future<Output = Result<T, E>>,
    ) -> (Option<T>, Self) {
        let failure = match timeout(within, question).await {
            Ok(Ok(answer)) => return (Some(answer), Self { answers: true, failure: None }),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {}", words::duration(within)),
        };
        warn!(store = name, failure, "shown as away");
        (None, Self { answers: false, failure: Some(failure) })
    }
}

/// An error and its causes, each once. Neither store's errors tell its address or password.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text.chars().take(LONGEST_FAILURE).collect()
}

fn mirrors(told: &Told) -> BTreeMap<Lane, Mirror> {
    let mut mirrors = BTreeMap::<Lane, Mirror>::new();
    for backlog in &told.overview.backlog {
        let mirror = mirrors.entry(backlog.lane.clone()).or_default();
        mirror.open_notices = backlog.open_notices;
        mirror.dead_letters = backlog.dead_letters;
        mirror.drift_found = backlog.drift_found;
        mirror.drift_repaired = backlog.drift_repaired;
    }
    for records in &told.overview.records {
        mirrors.entry(records.lane.clone()).or_default().records.push(Records {
            record_type: records.record_type.clone(),
            present: records.present,
            suspected: records.suspected,
            deleted: records.deleted,
            oldest_verified_at: records.oldest_verified_at,
            drift: drift(told, records),
        });
    }
    for operations in &told.overview.operations {
        mirrors.entry(operations.lane.clone()).or_default().operations.push(Operations {
            trigger: operations.trigger.as_str(),
            outcome: operations.outcome.as_str(),
            count: operations.count,
        });
    }
    mirrors
}

/// What samples say of these records.
fn drift(told: &Told, records: &RecordCounts) -> Option<Drift> {
    let quality = told.quality.iter().find(|quality| {
        quality.lane == records.lane && quality.record_type == records.record_type
    })?;
    Some(Drift {
        samples: quality.outcomes.samples,
        wrong: quality.outcomes.wrong,
        rate: quality.outcomes.share()?,
        at_least: quality.interval.lower,
        at_most: quality.interval.upper,
    })
}

impl Connection {
    fn new(name: Lane, depths: Option<Depths>) -> Self {
        let mut held = Vec::new();
        if let Some(depths) = &depths {
            if depths.paused {
                held.push(Hold::Paused);
            }
            if !depths.frozen.is_zero() {
                held.push(Hold::Frozen { for_seconds: depths.frozen.as_secs().max(1) });
            }
            if depths.closed {
                held.push(Hold::LedgerClosed);
            }
        }
        Self { name, held, queue: depths.map(Queue::from), mirror: None }
    }

    /// To park is to pause as well: the reason says it all.
    fn park(&mut self, parked: connections::Parked) {
        self.held.retain(|hold| *hold != Hold::Paused);
        self.held.insert(0, Hold::Parked { reason: parked.reason, since: parked.at });
    }
}

impl Hold {
    /// How long it still lasts, for people; empty where nobody knows.
    pub(crate) fn lasts(&self) -> String {
        match self {
            Self::Frozen { for_seconds } => words::duration(Duration::from_secs(*for_seconds)),
            Self::Parked { .. } | Self::Paused | Self::LedgerClosed => String::new(),
        }
    }
}

impl Drift {
    /// The share of records that are right, for people.
    pub(crate) fn fresh(&self) -> String {
        words::percent(1.0 - self.rate)
    }

    /// The share that is wrong.
    pub(crate) fn wrong(&self) -> String {
        words::percent(self.rate)
    }

    /// Its bounds.
    pub(crate) fn bounds(&self) -> String {
        format!("{} to {}", words::percent(self.at_least), words::percent(self.at_most))
    }
}

impl Queue {
    /// The age of the job that has waited longest, for people.
    pub(crate) fn oldest(&self) -> String {
        words::duration(Duration::try_from_secs_f64(self.oldest_seconds).unwrap_or_default())
    }
}

impl From<Depths> for Queue {
    fn from(depths: Depths) -> Self {
        let [webhook, manual, bulk, spot_check] = depths.ready;
        Self {
            webhook,
            manual,
            bulk,
            spot_check,
            delayed: depths.delayed,
            leased: depths.leased,
            oldest_seconds: depths.oldest.as_secs_f64(),
        }
    }
}

impl From<Alert> for Notable {
    fn from(alert: Alert) -> Self {
        Self {
            connection: alert.lane,
            kind: alert.kind,
            subject: alert.subject,
            message: alert.message,
            raised_at: alert.raised_at,
            last_at: alert.last_at,
            count: alert.count,
        }
    }
}

impl Run {
    /// What its audit says, for people.
    pub(crate) fn confident(&self) -> String {
        self.confidence.map_or_else(|| "–".to_owned(), words::percent)
    }

    fn new(run: BulkRun, limits: &BTreeMap<Lane, LaneLimits>, now: Timestamp) -> Self {
        let pace = page_pace(limits, &run.lane, &run.record_type);
        Self {
            expected_pages: run.expected_pages,
            ends_at: run.ends_at(now, pace),
            confidence: run.audit.map(|audit| audit.confidence),
            audit_samples: run.audit.map(|audit| audit.samples),
            id: run.id.0,
            connection: run.lane,
            record_type: run.record_type,
            mode: run.mode.as_str(),
            state: run.state.as_str(),
            pages: run.pages,
            records_seen: run.records_seen,
            records_changed: run.records_changed,
            started_at: run.started_at,
            moved_at: run.moved_at,
            finished_at: run.finished_at,
            reason: run.reason,
        }
    }
}
