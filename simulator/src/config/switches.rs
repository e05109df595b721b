//! Traps of the platforms that a test or a person switches on and off while they run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The traps of one account; each belongs to one platform and means nothing to the others.
#[expect(clippy::struct_excessive_bools, reason = "each switch is one")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Patreon: the last page of a list leads to itself, under a fresh cursor each time.
    pub endless_cursor: bool,
    /// Patreon: a cursor that is older is refused with code 3; 0 refuses every cursor.
    pub cursors_expire_after_ms: Option<u64>,
    /// Patreon: a removed member answers 404 like one that never was, not 410.
    pub removed_is_not_found: bool,
    /// Patreon: scopes that the token does not have; what they cover is left out of answers.
    pub missing_scopes: Vec<String>,
    /// Discord: pages of members are in no order.
    pub shuffled_members: bool,
    /// Discord: guilds that the bot cannot look into any more.
    pub guild_access: BTreeMap<String, GuildAccess>,
    /// Klaviyo: every other profile shows an `updated` so many seconds in the future.
    pub updated_ahead_seconds: i64,
    /// Eventbrite: every request with `expand` fails with 500 EXPANSION_FAILED.
    pub expansions_fail: bool,
}

/// What the bot is told about a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuildAccess {
    /// 403 with code 50001, missing access.
    Missing,
    /// 404 with code 10004, unknown guild.
    Unknown,
}
