//! Postgres as a check, the opening of lanes and the sweeper see it: notices, the mirror, dead
//! letters, requests that were sent. Each statement is one step.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::drift::ContentHash;
use common::ids::{ConnectionId, ExternalId, Fence, Lane, RecordType};
use common::job::{JobId, Priority, Task};
use common::store::dead_letters::NewDeadLetter;
use common::store::inbox::{OpenRecord, SweepPage};
use common::store::records::{Finding, Look, Outcome, Verdict, WriteBatch};
use jiff::Timestamp;

use crate::fleet;
use crate::plan::Mood;
use crate::vendor;
use crate::world::{MS, State};

pub(crate) use client::Client;

/// In calm times a notice is answered within this, us.
const SOON: u64 = 8_000 * MS;

/// A record: its connection, kind and id.
pub(crate) type Key = (ConnectionId, RecordType, ExternalId);

struct Notice {
    record: Key,
    received_at: u64,
    /// What it tells of.
    version: u64,
}

/// A row of the mirror.
struct Row {
    order: (Timestamp, Fence),
    hash: ContentHash,
    schema_version: i32,
    payload: String,
}

#[derive(Default)]
pub(crate) struct Postgres {
    inbox: BTreeMap<i64, Notice>,
    notices: i64,
    mirror: BTreeMap<Key, Row>,
    /// The newest version of which a write has closed a notice.
    closed: BTreeMap<Key, u64>,
    letters: BTreeMap<(ConnectionId, JobId), u32>,
    opened: BTreeSet<ConnectionId>,
    sent: BTreeMap<ConnectionId, Vec<(i64, u64)>>,
}

fn time(now: u64) -> Timestamp {
    Timestamp::from_microsecond(i64::try_from(now).unwrap()).unwrap()
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

fn job_of((_, record_type, external_id): &Key) -> JobId {
    let (record_type, external_id) = (record_type.clone(), external_id.clone());
    Task::Check { record_type, external_id }.job_id()
}

impl Postgres {
    /// The point of acceptance.
    pub(crate) fn accept(&mut self, record: Key, version: u64, now: u64) {
        self.notices += 1;
        self.inbox.insert(self.notices, Notice { record, received_at: now, version });
    }

    pub(crate) fn has_letter(&self, record: &Key) -> bool {
        self.letters.contains_key(&(record.0, job_of(record)))
    }

    pub(crate) fn open(&self) -> usize {
        self.inbox.len()
    }

    /// The version that is mirrored; 0 where there is none.
    pub(crate) fn version(&self, record: &Key) -> u64 {
        self.mirror.get(record).map_or(0, |row| vendor::version_of(row.hash))
    }

    /// How many requests of a connection were recorded.
    pub(crate) fn recorded(&self, connection: ConnectionId) -> usize {
        self.sent.get(&connection).map_or(0, Vec::len)
    }

    /// As `judge` and `write` in `common::store::records` do, of records that are there.
    fn judge(&mut self, key: &Key, look: &Look, order: (Timestamp, Fence)) -> Outcome {
        let Finding::Found { hash, schema_version, payload, .. } = &look.finding else {
            return Outcome::Unclear;
        };
        let row = Row {
            order,
            hash: *hash,
            schema_version: *schema_version,
            payload: payload.get().to_owned(),
        };
        match self.mirror.get_mut(key) {
            Some(held) if held.order > order => Outcome::Stale,
            Some(held) => {
                let changed = held.hash != *hash;
                *held = row;
                if changed { Outcome::Changed } else { Outcome::Unchanged }
            }
            None => {
                self.mirror.insert(key.clone(), row);
                Outcome::Created
            }
        }
    }
}

impl State {
    fn write(&mut self, batch: &WriteBatch, now: u64) -> Vec<Verdict> {
        let order = (batch.fetched_at, batch.fence);
        let mut verdicts = Vec::new();
        for look in &batch.looks {
            let key = (batch.connection, batch.record_type.clone(), look.external_id.clone());
            if !self.redis.was_granted(batch.fence, &job_of(&key)) {
                self.break_law(now, format!("{key:?} is written without a fence of its own"));
            }
            let outcome = self.postgres.judge(&key, look, order);
            let version = self.postgres.version(&key);
            self.tell(now, format_args!("{} of {:?}: {version}", outcome.as_str(), job_of(&key)));
            if outcome.is_answer() {
                self.close(&key, &batch.close_notices, now);
            }
            verdicts.push(Verdict { outcome, drift: false });
        }
        verdicts
    }

    fn close(&mut self, key: &Key, notices: &[i64], now: u64) {
        for id in notices {
            let Some(notice) = self.postgres.inbox.get(id).filter(|n| n.record == *key) else {
                continue;
            };
            let (told, took) = (notice.version, now - notice.received_at);
            let answered = self.postgres.closed.entry(key.clone()).or_default();
            *answered = told.max(*answered);
            self.postgres.inbox.remove(id);
            if took > SOON && self.mood == Mood::Calm {
                self.break_law(now, format!("{key:?} was answered after {} ms", took / MS));
            }
        }
        let answered = self.postgres.closed.get(key).copied().unwrap_or_default();
        let mirrored = self.postgres.version(key);
        if mirrored < answered {
            self.break_law(now, format!("{key:?} is {mirrored}; {answered} was told and closed"));
        }
    }

    fn bury(&mut self, letter: &NewDeadLetter, tried_for: u64, now: u64) {
        let NewDeadLetter { connection, job_id, attempts, last_error, .. } = letter;
        self.tell(now, format_args!("{job_id:?} is buried after {attempts}: {last_error}"));
        if *attempts < fleet::MAX_ATTEMPTS {
            self.break_law(now, format!("{job_id:?} was given up after {attempts} attempts"));
        }
        self.postgres.letters.insert((*connection, job_id.clone()), *attempts);
        self.postgres.inbox.retain(|_, notice| {
            job_of(&notice.record) != *job_id
                || notice.record.0 != *connection
                || notice.received_at + tried_for > now
        });
    }

    fn sweep(&self, after: i64, age: u64, limit: u32, now: u64) -> SweepPage {
        let old = |notice: &Notice| notice.received_at + age <= now;
        let page: Vec<_> = self
            .postgres
            .inbox
            .range(after + 1..)
            .filter(|(_, notice)| old(notice))
            .take(usize::try_from(limit).unwrap())
            .collect();
        let records: BTreeSet<Key> = page.iter().map(|(_, n)| n.record.clone()).collect();
        let open = |(connection, record_type, external_id): Key| OpenRecord {
            connection,
            lane: lane_of(connection),
            record_type,
            external_id,
            priority: Priority::Webhook,
            trace: String::new(),
        };
        SweepPage {
            records: records.into_iter().map(open).collect(),
            next: page.last().map(|(id, _)| **id),
        }
    }
}

fn lane_of(connection: ConnectionId) -> Lane {
    fleet::lanes()[usize::try_from(connection.0).unwrap()].0.clone()
}
