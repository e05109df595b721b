//! The processes of the demo.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use common::store;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::Platform;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::platforms::Platforms;
use super::settings::{CONNECTIONS, SETTINGS, full_scans};
use super::{FORGED_EACH, SIGNED};
use crate::config_file::{ConfigFolder, endpoint};
use crate::http::Http;
use crate::mirror::{self, Mismatch};
use crate::program::Program;

/// How long a process may take to become ready.
const START: Duration = Duration::from_secs(30);
/// How often one is started.
const STARTS: u32 = 3;

/// Everything that runs.
#[derive(Debug)]
pub(super) struct DemoFleet {
    pub(super) db: PgPool,
    pub(super) http: Http,
    pub(super) platforms: Platforms,
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

        let platforms = Platforms::start(seed, http.clone()).await?;
        let simulated = simulator::Config::default();
        let folder = ConfigFolder::write(&simulated, &platforms.addresses, SETTINGS, &CONNECTIONS)?;

        let namespace = format!("demo-{}", Uuid::now_v7());
        let mut fleet = Self {
            db,
            http,
            platforms,
            ours: Vec::new(),
            kept: folder.path().to_owned(),
            folder: Some(folder),
            ingress: String::new(),
            console: String::new(),
        };
        let environment = [
            ("SYNCLINE__REDIS__URL", redis_url.as_str()),
            ("SYNCLINE__REDIS__NAMESPACE", namespace.as_str()),
            ("SYNCLINE__POSTGRES__URL", database_url.as_str()),
        ];
        fleet.ingress = fleet.start_program("ingress", &environment).await?;
        for name in ["scheduler", "worker", "worker"] {
            fleet.start_program(name, &environment).await?;
        }
        fleet.console = fleet.start_program("console", &environment).await?;
        fleet.platforms.send_webhooks_to(&fleet.ingress).await?;
        Ok(fleet)
    }

    /// Starts one of our processes and waits until it is ready; says where it listens. The port was
    /// free a moment ago: where another was faster, it is started once more with another.
    async fn start_program(
        &mut self,
        process: &str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let name = format!("syncline-{process}");
        let key = format!("SYNCLINE__{}__LISTEN", process.to_uppercase());
        let (file, log) = (self.kept.join("syncline.toml"), self.kept.join("fleet.log"));
        let arguments = ["--config", file.to_str().context("a path in UTF-8")?];
        for _ in 0..STARTS {
            let listen = free_address().await?;
            let environment = [environment, &[(key.as_str(), listen.as_str())]].concat();
            let mut program = Program::start(&name, &arguments, &environment, Some(&log))?;
            if self.becomes_ready(&mut program, &listen).await? {
                self.ours.push(program);
                return Ok(listen);
            }
        }
        bail!("{name} ends before it is ready; see {}", self.kept.display());
    }

    /// False when it ends instead.
    async fn becomes_ready(&mut self, program: &mut Program, listen: &str) -> anyhow::Result<bool> {
        let url = format!("http://{listen}/health/ready");
        let give_up = Instant::now() + START;
        loop {
            self.nobody_died()?;
            if program.ended()?.is_some() {
                return Ok(false);
            }
            let request = self.http.request(reqwest::Method::GET, &url);
            if matches!(self.http.send(request).await, Ok((status, _)) if status.is_success()) {
                return Ok(true);
            }
            if Instant::now() > give_up {
                bail!("{} does not become ready; see {}", program.name(), self.kept.display());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many of the forged webhooks were refused.
    pub(super) async fn send_forged_webhooks(&self) -> anyhow::Result<u64> {
        let mut refused = 0;
        for platform in SIGNED {
            let (name, endpoint) = (platform.name(), endpoint(platform));
            let url = format!("http://{}/webhooks/{name}/{endpoint}", self.ingress);
            for _ in 0..FORGED_EACH {
                let (status, _) = self.http.post_json(&url, &forged_body(platform)).await?;
                refused += u64::from(status == reqwest::StatusCode::UNAUTHORIZED);
            }
        }
        Ok(refused)
    }

    pub(super) fn console_url(&self) -> String {
        format!("http://{}/", self.console)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.kept
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
                  + $2 - (select count(distinct (connection_id, record_type)) from bulk_runs
                          where mode = 'full' and state = 'done' and started_at > $1)",
        )
        .bind(jiff_sqlx::Timestamp::from(since))
        .bind(i64::try_from(full_scans())?)
        .fetch_one(&self.db)
        .await?;
        Ok(unquiet == 0)
    }

    /// Every difference between mirror and truth.
    pub(super) async fn mismatches(&self) -> anyhow::Result<Vec<Mismatch>> {
        let truth = self.platforms.truth().await?;
        Ok(mirror::compare(&truth, &mirror::mirrored(&self.db).await?))
    }

    pub(super) fn nobody_died(&mut self) -> anyhow::Result<()> {
        for program in self.ours.iter_mut().chain([&mut self.platforms.program]) {
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
        self.platforms.program.stop().await?;
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

/// The body of a webhook that nobody signed.
fn forged_body(platform: Platform) -> Value {
    match platform {
        Platform::Klaviyo => {
            json!({ "data": [], "meta": { "klaviyo_webhook_id": "01JSIMULATEDWEBHOOK" } })
        }
        Platform::Discord => json!({ "version": 1, "application_id": "7", "type": 1 }),
        _ => json!({ "data": { "id": "1", "type": "member" } }),
    }
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
