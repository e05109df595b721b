//! Slots to work in, and which platform has how many of them: a slow platform fills the slots that it
//! gets, and must leave some to the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::Lane;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The slots of a process, of one sort.
#[derive(Debug)]
pub(crate) struct Slots {
    semaphore: Arc<Semaphore>,
    total: usize,
    share: f64,
    /// By platform: its batches, and what may become one with a claim that is under way.
    taken: Mutex<BTreeMap<String, usize>>,
    /// Told whenever a platform may have room again.
    loosened: Notify,
}

/// Slots that are free and were taken, to be given to batches.
pub(crate) struct Free {
    permits: OwnedSemaphorePermit,
    slots: Arc<Slots>,
}

/// What a claim may ask for, so that no platform gets more than its share.
pub(crate) struct Offer {
    pub(crate) lanes: Vec<Lane>,
    /// At least 1.
    pub(crate) wanted: usize,
    /// Platforms that have their share: their lanes are not among `lanes`.
    pub(crate) without: Vec<String>,
    /// Nobody else counts on these until the batches are known.
    _meanwhile: Vec<Place>,
}

/// A batch's slot; free again when it is dropped.
pub(crate) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
    _place: Place,
}

/// So many slots, counted for a platform.
struct Place {
    slots: Arc<Slots>,
    platform: String,
    count: usize,
}

impl Slots {
    /// - `share`: what a platform may take of the slots that others leave; 1 for no bound.
    pub(crate) fn new(total: usize, share: f64) -> Arc<Self> {
        Arc::new(Self {
            semaphore: Arc::new(Semaphore::new(total)),
            total,
            share,
            taken: Mutex::default(),
            loosened: Notify::new(),
        })
    }

    /// All slots that are free, once there is one. `None` never comes: nobody closes them.
    pub(crate) async fn free(self: &Arc<Self>) -> Option<Free> {
        let mut permits = Arc::clone(&self.semaphore).acquire_owned().await.ok()?;
        let more = u32::try_from(self.semaphore.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = Arc::clone(&self.semaphore).try_acquire_many_owned(more) {
            permits.merge(others);
        }
        Some(Free { permits, slots: Arc::clone(self) })
    }

    /// No slot is free.
    pub(crate) fn are_full(&self) -> bool {
        self.semaphore.available_permits() == 0
    }

    /// No slot is free, or not for everybody.
    pub(crate) fn are_crowded(&self) -> bool {
        self.are_full() || !self.without_room(&self.lock()).is_empty()
    }

    /// When a platform may have room again: from the call on, not from the first wait.
    pub(crate) fn loosened(&self) -> Notified<'_> {
        self.loosened.notified()
    }

    /// Whether a batch of the platform may take a slot.
    pub(crate) fn has_room(&self, platform: &str) -> bool {
        self.room(&self.lock(), platform) > 0
    }

    fn without_room(&self, taken: &BTreeMap<String, usize>) -> Vec<String> {
        taken.keys().filter(|platform| self.room(taken, platform) == 0).cloned().collect()
    }

    fn room(&self, taken: &BTreeMap<String, usize>, platform: &str) -> usize {
        let all: usize = taken.values().sum();
        let own = taken.get(platform).copied().unwrap_or(0);
        most(self.total, self.share, all - own).saturating_sub(own)
    }

    fn place(
        self: &Arc<Self>,
        taken: &mut BTreeMap<String, usize>,
        platform: &str,
        count: usize,
    ) -> Place {
        *taken.entry(platform.to_owned()).or_default() += count;
        Place { slots: Arc::clone(self), platform: platform.to_owned(), count }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    /// What may be asked for these lanes and slots. Lanes without room are left out. As many batches
    /// as the platform with the least room could take: who has more room is asked again after that.
    pub(crate) fn offer(&self, lanes: Vec<Lane>) -> Offer {
        let slots = &self.slots;
        let mut taken = slots.lock();
        let without = slots.without_room(&taken);
        let lanes: Vec<Lane> =
            lanes.into_iter().filter(|lane| slots.room(&taken, lane.platform()) > 0).collect();
        let rooms: BTreeMap<&str, usize> = lanes
            .iter()
            .map(|lane| (lane.platform(), slots.room(&taken, lane.platform())))
            .collect();
        let least = rooms.values().copied().min().unwrap_or(1);
        let wanted = least.clamp(1, self.permits.num_permits());
        let meanwhile =
            rooms.keys().map(|platform| slots.place(&mut taken, platform, wanted)).collect();
        drop((rooms, taken));
        Offer { lanes, wanted, without, _meanwhile: meanwhile }
    }

    /// One of them, for a batch of this lane.
    pub(crate) fn take(&mut self, lane: &Lane) -> Slot {
        let permit = self.permits.split(1);
        let place = self.slots.place(&mut self.slots.lock(), lane.platform(), 1);
        Slot { _permit: permit, _place: place }
    }
}

impl Offer {
    /// The claim is over, and what it brought has its slots. Tells who was left out.
    pub(crate) fn over(self) -> Vec<String> {
        self.without
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some(count) = taken.get_mut(&self.platform) {
            *count = count.saturating_sub(self.count);
            if *count == 0 {
                taken.remove(&self.platform);
            }
        }
        drop(taken);
        self.slots.loosened.notify_waiters();
    }
}

/// How many slots a platform may have while others have `others` of `total`: `share` of the rest, and
/// one at least.
///
/// However many platforms are slow, each next one finds fewer taken than there are, until none is
/// left to share; a fixed part for each would give the first as little as the last. It is the dynamic
/// threshold of shared buffers (Choudhury and Hahne, 1998).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "slots are few, and a share of them is not negative"
)]
fn most(total: usize, share: f64, others: usize) -> usize {
    let rest = total.saturating_sub(others) as f64;
    ((rest * share) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(names: &[&str]) -> Vec<Lane> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn each_platform_leaves_something_to_the_next() {
        assert_eq!(most(16, 0.75, 0), 12);
        assert_eq!(most(16, 0.75, 12), 3);
        assert_eq!(most(16, 0.75, 15), 1, "the last slot is for whoever has none");
        assert_eq!(most(16, 1.0, 0), 16);
        assert_eq!(most(1, 0.5, 0), 1, "of a single slot nothing can be left");
    }

    #[tokio::test]
    async fn two_lanes_of_a_platform_share_its_room() {
        let slots = Slots::new(8, 0.5);
        let mut free = slots.free().await.unwrap();
        let [a, b, other] = ["klaviyo/a", "klaviyo/b", "discord/a"];
        assert_eq!(free.offer(lanes(&[a, b])).wanted, 4);
        let held: Vec<Slot> = lanes(&[a, a, b]).iter().map(|lane| free.take(lane)).collect();
        let offer = free.offer(lanes(&[a, b, other]));
        assert_eq!((offer.wanted, offer.without.len()), (1, 0), "no more than klaviyo may take");
        drop(offer);
        let last = free.take(&lanes(&[b])[0]);
        let offer = free.offer(lanes(&[a, b, other]));
        assert_eq!(offer.lanes, lanes(&[other]));
        assert_eq!((offer.wanted, &offer.without[..]), (2, &["klaviyo".to_owned()][..]));
        drop((offer, last, held));
        assert_eq!(free.offer(lanes(&[a])).wanted, 4);
    }

    #[tokio::test]
    async fn what_one_claim_may_take_no_other_counts_on() {
        let slots = Slots::new(8, 0.5);
        let free = slots.free().await.unwrap();
        let first = free.offer(lanes(&["klaviyo/a"]));
        let loosened = slots.loosened();
        let second = free.offer(lanes(&["klaviyo/b"]));
        assert_eq!((first.wanted, &second.lanes[..]), (4, &[][..]));
        assert_eq!(second.without, ["klaviyo"]);
        drop(first);
        // It may have brought nothing: who was left out hears of it.
        loosened.await;
        assert!(slots.has_room("klaviyo"));
    }
}
