//! Everybody, and one event after the other.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use common::job::{JobId, Priority};
use common::queue::Outcome;
use common::queue::model::Model;
use common::quota::{KindLimits, LaneLimits, Quota, RateSignal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::platform::{LIMIT, Platform, WINDOW};
use crate::START;

const MS: u64 = 1_000;
const RECORDS: usize = 6;
const WORKERS: usize = 3;
/// How long changes and blows go on.
const BUSY: u64 = 8_000 * MS;
/// By then all must be done: several leases, back-offs and closed windows later.
const QUIET: u64 = BUSY + 60_000 * MS;
const LEASE: u64 = 2_000 * MS;
/// The worker's watch stops this much earlier.
const MARGIN: u64 = 200 * MS;
const USE_BY: u64 = 300 * MS;
const REQUEST: u64 = 500 * MS;
const SWEEP_EVERY: u64 = 400 * MS;
/// A notice this young is being enqueued by whoever wrote it down.
const BEING_ENQUEUED: u64 = 200 * MS;
const KIND: &str = "order";

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blows {
    /// The share of steps at which a worker dies.
    pub(super) deaths: f64,
    /// The share of writes and settlements by workers that were frozen past their lease.
    pub(super) late: f64,
    /// The share of requests whose answer never comes.
    pub(super) lost_answers: f64,
    /// The share of notices that are written down and not enqueued.
    pub(super) lost_enqueues: f64,
    /// How often the index is lost.
    pub(super) flushes: u64,
    /// How often another server takes over that lacks the quotas.
    pub(super) replacements: u64,
}

/// What a worker has in its hands.
#[derive(Clone, Debug)]
struct Batch {
    fence: i64,
    jobs: Vec<(usize, u32)>,
    granted: u64,
    lease_ends: u64,
    /// When the fetch began, by Postgres.
    began: u64,
    /// Open notices of before it.
    notices: Vec<u64>,
    /// What the platform said.
    seen: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Event {
    Change(usize),
    Notice(usize),
    Claim(usize),
    Send(usize, Batch),
    Arrive(usize, Batch),
    Answer(usize, Batch),
    Write(usize, Batch, Outcome),
    Settle(usize, Batch, Outcome),
    Sweep,
    Flush,
    Replace,
}

/// A row of the mirror.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    version: u64,
    order: (u64, i64),
}

pub(super) struct World {
    chance: StdRng,
    blows: Blows,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    made: u64,
    story: String,
    queue: Model,
    platform: Platform,
    /// Open notices: number, record, when.
    inbox: BTreeMap<u64, (usize, u64)>,
    mirror: Vec<Row>,
    /// Who may work on a record, and until when.
    leases: BTreeMap<usize, (i64, u64)>,
}

impl World {
    pub(super) fn new(seed: u64, blows: Blows) -> Self {
        let limit = u32::try_from(LIMIT).unwrap();
        let quota = Quota {
            name: "second".to_owned(),
            limit,
            window: Duration::from_micros(WINDOW),
            burst: 3,
            headroom: 0,
        };
        let kind = KindLimits { batch: 2, cost: 1, quotas: vec![0] };
        let limits =
            LaneLimits { quotas: vec![quota], kinds: BTreeMap::from([(KIND.to_owned(), kind)]) };
        let deadline = Duration::from_micros(USE_BY + REQUEST);
        let mut queue = Model::new(limits, Duration::from_micros(LEASE), deadline);
        // It has never sent anything.
        queue.open(START);
        let mut world = Self {
            chance: StdRng::seed_from_u64(seed),
            blows,
            now: START,
            events: BTreeMap::new(),
            made: 0,
            story: String::new(),
            queue,
            platform: Platform::new(RECORDS),
            inbox: BTreeMap::new(),
            mirror: vec![Row::default(); RECORDS],
            leases: BTreeMap::new(),
        };
        for _ in 0..world.chance.random_range(5..40) {
            let record = world.chance.random_range(0..RECORDS);
            world.within(BUSY, Event::Change(record));
        }
        for _ in 0..blows.flushes {
            world.within(BUSY, Event::Flush);
        }
        for _ in 0..blows.replacements {
            world.within(BUSY, Event::Replace);
        }
        for worker in 0..WORKERS {
            world.within(100 * MS, Event::Claim(worker));
        }
        world.after(SWEEP_EVERY, Event::Sweep);
        world
    }

    /// What has happened, a line for each event.
    pub(super) fn story(&self) -> String {
        self.story.clone()
    }

    /// Tells the story to its end; what does not hold, if anything.
    pub(super) fn run(&mut self) -> Result<(), String> {
        while !self.is_over()
            && let Some(((at, _), event)) = self.events.pop_first()
        {
            self.now = at;
            if at > START + QUIET {
                break;
            }
            if !matches!(event, Event::Claim(_) | Event::Sweep) {
                self.tell(&format!("{event:?}"));
            }
            self.happen(event)?;
        }
        if !self.inbox.is_empty() || !self.queue.is_empty() {
            return Err(format!("{:?} are open, {} jobs are left", self.inbox, self.queue.len()));
        }
        let mirrored: Vec<u64> = self.mirror.iter().map(|row| row.version).collect();
        if mirrored != self.platform.versions {
            return Err(format!("{mirrored:?} is not {:?}", self.platform.versions));
        }
        Ok(())
    }

    /// Nothing will happen any more, and nothing is left.
    fn is_over(&self) -> bool {
        let waits = |event: &Event| matches!(event, Event::Claim(_) | Event::Sweep);
        self.now > START + BUSY
            && self.inbox.is_empty()
            && self.queue.is_empty()
            && self.events.values().all(waits)
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.story, "{:>9} {what}", self.now - START).unwrap();
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Change(record) => {
                self.platform.versions[record] += 1;
                let copies = 1 + usize::from(self.chance.random_bool(0.3));
                for _ in 0..copies {
                    self.within(600 * MS, Event::Notice(record));
                }
            }
            Event::Notice(record) => self.accept(record),
            Event::Claim(worker) => self.claim(worker)?,
            Event::Send(worker, batch) => self.send(worker, batch),
            Event::Arrive(worker, batch) => self.arrive(worker, batch)?,
            Event::Answer(worker, batch) => self.answer(worker, batch),
            Event::Write(worker, batch, outcome) => self.write(worker, batch, outcome)?,
            Event::Settle(worker, batch, outcome) => self.settle(worker, &batch, outcome),
            Event::Sweep => self.sweep(),
            Event::Flush => {
                self.queue.flush();
                self.leases.clear();
            }
            Event::Replace => self.queue.replaced(),
        }
        Ok(())
    }

    /// The ingress: written down, and then perhaps enqueued.
    fn accept(&mut self, record: usize) {
        self.made += 1;
        self.inbox.insert(self.made, (record, self.now));
        if !self.happens(self.blows.lost_enqueues) {
            self.queue.enqueue(&id(record), Priority::Webhook, false, self.now);
        }
    }

    fn sweep(&mut self) {
        let old = |at: u64| at + BEING_ENQUEUED <= self.now;
        let open: Vec<usize> =
            self.inbox.values().filter(|(_, at)| old(*at)).map(|(record, _)| *record).collect();
        for record in open {
            self.queue.enqueue(&id(record), Priority::Webhook, true, self.now);
        }
        self.after(SWEEP_EVERY, Event::Sweep);
    }

    fn claim(&mut self, worker: usize) -> Result<(), String> {
        let Some((_, fence, leased)) = self.queue.claim(1, self.now).pop() else {
            let pause = self.chance.random_range(10 * MS..60 * MS);
            self.after(pause, Event::Claim(worker));
            return Ok(());
        };
        self.tell(&format!("worker {worker} claims {leased:?} under {fence}"));
        let jobs: Vec<(usize, u32)> =
            leased.iter().map(|(id, attempt, _)| (record(id), *attempt)).collect();
        for (record, _) in &jobs {
            // A margin of nothing: both clocks are Redis'.
            if let Some((other, until)) = self.leases.insert(*record, (fence, self.now + LEASE))
                && until > self.now
            {
                return Err(format!("{record} is leased under {other} and under {fence}"));
            }
        }
        let batch = Batch {
            fence,
            jobs,
            granted: self.now,
            lease_ends: self.now + LEASE,
            began: 0,
            notices: Vec::new(),
            seen: Vec::new(),
        };
        self.unless_dead(worker, USE_BY + 50 * MS, |worker| Event::Send(worker, batch));
        Ok(())
    }

    fn send(&mut self, worker: usize, mut batch: Batch) {
        if self.now > batch.granted + USE_BY {
            self.queue.give_back(batch.fence, KIND, self.now);
            let again = Outcome::Defer { after: Duration::ZERO };
            self.settle(worker, &batch, again);
            return;
        }
        // First what is open, then the time, then the request.
        let of_batch = |record: &usize| batch.jobs.iter().any(|(of, _)| of == record);
        batch.notices =
            self.inbox.iter().filter(|(_, (of, _))| of_batch(of)).map(|(n, _)| *n).collect();
        batch.began = self.now;
        // The client gives up after REQUEST; it arrives before, or never.
        let way = self.chance.random_range(0..REQUEST / 2);
        self.after(way, Event::Arrive(worker, batch));
    }

    fn arrive(&mut self, worker: usize, mut batch: Batch) -> Result<(), String> {
        self.platform.asked(self.now)?;
        batch.seen = batch.jobs.iter().map(|(of, _)| self.platform.versions[*of]).collect();
        if self.happens(self.blows.lost_answers) {
            let after = Duration::from_millis(200 << batch.jobs[0].1.min(4));
            let wait = batch.began + REQUEST - self.now;
            self.after(wait, Event::Settle(worker, batch, Outcome::Nack { after }));
            return Ok(());
        }
        let left = batch.began + REQUEST - self.now;
        let way = self.chance.random_range(0..=left);
        self.unless_dead_in(worker, way, |worker| Event::Answer(worker, batch));
        Ok(())
    }

    fn answer(&mut self, worker: usize, batch: Batch) {
        self.queue.observe(batch.fence, KIND, &RateSignal::default(), self.now);
        if self.happens(self.blows.late) {
            // Frozen: it wakes long after its lease, and knows nothing of it.
            let nap = LEASE + self.chance.random_range(0..LEASE);
            self.after(nap, Event::Write(worker, batch, Outcome::Ack));
        } else {
            self.unless_dead(worker, 100 * MS, |worker| Event::Write(worker, batch, Outcome::Ack));
        }
    }

    /// One transaction: the mirror by fence and the start of the fetch, and the notices of before.
    fn write(&mut self, worker: usize, batch: Batch, outcome: Outcome) -> Result<(), String> {
        for ((of, _), &seen) in batch.jobs.iter().zip(&batch.seen) {
            let row = &mut self.mirror[*of];
            let order = (batch.began, batch.fence);
            if order < row.order {
                continue;
            }
            if seen < row.version {
                return Err(format!("{of} went back from {} to {seen}", row.version));
            }
            *row = Row { version: seen, order };
        }
        for notice in &batch.notices {
            self.inbox.remove(notice);
        }
        self.unless_dead(worker, 50 * MS, |worker| Event::Settle(worker, batch, outcome));
        Ok(())
    }

    fn settle(&mut self, worker: usize, batch: &Batch, outcome: Outcome) {
        for (of, _) in &batch.jobs {
            if self.queue.settle(&id(*of), batch.fence, outcome, self.now) {
                self.leases.remove(of);
            }
        }
        self.after(MS, Event::Claim(worker));
    }

    /// The next step of a worker comes within `most`, unless it dies first, or its watch says that
    /// its lease is about to end: then it drops what it has.
    fn unless_dead(&mut self, worker: usize, most: u64, next: impl FnOnce(usize) -> Event) {
        let wait = self.chance.random_range(0..most);
        self.unless_dead_in(worker, wait, next);
    }

    fn unless_dead_in(&mut self, worker: usize, wait: u64, next: impl FnOnce(usize) -> Event) {
        let event = next(worker);
        let ends = match &event {
            Event::Send(_, batch)
            | Event::Answer(_, batch)
            | Event::Write(_, batch, _)
            | Event::Settle(_, batch, _) => batch.lease_ends - MARGIN,
            _ => u64::MAX,
        };
        if self.happens(self.blows.deaths) {
            // Another one takes its place.
            let rest = self.chance.random_range(100 * MS..1_000 * MS);
            self.after(rest, Event::Claim(worker));
        } else if self.now + wait >= ends && self.now < ends {
            self.after(ends - self.now, Event::Claim(worker));
        } else {
            self.after(wait, event);
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        // Blows end with the changes.
        self.now < START + BUSY && self.chance.random_bool(share)
    }

    fn within(&mut self, most: u64, event: Event) {
        let wait = self.chance.random_range(0..most);
        self.after(wait, event);
    }

    fn after(&mut self, wait: u64, event: Event) {
        self.made += 1;
        self.events.insert((self.now + wait, self.made), event);
    }
}

fn id(record: usize) -> JobId {
    JobId::from(format!("{KIND}:{record}").as_str())
}

fn record(id: &JobId) -> usize {
    id.as_str().split(':').nth(1).and_then(|number| number.parse().ok()).unwrap()
}
