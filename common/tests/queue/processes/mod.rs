//! The queue on servers that a test starts, breaks and kills.

mod access;
mod contract;
mod fail_over;
mod faults;
mod shards;
mod tls;
mod world;

pub(crate) use tls::address_of;

/// For a test that runs stories, which have runtimes of their own.
fn wait_for<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}
