//! The vendor: an HTTP server that takes what its quotas allow and refuses the rest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::counter::{Counter, Peak, Rule};
use super::latency::Latency;
use super::plan::Trial;

/// Headers of an answer that tells what remains.
pub const REMAINING: &str = "ratelimit-remaining";
/// In milliseconds.
pub const RESET: &str = "ratelimit-reset-ms";
/// In seconds; with a 429.
pub const RETRY_AFTER: &str = "retry-after";

/// A running vendor. It ends when dropped.
#[derive(Debug)]
pub struct Vendor {
    url: String,
    till: Arc<Till>,
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Debug)]
struct Till {
    opened: Instant,
    rule: Rule,
    tells: bool,
    book: Mutex<Book>,
}

/// What arrived.
#[derive(Debug)]
struct Book {
    /// Each counts every arrival, so that one run shows what either would refuse.
    sliding: Counter,
    fixed: Counter,
    peaks: Vec<Peak>,
    arrived: u32,
    /// When each request that was taken arrived, us.
    taken: Vec<u64>,
    latency: Latency,
}

/// What a vendor has counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Requests that arrived.
    pub arrived: u32,
    /// Of these, refused by a sliding log.
    pub refused_by_log: u32,
    /// Of these, refused by fixed windows.
    pub refused_by_windows: u32,
    /// By quota: the most that arrived in any window.
    pub most: Vec<u32>,
    /// Requests that were taken in the measured span.
    pub taken: u32,
}

impl Vendor {
    /// Opens a vendor on a free port of this machine.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn open(trial: &Trial) -> anyhow::Result<Self> {
        let book = Book {
            sliding: Counter::new(Rule::SlidingLog, &trial.quotas),
            fixed: Counter::new(Rule::FixedWindows, &trial.quotas),
            peaks: trial.quotas.iter().map(Peak::new).collect(),
            arrived: 0,
            taken: Vec::new(),
            latency: Latency::of(trial.seed),
        };
        let till = Arc::new(Till {
            opened: Instant::now(),
            rule: trial.rule,
            tells: trial.tells,
            book: Mutex::new(book),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        // The latency is ours to choose, down to the delays of TCP.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&till));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, till, _serving: serving })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has counted. `from` and `to` bound the span in which the taken are counted.
    pub fn counted(&self, from: Instant, to: Instant) -> Counted {
        let span = self.till.since_opened_us(from)..self.till.since_opened_us(to);
        let book = self.till.book.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = book.taken.iter().filter(|arrived| span.contains(arrived)).count();
        Counted {
            arrived: book.arrived,
            refused_by_log: book.sliding.refused(),
            refused_by_windows: book.fixed.refused(),
            most: book.peaks.iter().map(Peak::most).collect(),
            taken: u32::try_from(taken).unwrap_or(u32::MAX),
        }
    }
}

impl Till {
    fn since_opened_us(&self, instant: Instant) -> u64 {
        u64::try_from((instant - self.opened).as_micros()).unwrap_or(u64::MAX)
    }

    /// Counts a request; whether it is taken, what remains, and how long the answer takes.
    fn count(&self) -> (bool, Option<(u32, Duration)>, Duration) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that arrivals are in order.
        let now_us = self.since_opened_us(Instant::now());
        book.arrived += 1;
        for peak in &mut book.peaks {
            peak.arrive(now_us);
        }
        let by_log = book.sliding.arrive(now_us);
        let by_windows = book.fixed.arrive(now_us);
        let (taken, counter) = match self.rule {
            Rule::SlidingLog => (by_log, &book.sliding),
            Rule::FixedWindows => (by_windows, &book.fixed),
        };
        let remaining = counter.remaining(now_us).filter(|_| self.tells);
        if taken {
            book.taken.push(now_us);
        }
        (taken, remaining, book.latency.one_way())
    }
}

/// A request counts when it arrives; its answer is on its way for a while.
async fn answer(State(till): State<Arc<Till>>) -> Response {
    let (taken, remaining, latency) = till.count();
    sleep(latency).await;
    if !taken {
        return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response();
    }
    match remaining {
        Some((left, reset)) => {
            [(REMAINING, left.to_string()), (RESET, reset.as_millis().to_string())].into_response()
        }
        None => StatusCode::OK.into_response(),
    }
}
