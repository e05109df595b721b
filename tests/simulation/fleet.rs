//! The fleet of the simulation: what its processes are made of.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::config::{ConnectionConfig, WorkerConfig};
use common::fleet::senders::Watch;
use common::fleet::{Connection, Connections, ErrorBudgets, Fleet, Renewals};
use common::ids::{ConnectionId, Lane};
use common::link::Links;
use common::platform::{Account, Api, ApiSettings, Consistency};
use common::queue::{Keys, LaneBook, QueueSettings, RedisQueue};
use common::quota::{KindLimits, LaneLimits, Quota};
use common::telemetry::Metrics;
use rand::SeedableRng;
use rand::rngs::StdRng;
use scheduler::reconcilers::Sweep;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use worker::batch::Worker;
use worker::handlers::{Brake, Care, Tasks};
use worker::line::Lines;
use worker::settling::Settling;

use crate::plan::{Mood, POISON};
use crate::process::{Hands, Process};
use crate::vendor::{STRAGGLERS, Shop, WHOLE};
use crate::{postgres, redis};

pub(crate) const MAX_ATTEMPTS: u32 = 6;
const LEASE: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(1);
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
const USE_BY: Duration = Duration::from_secs(1);

/// One client for all: it is never used.
static API: LazyLock<Api> = LazyLock::new(|| Api::new(ApiSettings::default()).unwrap());

fn quota(name: &str, limit: u32, window_ms: u64, burst: u32, headroom: u32) -> Quota {
    let window = Duration::from_millis(window_ms);
    Quota { name: name.to_owned(), limit, window, burst, headroom }
}

/// The lanes, by the number of their connection.
pub(crate) fn lanes() -> Vec<(Lane, LaneLimits)> {
    let kind = |batch| KindLimits { batch, cost: 1, quotas: vec![0] };
    let kinds = [("order", 2), (POISON, 1)].map(|(name, batch)| (name.to_owned(), kind(batch)));
    let shop =
        LaneLimits { quotas: vec![quota("second", 5, 1_000, 3, 1)], kinds: BTreeMap::from(kinds) };
    // Its long window is recorded before it is used.
    let club = LaneLimits {
        quotas: vec![quota("short", 3, 700, 2, 0), quota("long", 300, 150_000, 20, 2)],
        kinds: BTreeMap::new(),
    };
    vec![("shop/main".parse().unwrap(), shop), ("shop/club".parse().unwrap(), club)]
}

pub(crate) fn queue_settings() -> QueueSettings {
    QueueSettings {
        lease: LEASE,
        permit_use_by: USE_BY,
        request_timeout: WHOLE + STRAGGLERS,
        ..QueueSettings::default()
    }
}

/// How long a lease is, us.
pub(crate) fn lease_us() -> u64 {
    u64::try_from(LEASE.as_micros()).unwrap()
}

fn connections() -> Connections {
    let connection = |(number, (lane, limits)): (usize, (Lane, LaneLimits))| {
        // The club's reads lag: after a webhook it is looked at once more.
        let confirm_after = if number == 1 { vec![Duration::from_millis(400)] } else { Vec::new() };
        Connection {
            id: ConnectionId(i32::try_from(number).unwrap()),
            platform: &Shop,
            account: Account {
                lane,
                base_url: "https://shop.invalid".parse().unwrap(),
                account: String::new(),
                token: SecretString::from("token".to_owned()).into(),
                webhook_secret: None,
                consistency: Consistency { confirm_after, young: Duration::ZERO },
            },
            limits,
            config: ConnectionConfig::default(),
            endpoint: None,
            notice_secret: None,
            origin: None,
        }
    };
    Connections::of(lanes().into_iter().enumerate().map(connection))
}

/// Stores that nobody answers for: whoever goes past what is simulated fails.
fn nowhere() -> Fleet {
    let db = PgPoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(PgConnectOptions::new_without_pgpass().host("simulated.invalid"));
    let keys = Keys::new("");
    let address = "redis://simulated.invalid".parse().unwrap();
    let links = Links::new(&address, ["{s0}".to_owned()]).unwrap();
    let book = LaneBook::new(&keys, lanes()).unwrap();
    Fleet {
        db,
        queue: RedisQueue::new(links.clone(), keys.clone(), book, queue_settings()),
        connections: connections(),
        budgets: ErrorBudgets::new(links, keys, "shared", 0.5),
        renewals: Renewals::default(),
    }
}

/// A worker as the fleet's, in a process.
pub(crate) fn worker(process: &Arc<Process>) -> Worker {
    let seed = process.world.plan.seed;
    // Where nothing goes wrong, and with stops alone, one attempt is enough.
    let max_attempts = if process.world.plan.mood == Mood::Wild { MAX_ATTEMPTS } else { 1 };
    Worker {
        queue: Arc::new(redis::Client::new(process)),
        store: Arc::new(postgres::Client(Arc::clone(process))),
        crew: Arc::new(Hands(Arc::clone(process))),
        fleet: nowhere(),
        handler: Arc::new(Tasks),
        api: API.clone(),
        settings: WorkerConfig {
            listen: "127.0.0.1:1".parse().unwrap(),
            concurrency: 2,
            platform_share: 0.75,
            urgent_slots: 1,
            bulk_floor_percent: 10,
            spot_check_floor_percent: 5,
            lease: LEASE,
            heartbeat: HEARTBEAT,
            drain: DRAIN,
            permit_use_by: USE_BY,
            max_attempts,
            scan_backlog_max: 100,
            retry_base: Duration::from_millis(200),
            retry_cap: Duration::from_secs(2),
            outgoing_address: "shared".to_owned(),
            error_budget_share: 0.5,
            missing_confirm_after: Duration::from_secs(1),
        },
        overlap: Duration::ZERO,
        brake: Brake { share: 1.0, min: 1 },
        care: Care {
            min_age: Duration::from_mins(1),
            max_age: Duration::from_mins(1),
            run_samples: 0,
            repairs_per_hour: 10,
        },
        watch: Watch { every: Duration::ZERO, repair: false, overlap: Duration::ZERO },
        lines: Lines::default(),
        settling: Settling::default(),
        metrics: Metrics::default(),
        chance: Mutex::new(StdRng::seed_from_u64(seed)),
    }
}

/// The sweeper as the fleet's, in a process.
pub(crate) fn sweep(process: &Arc<Process>) -> Sweep {
    Sweep::over(
        Arc::new(redis::Client::new(process)),
        Arc::new(postgres::Client(Arc::clone(process))),
        connections(),
        3,
        Duration::from_secs(1),
    )
}
