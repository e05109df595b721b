//! What less urgent work keeps of a lane, however much is more urgent.

/// The least shares of a lane's grants, in percent, of what waits there: one of as many grants in a row
/// as make 100 percent, rounded up; 0 is none. Each at most [`Floors::MOST`], so that webhooks and
/// people always keep a third. See `docs/queue.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Of bulk work.
    pub bulk: u8,
    /// Of spot checks.
    pub spot_checks: u8,
}

impl Floors {
    /// Any `100 / MOST` grants in a row have one of each class, if both wait.
    pub const MOST: u8 = 25;
}

impl Default for Floors {
    fn default() -> Self {
        Self { bulk: 10, spot_checks: 5 }
    }
}
