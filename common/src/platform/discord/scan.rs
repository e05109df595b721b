//! Reading all records of a kind page by page: guild by guild, or the entitlements of the
//! application.
//!
//! A guild that we do not get at is passed over. What is in it was then not seen, and the scan says
//! so: it concludes something only about guilds of which it saw something, and nothing at all about
//! guilds. Access that is lost in the middle of a guild ends the scan.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use crate::platform::answer::{Answer, Meaning};
use crate::platform::discord::records::{ENTITLEMENT, GUILD, MEMBER, Read, read};
use crate::platform::discord::snowflake::Snowflake;
use crate::platform::discord::{DIALECT, errors};
use crate::platform::record::page;
use crate::platform::{Call, Look, Page, PlatformError, RecordKind, ScanFrom, Snapshot, Unseen};

/// The most that each list gives at once; a page with fewer is the last one.
const GUILDS: usize = 200;
const MEMBERS: usize = 1000;
const ENTITLEMENTS: usize = 100;

/// Where a scan stands.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Guilds that are listed and not yet read to their end, in hexadecimal, since a cursor has
    /// room for so much; the first one is being read. When there are none, a page of the list of
    /// guilds is due.
    guilds: Vec<String>,
    /// The highest id that was seen: of a member in the first guild, of an entitlement.
    after: u64,
    /// The highest guild that was listed.
    listed: u64,
    /// The list of guilds was read to its end.
    complete: bool,
}

pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let mut at: Position = match from.cursor.as_deref() {
        Some(cursor) => serde_json::from_str(cursor).map_err(|_| PlatformError::CursorLost)?,
        None => Position::default(),
    };
    let (reads, goes_on) = if kind.name == ENTITLEMENT {
        entitlements(call, kind, &mut at).await?
    } else {
        let reads = match at.guilds.first() {
            Some(guild) => {
                let guild =
                    u64::from_str_radix(guild, 16).map_err(|_| PlatformError::CursorLost)?;
                in_guild(call, kind, Snowflake(guild), &mut at).await?
            }
            None => list_guilds(call, &mut at).await?,
        };
        (reads, !at.guilds.is_empty() || !at.complete)
    };
    call.note_unknown_keys(kind.name, reads.iter().map(|read| read.unknown_keys).sum());
    let next = goes_on.then(|| serde_json::to_string(&at)).transpose();
    let next = next.map_err(|_| PlatformError::Unexpected { what: "no cursor".to_owned() })?;
    let unseen = match kind.name {
        GUILD => Unseen::Keep,
        ENTITLEMENT => Unseen::Suspect,
        _ => Unseen::SuspectBesideSeen,
    };
    Ok(Page { unseen, ..page(snapshots(reads), next, from)? })
}

/// One page of the guilds that the bot is in. It says less of each than there is to read.
async fn list_guilds(call: &Call<'_>, at: &mut Position) -> Result<Vec<Read>, PlatformError> {
    #[derive(Deserialize)]
    struct Listed {
        id: Snowflake,
    }

    let (limit, after) = (GUILDS.to_string(), at.listed.to_string());
    let query = [("limit", limit.as_str()), ("after", after.as_str())];
    let answer = call.get(&DIALECT, "/users/@me/guilds", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let list: Vec<Listed> = answer.json()?;
    let mut guilds: Vec<_> =
        list.iter().map(|listed| listed.id.0).filter(|id| *id > at.listed).collect();
    guilds.sort_unstable();
    at.complete = list.len() < GUILDS || guilds.is_empty();
    at.listed = guilds.last().copied().unwrap_or(at.listed);
    at.guilds = guilds.into_iter().map(|id| format!("{id:x}")).collect();
    Ok(Vec::new())
}

/// The guild itself, its roles, or a page of its members.
async fn in_guild(
    call: &Call<'_>,
    kind: &RecordKind,
    guild: Snowflake,
    at: &mut Position,
) -> Result<Vec<Read>, PlatformError> {
    let path = guild.to_string();
    let answer = match kind.name {
        GUILD => call.get(&DIALECT, "/guilds/{guild}", &[&path], &[]).await?,
        MEMBER => {
            let (limit, after) = (MEMBERS.to_string(), at.after.to_string());
            let query = [("limit", limit.as_str()), ("after", after.as_str())];
            call.get(&DIALECT, "/guilds/{guild}/members", &[&path], &query).await?
        }
        _ => call.get(&DIALECT, "/guilds/{guild}/roles", &[&path], &[]).await?,
    };
    let reads = match errors::meaning(&answer) {
        // Part of this guild was seen already, so the rest would be taken for gone.
        Meaning::OutOfReach(_) | Meaning::Forbidden(_) if at.after > 0 => {
            return Err(PlatformError::CursorLost);
        }
        Meaning::OutOfReach(reason) | Meaning::Forbidden(reason) => {
            warn!(lane = %call.account().lane, %guild, reason, "a scan passes over a guild");
            Vec::new()
        }
        meaning => {
            meaning.into_result()?;
            if kind.name == GUILD {
                vec![read(kind, None, answer.json()?, answer.now())?]
            } else {
                read_list(kind, Some(guild), &answer)?
            }
        }
    };
    let more = kind.name == MEMBER && move_on(&reads, MEMBERS, at);
    if !more {
        at.guilds.remove(0);
        at.after = 0;
    }
    Ok(reads)
}

async fn entitlements(
    call: &Call<'_>,
    kind: &RecordKind,
    at: &mut Position,
) -> Result<(Vec<Read>, bool), PlatformError> {
    let (limit, after) = (ENTITLEMENTS.to_string(), at.after.to_string());
    let query = [
        ("limit", limit.as_str()),
        ("after", after.as_str()),
        // Deleted ones are left out otherwise, and a deletion would never be seen.
        ("exclude_deleted", "false"),
    ];
    let application = call.account().account.as_str();
    let template = "/applications/{application}/entitlements";
    let answer = call.get(&DIALECT, template, &[application], &query).await?;
    errors::meaning(&answer).into_result()?;
    let reads = read_list(kind, None, &answer)?;
    let goes_on = move_on(&reads, ENTITLEMENTS, at);
    Ok((reads, goes_on))
}

/// Moves behind the highest id of a page, wherever on the page it is; whether another page is due.
/// A page that has nothing higher would come again for ever, and is the last one.
fn move_on(reads: &[Read], limit: usize, at: &mut Position) -> bool {
    let highest = reads.iter().map(|read| read.id.0).max().unwrap_or_default();
    let moved = highest > at.after;
    at.after = at.after.max(highest);
    moved && reads.len() >= limit
}

fn read_list(
    kind: &RecordKind,
    guild: Option<Snowflake>,
    answer: &Answer,
) -> Result<Vec<Read>, PlatformError> {
    let list: Vec<&RawValue> = answer.json()?;
    let now: Timestamp = answer.now();
    list.into_iter().map(|payload| read(kind, guild, payload, now)).collect()
}

/// One that cannot be judged is left out, and so looked at by itself later.
fn snapshots(reads: Vec<Read>) -> Vec<Snapshot> {
    let found = |read: Read| match read.look {
        Look::Found(snapshot) => Some(snapshot),
        other => {
            warn!(record.id = %other.external_id(), "a record of a scan has no canonical form");
            None
        }
    };
    reads.into_iter().filter_map(found).collect()
}
