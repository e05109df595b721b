//! The simulated platforms of the demo: a process of their own, spoken to over its control API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use simulator::Platform;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::config_file::{Addresses, DISCORD_ENDPOINT, endpoint};
use crate::http::Http;
use crate::mirror::{self, Name};
use crate::program::Program;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// So often it is waited for ten seconds until all webhooks were taken: on a busy machine some are
/// sent a second and a third time.
const FREEZES: u32 = 8;

/// Where everything is.
#[derive(Debug, Deserialize)]
struct FirstLine {
    #[serde(flatten)]
    addresses: Addresses,
    control_url: String,
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

/// All four of them.
#[derive(Debug)]
pub(super) struct Platforms {
    pub(super) program: Program,
    pub(super) addresses: Addresses,
    http: Http,
    control_url: String,
}

impl Platforms {
    /// Platforms that change by themselves and lose webhooks.
    pub(super) async fn start(seed: u64, http: Http) -> anyhow::Result<Self> {
        let seed = seed.to_string();
        let mut program =
            Program::start("syncline-simulator", &["--lively", "--seed", &seed], &[], None)?;
        let stdout = program.stdout().context("the simulator has an output")?;
        let mut line = String::new();
        timeout(START, BufReader::new(stdout).read_line(&mut line))
            .await
            .context("the simulator does not start")??;
        let FirstLine { addresses, control_url } =
            serde_json::from_str(&line).context("the simulator's first line")?;
        let control_url = control_url.trim_end_matches('/').to_owned();
        Ok(Self { program, addresses, http, control_url })
    }

    /// Where webhooks, and the notices of the bridge to Discord's gateway, go from now on: the
    /// ingress at this address.
    pub(super) async fn send_webhooks_to(&self, ingress: &str) -> anyhow::Result<()> {
        for platform in Platform::ALL {
            let name = platform.name();
            let target = format!("http://{ingress}/webhooks/{name}/{}", endpoint(platform));
            let body = json!({ "platform": name, "target": target });
            self.tell("/webhook/target", &body).await?;
        }
        let target = format!("http://{ingress}/notices/discord/{DISCORD_ENDPOINT}");
        self.tell("/bridge/target", &json!({ "target": target })).await
    }

    async fn tell(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.control(path, body).await?;
        if !status.is_success() {
            bail!("the simulator answered {status}: {answer}");
        }
        Ok(())
    }

    /// What they count.
    pub(super) async fn stats(&self) -> anyhow::Result<Value> {
        self.http.get_json(&format!("{}/stats", self.control_url)).await
    }

    /// Ends all changes; says for how many milliseconds reads may still show an old state.
    pub(super) async fn freeze(&self) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct Frozen {
            pending_notices: u64,
            unsettled_ms: u64,
        }
        let mut left = 0;
        for _ in 0..FREEZES {
            let (_, answer) = self.control("/freeze?wait_ms=10000", &Value::Null).await?;
            let frozen: Frozen = serde_json::from_str(&answer).context("the answer to a freeze")?;
            left = frozen.pending_notices;
            if left == 0 {
                return Ok(frozen.unsettled_ms);
            }
        }
        bail!("{left} webhooks were never taken")
    }

    /// Every record as it is.
    pub(super) async fn truth(&self) -> anyhow::Result<BTreeMap<Name, Value>> {
        let truth: Truth = self.http.get_json(&format!("{}/truth", self.control_url)).await?;
        let named = |record: TrueRecord| {
            let TrueRecord { platform, record_type, external_id, payload } = record;
            (mirror::name(&platform, &record_type, external_id), payload)
        };
        Ok(truth.records.into_iter().map(named).collect())
    }

    async fn control(&self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, String)> {
        self.http.post_json(&format!("{}{path}", self.control_url), body).await
    }
}
