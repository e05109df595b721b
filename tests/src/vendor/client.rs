//! A process of clients: each takes a permit, sends one request, waits for its answer, and again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use common::job::Priority;
use common::quota::{RateScope, RateSignal};
use redis::aio::ConnectionManager;
use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::gate::{self, Gate, REQUEST_TIMEOUT};
use super::latency::Latency;
use super::plan::{CLIENTS, Plan, Posted, Trial};
use super::server::{REMAINING, RESET, RETRY_AFTER};
use crate::http::Http;

/// An ack waits for the database about this long, and what is settled in batches goes with it.
const BATCH_EVERY: Duration = Duration::from_millis(50);

/// What the clients of one trial in one process did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Calls of the limiter.
    pub asked: u32,
    /// Permits that it gave.
    pub granted: u32,
    /// Requests that were answered.
    pub answered: u32,
    /// Of these, refused.
    pub refused: u32,
    /// Requests that were given up.
    pub timed_out: u32,
    /// Permits that came too late to be used.
    pub late: u32,
    /// Calls and requests that went wrong otherwise.
    pub failed: u32,
    /// Sum of the times from sending to having the answer settled, seconds.
    pub round_trips_s: f64,
}

impl Tally {
    /// Of two processes together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            granted: self.granted + other.granted,
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            timed_out: self.timed_out + other.timed_out,
            late: self.late + other.late,
            failed: self.failed + other.failed,
            round_trips_s: self.round_trips_s + other.round_trips_s,
        }
    }
}

/// Runs this process' clients of every trial to its end; what they did, in the order of the plan.
///
/// - `process`: which of them this is, from 0.
///
/// # Errors
///
/// When Redis is away at the beginning.
pub async fn run(plan: &Plan, process: u64, redis_url: &str) -> anyhow::Result<Vec<Tally>> {
    let mut redis = ConnectionManager::new(redis::Client::open(redis_url)?).await?;
    let queue = gate::queue(redis_url, plan)?;
    let http = Http::new()?;
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await?;
    let until_begin = plan.begin_us.saturating_sub(seconds * 1_000_000 + micros);
    let begin = Instant::now() + Duration::from_micros(until_begin);

    let clients = LocalSet::new();
    let mut tallies = Vec::new();
    for posted in &plan.trials {
        let end = begin + posted.trial.length;
        let gate = Rc::new(Gate::new(&redis, &queue, plan, posted));
        let tally = Rc::new(RefCell::new(Tally::default()));
        for nth in 0..CLIENTS {
            let number = process * CLIENTS + nth;
            let client = Client {
                posted: posted.clone(),
                http: http.clone(),
                gate: Rc::clone(&gate),
                tally: Rc::clone(&tally),
                // Urgent or not: under a permanent backlog all of it is wanted.
                priority: if nth % 2 == 0 { Priority::Webhook } else { Priority::Bulk },
                latency: Latency::of(posted.trial.seed + 1 + number),
                begin,
                end,
            };
            clients.spawn_local(client.run());
        }
        clients.spawn_local(settle_batches(gate, end));
        tallies.push(tally);
    }
    clients.await;
    Ok(tallies.iter().map(|tally| *tally.borrow()).collect())
}

async fn settle_batches(gate: Rc<Gate>, end: Instant) {
    while Instant::now() < end {
        sleep(BATCH_EVERY).await;
        if let Err(error) = gate.settle_batch().await {
            // The slots are then held until their deadlines, which is the safe side.
            eprintln!("a batch could not be settled: {error:#}");
        }
    }
}

struct Client {
    posted: Posted,
    http: Http,
    gate: Rc<Gate>,
    tally: Rc<RefCell<Tally>>,
    priority: Priority,
    latency: Latency,
    begin: Instant,
    end: Instant,
}

impl Client {
    async fn run(mut self) {
        sleep_until(self.begin).await;
        // What is on its way at the end is of no interest.
        let end = self.end;
        let _ended = timeout_at(end, async {
            loop {
                if let Err(error) = self.once().await {
                    eprintln!("{}: {error:#}", self.posted.lane);
                    self.tally.borrow_mut().failed += 1;
                    sleep(BATCH_EVERY).await;
                }
            }
        })
        .await;
    }

    fn trial(&self) -> &Trial {
        &self.posted.trial
    }

    /// Waits for its turn or for the limiter, or sends one request.
    async fn once(&mut self) -> anyhow::Result<()> {
        let pause = self.trial().demand.pause(self.begin.elapsed(), self.trial().window());
        if !pause.is_zero() {
            sleep(pause).await;
            return Ok(());
        }
        let taken = self.gate.take(self.priority).await?;
        self.tally.borrow_mut().asked += 1;
        let permit = match taken {
            Ok(permit) => permit,
            Err(wait) => {
                sleep(wait).await;
                return Ok(());
            }
        };
        self.tally.borrow_mut().granted += 1;
        let sent_at = Instant::now();
        if sent_at >= permit.use_by {
            self.tally.borrow_mut().late += 1;
            return self.gate.give_back(permit).await;
        }
        let signal = if let Ok(answer) = timeout(REQUEST_TIMEOUT, self.send()).await {
            self.understand(&answer?)
        } else {
            self.tally.borrow_mut().timed_out += 1;
            RateSignal::default()
        };
        self.gate.settle(permit, signal).await?;
        self.tally.borrow_mut().round_trips_s += sent_at.elapsed().as_secs_f64();
        Ok(())
    }

    /// Giving up while the request is still on its way keeps it from arriving, as it does for a
    /// connection that is not there yet.
    async fn send(&mut self) -> anyhow::Result<Response> {
        sleep(self.latency.one_way()).await;
        let request = self.http.request(Method::GET, &self.posted.vendor);
        self.http.response(request).await.context("the vendor does not answer")
    }

    fn understand(&self, answer: &Response) -> RateSignal {
        let number = |name: &str| answer.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
        let refused = answer.status() == StatusCode::TOO_MANY_REQUESTS;
        let mut tally = self.tally.borrow_mut();
        tally.answered += 1;
        tally.refused += u32::from(refused);
        let remaining = number(REMAINING).and_then(|left| u32::try_from(left).ok());
        RateSignal {
            remaining: remaining.zip(number(RESET).map(Duration::from_millis)),
            refused_for: refused
                .then(|| Duration::from_secs(number(RETRY_AFTER).unwrap_or_default())),
            scope: RateScope::Lane,
            ..RateSignal::default()
        }
    }
}
