//! Looking at records by id: all roles of a guild with one request, everything else one by one.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::confirm::confirm;
use crate::platform::discord::records::{ENTITLEMENT, GUILD, MEMBER, ROLE, parts, read};
use crate::platform::discord::snowflake::Snowflake;
use crate::platform::discord::{DIALECT, errors};
use crate::platform::{Call, Look, PlatformError, RecordKind};

pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    // Roles that share a request share the guild.
    let guild = ids.iter().find_map(parts).map(|(guild, _)| guild);
    let can_ask = |id: &ExternalId| match kind.name {
        ROLE => parts(id).is_some_and(|(parent, _)| Some(parent) == guild),
        MEMBER => parts(id).is_some(),
        _ => Snowflake::parse(id.as_str()).is_some(),
    };
    let (asked, strange): (BTreeSet<_>, BTreeSet<_>) = ids.iter().partition(|id| can_ask(id));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    match guild {
        Some(guild) if kind.name == ROLE => looks.extend(roles(call, kind, guild, asked).await?),
        _ => {
            for id in asked {
                looks.push(one(call, kind, id).await?);
            }
        }
    }
    Ok(looks)
}

/// The list has all roles of a guild; one that it leaves out is asked for by itself before it
/// counts as missing.
async fn roles(
    call: &Call<'_>,
    kind: &RecordKind,
    guild: Snowflake,
    mut asked: BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    let answer = call.get(&DIALECT, "/guilds/{guild}/roles", &[&guild.to_string()], &[]).await?;
    let all = |look: &dyn Fn(&ExternalId) -> Look| Ok(asked.iter().map(|id| look(id)).collect());
    match errors::meaning(&answer) {
        Meaning::OutOfReach(reason) => return all(&|id| Look::out_of_reach(id, reason.as_str())),
        Meaning::Forbidden(reason) => return all(&|id| Look::unclear(id, reason.as_str())),
        meaning => meaning.into_result()?,
    }
    let list: Vec<&RawValue> = answer.json()?;
    let mut looks = Vec::with_capacity(asked.len());
    for payload in list {
        let read = read(kind, Some(guild), payload, answer.now())?;
        call.note_unknown_keys(kind.name, read.unknown_keys);
        if asked.remove(read.look.external_id()) {
            looks.push(read.look);
        }
    }
    let left_out = asked.into_iter().collect();
    looks.extend(confirm(left_out, |id| one(call, kind, id)).await);
    Ok(looks)
}

/// One record with a request of its own.
async fn one(call: &Call<'_>, kind: &RecordKind, id: &ExternalId) -> Result<Look, PlatformError> {
    if kind.name == ENTITLEMENT {
        return entitlement(call, kind, id).await;
    }
    let (template, path) = match (kind.name, parts(id)) {
        (GUILD, _) => ("/guilds/{guild}", vec![id.to_string()]),
        (MEMBER, Some((guild, user))) => {
            ("/guilds/{guild}/members/{user}", vec![guild.to_string(), user.to_string()])
        }
        (_, Some((guild, role))) => {
            ("/guilds/{guild}/roles/{role}", vec![guild.to_string(), role.to_string()])
        }
        (_, None) => return Ok(Look::unclear(id, "no id to ask for here")),
    };
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let answer = call.get(&DIALECT, template, &path, &[]).await?;
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Look::Missing(id.clone())),
        Meaning::OutOfReach(reason) => return Ok(Look::out_of_reach(id, reason)),
        Meaning::Forbidden(reason) => return Ok(Look::unclear(id, reason)),
        meaning => meaning.into_result()?,
    }
    judge(call, kind, id, &answer)
}

/// There is no reading of one entitlement in the documents, but a list that starts right before it
/// and has room for one. It has deleted ones only when asked.
async fn entitlement(
    call: &Call<'_>,
    kind: &RecordKind,
    id: &ExternalId,
) -> Result<Look, PlatformError> {
    let Some(Snowflake(number)) = Snowflake::parse(id.as_str()) else {
        return Ok(Look::unclear(id, "no id to ask for here"));
    };
    let before = number.saturating_sub(1).to_string();
    let query = [("after", before.as_str()), ("limit", "1"), ("exclude_deleted", "false")];
    let application = call.account().account.as_str();
    let template = "/applications/{application}/entitlements";
    let answer = call.get(&DIALECT, template, &[application], &query).await?;
    errors::meaning(&answer).into_result()?;
    let list: Vec<&RawValue> = answer.json()?;
    for payload in list {
        let read = read(kind, None, payload, answer.now())?;
        call.note_unknown_keys(kind.name, read.unknown_keys);
        if read.look.external_id() == id {
            return Ok(read.look);
        }
    }
    Ok(Look::Missing(id.clone()))
}

fn judge(
    call: &Call<'_>,
    kind: &RecordKind,
    id: &ExternalId,
    answer: &Answer,
) -> Result<Look, PlatformError> {
    let guild = parts(id).map(|(guild, _)| guild);
    let read = read(kind, guild, answer.json()?, answer.now())?;
    call.note_unknown_keys(kind.name, read.unknown_keys);
    if read.look.external_id() == id {
        return Ok(read.look);
    }
    Ok(Look::unclear(id, "answered with another record"))
}
