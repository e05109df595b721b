//! Which lanes of a shard to ask for next.

use common::ids::Lane;
use common::queue::Claimed;

/// Lanes that one claim asks for.
const LANES_PER_CLAIM: usize = 8;

/// Which lanes the next claim asks for: those that are due as far as we know, then those that
/// lately had something.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    due: Vec<Lane>,
    lately: Vec<Lane>,
}

impl Lanes {
    /// - `may`: whether there is room for a lane; the others are left out.
    pub(crate) fn next(&mut self, may: impl Fn(&Lane) -> bool) -> Vec<Lane> {
        let mut lanes = std::mem::take(&mut self.due);
        lanes.retain(&may);
        for lane in &self.lately {
            if lanes.len() < LANES_PER_CLAIM && !lanes.contains(lane) && may(lane) {
                lanes.push(lane.clone());
            }
        }
        lanes
    }

    /// `true` when lanes are due that were not asked for.
    pub(crate) fn learn(&mut self, asked: &[Lane], claimed: &Claimed) -> bool {
        self.due = claimed.due.iter().filter_map(|name| name.parse().ok()).collect();
        for batch in &claimed.batches {
            self.remember(batch.lane.clone());
        }
        for lane in &self.due.clone() {
            self.remember(lane.clone());
        }
        self.due.iter().any(|lane| !asked.contains(lane))
    }

    pub(crate) fn woken(&mut self, lane: &str) {
        if let Ok(lane) = lane.parse() {
            self.due = vec![lane];
        }
    }

    fn remember(&mut self, lane: Lane) {
        self.lately.retain(|known| *known != lane);
        self.lately.insert(0, lane);
        self.lately.truncate(LANES_PER_CLAIM);
    }
}
