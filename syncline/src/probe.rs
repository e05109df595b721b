//! `syncline connections check`.

use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use common::config::Config;
use common::fleet::{Connection, Fleet, open_lane, senders};
use common::ids::Lane;
use common::job::{JobId, PROBE, Task};
use common::platform::{Api, ApiSettings, Call, PlatformError, Sender};
use common::queue::PermitReport;
use common::quota::{Permit, Permits, Quota, QuotaError, RateSignal};
use common::store::senders::State;
use common::store::sent_requests;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
use crate::table::{Column, draw};

/// How long a person waits for a permit.
const PATIENCE: Duration = Duration::from_secs(20);
/// At least one connection does not work.
const NOT_ALL_WORK: u8 = 1;

/// Arguments of `connections check`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only this one: `platform/name`.
    connection: Option<Lane>,
    /// Answer as a list of objects.
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Finding {
    lane: Lane,
    /// One word, for programs.
    result: &'static str,
    /// For people.
    what: String,
    /// Whether the platform sends webhooks; `None` where that was not asked.
    sender: Option<State>,
    /// The same for people.
    sender_what: String,
}

/// Sends one request for each connection, paid like any other. A parked one is tried too.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Answer> {
    let fleet = Fleet::open(config).await?;
    let api = api(config)?;
    let wanted = |connection: &&std::sync::Arc<Connection>| {
        arguments.connection.as_ref().is_none_or(|lane| connection.lane() == lane)
    };
    let mut findings = Vec::new();
    for connection in fleet.connections.iter().filter(wanted) {
        findings.push(probe(&fleet, &api, connection).await);
    }
    fleet.renewals.finish().await;
    if let (Some(lane), true) = (&arguments.connection, findings.is_empty()) {
        bail!(unknown(lane));
    }
    let all_work = findings
        .iter()
        .all(|finding| finding.result == "works" && finding.sender != Some(State::Off));
    let answer = if arguments.json {
        Answer::json(&findings.iter().map(to_json).collect())
    } else {
        let columns = [
            Column::Text("Connection"),
            Column::Text("Result"),
            Column::Text("What"),
            Column::Text("Webhooks"),
        ];
        let row = |f: &Finding| {
            let sender = match f.sender {
                None => "none are taken".to_owned(),
                Some(state) => format!("{state}: {}", f.sender_what),
            };
            [f.lane.to_string(), f.result.to_owned(), f.what.clone(), sender]
        };
        Answer::text(draw(columns, findings.iter().map(row), "there are no connections"))
    };
    Ok(answer.ends_with(if all_work { 0 } else { NOT_ALL_WORK }))
}

fn to_json(finding: &Finding) -> Value {
    let sender =
        finding.sender.map(|state| json!({ "state": state.as_str(), "what": finding.sender_what }));
    json!({
        "connection": finding.lane,
        "result": finding.result,
        "what": finding.what,
        "webhooks": sender,
    })
}

/// The way out, as configured.
pub(crate) fn api(config: &Config) -> anyhow::Result<Api> {
    Api::new(ApiSettings {
        connect: config.api.connect_timeout,
        read: config.api.read_timeout,
        whole: config.api.whole_timeout,
        max_body_bytes: config.api.max_body_bytes,
        contact: config.api.contact.clone(),
    })
    .context("the HTTP client")
}

/// What is said of a connection that this process cannot speak for.
pub(crate) fn unknown(lane: &Lane) -> String {
    format!(
        "{lane}: neither the configuration nor syncline connections add names it, or its secrets cannot be opened"
    )
}

async fn probe(fleet: &Fleet, api: &Api, connection: &Connection) -> Finding {
    let permits = ProbePermits::new(fleet, connection);
    // The probe is the first page of a scan, unless the platform has something cheaper.
    let kind = connection.platform.records().first().map_or_else(String::new, |kind| {
        let task = Task::Scan { record_type: kind.name.into() };
        let id: JobId = task.job_id();
        id.kind().to_owned()
    });
    let call = Call::new(api, &connection.account, &permits, &kind);
    let probed = connection.platform.probe(&call).await;
    let (result, what) = meaning(probed);
    let lane = connection.lane().clone();
    let mut finding = Finding { lane, result, what, sender: None, sender_what: String::new() };
    // Where not even the token is taken, there is nothing to ask with.
    if connection.endpoint.is_some() && result == "works" {
        let call = Call::new(api, &connection.account, &permits, PROBE);
        let sender = senders::look(connection, &call).await;
        let sender = sender.unwrap_or_else(|error| Sender::unknown(error.to_string()));
        finding.sender = Some(senders::state(sender.state));
        finding.sender_what = sender.what;
    }
    finding
}

/// What a probe tells, by what a person can do about it.
fn meaning(probed: Result<(), PlatformError>) -> (&'static str, String) {
    let error = match probed {
        Ok(()) => return ("works", "the platform took the token".to_owned()),
        Err(error) => error,
    };
    let text = error.to_string();
    match error {
        PlatformError::Unauthorized { reason } if reason.starts_with("403") => {
            ("scope", format!("{text}: the token is known, and lacks the right to read this"))
        }
        PlatformError::Unauthorized { .. } => ("authentication", text),
        PlatformError::Retired { .. } => ("retired", text),
        PlatformError::NoToken { .. } => ("no-token", text),
        PlatformError::NoPermit(QuotaError::After(wait)) => {
            ("no-permit", format!("no quota is free for the next {wait:.0?}: nothing was sent"))
        }
        PlatformError::NoPermit(QuotaError::Unreachable(_)) => {
            ("no-permit", "Redis or Postgres cannot be reached: nothing was sent".to_owned())
        }
        PlatformError::Throttled { .. } => ("throttled", text),
        PlatformError::Transient { .. } => ("unreachable", text),
        PlatformError::Unexpected { .. } | PlatformError::CursorLost => ("unexpected", text),
    }
}

/// Permits for one who probes: paid like any other, also while the lane is held, since it is held
/// until a person looks.
pub(crate) struct ProbePermits<'a> {
    fleet: &'a Fleet,
    connection: &'a Connection,
}

impl<'a> ProbePermits<'a> {
    pub(crate) fn new(fleet: &'a Fleet, connection: &'a Connection) -> Self {
        Self { fleet, connection }
    }

    async fn acquire(&self, kind: &str) -> Result<Permit, QuotaError> {
        let unreachable = |error: anyhow::Error| QuotaError::Unreachable(error.into());
        let (queue, lane) = (&self.fleet.queue, self.connection.lane());
        let give_up = Instant::now() + PATIENCE;
        let mut opened = false;
        loop {
            let acquired = queue.acquire_for_probe(lane, kind).await;
            let wait = match acquired.map_err(|error| unreachable(error.into()))? {
                Ok(permit) => return Ok(permit),
                Err(wait) => wait,
            };
            // Before its first worker nobody has opened it.
            if !opened {
                opened = true;
                open_lane(self.fleet, lane).await.map_err(unreachable)?;
            } else if Instant::now() + wait > give_up {
                return Err(QuotaError::After(wait));
            } else {
                sleep(wait).await;
            }
        }
    }
}

#[async_trait]
impl Permits for ProbePermits<'_> {
    async fn take(&self, kind: &str) -> Result<Permit, QuotaError> {
        let permit = self.acquire(kind).await?;
        if self.connection.limits.drawn_on(kind).any(Quota::is_recorded) {
            sent_requests::record(&self.fleet.db, self.connection.id, &[permit.id])
                .await
                .map_err(|error| QuotaError::Unreachable(error.into()))?;
        }
        Ok(permit)
    }

    async fn settle(&self, permit: Permit, signal: RateSignal) {
        let report = PermitReport::answered(permit, signal);
        // Unsettled, it holds its slot until its deadline: the safe side.
        let observed = self.fleet.queue.observe(self.connection.lane(), &[report]).await;
        drop(observed);
    }

    async fn failed(&self) {
        self.fleet.count_failure(self.connection).await;
    }
}
