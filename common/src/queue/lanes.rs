//! What is done to a lane as a whole: opening, holding, measuring.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::answer::{Depths, Ledger, QueueError};
use super::redis::{RedisQueue, micros};
use super::scripts;
use crate::ids::Lane;
use crate::quota::Quota;

/// Calls of one question about many lanes that wait for their answers at a time.
const CALLS_UNDER_WAY: usize = 32;

impl RedisQueue {
    /// Opens the ledgers of a lane that Redis had not seen: one [`Ledger`] for each of the lane's
    /// quotas, in their order. `true` when something was opened.
    ///
    /// Right only where nothing can have been lost since it was found out what was sent: see
    /// [`Self::open_in`].
    pub async fn open(&self, lane: &Lane, ledgers: &[Ledger]) -> Result<bool, QueueError> {
        self.open_when(lane, None, ledgers).await
    }

    /// The same, unless the shard's index is not of `generation` any more ([`Self::epoch`]): then
    /// more may have been sent since, and it must be found out anew.
    pub async fn open_in(
        &self,
        lane: &Lane,
        generation: i64,
        ledgers: &[Ledger],
    ) -> Result<bool, QueueError> {
        self.open_when(lane, Some(generation), ledgers).await
    }

    async fn open_when(
        &self,
        lane: &Lane,
        generation: Option<i64>,
        ledgers: &[Ledger],
    ) -> Result<bool, QueueError> {
        let entry = self.entry(lane)?;
        let mut call = self.lane_call(&scripts::OPEN, true, entry);
        call.arg(lane.as_str()).arg(entry.packed.as_slice()).arg(self.permit_deadline_us());
        call.arg(generation.map(|generation| generation.to_string()).unwrap_or_default());
        for (i, quota) in entry.limits.quotas.iter().enumerate() {
            match ledgers.get(i) {
                Some(Ledger::Empty) => call.arg("open"),
                Some(Ledger::Keep) | None => call.arg("keep"),
                Some(Ledger::Sent(ages)) => call.arg(sent(quota, ages)),
            };
        }
        let opened: u8 = self.send(&call).await?;
        Ok(opened == 1)
    }

    /// Nobody may send on this lane for at least this long.
    pub async fn freeze(&self, lane: &Lane, length: Duration) -> Result<(), QueueError> {
        self.hold(lane, "freeze", length).await
    }

    /// Ends a freeze, of the lane and of all its kinds.
    pub async fn thaw(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "thaw", Duration::ZERO).await
    }

    /// Holds a lane until [`Self::resume`].
    pub async fn pause(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "pause", Duration::ZERO).await
    }

    /// Ends a pause.
    pub async fn resume(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "resume", Duration::ZERO).await
    }

    async fn hold(&self, lane: &Lane, how: &str, length: Duration) -> Result<(), QueueError> {
        let mut call = self.bare_call(&scripts::HOLD, true, lane);
        call.arg(lane.as_str()).arg(how).arg(micros(length));
        let frozen_until: i64 = self.send(&call).await?;
        tracing::debug!(%lane, how, frozen_until, "lane held");
        Ok(())
    }

    /// How much waits in a lane, and what holds it.
    pub async fn depths(&self, lane: &Lane) -> Result<Depths, QueueError> {
        let call = self.bare_call(&scripts::DEPTHS, false, lane);
        let raw: [u64; 10] = self.send(&call).await?;
        let [r0, r1, r2, r3, delayed, leased, oldest, frozen, paused, closed] = raw;
        Ok(Depths {
            ready: [r0, r1, r2, r3],
            delayed,
            leased,
            oldest: Duration::from_micros(oldest),
            frozen: Duration::from_micros(frozen),
            paused: paused == 1,
            closed: closed == 1,
        })
    }

    /// [`Self::depths`] of many lanes, in their order; calls that are under way together share
    /// round trips.
    pub async fn depths_of(&self, lanes: &[Lane]) -> Result<Vec<Depths>, QueueError> {
        stream::iter(lanes.to_vec())
            .map(|lane| async move { self.depths(&lane).await })
            .buffered(CALLS_UNDER_WAY)
            .try_collect()
            .await
    }
}

/// Requests by age as `open.lua` takes them. Of a ledger that counts one by one the youngest that
/// fill it; of one in steps how many in each, as if all had been sent at its end. Both are bounded.
fn sent(quota: &Quota, ages: &[Duration]) -> String {
    let mut by_age: BTreeMap<u64, u64> = BTreeMap::new();
    let step_us = quota.step().map_or(1, micros);
    for &age in ages {
        *by_age.entry(micros(age) / step_us * step_us).or_default() += 1;
    }
    let mut parts = Vec::new();
    let mut left = u64::from(quota.limit);
    for (age_us, count) in by_age {
        let slots = count.min(left);
        if slots == 0 {
            break;
        }
        left -= slots;
        parts.push(format!("{age_us}*{slots}"));
    }
    format!("{},", parts.join(","))
}
