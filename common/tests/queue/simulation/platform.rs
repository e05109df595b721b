//! A platform: what is true there, and when it was asked.

/// Requests in any window.
pub(super) const LIMIT: usize = 5;
/// Its length, us.
pub(super) const WINDOW: u64 = 1_000_000;

/// Records by number, each with a version that only grows.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) versions: Vec<u64>,
    arrivals: Vec<u64>,
}

impl Platform {
    pub(super) fn new(records: usize) -> Self {
        Self { versions: vec![0; records], arrivals: Vec::new() }
    }

    /// A request has arrived; events come in the order of their time.
    pub(super) fn asked(&mut self, now: u64) -> Result<(), String> {
        self.arrivals.push(now);
        let before = self.arrivals.len().checked_sub(LIMIT + 1);
        match before.map(|index| now - self.arrivals[index]) {
            Some(apart) if apart < WINDOW => {
                Err(format!("{} requests within {apart} us", LIMIT + 1))
            }
            _ => Ok(()),
        }
    }
}
