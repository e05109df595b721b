//! Claiming work, and reading what `claim.lua` answers.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Claimed, QueueError};
use super::book::Entry;
use super::call::Call;
use super::keys::Shard;
use super::lease::{Batch, Leased};
use super::redis::{RedisQueue, micros};
use super::{scripts, wire};
use crate::ids::{Fence, Lane};
use crate::job::Priority;
use crate::quota::Permit;

/// A claim that takes longer holds up everybody else.
const BATCHES: usize = 64;

/// Lane, priority, fence, and then of each job its id and how it lies in Redis, as `claim.lua` returns
/// them: one list, since each costs Redis more than what stands in it.
type RawBatch = Vec<Vec<u8>>;

/// The time, when to come back, lanes that are due, lanes that are closed, leases reaped, batches.
type RawClaim = (i64, i64, Vec<String>, Vec<String>, u64, Vec<RawBatch>);

impl RedisQueue {
    /// Claims up to `wanted` batches from `lanes` of one shard, and 64 at the most; a lane that is not
    /// in the book, or on another shard, is passed over. One round trip. Called without lanes, it only says which
    /// are due.
    pub async fn claim(
        &self,
        shard: Shard,
        lanes: &[Lane],
        wanted: usize,
    ) -> Result<Claimed, QueueError> {
        self.claim_mode(shard, lanes, wanted, "", &[]).await
    }

    /// The same for a caller that has no room for these platforms. None of `lanes` is theirs; they
    /// are not among those that are due, `next` does not count them, and nobody is woken for them:
    /// whoever finds such a lane in a wake-up passes that on with a claim without lanes.
    pub async fn claim_without(
        &self,
        shard: Shard,
        lanes: &[Lane],
        wanted: usize,
        platforms: &[String],
    ) -> Result<Claimed, QueueError> {
        self.claim_mode(shard, lanes, wanted, "", platforms).await
    }

    /// The same, of what webhooks and people wait for and nothing else. What is left in the lanes is
    /// for others to find: `next` is no promise.
    pub async fn claim_urgent(
        &self,
        shard: Shard,
        lanes: &[Lane],
        wanted: usize,
    ) -> Result<Claimed, QueueError> {
        self.claim_mode(shard, lanes, wanted, "urgent", &[]).await
    }

    async fn claim_mode(
        &self,
        shard: Shard,
        lanes: &[Lane],
        wanted: usize,
        mode: &str,
        without: &[String],
    ) -> Result<Claimed, QueueError> {
        let asked_at = Instant::now();
        let known: Vec<(&Lane, &Entry)> = lanes
            .iter()
            .enumerate()
            // The script takes each once.
            .filter(|(at, lane)| !lanes.iter().take(*at).any(|before| before == *lane))
            .filter_map(|(_, lane)| Some((lane, self.book.entry(lane)?.as_ref())))
            .filter(|(_, entry)| entry.shard == shard)
            .collect();
        let keys = known.iter().flat_map(|(_, entry)| entry.keys.iter().chain(&entry.ledgers));
        let mut call = Call::new(&scripts::CLAIM, &self.keys, shard, true).keys(keys);
        call.arg(micros(self.settings.lease))
            .arg(self.permit_deadline_us())
            .arg(wanted.min(BATCHES))
            .arg(self.settings.floors.bulk)
            .arg(self.settings.floors.spot_checks)
            .arg(mode)
            .arg(without.join(" "));
        for (lane, entry) in known {
            call.arg(lane.as_str()).arg(entry.ledgers.len()).arg(entry.packed.as_slice());
        }
        let (now_us, next_us, due, closed, reaped, batches): RawClaim = self.send(&call).await?;
        let next = u64::try_from(next_us)
            .ok()
            .map(|next_us| Duration::from_micros(next_us.saturating_sub(now_us.unsigned_abs())));
        Ok(Claimed {
            batches: batches
                .into_iter()
                .filter_map(|raw| self.batch(raw, now_us, asked_at))
                .collect(),
            next,
            due,
            closed: closed.iter().filter_map(|lane| lane.parse().ok()).collect(),
            reaped,
        })
    }

    fn batch(&self, raw: RawBatch, claimed_at_us: i64, asked_at: Instant) -> Option<Batch> {
        let mut texts = raw.into_iter();
        let mut text = || String::from_utf8(texts.next()?).ok();
        let (lane, priority, fence) = (text()?, text()?.parse().ok()?, text()?.parse().ok()?);
        let mut jobs = Vec::with_capacity(texts.len() / 2);
        while let (Some(id), Some(packed)) = (texts.next(), texts.next()) {
            jobs.extend(String::from_utf8(id).ok().and_then(|id| wire::leased(id, &packed)));
        }
        let kind = jobs.first().map(|job: &Leased| job.id.kind().to_owned())?;
        Some(Batch {
            lane: lane.parse().ok()?,
            priority: Priority::from_number(priority)?,
            fence: Fence(fence),
            jobs,
            permit: Permit { id: fence, kind, use_by: asked_at + self.settings.permit_use_by },
            ends: asked_at + self.settings.lease,
            claimed_at_us,
        })
    }
}
