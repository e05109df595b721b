//! How often somebody may try to sign in.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tokens in a row that cost nothing but the answer.
const AT_ONCE: u32 = 10;
/// After these, one more in so much time, whoever tries: behind a proxy all come from one address.
const ONE_IN: Duration = Duration::from_secs(6);

/// Wrong attempts of late. Sessions and the API's token are not touched by it.
#[derive(Debug)]
pub(crate) struct Attempts(Mutex<Instant>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Attempts {
    /// How long nobody may try; `None` when one may now.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let all_forgotten = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = all_forgotten.saturating_duration_since(Instant::now());
        debt.checked_sub(ONE_IN * (AT_ONCE - 1)).filter(|wait| !wait.is_zero())
    }

    /// Notes a wrong one.
    pub(crate) fn was_wrong(&self) {
        let mut all_forgotten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all_forgotten = (*all_forgotten).max(Instant::now()) + ONE_IN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_ten_wrong_ones_there_is_one_in_six_seconds() {
        let attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            assert_eq!(attempts.wait(), None);
            attempts.was_wrong();
        }
        assert_eq!(attempts.wait(), Some(ONE_IN));
        tokio::time::advance(ONE_IN).await;
        assert_eq!(attempts.wait(), None);
        attempts.was_wrong();
        assert!(attempts.wait().is_some());
        tokio::time::advance(ONE_IN * AT_ONCE).await;
        assert_eq!(attempts.wait(), None);
    }
}
