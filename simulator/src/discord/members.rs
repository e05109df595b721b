//! The members of a guild.

use serde_json::Value;
use tokio::time::Instant;

use super::{no_stray, number, numeric, shown, snowflake, unknown};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::record::{RecordId, RecordType};

/// `GET /guilds/{id}/members`: a page of **one** unless a limit says otherwise, behind the user id
/// `after`.
pub(super) fn list(account: &Account, call: &Call, guild: &str) -> Result<Answer, Answer> {
    no_stray(call, &["limit", "after"])?;
    let limit = usize::try_from(number(call, "limit", 1, 1, 1_000)?).unwrap_or(1);
    let after = snowflake(call, "after")?.unwrap_or_default();
    let seen = account.universe.lock().records.seen_all(RecordType::Member, Instant::now());
    let mut members: Vec<_> = seen
        .into_iter()
        .filter(|(id, _)| id.parent() == Some(guild) && numeric(id) > after)
        .collect();
    members.sort_by_key(|(id, _)| numeric(id));
    members.truncate(limit);
    let shuffled = account.switches.lock().shuffled_members;
    let mut looks = account.looks.lock();
    if shuffled {
        looks.shuffle(&mut members);
    }
    let shown: Value =
        members.iter().map(|(_, version)| shown::member(version, &mut looks)).collect();
    Ok(Answer::ok(shown).about(members.into_iter().map(|(id, _)| id), Asked::InPage))
}

/// `GET /guilds/{id}/members/{user}`.
pub(super) fn one(
    account: &Account,
    call: &Call,
    guild: &str,
    user: &str,
) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let id = RecordId::new(RecordType::Member, format!("{guild}/{user}"));
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    let Some(version) = seen else { return Err(unknown(10_007, "Member", Some(id))) };
    let shown = shown::member(&version, &mut account.looks.lock());
    Ok(Answer::ok(shown).about([id], Asked::Alone))
}
