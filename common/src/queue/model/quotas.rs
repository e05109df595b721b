//! Buckets, ledgers and frozen kinds of the model: what may be sent, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::us;
use crate::queue::Ledger;
use crate::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};

/// The permit of slots that belong to none, or to none any more.
const NOBODY: i64 = -1;

/// One slot of a ledger: held until one window after `answered`.
#[derive(Clone, Debug)]
struct Slot {
    permit: i64,
    /// When the answer came; until then, the deadline.
    answered: u64,
}

/// A quota's bucket and ledger.
#[derive(Clone, Debug)]
struct State {
    bucket_full_at: u64,
    closed_until: u64,
    slots: Vec<Slot>,
}

/// All quotas of a lane.
#[derive(Clone, Debug)]
pub(super) struct Quotas {
    limits: LaneLimits,
    /// From a grant until its request is answered or given up, us.
    deadline: u64,
    /// By index in `limits`; `None` until the lane is seen.
    states: Option<Vec<State>>,
    unopened: bool,
    frozen_kinds: BTreeMap<String, u64>,
}

impl Quotas {
    pub(super) fn new(limits: LaneLimits, deadline: Duration) -> Self {
        let deadline = us(deadline);
        Self { limits, deadline, states: None, unopened: false, frozen_kinds: BTreeMap::new() }
    }

    /// All is lost.
    pub(super) fn flush(&mut self) {
        self.states = None;
        self.unopened = false;
        self.frozen_kinds.clear();
    }

    /// The index is a copy on another server, which may lack the last writes: what it knows of
    /// quotas is not believed.
    pub(super) fn replaced(&mut self) {
        self.states = None;
        self.unopened = false;
    }

    /// First sight: empty buckets, closed ledgers.
    pub(super) fn see(&mut self, now: u64) {
        if self.states.is_some() {
            return;
        }
        self.unopened = true;
        let first = |quota: &Quota| State {
            bucket_full_at: now + u64::from(quota.burst) * interval(quota),
            closed_until: now + self.deadline + us(quota.window),
            slots: Vec::new(),
        };
        self.states = Some(self.limits.quotas.iter().map(first).collect());
    }

    /// Opens every ledger as empty.
    pub(super) fn open(&mut self, now: u64) {
        self.see(now);
        if std::mem::take(&mut self.unopened) {
            for state in self.states.iter_mut().flatten() {
                state.closed_until = state.closed_until.min(now);
            }
        }
    }

    /// Opens ledgers after a loss, each as told. A request that may have been sent is counted as
    /// given up at its deadline.
    pub(super) fn open_with(&mut self, ledgers: &[Ledger], now: u64) {
        self.see(now);
        if !std::mem::take(&mut self.unopened) {
            return;
        }
        let quotas = self.limits.quotas.iter().zip(self.states.iter_mut().flatten());
        for ((quota, state), ledger) in quotas.zip(ledgers) {
            match ledger {
                Ledger::Keep => continue,
                Ledger::Empty => {}
                Ledger::Sent(ages) => {
                    let answered =
                        |age: &Duration| counted_at(quota, now + self.deadline - us(*age));
                    let slot = |age| Slot { permit: NOBODY, answered: answered(age) };
                    state.slots.extend(ages.iter().map(slot));
                }
            }
            state.closed_until = state.closed_until.min(now);
        }
    }

    pub(super) fn kind(&self, kind: &str) -> KindLimits {
        self.limits.kinds.get(kind).cloned().unwrap_or_else(|| KindLimits {
            batch: 1,
            cost: 1,
            quotas: (0..self.limits.quotas.len()).collect(),
        })
    }

    /// Time until a request of this kind may be granted, found by trying: the earliest of the
    /// instants at which anything changes that lets it pass. With `spare` head-room is left; with
    /// `soonest` every request that is on its way is answered now.
    pub(super) fn wait(&self, kind: &str, spare: bool, soonest: bool, now: u64) -> u64 {
        let limits = self.kind(kind);
        let frozen = self.frozen_kinds.get(kind).map_or(0, |at| at.saturating_sub(now));
        let states = self.states.as_deref().unwrap_or_default();
        let waits = limits.quotas.iter().filter_map(|&i| {
            let (quota, state) = self.limits.quotas.get(i).zip(states.get(i))?;
            Some(state.wait(quota, limits.cost, spare, soonest, now))
        });
        waits.fold(frozen, u64::max)
    }

    /// The quotas that a kind draws on, with their states.
    fn drawn_on(&mut self, kind: &str) -> impl Iterator<Item = (&Quota, &mut State)> {
        let drawn = self.kind(kind).quotas;
        let all = self.limits.quotas.iter().zip(self.states.iter_mut().flatten());
        all.enumerate().filter(move |(i, _)| drawn.contains(i)).map(|(_, both)| both)
    }

    pub(super) fn take(&mut self, kind: &str, permit: i64, now: u64) {
        self.see(now);
        let (cost, deadline) = (self.kind(kind).cost, now + self.deadline);
        for (quota, state) in self.drawn_on(kind) {
            let answered = counted_at(quota, deadline);
            state.bucket_full_at =
                state.bucket_full_at.max(now) + u64::from(cost) * interval(quota);
            for _ in 0..cost {
                state.slots.push(Slot { permit, answered });
            }
        }
    }

    /// Nothing was sent under a permit.
    pub(super) fn give_back(&mut self, permit: i64, kind: &str, now: u64) {
        self.see(now);
        for (quota, state) in self.drawn_on(kind) {
            state.slots.retain(|slot| slot.answered + us(quota.window) > now);
            let before = state.slots.len();
            state.slots.retain(|slot| slot.permit != permit || is_settled(quota, slot, now));
            let freed = u64::try_from(before - state.slots.len()).unwrap_or(0);
            state.bucket_full_at -= freed * interval(quota);
        }
    }

    /// The answer to a permit has come.
    pub(super) fn answered(&mut self, permit: i64, kind: &str, now: u64) {
        self.see(now);
        for (quota, state) in self.drawn_on(kind) {
            for slot in state.slots.iter_mut().filter(|slot| slot.permit == permit) {
                if slot.answered + us(quota.window) > now && !is_settled(quota, slot, now) {
                    slot.answered = counted_at(quota, now);
                    if quota.step().is_some() {
                        slot.permit = NOBODY;
                    }
                }
            }
        }
    }

    /// What an answer said; the time for which the whole lane is refused.
    pub(super) fn believe(&mut self, kind: &str, signal: &RateSignal, now: u64) -> Duration {
        let refused_for = signal.refused_for.unwrap_or_default();
        if signal.scope == RateScope::Kind {
            let used_up = signal.remaining.filter(|&(left, _)| left == 0);
            let length = used_up.map_or(refused_for, |(_, reset)| refused_for.max(reset));
            let until = self.frozen_kinds.entry(kind.to_owned()).or_default();
            *until = (*until).max(now + us(length));
            return Duration::ZERO;
        }
        let Some((remaining, reset)) = signal.remaining else { return refused_for };
        let mut longest: Option<(&Quota, &mut State)> = None;
        for (quota, state) in self.drawn_on(kind) {
            if longest.as_ref().is_none_or(|(other, _)| quota.window > other.window) {
                longest = Some((quota, state));
            }
        }
        if let Some((quota, state)) = longest {
            let window = us(quota.window);
            let held = state.slots.iter().filter(|slot| slot.answered + window > now).count();
            let free = i64::from(quota.limit) - i64::try_from(held).unwrap_or(i64::MAX);
            for _ in 0..(free - i64::from(remaining)).max(0) {
                let answered = counted_at(quota, now + us(reset).min(window) - window);
                state.slots.push(Slot { permit: NOBODY, answered });
            }
        }
        refused_for
    }

    pub(super) fn thaw(&mut self) {
        self.frozen_kinds.clear();
    }
}

impl State {
    fn wait(&self, quota: &Quota, cost: u32, spare: bool, soonest: bool, now: u64) -> u64 {
        let soonest = if soonest { counted_at(quota, now) } else { u64::MAX };
        let free_at = |slot: &Slot| slot.answered.min(soonest) + us(quota.window);
        let frees: Vec<u64> = self.slots.iter().map(free_at).collect();
        // The bucket has refilled by `cost` when it will be full `cost` tokens later.
        let spare = if spare { quota.headroom } else { 0 };
        let room = u64::from(quota.burst - spare - cost) * interval(quota);
        let mut candidates = vec![now, self.closed_until, self.bucket_full_at.saturating_sub(room)];
        candidates.extend(&frees);
        candidates.sort_unstable();
        let passes = |at: u64| {
            let held = frees.iter().filter(|&&free_at| free_at > at).count();
            at >= self.closed_until
                && u64::try_from(held).unwrap_or(u64::MAX) + u64::from(cost)
                    <= u64::from(quota.limit)
                && self.bucket_full_at.max(at) <= at + room
        };
        let first = candidates.into_iter().filter(|&at| at >= now).find(|&at| passes(at));
        first.unwrap_or(u64::MAX) - now
    }
}

/// What a ledger that counts in steps takes an instant for: the end of its step.
fn counted_at(quota: &Quota, at: u64) -> u64 {
    quota.step().map_or(at, |step| at.next_multiple_of(us(step)))
}

/// A ledger in steps knows no permit any more once its deadline is over.
fn is_settled(quota: &Quota, slot: &Slot, now: u64) -> bool {
    quota.step().is_some() && slot.answered <= now
}

/// Microseconds between two tokens.
fn interval(quota: &Quota) -> u64 {
    us(quota.window).div_ceil(u64::from(quota.limit))
}
