//! Redis as people run it, for tests that start, break and kill it: one server, a Sentinel set, a
//! cluster, with and without TLS, and the users that `docs/OPERATING.md` describes. Whatever fails here
//! fails the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "only tests use it, and one that fails here fails as it should"
)]

mod cluster;
mod rights;
mod sentinel;
mod server;
mod tls;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use cluster::Cluster;
pub use rights::{PASSWORD, Rights, as_user, lines};
pub use sentinel::Sentinels;
pub use server::{Server, program, program_in};
pub use tls::{Tls, words};

/// How long a condition may take to come true. Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` is met.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < give_up, "it does not happen that {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
