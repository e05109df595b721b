//! Where a test runs: on the Redis of the test run, or on servers of its own.

use std::cell::RefCell;
use std::env;

use common::link::{Address, Links};
use common::queue::{Keys, Shard};
use redis::aio::MultiplexedConnection;

use redis_servers::{Tls, as_user};

use crate::processes::address_of;

thread_local! {
    /// Stories run on the thread of their test, each in a runtime of its own.
    static CURRENT: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// A Redis, however it is run.
#[derive(Clone)]
pub(crate) struct Place {
    /// For the queue.
    pub(crate) address: Address,
    /// For the test itself, which may look at everything.
    pub(crate) admin: Address,
    /// Of an index there.
    pub(crate) shards: u16,
}

impl Place {
    /// With one shard, where the queue may do everything.
    pub(crate) fn at(url: &str) -> Self {
        let address: Address = url.parse().unwrap();
        Self { admin: address.clone(), address, shards: 1 }
    }

    /// With one shard, where the queue has only the rights that are documented.
    pub(crate) fn as_user(url: &str) -> Self {
        Self { address: as_user(url).parse().unwrap(), ..Self::at(url) }
    }

    /// The same over TLS, where the test's own questions go the same way.
    ///
    /// - `admin`: who may do everything.
    pub(crate) fn over_tls(tls: &Tls, user: &str, admin: &str) -> Self {
        Self { address: address_of(tls, user), admin: address_of(tls, admin), shards: 1 }
    }

    /// Where the present test runs.
    pub(crate) fn current() -> Self {
        CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| {
            Self::at(&env::var("REDIS_URL").expect("REDIS_URL: `cargo xtask test` sets it"))
        })
    }

    /// Runs tests here.
    pub(crate) fn run(self, tests: &[fn()]) {
        CURRENT.set(Some(self));
        for test in tests {
            test();
        }
        CURRENT.set(None);
    }

    /// For the queue.
    pub(crate) fn links(&self, keys: &Keys) -> Links {
        Links::new(&self.address, keys.shards().map(|shard| keys.shard(shard))).unwrap()
    }

    /// For the test itself, to the server of a shard.
    pub(crate) async fn connection(&self, keys: &Keys, shard: Shard) -> MultiplexedConnection {
        let links = Links::new(&self.admin, keys.shards().map(|shard| keys.shard(shard))).unwrap();
        links.get(shard.0.into()).unwrap().server().await.unwrap().connection()
    }
}
