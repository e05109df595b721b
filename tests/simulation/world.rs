//! The world that processes live in: one clock, the servers, and the way to them.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::plan::{BUSY, Blow, Mood, Plan, Server};
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::vendor::Vendor;

/// 2026-01-01, us.
pub(crate) const START: u64 = 1_767_225_600_000_000;
pub(crate) const MS: u64 = 1_000;

/// All that is not in a process, and so survives its death.
pub(crate) struct State {
    pub(crate) mood: Mood,
    pub(crate) chance: StdRng,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) vendor: Vendor,
    story: String,
    broken: Option<String>,
}

impl State {
    pub(crate) fn tell(&mut self, now: u64, what: impl Display) {
        writeln!(self.story, "{:>7} {what}", (now - START) / MS).unwrap();
    }

    /// A law is broken: the first one counts.
    pub(crate) fn break_law(&mut self, now: u64, what: String) {
        self.tell(now, format_args!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    began: Instant,
    state: Mutex<State>,
    /// What goes on outside of processes.
    pub(crate) tasks: TaskTracker,
    /// Everybody is to stop: all is done.
    pub(crate) over: CancellationToken,
    /// Processes that are not polled.
    pub(crate) frozen: AtomicUsize,
    /// Notices that are on their way.
    pub(crate) on_their_way: AtomicUsize,
}

/// A process' connection to a server, on which requests do not overtake each other.
#[derive(Debug, Default)]
pub(crate) struct Wire(AtomicU64);

/// How long a client waits for an answer.
fn patience(server: Server) -> Duration {
    Duration::from_millis(match server {
        Server::Redis => 800,
        Server::Postgres => 1_500,
    })
}

impl World {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let state = State {
            mood: plan.mood,
            chance: StdRng::seed_from_u64(plan.seed ^ 0x5EED),
            redis: Redis::new(),
            postgres: Postgres::default(),
            vendor: Vendor::default(),
            story: String::new(),
            broken: None,
        };
        Arc::new(Self {
            plan,
            began: Instant::now(),
            state: Mutex::new(state),
            tasks: TaskTracker::new(),
            over: CancellationToken::new(),
            frozen: AtomicUsize::new(0),
            on_their_way: AtomicUsize::new(0),
        })
    }

    /// Us since 1970, by every server's clock.
    pub(crate) fn now(&self) -> u64 {
        START + u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    fn instant(&self, at: u64) -> Instant {
        self.began + Duration::from_micros(at - START)
    }

    /// Until so many ms after the beginning.
    pub(crate) async fn until(&self, ms: u64) {
        sleep_until(self.instant(START + ms * MS)).await;
    }

    /// Whether things still go wrong.
    pub(crate) fn is_busy(&self) -> bool {
        self.now() < START + BUSY * MS
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn tell(&self, what: impl Display) {
        let now = self.now();
        self.with(|state| state.tell(now, what));
    }

    pub(crate) fn break_law(&self, what: String) {
        let now = self.now();
        self.with(|state| state.break_law(now, what));
    }

    pub(crate) fn broken(&self) -> Option<String> {
        self.with(|state| state.broken.clone())
    }

    pub(crate) fn story(&self) -> String {
        self.with(|state| state.story.clone())
    }

    /// Whether it happens this time.
    pub(crate) fn happens(&self, share: f64) -> bool {
        self.is_busy() && self.with(|state| state.chance.random_bool(share))
    }

    /// A pause of up to `most` ms.
    pub(crate) fn pause(&self, most: u64) -> Duration {
        Duration::from_millis(self.with(|state| state.chance.random_range(0..=most)))
    }

    fn is_away(&self, server: Server) -> bool {
        let ms = (self.now() - START) / MS;
        self.plan.blows.iter().any(|blow| {
            matches!(blow, Blow::Away { server: gone, from, ms: length }
                if *gone == server && (*from..from + length).contains(&ms))
        })
    }

    /// Asks a server to do something. What is on its way arrives, and is done, also when whoever
    /// asked is gone or no longer waits. `None` when no answer comes.
    pub(crate) async fn ask<R: Send + 'static>(
        self: &Arc<Self>,
        wire: &Wire,
        server: Server,
        act: impl FnOnce(&mut State, u64) -> R + Send + 'static,
    ) -> Option<R> {
        let rates = self.plan.rates;
        let slow = if server == Server::Redis { 350 } else { 700 };
        let most = if self.happens(rates.slow) { slow } else { 5 };
        let (there, back) = (self.pause(most), self.pause(most));
        let (lost, unheard) = (self.happens(rates.lost_requests), self.happens(rates.lost_answers));
        let silent = self.happens(0.3);
        // Whole milliseconds, as the timers of the runtime.
        let arrives = (self.now() + u64::try_from(there.as_micros()).unwrap())
            .max(wire.0.load(Ordering::Relaxed));
        wire.0.store(arrives, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let world = Arc::clone(self);
        self.tasks.spawn(async move {
            sleep_until(world.instant(arrives)).await;
            let done = if lost || world.is_away(server) {
                None
            } else {
                let now = world.now();
                Some(world.with(|state| act(state, now))).filter(|_| !unheard)
            };
            match done {
                Some(done) => {
                    sleep(back).await;
                    // Nobody waits for it any more, perhaps.
                    drop(answer.send(done));
                }
                // The connection breaks, or nothing is heard.
                None if silent => sleep(patience(server) * 2).await,
                None => {}
            }
        });
        timeout(patience(server), answered).await.ok()?.ok()
    }
}
