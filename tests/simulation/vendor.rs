//! The platforms: what is true there, and a strict log of when they were asked.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use common::drift::{ContentHash, Shape};
use common::ids::{ConnectionId, ExternalId, Lane};
use common::job::{JobId, Task};
use common::platform::{
    Account, Call, Consistency, Look, Notice, Page, Platform, PlatformError, RecordKind, Refused,
    ScanFrom, Snapshot, WebhookRequest,
};
use common::quota::{LaneLimits, RateSignal};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::Span;

use crate::fleet;
use crate::plan::{Blow, POISON};
use crate::postgres::Key;
use crate::process::Process;
use crate::world::{MS, START, State};

/// The client gives up.
pub(crate) const WHOLE: Duration = Duration::from_millis(2_500);
/// So much later it has arrived, or never will.
pub(crate) const STRAGGLERS: Duration = Duration::from_millis(500);

static SHAPE: Shape = Shape::Whole;
static KINDS: [RecordKind; 3] = [kind("order", 2), kind("member", 1), kind(POISON, 1)];

const fn kind(name: &'static str, batch: u32) -> RecordKind {
    RecordKind {
        name,
        schema_version: 1,
        batch,
        changed_since: false,
        lists_edits: false,
        mirrored: true,
        shape: &SHAPE,
    }
}

/// What a platform has, and when it was asked, by lane.
#[derive(Default)]
pub(crate) struct Vendor {
    versions: BTreeMap<Key, u64>,
    arrivals: BTreeMap<ConnectionId, Vec<u64>>,
}

pub(crate) fn version_of(hash: ContentHash) -> u64 {
    u64::from_be_bytes(hash.0[..8].try_into().unwrap())
}

impl Vendor {
    /// A record changes; its new version.
    pub(crate) fn change(&mut self, record: Key) -> u64 {
        let version = self.versions.entry(record).or_default();
        *version += 1;
        *version
    }

    pub(crate) fn version(&self, record: &Key) -> u64 {
        self.versions.get(record).copied().unwrap_or_default()
    }

    pub(crate) fn versions(&self) -> &BTreeMap<Key, u64> {
        &self.versions
    }
}

impl State {
    /// A request arrives: no window may be too full, wherever it begins.
    fn arrive(&mut self, connection: ConnectionId, now: u64) {
        let lanes = fleet::lanes();
        let (lane, limits) = &lanes[usize::try_from(connection.0).unwrap()];
        let arrivals = self.vendor.arrivals.entry(connection).or_default();
        arrivals.push(now);
        let count = arrivals.len();
        let mut broken = Vec::new();
        for quota in &limits.quotas {
            let first = count.checked_sub(usize::try_from(quota.limit).unwrap() + 1);
            let window = u64::try_from(quota.window.as_micros()).unwrap();
            if let Some(apart) = first.map(|first| now - arrivals[first]).filter(|a| *a < window) {
                broken.push(format!("{} requests of {lane} in {apart} us", quota.limit + 1));
            }
            if quota.is_recorded() && self.postgres.recorded(connection) < count {
                broken.push(format!("a request of {lane} was not recorded"));
            }
        }
        for what in broken {
            self.break_law(now, what);
        }
    }
}

/// All platforms of the simulation: they differ by their lanes alone.
pub(crate) struct Shop;

impl Shop {
    async fn exchange(
        &self,
        lane: &Lane,
        kind: &RecordKind,
        ids: &[ExternalId],
    ) -> (Result<Vec<Look>, PlatformError>, Option<RateSignal>) {
        let process = Process::current();
        process.pays(lane, kind.name);
        for id in ids {
            process.holds(lane, &job(kind, id), "asks for");
        }
        let world = &process.world;
        let number = fleet::lanes().iter().position(|(name, _)| name == lane).unwrap();
        let connection = ConnectionId(i32::try_from(number).unwrap());
        let keys: Vec<Key> =
            ids.iter().map(|id| (connection, kind.name.into(), id.clone())).collect();
        let rates = world.plan.rates;
        // It arrives before the client gives up, or soon after.
        let (slow, unheard) = (world.happens(rates.late), world.happens(rates.unheard));
        let most = match (unheard, slow) {
            (true, _) => 2_900,
            (_, true) => 2_300,
            _ => 80,
        };
        let (there, back) = (world.pause(most), world.pause(80));
        let fails = world.happens(rates.failing);
        let (answer, answered) = oneshot::channel();
        let (server, name) = (std::sync::Arc::clone(world), process.name.clone());
        world.tasks.spawn(async move {
            sleep(there).await;
            let now = server.now();
            let seen = server.with(|state| {
                state.tell(now, format_args!("{name} reaches the platform for {keys:?}"));
                state.arrive(connection, now);
                keys.iter().map(|key| state.vendor.version(key)).collect::<Vec<_>>()
            });
            let at = (now - START) / MS;
            let during = |from: u64, ms: u64| (from..from + ms).contains(&at);
            let status = server.plan.blows.iter().find_map(|blow| match *blow {
                Blow::Refuse { lane, from, ms } if lane == number && during(from, ms) => Some(429),
                Blow::Fail { lane, from, ms } if lane == number && during(from, ms) => Some(503),
                _ => None,
            });
            let status = status.unwrap_or(if fails { 500 } else { 200 });
            if unheard {
                sleep(WHOLE * 2).await;
            }
            sleep(back).await;
            // Nobody waits for it any more, perhaps.
            drop(answer.send((status, seen)));
        });
        let transient =
            |what: &str| Err(PlatformError::Transient { what: what.to_owned(), retry_after: None });
        match timeout(WHOLE, answered).await {
            Ok(Ok((200, seen))) => {
                let looks = ids.iter().zip(seen).map(|(id, version)| found(id, version));
                (Ok(looks.collect()), Some(RateSignal::default()))
            }
            Ok(Ok((429, _))) => {
                let refused_for = Some(Duration::from_millis(1_500));
                let signal = RateSignal { refused_for, blameless: true, ..RateSignal::default() };
                (transient("refused"), Some(signal))
            }
            Ok(Ok(_)) => (transient("5xx"), Some(RateSignal::default())),
            Ok(Err(_)) | Err(_) => (transient("no answer"), None),
        }
    }
}

fn job(kind: &RecordKind, id: &ExternalId) -> JobId {
    Task::Check { record_type: kind.name.into(), external_id: id.clone() }.job_id()
}

fn found(id: &ExternalId, version: u64) -> Look {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&version.to_be_bytes());
    let payload = RawValue::from_string(format!(r#"{{"version":{version}}}"#)).unwrap();
    let (external_id, hash) = (id.clone(), ContentHash(hash));
    Look::Found(Snapshot { external_id, payload, hash, version: None })
}

#[async_trait]
impl Platform for Shop {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn records(&self) -> &'static [RecordKind] {
        &KINDS
    }

    fn base_url(&self) -> &'static str {
        "https://shop.invalid"
    }

    fn limits(&self) -> LaneLimits {
        fleet::lanes().remove(0).1
    }

    fn consistency(&self) -> Consistency {
        Consistency { confirm_after: Vec::new(), young: Duration::ZERO }
    }

    fn receive(&self, _: &Account, _: &WebhookRequest<'_>) -> Result<Vec<Notice>, Refused> {
        unreachable!("the ingress is told again")
    }

    async fn look(
        &self,
        call: &Call<'_>,
        kind: &RecordKind,
        ids: &[ExternalId],
    ) -> Result<Vec<Look>, PlatformError> {
        if kind.name == POISON {
            Process::current().die("of poison");
            std::future::pending::<()>().await;
        }
        let lane = call.account().lane.clone();
        call.under_permit(&Span::none(), self.exchange(&lane, kind, ids)).await
    }

    async fn scan(
        &self,
        _: &Call<'_>,
        _: &RecordKind,
        _: &ScanFrom,
    ) -> Result<Page, PlatformError> {
        unreachable!("nothing is scanned")
    }
}
