//! Answers that a platform counts towards a ban of our address: counted by all workers together, and
//! lanes frozen well before there are too many.
//!
//! The counts lie in Redis, beside the index and not part of it: whoever loses them has forgotten
//! some failures and counts anew. They prove nothing, unlike the ledgers; they are a brake.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;
use serde_json::json;
use tracing::{error, warn};

use super::{Connection, Fleet};
use crate::ids::{ConnectionId, Lane};
use crate::link::{Fault, Links};
use crate::platform::{self, ErrorBudget, Platform};
use crate::queue::Keys;
use crate::store::StoreError;
use crate::store::alerts::{self, Topic};

/// The alert of a budget of which as much is spent as we let be.
pub const SPENT: &str = "error-budget";

/// What one connection may spend of what its address may: one that fails alone is stopped before it
/// takes the others along.
const OF_ONE_CONNECTION: f64 = 0.5;

/// Open alerts that are looked at in one pass.
const ALERTS_PER_PASS: u32 = 500;

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payer {
    /// All connections of a platform over one outgoing address: `discord/shared`, which is no lane
    /// and has the form of one.
    Address(Lane),
    /// One connection, over whatever address.
    Connection(Lane),
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(name) => write!(f, "{name}"),
            Self::Connection(lane) => write!(f, "{lane}"),
        }
    }
}

/// How much of a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Failures in the window that ends now; up to a sixtieth of a window more.
    pub count: u32,
    /// From so many on nothing is sent.
    pub mark: u32,
    /// Until there are fewer than that again; zero while there are.
    pub until_below: Duration,
    /// The caller is the one who freezes.
    act: bool,
}

/// The counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ErrorBudgets {
    links: Links,
    keys: Keys,
    address: Arc<str>,
    share: f64,
}

impl ErrorBudgets {
    /// - `address`: our name of the address that requests leave from; workers behind one have one.
    /// - `share`: how much of a platform's limit may be spent, above 0 and at most 1.
    pub fn new(links: Links, keys: Keys, address: &str, share: f64) -> Self {
        Self { links, keys, address: address.into(), share }
    }

    /// The address that this process sends from, towards a platform; `None` where its name is none.
    fn address_of(&self, lane: &Lane) -> Option<Payer> {
        format!("{}/{}", lane.platform(), self.address).parse().ok().map(Payer::Address)
    }

    /// From how many failures on a payer is stopped.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a limit, between 1 and that limit"
    )]
    fn mark(&self, payer: &Payer, budget: ErrorBudget) -> u32 {
        let share = match payer {
            Payer::Address(_) => self.share,
            Payer::Connection(_) => self.share * OF_ONE_CONNECTION,
        };
        ((f64::from(budget.limit) * share) as u32).clamp(1, budget.limit.max(1))
    }

    /// Counts one failure, and says how the payer stands.
    ///
    /// # Errors
    ///
    /// When Redis cannot be asked: the failure is not counted.
    pub async fn count(&self, payer: &Payer, budget: ErrorBudget) -> Result<Standing, Fault> {
        self.ask(payer, budget, "count").await
    }

    /// How a payer stands.
    ///
    /// # Errors
    ///
    /// When Redis cannot be asked.
    pub async fn standing(&self, payer: &Payer, budget: ErrorBudget) -> Result<Standing, Fault> {
        self.ask(payer, budget, "look").await
    }

    async fn ask(&self, payer: &Payer, budget: ErrorBudget, how: &str) -> Result<Standing, Fault> {
        let (name, kind) = match payer {
            Payer::Address(name) => (name, "address"),
            Payer::Connection(lane) => (lane, "lane"),
        };
        let (shard, mark) = (self.keys.shard_of(name), self.mark(payer, budget));
        // There is a link for each shard of the keys.
        let link = self.links.get(shard.0.into()).ok_or(Fault::Silent)?;
        let server = link.server().await?;
        let key = format!("{}:errors:{kind}:{name}", self.keys.prefix(shard));
        let window_us = u64::try_from(budget.window.as_micros()).unwrap_or(u64::MAX);
        let mut call = COUNT.key(key);
        call.arg(window_us).arg(mark).arg(how);
        let told: Result<(u32, u64, u8), _> =
            call.invoke_async(&mut server.connection()).await.map_err(Fault::from);
        let (count, wait_us, act) = told.inspect_err(|fault| link.failed(&server, fault))?;
        let until_below = Duration::from_micros(wait_us);
        Ok(Standing { count, mark, until_below, act: act == 1 })
    }
}

impl Fleet {
    /// A platform has answered with what it counts towards a ban. Counted for the connection and for
    /// the address; at the mark of either, what belongs to it is frozen for every worker until
    /// enough of its failures are a window old.
    ///
    /// Never fails: without Redis there are no permits either, and so no requests.
    pub async fn count_failure(&self, connection: &Connection) {
        let Some(budget) = connection.platform.error_budget() else { return };
        let lane = connection.lane();
        let own = Payer::Connection(lane.clone());
        let payers = [Some(own), self.budgets.address_of(lane)];
        for payer in payers.into_iter().flatten() {
            match self.budgets.count(&payer, budget).await {
                Ok(standing) if standing.act => self.stop(connection, &payer, standing).await,
                Ok(_) => {}
                Err(fault) => warn!(%lane, %fault, "a failure was not counted"),
            }
        }
    }

    /// Freezes what belongs to a payer, and tells a person.
    async fn stop(&self, connection: &Connection, payer: &Payer, standing: Standing) {
        let Standing { count, mark, until_below, .. } = standing;
        error!(%payer, count, mark, for_seconds = until_below.as_secs(), "too many failures: frozen");
        let lanes: Vec<&Lane> = match payer {
            Payer::Connection(lane) => vec![lane],
            Payer::Address(_) => self
                .connections
                .iter()
                .filter(|other| other.platform.name() == connection.platform.name())
                .map(|other| other.lane())
                .collect(),
        };
        for lane in lanes {
            if let Err(error) = self.queue.freeze(lane, until_below).await {
                warn!(%lane, %error, "not frozen: the next failure freezes it");
            }
        }
        let (topic, what) = topic(payer, connection.id);
        let minutes = until_below.as_secs().div_ceil(60);
        let message = format!(
            "{what} had {count} refusals that {} counts towards a ban; nothing is sent for \
             {minutes} min",
            connection.platform.name()
        );
        let detail = json!({ "count": count, "mark": mark, "seconds": until_below.as_secs() });
        if let Err(error) = alerts::raise(&self.db, topic, &message, &detail).await {
            warn!(%payer, %error, "no alert could be raised");
        }
    }

    /// Clears the alerts of budgets that have recovered; how many.
    ///
    /// # Errors
    ///
    /// When Postgres fails. A budget that Redis does not tell of keeps its alert.
    pub async fn clear_recovered_budgets(&self) -> Result<u64, StoreError> {
        let mut cleared = 0;
        for alert in alerts::open_of_kind(&self.db, SPENT, ALERTS_PER_PASS).await? {
            let payer = match &alert.lane {
                Some(lane) => Some(Payer::Connection(lane.clone())),
                None => alert.subject.parse().ok().map(Payer::Address),
            };
            let name = match &payer {
                Some(Payer::Connection(lane) | Payer::Address(lane)) => lane.platform(),
                None => "",
            };
            let budget = platform::named(name).and_then(Platform::error_budget);
            // What this version does not know cannot be over.
            let (Some(payer), Some(budget)) = (payer, budget) else { continue };
            match self.budgets.standing(&payer, budget).await {
                Ok(standing) if standing.until_below.is_zero() => {
                    cleared += u64::from(alerts::clear_one(&self.db, alert.id).await?);
                }
                Ok(_) => {}
                Err(fault) => warn!(%payer, %fault, "nobody tells how many failures there were"),
            }
        }
        Ok(cleared)
    }
}

/// Whose alert it is, and how it is called there.
fn topic(payer: &Payer, connection: ConnectionId) -> (Topic<'_>, String) {
    match payer {
        Payer::Connection(lane) => {
            let topic = Topic { connection: Some(connection), kind: SPENT, subject: "" };
            (topic, lane.to_string())
        }
        Payer::Address(name) => {
            let topic = Topic { connection: None, kind: SPENT, subject: name.as_str() };
            (topic, format!("all connections from the address {name}"))
        }
    }
}
