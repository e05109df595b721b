//! The scripts, one file each, with the functions they share put in front.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("lua/clock.lua"),
                include_str!("lua/job.lua"),
                include_str!("lua/lane.lua"),
                include_str!("lua/line.lua"),
                include_str!("lua/ledger.lua"),
                include_str!("lua/quota.lua"),
                include_str!(concat!("lua/", $file)),
            ))
        })
    };
}

pub(super) static ENQUEUE: LazyLock<Script> = script!("enqueue.lua");
pub(super) static CLAIM: LazyLock<Script> = script!("claim.lua");
pub(super) static EXTEND: LazyLock<Script> = script!("extend.lua");
pub(super) static SETTLE: LazyLock<Script> = script!("settle.lua");
pub(super) static ACQUIRE: LazyLock<Script> = script!("acquire.lua");
pub(super) static OPEN: LazyLock<Script> = script!("open.lua");
pub(super) static HOLD: LazyLock<Script> = script!("hold.lua");
pub(super) static EXPLAIN: LazyLock<Script> = script!("explain.lua");
pub(super) static DEPTHS: LazyLock<Script> = script!("depths.lua");
pub(super) static EPOCH: LazyLock<Script> = script!("epoch.lua");
pub(super) static POSTPONE: LazyLock<Script> = script!("postpone.lua");
