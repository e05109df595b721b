//! A fleet inside one test: simulated platforms, real Redis and Postgres, and as many of the
//! processes as the story needs, each in a task of its own.

mod setup;
mod stores;
mod waiting;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::fleet::Fleet;
use common::lifecycle::Lifecycle;
use redis::aio::ConnectionManager;
use simulator::{Platform, Simulator};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;
use url::Url;
use uuid::Uuid;

use crate::config_file::{Addresses, ConfigFolder, DISCORD_ENDPOINT, endpoint};
use crate::http::Http;
use crate::program::Program;
use setup::SETTINGS;
use stores::by_way_of;

pub use setup::Setup;
pub(crate) use setup::merge;
pub use stores::database_url;

/// A running story. What was started ends with it.
#[derive(Debug)]
pub struct Scene {
    /// A database of its own.
    pub db: PgPool,
    /// The platforms.
    pub platforms: Simulator,
    /// For requests to our own processes.
    pub http: Http,
    /// The configuration as a file, for programs.
    pub folder: ConfigFolder,
    connected: Vec<Platform>,
    config: Config,
    environment: Vec<(String, String)>,
    redis: ConnectionManager,
    lifecycle: Lifecycle,
    tasks: JoinSet<anyhow::Result<()>>,
    ingress: Option<String>,
}

impl Scene {
    /// Platforms, stores and configuration; nothing of ours runs yet. Needs `REDIS_URL` and
    /// `DATABASE_URL`, as `cargo xtask test` sets them.
    ///
    /// # Errors
    ///
    /// When anything cannot be started.
    pub async fn new(db: PgPool, setup: Setup) -> anyhow::Result<Self> {
        log();
        let platforms = simulator::start(setup.simulator.clone()).await?;
        let folder = ConfigFolder::write(
            &setup.simulator,
            &Addresses::of(&platforms),
            &merge(SETTINGS, &setup.settings)?,
            &setup.connections(),
        )?;
        let redis_url = std::env::var("REDIS_URL").context("REDIS_URL: run cargo xtask test")?;
        let of_fleet = match &setup.redis_url {
            Some(url) => url.clone(),
            None => by_way_of(setup.redis, &redis_url)?,
        };
        let environment = vec![
            ("SYNCLINE__REDIS__URL".to_owned(), of_fleet),
            ("SYNCLINE__REDIS__NAMESPACE".to_owned(), Uuid::now_v7().to_string()),
            ("SYNCLINE__POSTGRES__URL".to_owned(), by_way_of(setup.postgres, &database_url(&db))?),
        ];
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let config = folder.config(&pairs)?;
        let redis = ConnectionManager::new(redis::Client::open(redis_url)?).await?;
        Ok(Self {
            db,
            platforms,
            http: Http::new()?,
            folder,
            connected: setup.connected,
            config,
            environment,
            redis,
            lifecycle: Lifecycle::manual(Duration::from_secs(5)),
            tasks: JoinSet::new(),
            ingress: None,
        })
    }

    /// The settings of this fleet.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The environment that a program of this fleet needs.
    pub fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }

    /// Queue, stores and connections, as a process has them.
    ///
    /// # Errors
    ///
    /// When they cannot be reached.
    pub async fn fleet(&self) -> anyhow::Result<Fleet> {
        Fleet::open(&self.config).await
    }

    /// Starts an ingress and points the platforms' webhooks at it.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start_ingress(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        for &platform in &self.connected {
            let target = format!("{base}/webhooks/{}/{}", platform.name(), endpoint(platform));
            self.platforms.set_webhook_target(platform, Some(target.parse::<Url>()?));
        }
        if self.connected.contains(&Platform::Discord) {
            let target = format!("{base}/notices/discord/{DISCORD_ENDPOINT}");
            self.platforms.set_bridge_target(Some(target.parse()?));
        }
        let (fleet, config) = (self.fleet().await?, self.config.ingress.clone());
        let lifecycle = self.lifecycle.clone();
        self.tasks.spawn(async move { ingress::serve(listener, fleet, &config, &lifecycle).await });
        self.ingress = Some(base);
        Ok(())
    }

    /// Starts one of our programs as a process of its own, with further variables. What it says
    /// goes to a file in [`Self::folder`].
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn start_program(&self, name: &str, more: &[(&str, &str)]) -> anyhow::Result<Program> {
        self.start_file(&Program::path(name)?, more)
    }

    /// The same with the program in this file.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_file(&self, file: &Path, more: &[(&str, &str)]) -> anyhow::Result<Program> {
        let config = self.folder.file();
        let arguments = ["--config", config.to_str().context("a path in UTF-8")?];
        let environment = [&self.environment(), more].concat();
        Program::start_file(file, &arguments, &environment, Some(&self.folder.path().join("log")))
    }

    /// Whether a program of this scene has said so.
    ///
    /// # Errors
    ///
    /// When none was started.
    pub fn programs_say(&self, text: &str) -> anyhow::Result<bool> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?.contains(text))
    }

    /// Starts a worker.
    pub fn start_worker(&mut self) {
        let (config, lifecycle) = (self.config.clone(), self.lifecycle.clone());
        self.tasks.spawn(async move { worker::run(&config, &lifecycle).await });
    }

    /// Starts a scheduler.
    pub fn start_scheduler(&mut self) {
        let (config, lifecycle) = (self.config.clone(), self.lifecycle.clone());
        self.tasks.spawn(async move { Box::pin(scheduler::run(&config, &lifecycle)).await });
    }

    /// The address of a webhook endpoint of the ingress that was started.
    pub fn webhook_url(&self, path: &str) -> String {
        format!("{}/webhooks/{path}", self.ingress.as_deref().unwrap_or("http://not.started"))
    }

    /// Stops everything of ours as SIGTERM would, and waits for it.
    ///
    /// # Errors
    ///
    /// When a process did not end well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.lifecycle.stop();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        self.lifecycle = Lifecycle::manual(Duration::from_secs(5));
        Ok(())
    }
}

/// What the fleet says is shown when a story fails; `RUST_LOG` asks for more or less.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Another story in the same process may have been first.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

impl Drop for Scene {
    /// Nothing of the story may hold on to its database, which is dropped next.
    fn drop(&mut self) {
        self.lifecycle.stop();
        self.lifecycle.stop();
        self.tasks.detach_all();
    }
}
