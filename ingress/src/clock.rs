//! Postgres' clock, for the time that a platform has signed: asked once a minute, and carried on by
//! the monotonic clock of this process in between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::platform::SignedAt;
use common::store::{self, StoreError};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use tokio::time::Instant;

/// The two clocks drift apart by far less than any window in this time.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// How far the platform's clock may be ahead.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// The clock.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<(Timestamp, Instant)>>);

impl Clock {
    /// The present by Postgres.
    ///
    /// # Errors
    ///
    /// When it has not been asked lately and does not answer.
    pub(crate) async fn now(&self, db: &PgPool) -> Result<Timestamp, StoreError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, at)) = known.filter(|(_, at)| at.elapsed() < ASK_EVERY)
            && let Ok(now) = then.checked_add(at.elapsed())
        {
            return Ok(now);
        }
        // Before the question: the answer is older then, and what it is compared with not too young.
        let at = Instant::now();
        let now = store::now(db).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, at));
        Ok(now)
    }
}

/// Whether what was signed then may still come.
pub(crate) fn is_timely(signed: SignedAt, now: Timestamp) -> bool {
    let age = now.duration_since(signed.at);
    match Duration::try_from(age) {
        Ok(age) => age <= signed.sent_for,
        // It is ahead of us.
        Err(_) => age.abs() <= AHEAD_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_platform_goes_on_sending_it_is_refused_and_the_far_future_too() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let signed = SignedAt { at, sent_for: Duration::from_hours(1) };
        for (minutes, timely) in [(0, true), (59, true), (61, false), (-4, true), (-6, false)] {
            let now = at + SignedDuration::from_mins(minutes);
            assert_eq!(is_timely(signed, now), timely, "{minutes}");
        }
    }
}
