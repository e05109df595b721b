//! What can happen, and how it is drawn.

use std::collections::BTreeMap;
use std::time::Duration;

use common::queue::Outcome;
use common::quota::{Floors, KindLimits, LaneLimits, Quota, RateScope, RateSignal};
use proptest::prelude::*;

/// The lanes of every run; each has limits of its own.
pub(super) const LANES: [&str; 2] = ["klaviyo/main", "klaviyo/other"];

/// The jobs that there can be, in each lane.
pub(super) const IDS: [&str; 9] = [
    "profile:a",
    "profile:b",
    "profile:c",
    "attendee:1/x",
    "attendee:1/y",
    "attendee:2/z",
    "scan@profile",
    "report:1",
    "report:2",
];

/// Kinds of request inside a job.
pub(super) const KINDS: [&str; 4] = ["profile", "attendee", "report", "other"];

/// One thing that happens. `twice`: the answer was lost, and it is asked once more.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Enqueue {
        lane: usize,
        id: usize,
        priority: u8,
        ensure: bool,
        twice: bool,
    },
    /// `lost`: the worker dies before it has the answer.
    Claim {
        lanes: &'static [usize],
        wanted: usize,
        urgent: bool,
        lost: bool,
    },
    Settle {
        batch: usize,
        outcomes: Vec<Outcome>,
        sent: bool,
        signal: RateSignal,
        twice: bool,
    },
    /// Of one lane, with one call: a batch for each of `sent`. Each answer brings the signal.
    SettleTogether {
        batch: usize,
        outcomes: Vec<Outcome>,
        sent: Vec<bool>,
        signal: RateSignal,
        twice: bool,
    },
    Extend {
        batch: usize,
    },
    /// A worker dies with what it holds.
    Forget {
        batch: usize,
    },
    Acquire {
        lane: usize,
        kind: usize,
        /// `None` for a probe.
        priority: Option<u8>,
    },
    Explain {
        lane: usize,
        id: usize,
    },
    /// Between two of these the server's clock stands still.
    Advance {
        us: u64,
    },
    /// Somebody sets the server's clock back.
    SetBack {
        us: u64,
    },
    Freeze {
        lane: usize,
        us: u64,
    },
    Thaw {
        lane: usize,
    },
    Pause {
        lane: usize,
        paused: bool,
    },
    /// All is lost. `open`: nothing was ever sent before, and somebody says so.
    Flush {
        open: bool,
    },
    /// The index is found on another server.
    Replace,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let after = (0_u64..3_000).prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(Outcome::Ack),
        1 => (after.clone(), 1_u8..3).prop_map(|(after, round)| Outcome::Again { after, round }),
        1 => after.clone().prop_map(|after| Outcome::Nack { after }),
        1 => after.prop_map(|after| Outcome::Defer { after }),
        1 => Just(Outcome::Bury),
    ]
}

fn signal() -> impl Strategy<Value = RateSignal> {
    let time = || (0_u64..2_000_000).prop_map(Duration::from_micros);
    let left = prop_oneof![1 => Just(0_u32), 2 => 0_u32..8];
    (
        prop::option::weighted(0.25, (left, time())),
        prop::option::weighted(0.2, time()),
        prop_oneof![Just(RateScope::Lane), Just(RateScope::Kind)],
    )
        .prop_map(|(remaining, refused_for, scope)| RateSignal {
            remaining,
            refused_for,
            scope,
            ..RateSignal::default()
        })
}

fn advance() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0_u64..50_000,
        8 => 0_u64..2_000_000,
        8 => 0_u64..20_000_000,
        // Somebody sets the clock forward.
        1 => 0_u64..100_000_000_000,
    ]
}

/// One operation.
pub(super) fn op() -> impl Strategy<Value = Op> {
    let lane = || 0..LANES.len();
    let rarely = || prop::bool::weighted(0.2);
    let lanes = prop_oneof![4 => Just(&[0, 1][..]), 1 => Just(&[0][..]), 1 => Just(&[1][..])];
    prop_oneof![
        10 => (lane(), 0..IDS.len(), 0_u8..4, prop::bool::weighted(0.2), rarely()).prop_map(
            |(lane, id, priority, ensure, twice)| Op::Enqueue { lane, id, priority, ensure, twice }
        ),
        8 => (lanes, 1_usize..5, rarely(), rarely()).prop_map(|(lanes, wanted, urgent, lost)| {
            Op::Claim { lanes, wanted, urgent, lost }
        }),
        6 => (
            0_usize..8,
            prop::collection::vec(outcome(), 1..=4),
            prop::bool::weighted(0.8),
            signal(),
            rarely(),
        )
            .prop_map(|(batch, outcomes, sent, signal, twice)| {
                Op::Settle { batch, outcomes, sent, signal, twice }
            }),
        4 => (
            0_usize..8,
            prop::collection::vec(outcome(), 1..=4),
            prop::collection::vec(prop::bool::weighted(0.8), 1..=4),
            signal(),
            rarely(),
        )
            .prop_map(|(batch, outcomes, sent, signal, twice)| {
                Op::SettleTogether { batch, outcomes, sent, signal, twice }
            }),
        2 => (0_usize..8).prop_map(|batch| Op::Extend { batch }),
        1 => (0_usize..8).prop_map(|batch| Op::Forget { batch }),
        2 => (lane(), 0..KINDS.len(), prop::option::of(0_u8..4))
            .prop_map(|(lane, kind, priority)| Op::Acquire { lane, kind, priority }),
        4 => (lane(), 0..IDS.len()).prop_map(|(lane, id)| Op::Explain { lane, id }),
        8 => advance().prop_map(|us| Op::Advance { us }),
        1 => (0_u64..10_000_000).prop_map(|us| Op::SetBack { us }),
        1 => (lane(), 0_u64..1_000_000).prop_map(|(lane, us)| Op::Freeze { lane, us }),
        1 => lane().prop_map(|lane| Op::Thaw { lane }),
        1 => (lane(), any::<bool>()).prop_map(|(lane, paused)| Op::Pause { lane, paused }),
        1 => any::<bool>().prop_map(|open| Op::Flush { open }),
        1 => Just(Op::Replace),
    ]
}

/// Limits of a lane: two quotas of a few requests, and one so large that its ledger counts in steps,
/// with requests that use much of it.
pub(super) fn limits() -> impl Strategy<Value = LaneLimits> {
    let quota = |name: &'static str| {
        (2_u32..12, 1_u64..4_000, any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(move |(limit, ms, burst, headroom)| {
                // A request may cost 2.
                let burst = 2 + u32::try_from(burst.index(limit as usize - 1)).unwrap();
                let headroom = u32::try_from(headroom.index(burst as usize - 1)).unwrap();
                let window = Duration::from_millis(ms);
                Quota { name: name.to_owned(), limit, window, burst, headroom }
            })
    };
    let day = (2_001_u32..6_000, 100_u64..20_000, 0_u32..100).prop_map(|(limit, ms, headroom)| {
        let window = Duration::from_millis(ms);
        Quota { name: "day".to_owned(), limit, window, burst: limit, headroom }
    });
    (quota("short"), quota("long"), day, 1_u32..4, 1_u32..3, 300_u32..900).prop_map(
        |(short, long, day, batch, cost, much)| LaneLimits {
            quotas: vec![short, long, day],
            kinds: BTreeMap::from([
                ("profile".to_owned(), KindLimits { batch, cost: 1, quotas: vec![0, 1] }),
                ("attendee".to_owned(), KindLimits { batch: 2, cost, quotas: vec![0] }),
                ("report".to_owned(), KindLimits { batch: 1, cost: much, quotas: vec![2] }),
            ]),
        },
    )
}

/// The usual ones, others, and none.
pub(super) fn floors() -> impl Strategy<Value = Floors> {
    let floor = || prop_oneof![1 => Just(0_u8), 4 => 1..=Floors::MOST];
    let others = (floor(), floor()).prop_map(|(bulk, spot_checks)| Floors { bulk, spot_checks });
    prop_oneof![Just(Floors::default()), others]
}
