//! The queue on servers that a test starts, breaks and kills.

mod access;
mod cluster;
mod contract;
mod fail_over;
mod faults;
mod sentinel;
mod server;
mod shards;
mod tls;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use access::as_user;
pub(crate) use tls::Tls;

/// How long a condition may take to come true. Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` is met.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < give_up, "it does not happen that {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// For a test that runs stories, which have runtimes of their own.
fn wait_for<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}
