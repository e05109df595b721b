//! The platforms as running servers.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use crate::account::Account;
use crate::config::Config;
use crate::world::World;
use crate::{control, server};

/// How long requests that are under way may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// All platforms and the control API, listening; dropping it ends them.
///
/// What a test does with the platforms are the methods of [`World`], which it derefs to.
#[derive(Debug)]
pub struct Simulator {
    /// Stands for `https://a.klaviyo.com`; paths begin with `/api`.
    pub klaviyo_url: Url,
    /// Stands for `https://www.eventbriteapi.com/v3`, without a slash at the end.
    pub eventbrite_url: Url,
    /// Stands for `https://www.patreon.com`; paths begin with `/api/oauth2`.
    pub patreon_url: Url,
    /// Stands for `https://discord.com/api/v10`, without a slash at the end.
    pub discord_url: Url,
    /// The control API.
    pub control_url: Url,
    world: Arc<World>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts everything; listens on the addresses of `config`.
pub async fn start(config: Config) -> anyhow::Result<Simulator> {
    let (klaviyo, klaviyo_url) = listen(config.klaviyo.account.listen, "").await?;
    let (eventbrite, eventbrite_url) = listen(config.eventbrite.account.listen, "v3").await?;
    let (patreon, patreon_url) = listen(config.patreon.account.listen, "").await?;
    let (discord, discord_url) = listen(config.discord.account.listen, "api/v10").await?;
    let (control, control_url) = listen(config.control_listen, "").await?;

    let world = Arc::new(World::new(config));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let listeners = [klaviyo, eventbrite, patreon, discord];
    for (account, listener) in world.accounts().into_iter().zip(listeners) {
        let router = server::router(Arc::clone(account), stop.clone());
        tasks.spawn(server::serve(listener, router, stop.clone()));
        tasks.spawn(Arc::clone(account).live(stop.clone()));
        tasks.spawn(webhooks(Arc::clone(account), stop.clone()));
    }
    tasks.spawn(server::serve(control, control::router(Arc::clone(&world)), stop.clone()));
    Ok(Simulator {
        klaviyo_url,
        eventbrite_url,
        patreon_url,
        discord_url,
        control_url,
        world,
        stop,
        tasks,
    })
}

impl Simulator {
    /// Ends all tasks and waits for them, some seconds at most.
    pub async fn stop(self) {
        self.stop.cancel();
        self.world.open_gate();
        self.tasks.close();
        if timeout(STOP_LIMIT, self.tasks.wait()).await.is_err() {
            warn!(tasks = self.tasks.len(), "some requests did not end in time");
        }
    }
}

impl Deref for Simulator {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn webhooks(account: Arc<Account>, stop: CancellationToken) {
    if let Err(error) = Arc::clone(&account.courier).run(stop).await {
        warn!(%error, platform = account.platform.name(), "no webhooks are sent");
    }
}

async fn listen(address: SocketAddr, base: &str) -> anyhow::Result<(TcpListener, Url)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("could not listen on {address}"))?;
    let url = format!("http://{}/{base}", listener.local_addr()?);
    Ok((listener, url.parse().context("an address of ours is a URL")?))
}
