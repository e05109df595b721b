//! What happens in one life of the fleet, drawn from a seed before it begins: so that a life that
//! goes wrong can be told again with less in it.

use common::job::Priority;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long changes and blows go on, ms.
pub(crate) const BUSY: u64 = 10_000;
/// Workers beside each other.
pub(crate) const WORKERS: usize = 3;

/// All records: lane, kind, number.
pub(crate) const RECORDS: [(usize, &str, u32); 9] = [
    (0, "order", 1),
    (0, "order", 2),
    (0, "order", 3),
    (0, "order", 4),
    (1, "member", 1),
    (1, "member", 2),
    (1, "member", 3),
    (0, "order", 5),
    (0, POISON, 1),
];
/// The kind of the record that kills whoever asks for it.
pub(crate) const POISON: &str = "ticket";

/// Which laws hold besides those that always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nothing goes wrong: all is mirrored within moments, and no lease ends by itself.
    Calm,
    /// Workers are stopped and replaced: no attempt is used.
    Stops,
    /// Anything goes wrong.
    Wild,
}

/// A server that can be out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Redis,
    Postgres,
}

/// Whom a blow hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Worker(usize),
    Scheduler,
}

/// Something that goes wrong. Times are ms since the beginning; polls are counted from the start of
/// a process, over all its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It dies before this poll.
    Kill { who: Who, polls: u64 },
    /// From this poll on it is not polled for so long, as after SIGSTOP.
    Freeze { who: Who, polls: u64, ms: u64 },
    /// SIGTERM so long after its start, and perhaps a second one.
    Stop { worker: usize, after: u64, second: Option<u64> },
    /// The index is lost.
    Flush { at: u64 },
    /// Another server takes over that lacks what is known of quotas.
    Replace { at: u64 },
    /// It cannot be reached.
    Away { server: Server, from: u64, ms: u64 },
    /// A platform refuses with 429.
    Refuse { lane: usize, from: u64, ms: u64 },
    /// A platform fails with 5xx.
    Fail { lane: usize, from: u64, ms: u64 },
}

/// How often small things go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// A request to Redis or Postgres does not arrive.
    pub(crate) lost_requests: f64,
    /// Its answer does not.
    pub(crate) lost_answers: f64,
    /// A round trip to a server takes long.
    pub(crate) slow: f64,
    /// A wake-up is lost.
    pub(crate) lost_wakes: f64,
    /// A notice is written down and not enqueued.
    pub(crate) lost_enqueues: f64,
    /// A platform answers late,
    pub(crate) late: f64,
    /// or so late that nobody waits any more, or never.
    pub(crate) unheard: f64,
    /// A platform fails once.
    pub(crate) failing: f64,
}

/// A record changes on its platform, and its notice comes so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: u64,
    pub(crate) record: usize,
    pub(crate) notices: u32,
}

/// A look that nobody told us to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) at: u64,
    pub(crate) record: usize,
    pub(crate) priority: Priority,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mood: Mood,
    pub(crate) changes: Vec<Change>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) blows: Vec<Blow>,
    pub(crate) rates: Rates,
}

impl Plan {
    pub(crate) fn new(seed: u64, mood: Mood) -> Self {
        let chance = &mut StdRng::seed_from_u64(seed);
        // The last one is the record that kills.
        let healthy = RECORDS.len() - 1;
        let mut changes: Vec<Change> = (0..chance.random_range(5..25))
            .map(|_| Change {
                at: chance.random_range(0..BUSY),
                record: chance.random_range(0..healthy),
                notices: 1 + u32::from(chance.random_bool(0.3)),
            })
            .collect();
        let asks = (0..chance.random_range(0..12))
            .map(|_| Ask {
                at: chance.random_range(0..BUSY),
                record: chance.random_range(0..healthy),
                priority: Priority::ALL[chance.random_range(1..4)],
            })
            .collect();
        let (blows, rates) = match mood {
            Mood::Calm => (Vec::new(), Rates { late: 0.3, slow: 0.1, ..Rates::default() }),
            Mood::Stops => {
                let blows = (0..chance.random_range(1..9)).map(|_| stop(chance)).collect();
                (blows, Rates { late: 0.3, slow: 0.1, ..Rates::default() })
            }
            Mood::Wild => {
                if chance.random_bool(0.25) {
                    let at = chance.random_range(0..BUSY);
                    changes.push(Change { at, record: healthy, notices: 1 });
                }
                let blows = (0..chance.random_range(0..14)).map(|_| blow(chance)).collect();
                let mut rate = |most: f64| {
                    if chance.random_bool(0.5) { chance.random_range(0.0..most) } else { 0.0 }
                };
                let rates = Rates {
                    lost_requests: rate(0.05),
                    lost_answers: rate(0.05),
                    slow: rate(0.2),
                    lost_wakes: rate(0.5),
                    lost_enqueues: rate(0.3),
                    late: rate(0.4),
                    unheard: rate(0.2),
                    failing: rate(0.2),
                };
                (blows, rates)
            }
        };
        Self { seed, mood, changes, asks, blows, rates }
    }

    /// The same with one thing less, each in turn: the large things first.
    pub(crate) fn less(&self) -> Vec<Self> {
        let mut less = Vec::new();
        for i in 0..self.blows.len() {
            let mut plan = self.clone();
            plan.blows.remove(i);
            less.push(plan);
        }
        let rates: [fn(&mut Rates) -> &mut f64; 8] = [
            |rates| &mut rates.lost_requests,
            |rates| &mut rates.lost_answers,
            |rates| &mut rates.slow,
            |rates| &mut rates.lost_wakes,
            |rates| &mut rates.lost_enqueues,
            |rates| &mut rates.late,
            |rates| &mut rates.unheard,
            |rates| &mut rates.failing,
        ];
        for rate in rates {
            let mut plan = self.clone();
            if std::mem::take(rate(&mut plan.rates)) > 0.0 {
                less.push(plan);
            }
        }
        for i in 0..self.asks.len() {
            let mut plan = self.clone();
            plan.asks.remove(i);
            less.push(plan);
        }
        for i in 0..self.changes.len() {
            let mut plan = self.clone();
            plan.changes.remove(i);
            less.push(plan);
        }
        less
    }
}

fn stop(chance: &mut StdRng) -> Blow {
    let second = chance.random_bool(0.3).then(|| chance.random_range(0..1_500));
    let (worker, after) = (chance.random_range(0..WORKERS), chance.random_range(0..4_000));
    Blow::Stop { worker, after, second }
}

fn blow(chance: &mut StdRng) -> Blow {
    let who = match chance.random_range(0..=WORKERS) {
        WORKERS => Who::Scheduler,
        worker => Who::Worker(worker),
    };
    // Early polls are the ones at which something begins, so these are hit more often.
    let most = [20, 100, 500][chance.random_range(0..3)];
    let polls = chance.random_range(1..most);
    let (at, ms) = (chance.random_range(0..BUSY), chance.random_range(100..6_000));
    let lane = chance.random_range(0..2);
    match chance.random_range(0..12) {
        0..=3 => Blow::Kill { who, polls },
        4 | 5 => Blow::Freeze { who, polls, ms: 2 * ms },
        6 => stop(chance),
        7 => Blow::Flush { at },
        8 => Blow::Replace { at },
        9 => Blow::Away { server: Server::Redis, from: at, ms },
        10 => Blow::Away { server: Server::Postgres, from: at, ms },
        _ if chance.random_bool(0.5) => Blow::Refuse { lane, from: at, ms },
        _ => Blow::Fail { lane, from: at, ms },
    }
}
