//! How much is measured.

use std::time::Duration;

/// How much is measured: whole, or quickly to see that it works.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Values of each figure.
    pub runs: usize,
    /// Jobs of a run that counts Redis' time or commands.
    pub jobs: u64,
    /// Jobs that wait while memory is measured.
    pub waiting: u64,
    /// Jobs of a run with a worker, and of the peer's.
    pub worked: u64,
    /// Webhooks of a run that are not counted: connections, scripts and caches are cold.
    pub warm_up: u64,
    /// Latencies of a run.
    pub samples: u64,
    /// How many bulk jobs webhooks wait behind, from few to many.
    pub depths: Vec<u64>,
    /// How long a fleet gets to find out that it is idle.
    pub calms_down: Duration,
    /// How long an idle fleet is watched.
    pub idle: Duration,
    /// Lanes, and how many of them have something to run.
    pub lanes: (usize, usize),
    /// Claims of a run.
    pub claims: u64,
    /// How long the peer may take.
    pub patience: Duration,
}

impl Effort {
    /// What the documentation shows.
    pub fn whole(runs: usize) -> Self {
        Self {
            runs,
            jobs: 20_000,
            waiting: 100_000,
            worked: 50_000,
            warm_up: 20,
            samples: 500,
            depths: vec![1_000, 10_000, 100_000, 1_000_000],
            calms_down: Duration::from_secs(3),
            idle: Duration::from_secs(10),
            lanes: (10_000, 100),
            claims: 2_000,
            patience: Duration::from_mins(3),
        }
    }

    /// A few seconds.
    pub fn quick(runs: usize) -> Self {
        Self {
            runs,
            jobs: 500,
            waiting: 1_000,
            worked: 500,
            warm_up: 2,
            samples: 10,
            depths: vec![100, 500],
            calms_down: Duration::from_millis(100),
            idle: Duration::from_millis(100),
            lanes: (50, 20),
            claims: 50,
            patience: Duration::from_mins(1),
        }
    }
}
