//! The way to Redis, however it is run: finds the server that holds a shard, makes sure that it is
//! fit and which process it is, and finds it anew when it is gone.

mod address;
mod fault;
mod find;
mod server;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backon::Retryable;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::retry::connect_backoff;
use find::Finder;

pub use address::{Address, BadAddress};
pub use fault::Fault;
pub use server::Server;

/// Shards that an index may have, so also connections that a process may need.
pub const MOST_SHARDS: u16 = 64;

/// The way to the server of one shard. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    /// The server as last found; `None` when it must be found anew.
    server: RwLock<Option<Server>>,
    search: Mutex<Search>,
}

struct Search {
    finder: Finder,
    /// When the last search ended in vain, and why.
    vain: Option<(Instant, Fault)>,
}

impl Link {
    /// Connects when it is first used.
    ///
    /// - `key`: any key of the shard.
    ///
    /// # Errors
    ///
    /// When the address cannot be used, like a certificate that is none.
    pub fn new(address: &Address, key: impl Into<String>) -> Result<Self, Fault> {
        let finder = Finder::new(address, key.into())?;
        let search = Mutex::new(Search { finder, vain: None });
        Ok(Self(Arc::new(Inner { server: RwLock::default(), search })))
    }

    /// The server that holds the shard: as known, else found, connected to and found fit.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The next call tries again.
    pub async fn server(&self) -> Result<Server, Fault> {
        if let Some(server) = self.known() {
            return Ok(server);
        }
        self.search().await
    }

    /// Behind a pointer: seldom needed, and a deep one to be part of every future that calls.
    fn search(&self) -> BoxFuture<'_, Result<Server, Fault>> {
        Box::pin(async move {
            let asked_at = Instant::now();
            let mut search = self.0.search.lock().await;
            if let Some(server) = self.known() {
                return Ok(server);
            }
            // All who waited for the same search have its outcome: it ended after they asked.
            if let Some((at, fault)) = &search.vain
                && *at >= asked_at
            {
                return Err(fault.clone());
            }
            let found = search.finder.server().await;
            match &found {
                Ok(server) => {
                    let (address, run_id) = (server.info().addr(), server.run_id());
                    tracing::debug!(%address, run_id, "Redis found");
                    self.set(Some(server.clone()));
                }
                Err(fault) => search.vain = Some((Instant::now(), fault.clone())),
            }
            found
        })
    }

    /// Takes note of a fault that a call to `server` ran into. When it is no longer the server to
    /// talk to, the next call finds it anew.
    pub fn failed(&self, server: &Server, fault: &Fault) {
        let same = |known: Server| known.run_id() == server.run_id();
        if fault.is_elsewhere() && self.known().is_some_and(same) {
            self.set(None);
        }
    }

    /// Waits up to `wait` for the server.
    ///
    /// # Errors
    ///
    /// What keeps it from being used: at once when that cannot pass by itself.
    pub async fn ready(&self, wait: Duration) -> Result<(), Fault> {
        let mut last = None;
        let reach = async || self.server().await.map(drop);
        let reaching =
            reach.retry(connect_backoff(wait)).when(Fault::may_pass).notify(|fault, delay| {
                tracing::warn!(%fault, ?delay, "waiting for Redis");
                last = Some(fault.clone());
            });
        match timeout(wait, reaching).await {
            Ok(reached) => reached,
            Err(_) => Err(last.unwrap_or(Fault::Silent)),
        }
    }

    fn known(&self) -> Option<Server> {
        self.0.server.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, server: Option<Server>) {
        *self.0.server.write().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.known().map(|s| s.run_id().to_owned()))
            .finish()
    }
}

/// One [`Link`] for each shard. Where one server holds them all, they share it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Links(Arc<[Link]>);

impl Links {
    /// - `keys`: any key of each shard, in the order of the shards.
    ///
    /// # Errors
    ///
    /// When the address cannot be used.
    pub fn new(address: &Address, keys: impl IntoIterator<Item = String>) -> Result<Self, Fault> {
        let mut links: Vec<Link> = Vec::new();
        for key in keys {
            let shared = links.first().filter(|_| !address.is_cluster()).cloned();
            links.push(match shared {
                Some(link) => link,
                None => Link::new(address, key)?,
            });
        }
        Ok(Self(links.into()))
    }

    /// The link of a shard.
    pub fn get(&self, shard: usize) -> Option<&Link> {
        self.0.get(shard)
    }

    /// Waits up to `wait` for the servers of all shards.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub async fn ready(&self, wait: Duration) -> Result<(), Fault> {
        let until = Instant::now() + wait;
        for link in &*self.0 {
            link.ready(until.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }
}
