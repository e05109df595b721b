//! What is remembered of a lane between two passes, and when it is seen to. Pure.

use std::time::Duration;

use common::ids::{ConnectionId, ExternalId, RecordType};
use common::store::lane_prices::LanePrice;
use jiff::Timestamp;

use super::choose::later;
use super::price::Fitted;

/// A lane in which nothing is due is seen to once in about so long, for its price, its random samples
/// and its lists of changes.
const REST: Duration = Duration::from_mins(1);
/// A price is written down when it moved by more than this share; until that it is remembered.
const NOTICEABLE: f64 = 0.01;

/// What is remembered of a lane between two passes. Nothing depends on it: it only saves work.
#[derive(Debug)]
pub(super) struct Memory {
    /// Of the last requests.
    pub(super) looks_per_request: f64,
    /// What was believed when its price was fitted last.
    pub(super) fitted: Option<Fitted>,
    /// Where the background pass goes on.
    pub(super) walked: Option<(RecordType, ExternalId)>,
    /// A type's webhooks have begun to fail, or work again: the pass hurries until it was through.
    pub(super) hurry: bool,
    /// The record types whose webhooks fail.
    pub(super) outages: Vec<RecordType>,
    /// Ticks, and looks that were chosen, since the background pass went on.
    pub(super) ticks: f64,
    pub(super) looks: f64,
    /// When it was seen to last.
    pub(super) seen_at: Option<Timestamp>,
    /// The price that is written down, and what has become of it since.
    moved: Option<(Option<LanePrice>, LanePrice)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            looks_per_request: 1.0,
            fitted: None,
            walked: None,
            hurry: false,
            outages: Vec::new(),
            ticks: 0.0,
            looks: 0.0,
            seen_at: None,
            moved: None,
        }
    }
}

/// What the stores say of a lane before anything else is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs<'a> {
    /// When its first look is planned.
    pub(super) first_due: Option<Timestamp>,
    /// Samples wait for their look.
    pub(super) has_samples: bool,
    /// The record types whose webhooks fail.
    pub(super) outages: &'a [RecordType],
}

impl Memory {
    /// Whether a pass has anything to do in the lane. One that rests costs nothing but its share of
    /// the statements that ask for all.
    pub(super) fn stirs(&self, id: ConnectionId, signs: Signs<'_>, now: Timestamp) -> bool {
        self.hurry
            || signs.has_samples
            || signs.first_due.is_some_and(|due| due <= now)
            || signs.outages != self.outages
            || self.seen_at.is_none_or(|at| later(at, rest_of(id)) <= now)
    }

    /// The price as it stands: as it was read, or what it has become since without being written.
    pub(super) fn price(&self, read: Option<LanePrice>) -> Option<LanePrice> {
        self.moved.filter(|(of, _)| *of == read).map(|(_, price)| price).or(read)
    }

    /// Takes note of a price; whether it is to be written down.
    ///
    /// - `read`: what is written down.
    pub(super) fn note_price(&mut self, read: Option<LanePrice>, price: LanePrice) -> bool {
        let is_noticeable =
            read.is_none_or(|read| (price.price / read.price).ln().abs() > NOTICEABLE);
        self.moved = (!is_noticeable).then_some((read, price));
        is_noticeable
    }
}

/// Lanes that begin to rest together are not seen to together for ever.
fn rest_of(id: ConnectionId) -> Duration {
    let part = u64::from(id.0.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    let part = u32::try_from(part).unwrap_or(0);
    REST * 3 / 4 + REST * part / 512
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_lane_rests_until_something_is_due_and_for_a_minute_or_so() {
        let (id, outage) = (ConnectionId(7), [RecordType::from("profile")]);
        let quiet = Signs { first_due: Some(at(500)), has_samples: false, outages: &[] };
        let mut memory = Memory::default();
        assert!(memory.stirs(id, quiet, at(0)), "nobody has seen to it yet");
        memory.seen_at = Some(at(0));
        assert!(!memory.stirs(id, quiet, at(44)));
        assert!(memory.stirs(id, quiet, at(76)));
        assert!(memory.stirs(id, Signs { first_due: Some(at(1)), ..quiet }, at(1)));
        assert!(memory.stirs(id, Signs { has_samples: true, ..quiet }, at(1)));
        assert!(memory.stirs(id, Signs { outages: &outage, ..quiet }, at(1)));
        memory.outages = outage.to_vec();
        assert!(!memory.stirs(id, Signs { outages: &outage, ..quiet }, at(1)));
        assert!(memory.stirs(id, quiet, at(1)), "webhooks work again");
    }

    #[test]
    fn lanes_are_seen_to_at_different_times() {
        let mut rests: Vec<_> = (0..1_000).map(|id| rest_of(ConnectionId(id))).collect();
        rests.sort();
        assert!(rests[0] >= Duration::from_secs(45) && rests[999] <= Duration::from_secs(75));
        let in_a_second = rests.iter().filter(|rest| rest.as_secs() == 60).count();
        assert!((20..60).contains(&in_a_second), "{in_a_second} of 1,000 within one second");
    }

    #[test]
    fn small_steps_of_a_price_are_remembered_and_their_sum_is_written() {
        let read = Some(LanePrice { price: 1.0, moved_at: at(0) });
        let mut memory = Memory::default();
        let mut written = 0;
        for second in 1..=10_i32 {
            let before = memory.price(read).unwrap();
            let moved_at = at(0) + SignedDuration::from_secs(second.into());
            assert!((before.price - 1.003_f64.powi(second - 1)).abs() < 1e-9);
            written = second;
            if memory.note_price(read, LanePrice { price: before.price * 1.003, moved_at }) {
                break;
            }
        }
        assert_eq!(written, 4, "1.003 to the fourth is the first above a hundredth");
        let other = Some(LanePrice { price: 5.0, moved_at: at(3) });
        assert_eq!(memory.price(other), other, "somebody else has written");
    }
}
