//! The scripts, one file each, with the functions that they use of those they share put in front.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("lua/", $file, ".lua"))),+)))
    };
}

pub(super) static ENQUEUE: LazyLock<Script> = script!("clock", "job", "lane", "place", "enqueue");
pub(super) static CLAIM: LazyLock<Script> = script!(
    "clock", "job", "lane", "place", "line", "ledger", "quota", "grant", "reap", "batch", "ahead",
    "claim"
);
pub(super) static EXTEND: LazyLock<Script> = script!("clock", "job", "lane", "extend");
pub(super) static SETTLE: LazyLock<Script> =
    script!("clock", "job", "lane", "place", "ledger", "quota", "answer", "settle");
pub(super) static ACQUIRE: LazyLock<Script> =
    script!("clock", "lane", "ledger", "quota", "grant", "acquire");
pub(super) static OPEN: LazyLock<Script> =
    script!("clock", "lane", "ledger", "quota", "answer", "open");
pub(super) static HOLD: LazyLock<Script> = script!("clock", "lane", "hold");
pub(super) static EXPLAIN: LazyLock<Script> =
    script!("clock", "job", "lane", "place", "line", "ledger", "quota", "grant", "explain");
pub(super) static DEPTHS: LazyLock<Script> = script!("clock", "job", "lane", "line", "depths");
pub(super) static EPOCH: LazyLock<Script> = script!("clock", "epoch");
pub(super) static POSTPONE: LazyLock<Script> = script!("clock", "postpone");
