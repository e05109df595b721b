//! The processes of the demo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use common::store;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::forged_body;
use crate::config_file::{ConfigFolder, EVENTBRITE_ENDPOINT, KLAVIYO_ENDPOINT, Platforms};
use crate::http::Http;
use crate::mirror::{self, Mismatch, Name};
use crate::program::Program;

/// How long a process may take to become ready.
const START: Duration = Duration::from_secs(30);

/// The quotas are the defaults of the project, with one exception: Eventbrite's hour is scaled to
/// ten seconds, in the platform and in the fleet alike. The arithmetic is the same.
const SETTINGS: &str = r#"
[worker]
lease = "10s"
heartbeat = "2s"
missing_confirm_after = "500ms"
[api]
whole_timeout = "10s"
read_timeout = "10s"
[scheduler]
tick = "500ms"
sweep_every = "2s"
spot_check_horizon = "10s"
spot_check_min_age = "4s"
bulk_overlap = "5s"
"#;

const KLAVIYO_SETTINGS: &str = r#"
quotas.burst = { limit = 75, window = "1s" }
quotas.steady = { limit = 500, window = "1m" }
schedules = [
  { record_type = "profile", mode = "changes", cron = "*/10 * * * * *" },
  { record_type = "profile", mode = "full", cron = "*/30 * * * * *" },
]
"#;

const EVENTBRITE_SETTINGS: &str = r#"
quotas.hour = { limit = 200, window = "10s" }
confirm_after = ["2500ms"]
young = "5s"
schedules = [
  { record_type = "event", mode = "full", cron = "*/20 * * * * *" },
  { record_type = "attendee", mode = "full", cron = "*/30 * * * * *" },
  { record_type = "order", mode = "full", cron = "*/30 * * * * *" },
]
"#;

/// Where the simulated platforms are.
#[derive(Debug, Deserialize)]
struct Addresses {
    #[serde(rename = "klaviyo_url")]
    klaviyo: String,
    #[serde(rename = "eventbrite_url")]
    eventbrite: String,
    #[serde(rename = "control_url")]
    control: String,
}

/// The platforms' own record of what is true.
#[derive(Debug, Deserialize)]
struct Truth {
    records: Vec<TrueRecord>,
}

#[derive(Debug, Deserialize)]
struct TrueRecord {
    platform: String,
    record_type: String,
    external_id: String,
    payload: Value,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct DemoFleet {
    pub(super) db: PgPool,
    pub(super) http: Http,
    platforms: Program,
    control_url: String,
    ours: Vec<Program>,
    folder: Option<ConfigFolder>,
    kept: PathBuf,
    ingress: String,
    console: String,
}

impl DemoFleet {
    pub(super) async fn start(seed: u64) -> anyhow::Result<Self> {
        let redis_url = std::env::var("REDIS_URL").context("REDIS_URL: use cargo xtask demo")?;
        let server = std::env::var("DATABASE_URL").context("DATABASE_URL: use cargo xtask demo")?;
        let database_url = new_database(&server).await?;
        let db = store::connect(&SecretString::from(database_url.clone()), 5, START).await?;
        store::migrate(&db).await?;
        let http = Http::new()?;

        let seed = seed.to_string();
        let without_lists = r#"{ "klaviyo": { "lists": 0, "memberships": 0 } }"#;
        let only = ["--only", "klaviyo,eventbrite", "--with", without_lists];
        let arguments = [["--lively", "--seed", &seed].as_slice(), &only].concat();
        let mut platforms = Program::start("syncline-simulator", &arguments, &[], None)?;
        let addresses = addresses(&mut platforms).await?;
        let simulated = simulator::Config::default();
        let known = Platforms::of(&simulated, &addresses.klaviyo, &addresses.eventbrite);
        let folder = ConfigFolder::write(&known, SETTINGS, KLAVIYO_SETTINGS, EVENTBRITE_SETTINGS)?;

        let file = folder.file().display().to_string();
        let log = folder.path().join("fleet.log");
        let namespace = format!("demo-{}", Uuid::now_v7());
        let mut fleet = Self {
            db,
            http,
            platforms,
            control_url: addresses.control.trim_end_matches('/').to_owned(),
            ours: Vec::new(),
            kept: folder.path().to_owned(),
            folder: Some(folder),
            ingress: free_address().await?,
            console: free_address().await?,
        };
        let (ingress, console) = (fleet.ingress.clone(), fleet.console.clone());
        for (name, key, listen) in [
            ("syncline-ingress", "SYNCLINE__INGRESS__LISTEN", ingress),
            ("syncline-scheduler", "SYNCLINE__SCHEDULER__LISTEN", free_address().await?),
            ("syncline-worker", "SYNCLINE__WORKER__LISTEN", free_address().await?),
            ("syncline-worker", "SYNCLINE__WORKER__LISTEN", free_address().await?),
            ("syncline-console", "SYNCLINE__CONSOLE__LISTEN", console),
        ] {
            let environment = [
                ("SYNCLINE__REDIS__URL", redis_url.as_str()),
                ("SYNCLINE__REDIS__NAMESPACE", namespace.as_str()),
                ("SYNCLINE__POSTGRES__URL", database_url.as_str()),
                (key, listen.as_str()),
            ];
            let program = Program::start(name, &["--config", &file], &environment, Some(&log))?;
            fleet.ours.push(program);
            fleet.becomes_ready(name, &listen).await?;
        }
        fleet.point_webhooks_at_ingress().await?;
        Ok(fleet)
    }

    async fn becomes_ready(&mut self, name: &str, listen: &str) -> anyhow::Result<()> {
        let url = format!("http://{listen}/health/ready");
        let give_up = Instant::now() + START;
        loop {
            self.nobody_died()?;
            let request = self.http.request(reqwest::Method::GET, &url);
            if matches!(self.http.send(request).await, Ok((status, _)) if status.is_success()) {
                return Ok(());
            }
            if Instant::now() > give_up {
                bail!("{name} does not become ready; see {}", self.kept.display());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn point_webhooks_at_ingress(&self) -> anyhow::Result<()> {
        for (platform, endpoint) in
            [("klaviyo", KLAVIYO_ENDPOINT), ("eventbrite", EVENTBRITE_ENDPOINT)]
        {
            let target = format!("http://{}/webhooks/{platform}/{endpoint}", self.ingress);
            let body = json!({ "platform": platform, "target": target });
            let (status, answer) = self.control("/webhook/target", &body).await?;
            if !status.is_success() {
                bail!("the simulator answered {status}: {answer}");
            }
        }
        Ok(())
    }

    async fn control(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(reqwest::StatusCode, String)> {
        self.http.post_json(&format!("{}{path}", self.control_url), body).await
    }

    /// How many of the forged webhooks were refused.
    pub(super) async fn send_forged_webhooks(&self) -> anyhow::Result<u64> {
        let url = format!("http://{}/webhooks/klaviyo/{KLAVIYO_ENDPOINT}", self.ingress);
        let mut refused = 0;
        for _ in 0..3 {
            let (status, _) = self.http.post_json(&url, &forged_body()).await?;
            refused += u64::from(status == reqwest::StatusCode::UNAUTHORIZED);
        }
        Ok(refused)
    }

    pub(super) fn console_url(&self) -> String {
        format!("http://{}/", self.console)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.kept
    }

    /// What the platforms count.
    pub(super) async fn platform_stats(&self) -> anyhow::Result<Value> {
        self.http.get_json(&format!("{}/stats", self.control_url)).await
    }

    /// Ends all changes; says for how many milliseconds reads may still show an old state.
    pub(super) async fn freeze(&self) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct Frozen {
            pending_notices: u64,
            unsettled_ms: u64,
        }
        let (_, answer) = self.control("/freeze?wait_ms=15000", &Value::Null).await?;
        let frozen: Frozen = serde_json::from_str(&answer).context("the answer to a freeze")?;
        if frozen.pending_notices > 0 {
            bail!("{} webhooks were never taken", frozen.pending_notices);
        }
        Ok(frozen.unsettled_ms)
    }

    pub(super) async fn now(&self) -> anyhow::Result<Timestamp> {
        Ok(store::now(&self.db).await?)
    }

    /// Whether everything has been looked at since: no open notice, no record that was not
    /// verified, and for each record type a complete scan that began later and is done.
    pub(super) async fn is_quiet_since(&self, since: Timestamp) -> anyhow::Result<bool> {
        let unquiet: i64 = sqlx::query_scalar(
            "select (select count(*) from inbox)
                  + (select count(*) from external_integrations
                      where flags & 2 <> 0 or (flags & 1 = 0 and last_verified_at < $1))
                  + 4 - (select count(distinct (connection_id, record_type)) from bulk_runs
                          where mode = 'full' and state = 'done' and started_at > $1)",
        )
        .bind(jiff_sqlx::Timestamp::from(since))
        .fetch_one(&self.db)
        .await?;
        Ok(unquiet == 0)
    }

    /// Every difference between mirror and truth.
    pub(super) async fn mismatches(&self) -> anyhow::Result<Vec<Mismatch>> {
        let truth: Truth = self.http.get_json(&format!("{}/truth", self.control_url)).await?;
        let truth: BTreeMap<Name, Value> = truth
            .records
            .into_iter()
            .map(|record| {
                ((record.platform, record.record_type, record.external_id), record.payload)
            })
            .collect();
        Ok(mirror::compare(&truth, &mirror::mirrored(&self.db).await?))
    }

    pub(super) fn nobody_died(&mut self) -> anyhow::Result<()> {
        for program in self.ours.iter_mut().chain([&mut self.platforms]) {
            if let Some(status) = program.ended()? {
                bail!("{} ended by itself ({status}); see {}", program.name(), self.kept.display());
            }
        }
        Ok(())
    }

    /// Stops all processes as a deployment would, ours before the platforms.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let mut ours = std::mem::take(&mut self.ours);
        for program in &mut ours {
            let status = timeout(START, program.stop())
                .await
                .with_context(|| format!("{} does not stop", program.name()))??;
            if !status.success() {
                bail!("{} stopped with {status}", program.name());
            }
        }
        self.platforms.stop().await?;
        Ok(())
    }

    /// Leaves the folder where it is.
    pub(super) fn keep(&mut self) -> PathBuf {
        match self.folder.take() {
            Some(folder) => folder.keep(),
            None => self.kept.clone(),
        }
    }
}

async fn addresses(platforms: &mut Program) -> anyhow::Result<Addresses> {
    let stdout = platforms.stdout().context("the simulator has an output")?;
    let mut line = String::new();
    timeout(START, BufReader::new(stdout).read_line(&mut line))
        .await
        .context("the simulator does not start")??;
    serde_json::from_str(&line).context("the simulator's first line")
}

/// A fresh database beside the one that `server` names.
async fn new_database(server: &str) -> anyhow::Result<String> {
    let name = format!("demo_{}", Uuid::now_v7().simple());
    let admin = store::connect(&SecretString::from(server.to_owned()), 1, START).await?;
    let statement = format!("create database {name}");
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&admin).await?;
    admin.close().await;
    let mut url: url::Url = server.parse()?;
    url.set_path(&name);
    Ok(url.into())
}

/// A loopback address with a port that was free a moment ago.
async fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string())
}
