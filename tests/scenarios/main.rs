//! The fleet's behaviour, told as stories. One binary: linking is what costs.

// `cfg(test)` tells the lints that what the tests share may unwrap too.
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod discord;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod late_reads;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod lost_webhooks;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod patreon;
#[cfg(test)]
mod planning;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod quota_proof;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod scans;
#[cfg(test)]
mod senders;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod slots;
#[cfg(test)]
mod spot_checks;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod verbs;
#[cfg(test)]
mod webhooks;
