//! A fleet of real processes between servers and ways that a story breaks, under load.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use simulator::{ChangeKind, ChangeRequest, Platform, QuotaConfig, RecordType};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{Ledger, OwnPostgres, OwnRedis, Way, figures};
use crate::config_file::{EVENTBRITE, EVENTBRITE_ENDPOINT, KLAVIYO, KLAVIYO_ENDPOINT};
use crate::mirror::Name;
use crate::program::Program;
use crate::scene::{Scene, Setup, database_url};

/// How long a condition may take to come true. Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// One change after the other, this far apart.
const CHANGE_EVERY: Duration = Duration::from_millis(15);

/// What changes, in turn.
const CHANGING: [(Platform, RecordType); 6] = [
    (Platform::Klaviyo, RecordType::Profile),
    (Platform::Eventbrite, RecordType::Attendee),
    (Platform::Klaviyo, RecordType::Profile),
    (Platform::Eventbrite, RecordType::Order),
    (Platform::Klaviyo, RecordType::Profile),
    (Platform::Eventbrite, RecordType::Event),
];

/// Nothing takes long: quotas have windows of a second or two, or are recorded and so rebuilt.
const SETTINGS: &str = r#"
[api]
whole_timeout = "1s"
read_timeout = "1s"
[scheduler]
spot_check_min_age = "24h"
audit_share = 0.0
run_audit_samples = 0
[worker]
retry_cap = "1s"
"#;
const KLAVIYO_QUOTAS: &str = r#"
quotas.burst = { limit = 20, window = "1s", burst = 20, headroom = 1 }
quotas.steady = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
quotas.profiles = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
quotas.lists = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
quotas.list-profiles = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
quotas.events = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
"#;
const EVENTBRITE_QUOTAS: &str = r#"
quotas.hour = { limit = 60, window = "2s", burst = 30, headroom = 5 }
confirm_after = []
young = "0s"
"#;

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// The only one.
    Ingress,
    /// One of two, by its number.
    Scheduler(u8),
    /// One of two, by its number.
    Worker(u8),
}

impl Member {
    /// All that a crew begins with.
    pub const ALL: [Self; 5] =
        [Self::Ingress, Self::Scheduler(1), Self::Scheduler(2), Self::Worker(1), Self::Worker(2)];

    /// The program that it runs.
    fn program(self) -> &'static str {
        match self {
            Self::Ingress => "syncline-ingress",
            Self::Scheduler(_) => "syncline-scheduler",
            Self::Worker(_) => "syncline-worker",
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingress => f.write_str("the ingress"),
            Self::Scheduler(number) => write!(f, "scheduler {number}"),
            Self::Worker(number) => write!(f, "worker {number}"),
        }
    }
}

/// The fleet, what it stands on, and what it has been told.
pub struct Crew {
    /// Platforms and database.
    pub scene: Scene,
    /// Its Redis.
    pub redis: OwnRedis,
    /// Its way there.
    pub to_redis: Way,
    /// Its way to Postgres.
    pub to_postgres: Way,
    /// Where Postgres is its own too; and the way that leads to it wherever it is.
    own: Option<(OwnPostgres, Way)>,
    listen: String,
    running: BTreeMap<Member, Program>,
    changes: BTreeMap<Name, u64>,
    made: usize,
    restarts: Option<u64>,
}

impl Crew {
    /// All processes, ready and at work, in a database of the story's own.
    ///
    /// # Errors
    ///
    /// When anything does not start.
    pub async fn start(db: PgPool) -> anyhow::Result<Self> {
        Self::start_with(db, "").await
    }

    /// The same with other settings.
    ///
    /// - `settings`: sections laid over the usual ones, as TOML.
    ///
    /// # Errors
    ///
    /// When anything does not start.
    pub async fn start_with(db: PgPool, settings: &str) -> anyhow::Result<Self> {
        let mut crew = Self::ashore(db, None, None, settings).await?;
        crew.board().await?;
        Ok(crew)
    }

    /// All processes, with another Redis than the crew's own: a Sentinel set or a cluster.
    ///
    /// - `redis_url`: as `redis.url`. `redis` and `to_redis` lead elsewhere then.
    /// - `settings`: sections laid over the usual ones, as TOML.
    ///
    /// # Errors
    ///
    /// When anything does not start.
    pub async fn start_at(db: PgPool, redis_url: &str, settings: &str) -> anyhow::Result<Self> {
        let mut crew = Self::ashore(db, None, Some(redis_url.to_owned()), settings).await?;
        crew.board().await?;
        Ok(crew)
    }

    /// All processes, on a Postgres that the story may kill.
    ///
    /// # Errors
    ///
    /// When anything does not start.
    pub async fn start_on_own_postgres(settings: &str) -> anyhow::Result<Self> {
        let postgres = OwnPostgres::start()?;
        let behind = Way::to_server_of(postgres.url()).await?;
        let mut url = Url::parse(postgres.url())?;
        if url.set_port(Some(behind.address().port())).is_err() {
            bail!("the address has a port");
        }
        let db = postgres.migrated(url.into()).await?;
        let mut crew = Self::ashore(db, Some((postgres, behind)), None, settings).await?;
        crew.board().await?;
        Ok(crew)
    }

    async fn ashore(
        db: PgPool,
        own: Option<(OwnPostgres, Way)>,
        redis_url: Option<String>,
        settings: &str,
    ) -> anyhow::Result<Self> {
        let redis = OwnRedis::start().await?;
        let to_redis = Way::to_server_of(redis.url()).await?;
        let to_postgres = Way::to_server_of(&database_url(&db)).await?;
        let mut setup = Setup {
            settings: crate::scene::merge(SETTINGS, settings)?,
            klaviyo: KLAVIYO_QUOTAS.to_owned(),
            eventbrite: EVENTBRITE_QUOTAS.to_owned(),
            redis_url,
            redis: Some(to_redis.address()),
            postgres: Some(to_postgres.address()),
            ..Setup::default()
        };
        let simulated = &mut setup.simulator;
        simulated.klaviyo.profiles = 40;
        simulated.eventbrite.attendees = 30;
        simulated.eventbrite.orders = 10;
        simulated.klaviyo.account.quotas = vec![QuotaConfig::new("burst", 20, 1_000)];
        simulated.eventbrite.account.quotas = vec![QuotaConfig::new("hour", 60, 2_000)];
        for account in [&mut simulated.klaviyo.account, &mut simulated.eventbrite.account] {
            let webhooks = &mut account.webhooks;
            webhooks.duplicated_share = 0.2;
            (webhooks.delay_ms, webhooks.linger_ms) = (20, 20);
            // They do not give up during a story, and wait no longer than it lasts.
            (webhooks.attempts, webhooks.backoff_max_ms) = (1_000, 500);
            webhooks.timeout_ms = 3_000;
        }
        let scene = Scene::new(db, setup).await?;
        // Free a moment ago; nobody else on this machine is given it so soon.
        let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
        for (platform, endpoint) in
            [(Platform::Klaviyo, KLAVIYO_ENDPOINT), (Platform::Eventbrite, EVENTBRITE_ENDPOINT)]
        {
            let target = format!("http://{listen}/webhooks/{}/{endpoint}", platform.name());
            scene.platforms.set_webhook_target(platform, Some(target.parse()?));
        }
        Ok(Self {
            scene,
            redis,
            to_redis,
            to_postgres,
            own,
            listen,
            running: BTreeMap::new(),
            changes: BTreeMap::new(),
            made: 0,
            restarts: None,
        })
    }

    /// Everybody, and a first change that has reached the mirror.
    async fn board(&mut self) -> anyhow::Result<()> {
        for member in Member::ALL {
            self.begin(member)?;
        }
        self.is_ready().await?;
        self.busy(CHANGE_EVERY * 6).await?;
        self.recovers("start").await.map(drop)
    }

    /// Starts a process that does not run.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn begin(&mut self, member: Member) -> anyhow::Result<()> {
        let listen = [("SYNCLINE__INGRESS__LISTEN", self.listen.as_str())];
        let program = self.scene.start_program(member.program(), &listen)?;
        self.running.insert(member, program);
        Ok(())
    }

    /// Waits until the ingress takes webhooks.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn is_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://{}/health/ready", self.listen);
        self.scene
            .until("the ingress is ready", async |scene| {
                let ready = scene.http.request(Method::GET, &url);
                Ok(matches!(scene.http.send(ready).await, Ok((StatusCode::OK, _))))
            })
            .await
    }

    /// A process that runs.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn member(&mut self, member: Member) -> anyhow::Result<&mut Program> {
        self.running.get_mut(&member).with_context(|| format!("{member:?} does not run"))
    }

    /// SIGKILL.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn kill(&mut self, member: Member) -> anyhow::Result<()> {
        self.member(member)?.kill().await?;
        self.running.remove(&member);
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub async fn stop(&mut self, member: Member) -> anyhow::Result<ExitStatus> {
        let ended = self.member(member)?.stop().await?;
        self.running.remove(&member);
        Ok(ended)
    }

    /// SIGKILL to Postgres.
    ///
    /// # Errors
    ///
    /// When it is not the story's own.
    pub fn kill_postgres(&mut self) -> anyhow::Result<()> {
        let (postgres, _) = self.own.as_mut().context("Postgres belongs to others too")?;
        postgres.kill();
        Ok(())
    }

    /// Postgres is there again, where its address leads.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start_postgres_again(&mut self) -> anyhow::Result<()> {
        let (postgres, behind) = self.own.as_mut().context("Postgres belongs to others too")?;
        postgres.start_again().await?;
        behind.lead_to(postgres.url())
    }

    /// Records change for so long, and webhooks tell of each change.
    ///
    /// # Errors
    ///
    /// When there is nothing to change.
    pub async fn busy(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + length;
        while Instant::now() < until {
            self.nobody_died()?;
            self.change()?;
            sleep(CHANGE_EVERY).await;
        }
        Ok(())
    }

    fn change(&mut self) -> anyhow::Result<()> {
        let (platform, record_type) =
            CHANGING.get(self.made % CHANGING.len()).copied().context("a list with entries")?;
        self.change_one(platform, record_type)
    }

    /// A random record of the kind changes, and a webhook tells of it.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn change_one(
        &mut self,
        platform: Platform,
        record_type: RecordType,
    ) -> anyhow::Result<()> {
        self.made += 1;
        let changed = self.scene.platforms.change(&ChangeRequest {
            platform,
            record_type: Some(record_type),
            external_id: None,
            kind: ChangeKind::Edit,
            notify: true,
        })?;
        let kind = format!("{:?}", changed.record_type).to_lowercase();
        let name = (platform.name().to_owned(), kind, changed.external_id);
        *self.changes.entry(name).or_default() += 1;
        Ok(())
    }

    /// From now on a process that ends with an error is started again, as Kubernetes or Compose do
    /// it: one cannot start while a store refuses.
    pub fn supervise(&mut self) {
        self.restarts = Some(0);
    }

    /// How often that was needed.
    pub fn restarts(&self) -> u64 {
        self.restarts.unwrap_or_default()
    }

    /// How many changes were made.
    pub fn changes(&self) -> usize {
        self.made
    }

    /// From now on nothing is broken: waits until all that was told is mirrored and nothing waits
    /// or runs, and says how long that took.
    ///
    /// # Errors
    ///
    /// When a process has died by itself, or the ledger does not balance.
    pub async fn recovers(&mut self, story: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            self.nobody_died()?;
            let ledger = Ledger::of(&self.scene, &self.changes).await;
            // More effects than changes, or requests than allowed, do not go away.
            match ledger {
                Ok(ledger) if ledger.balances() => break,
                Ok(Ledger { twice, over_quota, .. })
                    if !twice.is_empty() || !over_quota.is_empty() =>
                {
                    bail!("twice: {twice:?}, over quota: {over_quota:?}")
                }
                Ok(ledger) if began.elapsed() > PATIENCE => {
                    bail!("{ledger:#?}\n{}", self.log())
                }
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Ok(_) | Err(_) => sleep(LOOK_EVERY).await,
            }
        }
        let took = began.elapsed();
        for lane in [KLAVIYO, EVENTBRITE] {
            self.scene.comes_to_rest(lane).await?;
        }
        // What runs late would have shown by now.
        let ledger = Ledger::of(&self.scene, &self.changes).await?;
        if !ledger.balances() {
            bail!("{ledger:#?}");
        }
        figures::note(story, took, u64::try_from(self.made)?)?;
        Ok(took)
    }

    fn nobody_died(&mut self) -> anyhow::Result<()> {
        let mut died = Vec::new();
        for (member, program) in &mut self.running {
            died.extend(program.ended()?.map(|status| (*member, status)));
        }
        for (member, status) in died {
            match &mut self.restarts {
                Some(restarts) if status.code() == Some(1) => *restarts += 1,
                _ => bail!("{member} ended by itself ({status})\n{}", self.log()),
            }
            self.begin(member)?;
        }
        Ok(())
    }

    /// The last of what the processes said.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.scene.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}
