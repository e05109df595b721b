//! A fleet inside one test: simulated platforms, real Redis and Postgres, and as many of the
//! processes as the story needs, each in a task of its own.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use common::config::Config;
use common::fleet::Fleet;
use common::ids::Lane;
use common::lifecycle::Lifecycle;
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde_json::Value;
use simulator::{Platform, Simulator};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing_subscriber::EnvFilter;
use url::Url;
use uuid::Uuid;

use crate::config_file::{ConfigFolder, EVENTBRITE_ENDPOINT, KLAVIYO_ENDPOINT, Platforms};
use crate::http::Http;
use crate::mirror::{self, Mismatch, Name};
use crate::program::Program;

/// How long a condition may take to come true. Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a story changes of the usual.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The platforms.
    pub simulator: simulator::Config,
    /// Sections laid over the usual settings, as TOML.
    pub settings: String,
    /// Keys of the Klaviyo connection, as TOML.
    pub klaviyo: String,
    /// Keys of the Eventbrite connection.
    pub eventbrite: String,
    /// Where the fleet finds Redis, when not where it is: a way to it that a story can close.
    pub redis: Option<SocketAddr>,
    /// The same for Postgres.
    pub postgres: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        let both = [Platform::Klaviyo, Platform::Eventbrite];
        let mut simulator = simulator::Config::default().only(&both);
        (simulator.klaviyo.lists, simulator.klaviyo.memberships) = (0, 0);
        simulator.klaviyo.profiles = 5;
        simulator.eventbrite.events = 2;
        simulator.eventbrite.attendees = 6;
        simulator.eventbrite.orders = 3;
        Self {
            simulator,
            settings: String::new(),
            klaviyo: r#"quotas.steady = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.profiles = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.lists = { limit = 6000, window = "1m", burst = 100, headroom = 5 }
                quotas.list-profiles = { limit = 6000, window = "1m", burst = 100, headroom = 5 }"#
                .to_owned(),
            eventbrite:
                r#"quotas.hour = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
                confirm_after = []
                young = "0s""#
                    .to_owned(),
            redis: None,
            postgres: None,
        }
    }
}

/// The usual settings of a story: everything waits a little only.
const SETTINGS: &str = r#"
[worker]
listen = "127.0.0.1:0"
concurrency = 4
lease = "2s"
heartbeat = "500ms"
permit_use_by = "500ms"
retry_base = "100ms"
missing_confirm_after = "10ms"
[api]
whole_timeout = "3s"
read_timeout = "3s"
connect_timeout = "1s"
[scheduler]
listen = "127.0.0.1:0"
tick = "50ms"
sweep_every = "100ms"
spot_check_min_age = "10ms"
[console]
listen = "127.0.0.1:0"
"#;

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
        let known = Platforms::of(
            &setup.simulator,
            platforms.klaviyo_url.as_str(),
            platforms.eventbrite_url.as_str(),
        );
        let settings = merge(SETTINGS, &setup.settings)?;
        let folder = ConfigFolder::write(&known, &settings, &setup.klaviyo, &setup.eventbrite)?;
        let redis_url = std::env::var("REDIS_URL").context("REDIS_URL: run cargo xtask test")?;
        let environment = vec![
            ("SYNCLINE__REDIS__URL".to_owned(), by_way_of(setup.redis, &redis_url)?),
            ("SYNCLINE__REDIS__NAMESPACE".to_owned(), Uuid::now_v7().to_string()),
            ("SYNCLINE__POSTGRES__URL".to_owned(), by_way_of(setup.postgres, &database_url(&db)?)?),
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
        for (platform, endpoint) in
            [(Platform::Klaviyo, KLAVIYO_ENDPOINT), (Platform::Eventbrite, EVENTBRITE_ENDPOINT)]
        {
            let target: Url = format!("{base}/webhooks/{}/{endpoint}", platform.name()).parse()?;
            self.platforms.set_webhook_target(platform, Some(target));
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
        let file = self.folder.file();
        let arguments = ["--config", file.to_str().context("a path in UTF-8")?];
        let environment = [&self.environment(), more].concat();
        Program::start(name, &arguments, &environment, Some(&self.folder.path().join("log")))
    }

    /// Starts a worker.
    pub fn start_worker(&mut self) {
        let (config, lifecycle) = (self.config.clone(), self.lifecycle.clone());
        self.tasks.spawn(async move { worker::run(&config, &lifecycle).await });
    }

    /// Starts a scheduler.
    pub fn start_scheduler(&mut self) {
        let (config, lifecycle) = (self.config.clone(), self.lifecycle.clone());
        self.tasks.spawn(async move { scheduler::run(&config, &lifecycle).await });
    }

    /// The address of a webhook endpoint of the ingress that was started.
    pub fn webhook_url(&self, path: &str) -> String {
        format!("{}/webhooks/{path}", self.ingress.as_deref().unwrap_or("http://not.started"))
    }

    /// Everything that this fleet has in Redis is gone at one stroke, as after FLUSHALL.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        let pattern = format!("{{{}s*", self.config.redis.namespace);
        let script = redis::Script::new(
            "local keys = redis.call('KEYS', ARGV[1])
             if #keys > 0 then redis.call('DEL', unpack(keys)) end
             return #keys",
        );
        let _: u64 = script.arg(pattern).invoke_async(&mut self.redis.clone()).await?;
        Ok(())
    }

    /// How many keys this fleet has in Redis.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn redis_keys(&self) -> anyhow::Result<Vec<String>> {
        let pattern = format!("{{{}s*", self.config.redis.namespace);
        Ok(self.redis.clone().keys(pattern).await?)
    }

    /// What is true on the platforms.
    pub fn truth(&self) -> BTreeMap<Name, Value> {
        let names = |value: &dyn Debug| format!("{value:?}").to_lowercase();
        self.platforms
            .truth()
            .records
            .into_iter()
            .map(|record| {
                let platform = record.platform.name().to_owned();
                let name = (platform, names(&record.record_type), record.external_id);
                (name, record.payload)
            })
            .collect()
    }

    /// Every difference between mirror and truth.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn mismatches(&self) -> anyhow::Result<Vec<Mismatch>> {
        Ok(mirror::compare(&self.truth(), &mirror::mirrored(&self.db).await?))
    }

    /// Waits until the mirror is true.
    ///
    /// # Errors
    ///
    /// When it does not become so; the error has the differences.
    pub async fn becomes_true(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.nobody_failed()?;
            let wrong = self.mismatches().await?;
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() > give_up {
                bail!("the mirror does not become true: {wrong:#?}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `condition` is met.
    ///
    /// # Errors
    ///
    /// When it is not, or it fails.
    pub async fn until(
        &mut self,
        what: &str,
        condition: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !condition(self).await? {
            self.nobody_failed()?;
            if Instant::now() > give_up {
                bail!("it does not happen that {what}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until nothing waits for this fleet: no open notice, no job in the lane.
    ///
    /// # Errors
    ///
    /// When it does not come to rest.
    pub async fn comes_to_rest(&mut self, lane: &str) -> anyhow::Result<()> {
        let (fleet, lane): (Fleet, Lane) = (self.fleet().await?, lane.parse()?);
        self.until("the fleet comes to rest", async |scene| {
            let open: i64 =
                sqlx::query_scalar("select count(*) from inbox").fetch_one(&scene.db).await?;
            let depths = fleet.queue.depths(&lane).await?;
            let waiting = depths.ready.iter().sum::<u64>() + depths.delayed + depths.leased;
            Ok(open == 0 && waiting == 0)
        })
        .await
    }

    /// One number from the database.
    ///
    /// # Errors
    ///
    /// When the query fails.
    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.db).await?)
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

    /// A story cannot go on when one of the processes has ended.
    fn nobody_failed(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => {
                ended??;
                bail!("a process ended by itself")
            }
        }
    }
}

/// What the fleet says is shown when a story fails; `RUST_LOG` asks for more or less.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Another story in the same process may have been first.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

/// The address of the database that `db` is connected to.
///
/// # Errors
///
/// When `DATABASE_URL` is not set.
pub fn database_url(db: &PgPool) -> anyhow::Result<String> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL: run cargo xtask test")?;
    let mut url = Url::parse(&url)?;
    let options = db.connect_options();
    url.set_path(options.get_database().context("the pool has a database")?);
    Ok(url.into())
}

impl Drop for Scene {
    /// Nothing of the story may hold on to its database, which is dropped next.
    fn drop(&mut self) {
        self.lifecycle.stop();
        self.lifecycle.stop();
        self.tasks.detach_all();
    }
}

/// The same server behind another address.
fn by_way_of(way: Option<SocketAddr>, url: &str) -> anyhow::Result<String> {
    let Some(way) = way else { return Ok(url.to_owned()) };
    let mut url = Url::parse(url)?;
    url.set_host(Some(&way.ip().to_string()))?;
    url.set_port(Some(way.port())).map_err(|()| anyhow!("{way} has a port"))?;
    Ok(url.into())
}

/// `over` laid over `usual`, section by section.
fn merge(usual: &str, over: &str) -> anyhow::Result<String> {
    let mut merged: toml::Table = usual.parse()?;
    for (section, keys) in over.parse::<toml::Table>()? {
        match (merged.get_mut(&section), keys) {
            (Some(toml::Value::Table(known)), toml::Value::Table(keys)) => known.extend(keys),
            (_, keys) => drop(merged.insert(section, keys)),
        }
    }
    Ok(merged.to_string())
}
