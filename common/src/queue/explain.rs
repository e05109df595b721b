//! Why a job waits, and until when.

use std::time::Duration;

use super::answer::QueueError;
use super::redis::RedisQueue;
use super::scripts;
use crate::ids::{Fence, Lane};
use crate::job::{JobId, Priority};

/// Where a job stands and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// When this was so, by Redis' clock: microseconds since the Unix epoch.
    pub now_us: i64,
    /// `None` when no such job is in Redis.
    pub job: Option<Standing>,
    /// What keeps a request of its kind, at its priority, from being sent now.
    pub holds: Vec<Hold>,
    /// Time until it can run at the earliest if nothing else happens: no answer, no opening, no
    /// thaw, no notice. It may well be later: only full batches of its own group are counted among
    /// those before it. Of a job that is worked on: when another could have it. `None` while the
    /// lane is paused.
    pub earliest: Option<Duration>,
    /// It runs at that time exactly, if nothing else happens and a worker is free: nothing goes
    /// before it.
    pub exact: bool,
}

/// A job as it lies in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it is ready, delayed or worked on.
    pub held: Held,
    /// How often it has been leased since it last succeeded.
    pub attempt: u32,
    /// 0 for a first look; above, which confirming look this is.
    pub round: u8,
    /// How long ago it got its priority.
    pub waited: Duration,
}

/// Where a job lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// In line.
    Ready {
        /// Jobs before it at its own priority.
        ahead: u64,
        /// Ready jobs at higher priorities.
        more_urgent: u64,
    },
    /// Not before a time.
    Delayed {
        /// From now; over when it has only not been noticed yet.
        after: Duration,
        /// It failed: a webhook does not pull it forward.
        failed: bool,
    },
    /// Somebody works on it.
    Leased {
        /// Until the lease ends, unless it is extended.
        ends: Duration,
        /// Of the lease.
        fence: Fence,
        /// It runs once more afterwards.
        dirty: bool,
    },
}

/// Something that keeps requests from being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What.
    pub what: What,
    /// The quota it is about.
    pub quota: Option<String>,
    /// Time until it ends by itself; `None` when only a person ends it.
    pub length: Option<Duration>,
}

/// What keeps requests from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A person, or a connection that is parked, holds the lane.
    Paused,
    /// The platform refused, or a person froze the lane.
    LaneFrozen,
    /// The platform refused this kind of request.
    KindFrozen,
    /// Redis does not know yet what was sent before.
    LedgerClosed,
    /// The window is used up.
    LedgerFull,
    /// The bucket that paces has no token.
    BucketEmpty,
    /// It has some, which are left to webhooks and people.
    HeadRoom,
}

/// Now, the job, those before it, more urgent ones, the earliest time, whether it is exact, holds.
type Raw = (i64, Vec<i64>, u64, u64, i64, u8, Vec<(String, String, i64)>);

impl RedisQueue {
    /// Explains why a job waits, and until when at least. Changes no job.
    pub async fn explain(&self, lane: &Lane, id: &JobId) -> Result<Explained, QueueError> {
        let entry = self.entry(lane)?;
        let mut call = self.lane_call(&scripts::EXPLAIN, false, entry);
        call.arg(entry.packed.as_slice())
            .arg(self.permit_deadline_us())
            .arg(id.as_str())
            .arg(self.settings().floors.bulk)
            .arg(self.settings().floors.spot_checks);
        let (now_us, job, ahead, more_urgent, earliest_us, exact, holds): Raw =
            self.send(&call).await?;
        let after = |us: i64| Duration::from_micros(u64::try_from(us - now_us).unwrap_or(0));
        let hold = |(what, quota, until_us): (String, String, i64)| {
            Some(Hold {
                what: What::named(&what)?,
                quota: (!quota.is_empty()).then_some(quota),
                length: (until_us > 0).then(|| after(until_us)),
            })
        };
        Ok(Explained {
            now_us,
            job: standing(&job, now_us, ahead, more_urgent),
            holds: holds.into_iter().filter_map(hold).collect(),
            earliest: (earliest_us >= 0).then(|| after(earliest_us)),
            exact: exact == 1,
        })
    }
}

fn standing(job: &[i64], now_us: i64, ahead: u64, more_urgent: u64) -> Option<Standing> {
    let [state, priority, back_us, attempt, round, fence, dirty, arrived_us] = *job else {
        return None;
    };
    let length = |us: i64| Duration::from_micros(u64::try_from(us).unwrap_or(0));
    let after = length(back_us - now_us);
    // The numbers of `job.lua`.
    let held = match state {
        0 => Held::Ready { ahead, more_urgent },
        1 => Held::Leased { ends: after, fence: Fence(fence), dirty: dirty >= 0 },
        _ => Held::Delayed { after, failed: state == 3 },
    };
    Some(Standing {
        priority: Priority::from_number(u8::try_from(priority).ok()?)?,
        held,
        attempt: u32::try_from(attempt).unwrap_or(0),
        round: u8::try_from(round).unwrap_or(0),
        waited: length(now_us - arrived_us),
    })
}

impl What {
    const ALL: [(Self, &str); 7] = [
        (Self::Paused, "paused"),
        (Self::LaneFrozen, "lane-frozen"),
        (Self::KindFrozen, "kind-frozen"),
        (Self::LedgerClosed, "ledger-closed"),
        (Self::LedgerFull, "ledger-full"),
        (Self::BucketEmpty, "bucket-empty"),
        (Self::HeadRoom, "head-room"),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|&(what, _)| what)
    }

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(what, _)| *what == self).map_or("", |&(_, name)| name)
    }
}
