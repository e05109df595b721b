//! The bot's guilds, one guild, and its roles.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{flag, no_stray, number, numeric, shown, snowflake, unknown};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::record::{RecordId, RecordType};

/// `GET /users/@me/guilds`: those that the bot can look into, by id.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["before", "after", "limit", "with_counts"])?;
    let (before, after) = (snowflake(call, "before")?, snowflake(call, "after")?);
    let limit = usize::try_from(number(call, "limit", 200, 1, 200)?).unwrap_or(200);
    let counts = flag(call, "with_counts", false)?;
    let universe = account.universe.lock();
    let lost = account.switches.lock().guild_access.clone();
    let mut guilds = universe.records.seen_all(RecordType::Guild, Instant::now());
    guilds.retain(|(id, _)| {
        let number = numeric(id);
        !lost.contains_key(&id.external_id)
            && before.is_none_or(|before| number < before)
            && after.is_none_or(|after| number > after)
    });
    guilds.sort_by_key(|(id, _)| numeric(id));
    if before.is_some() && after.is_none() {
        // The page that ends before it.
        guilds.drain(..guilds.len().saturating_sub(limit));
    }
    guilds.truncate(limit);
    let mut looks = account.looks.lock();
    let shown: Vec<Value> = guilds
        .iter()
        .map(|(id, version)| {
            shown::partial_guild(&universe.records, id, version, counts, &mut looks)
        })
        .collect();
    Ok(Answer::ok(json!(shown)).about(guilds.into_iter().map(|(id, _)| id), Asked::InPage))
}

/// `GET /guilds/{id}`.
pub(super) fn one(account: &Account, call: &Call, guild: &str) -> Result<Answer, Answer> {
    no_stray(call, &["with_counts"])?;
    let counts = flag(call, "with_counts", false)?;
    let id = RecordId::new(RecordType::Guild, guild);
    let universe = account.universe.lock();
    let Some(version) = universe.records.seen(&id, Instant::now()) else {
        return Err(unknown(10_004, "Guild", Some(id)));
    };
    let mut looks = account.looks.lock();
    let shown = shown::guild(&universe.records, &id, &version, counts, &mut looks);
    Ok(Answer::ok(shown).about([id], Asked::Alone))
}

/// `GET /guilds/{id}/roles`: all of them, in any order.
pub(super) fn roles(account: &Account, call: &Call, guild: &str) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let seen = account.universe.lock().records.seen_all(RecordType::Role, Instant::now());
    let mut roles: Vec<_> = seen.into_iter().filter(|(id, _)| id.parent() == Some(guild)).collect();
    let mut looks = account.looks.lock();
    looks.shuffle(&mut roles);
    let shown: Value = roles.iter().map(|(_, version)| shown::role(version, &mut looks)).collect();
    Ok(Answer::ok(shown).about(roles.into_iter().map(|(id, _)| id), Asked::InPage))
}

/// `GET /guilds/{id}/roles/{id}`.
pub(super) fn role(
    account: &Account,
    call: &Call,
    guild: &str,
    role: &str,
) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let id = RecordId::new(RecordType::Role, format!("{guild}/{role}"));
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    let Some(version) = seen else { return Err(unknown(10_011, "Role", Some(id))) };
    let shown = shown::role(&version, &mut account.looks.lock());
    Ok(Answer::ok(shown).about([id], Asked::Alone))
}

/// `GET /guilds/{id}/roles/member-counts`: how many have each role; not for `@everyone`.
pub(super) fn role_counts(account: &Account, call: &Call, guild: &str) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let universe = account.universe.lock();
    let id = RecordId::new(RecordType::Guild, guild);
    let roles = shown::roles_of(&universe.records, &id).into_keys();
    let counts: Map<String, Value> = roles
        .filter(|role| role.own() != guild)
        .map(|role| {
            let members = universe.records.live(RecordType::Member);
            let holders = members.filter(|(member, version)| {
                member.parent() == Some(guild) && version.texts("roles").contains(&role.own())
            });
            (role.own().to_owned(), json!(holders.count()))
        })
        .collect();
    Ok(Answer::ok(Value::Object(counts)))
}
