//! Waiting in line for a further permit: of those in this process who want the same, one asks for
//! all, so that a used-up quota is not asked by everybody at the instant at which it opens.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::ids::Lane;
use common::job::Priority;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A job waits in place for a further permit this long at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// What they want: a lane, and a kind of request there.
type Want = (Lane, String);
/// Who is first: the more urgent, then who came first.
type Place = (Priority, u64);

/// Everybody in this process who waits for a further permit.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// None of them is empty.
    lines: HashMap<Want, Line>,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Line {
    places: BTreeMap<Place, Arc<Notify>>,
    /// No permit before this, for those who are no more urgent.
    opens: Option<(Priority, Instant)>,
}

/// A place in a line; left when it is dropped.
struct Standing<'a> {
    lines: &'a Lines,
    want: Want,
    place: Place,
    called: Arc<Notify>,
}

/// What somebody in a line is to do.
enum Turn {
    Ask,
    /// It is first, but nothing opens before.
    Sleep(Instant),
    /// Others are first.
    Wait,
    /// Nothing opens in time.
    GiveUp(Instant),
}

impl Lines {
    /// Waits in line, and then asks until there is a permit: `ask` answers with one, or with the time
    /// until there may be one. That time comes back where it is too long to wait for.
    ///
    /// # Errors
    ///
    /// Those of `ask`.
    pub async fn wait<T, E, F>(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, Duration>, E>
    where
        F: Future<Output = Result<Result<T, Duration>, E>>,
    {
        let give_up = Instant::now() + PATIENCE;
        let standing = self.enter((lane.clone(), kind.to_owned()), priority);
        loop {
            match standing.turn(give_up) {
                Turn::GiveUp(opens) => return Ok(Err(opens - Instant::now())),
                Turn::Sleep(opens) => sleep_until(opens).await,
                Turn::Wait => {
                    // Its time is over: whoever is first has not got one either.
                    if timeout_at(give_up, standing.called.notified()).await.is_err() {
                        return Ok(Err(Duration::ZERO));
                    }
                }
                Turn::Ask => match ask().await? {
                    Ok(permit) => return Ok(Ok(permit)),
                    Err(wait) => standing.tell(Instant::now() + wait),
                },
            }
        }
    }

    fn enter(&self, want: Want, priority: Priority) -> Standing<'_> {
        let mut waiting = self.lock();
        waiting.arrivals += 1;
        let (place, called) = ((priority, waiting.arrivals), Arc::new(Notify::new()));
        let line = waiting.lines.entry(want.clone()).or_default();
        line.places.insert(place, Arc::clone(&called));
        Standing { lines: self, want, place, called }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing<'_> {
    fn turn(&self, give_up: Instant) -> Turn {
        let waiting = self.lines.lock();
        let Some(line) = waiting.lines.get(&self.want) else { return Turn::Ask };
        let known = line.opens.filter(|&(told, _)| told <= self.place.0).map(|(_, opens)| opens);
        let first = line.places.first_key_value().is_none_or(|(place, _)| *place == self.place);
        match known.filter(|&opens| opens > Instant::now()) {
            Some(opens) if opens > give_up => Turn::GiveUp(opens),
            Some(opens) if first => Turn::Sleep(opens),
            None if first => Turn::Ask,
            _ => Turn::Wait,
        }
    }

    /// Tells the others what it was told: some may give up.
    fn tell(&self, opens: Instant) {
        let mut waiting = self.lines.lock();
        if let Some(line) = waiting.lines.get_mut(&self.want) {
            line.opens = Some((self.place.0, opens));
            line.places.values().for_each(|called| called.notify_one());
        }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let mut waiting = self.lines.lock();
        let Some(line) = waiting.lines.get_mut(&self.want) else { return };
        line.places.remove(&self.place);
        match line.places.first_key_value() {
            Some((_, called)) => called.notify_one(),
            None => drop(waiting.lines.remove(&self.want)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    const KIND: &str = "profile";

    /// One permit every `interval`, and how often it was asked.
    struct Till {
        lines: Lines,
        interval: Duration,
        opens: Mutex<Instant>,
        asked: AtomicU32,
        granted: Mutex<Vec<(Priority, u32)>>,
    }

    impl Till {
        fn new(interval: Duration) -> Arc<Self> {
            Arc::new(Self {
                lines: Lines::default(),
                interval,
                opens: Mutex::new(Instant::now() + interval),
                asked: AtomicU32::new(0),
                granted: Mutex::default(),
            })
        }

        async fn ask(&self) -> Result<Result<(), Duration>, ()> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            // A round trip.
            sleep(Duration::from_millis(1)).await;
            let mut opens = self.opens.lock().unwrap();
            let now = Instant::now();
            if *opens > now {
                return Ok(Err(*opens - now));
            }
            *opens = now + self.interval;
            Ok(Ok(()))
        }

        async fn wait(self: Arc<Self>, priority: Priority, name: u32) -> Result<(), Duration> {
            let lane: Lane = "klaviyo/main".parse().unwrap();
            let got = self.lines.wait(&lane, KIND, priority, || self.ask()).await.unwrap();
            if got.is_ok() {
                self.granted.lock().unwrap().push((priority, name));
            }
            got
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_one_asks() {
        let till = Till::new(Duration::from_millis(100));
        let mut tasks = JoinSet::new();
        for name in 0..40 {
            tasks.spawn(Arc::clone(&till).wait(Priority::Bulk, name));
            tokio::task::yield_now().await;
        }
        assert!(tasks.join_all().await.into_iter().all(|got| got.is_ok()));
        assert!(till.asked() <= 2 * 40, "{} times for 40 permits", till.asked());
        let granted = till.granted.lock().unwrap();
        assert!(granted.is_sorted(), "first come, first served: {granted:?}");
        assert!(till.lines.lock().lines.is_empty(), "nothing is left of a line");
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_urgent_goes_first_and_who_leaves_holds_up_nobody() {
        let till = Till::new(Duration::from_secs(1));
        let mut tasks = JoinSet::new();
        let mut leaves = JoinSet::new();
        leaves.spawn(Arc::clone(&till).wait(Priority::Bulk, 0));
        tokio::task::yield_now().await;
        tasks.spawn(Arc::clone(&till).wait(Priority::Bulk, 1));
        sleep(Duration::from_millis(500)).await;
        tasks.spawn(Arc::clone(&till).wait(Priority::Webhook, 2));
        tokio::task::yield_now().await;
        drop(leaves);
        assert!(tasks.join_all().await.into_iter().all(|got| got.is_ok()));
        let granted = till.granted.lock().unwrap();
        assert_eq!(*granted, [(Priority::Webhook, 2), (Priority::Bulk, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_told_to_all_at_once() {
        let till = Till::new(Duration::from_mins(1));
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for name in 0..40 {
            tasks.spawn(Arc::clone(&till).wait(Priority::Manual, name));
        }
        for got in tasks.join_all().await {
            assert!(got.unwrap_err() > Duration::from_secs(59));
        }
        assert_eq!(till.asked(), 1);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
