//! Reading all records of a kind page by page. Pages are as long as they come.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use tracing::warn;

use crate::platform::answer::{Answer, Meaning};
use crate::platform::patreon::cursor::{self, Members, Progress};
use crate::platform::patreon::document::{Head, Many, read, read_tiers};
use crate::platform::patreon::records::{CAMPAIGN, CAMPAIGN_QUERY, MEMBER, MEMBER_QUERY, TIER};
use crate::platform::patreon::{DIALECT, errors};
use crate::platform::record::page;
use crate::platform::{Call, Look, Page, PlatformError, RecordKind, ScanFrom, Snapshot};

/// The documented size of a page of members. More or fewer may come.
const MEMBERS: (&str, &str) = ("page[count]", "1000");

pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    if kind.name == MEMBER {
        return members(call, kind, from).await;
    }
    let progress = from.cursor.as_deref().map(cursor::read).transpose()?.unwrap_or_default();
    let answer = campaigns(call, &progress).await?;
    let list: Many<'_> = answer.json()?;
    let next = progress.after(&ids(&heads(&list, CAMPAIGN)?), &list.pagination())?;
    let mut looks = Vec::with_capacity(list.data.len());
    for &campaign in &list.data {
        if kind.name == TIER {
            looks.extend(read_tiers(kind, campaign, &list.included)?);
        } else {
            looks.push(read(kind, campaign)?);
        }
    }
    page(snapshots(looks), next.as_ref().map(cursor::write).transpose()?, from)
}

/// Members of all campaigns, one campaign after the other. A page of the list of campaigns is a
/// page without members.
async fn members(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let mut at = match from.cursor.as_deref() {
        Some(cursor) => cursor::read(cursor)?,
        None => Members::start(),
    };
    let mut records = Vec::new();
    if let Some(campaign) = at.campaigns.first() {
        let mut query = MEMBER_QUERY.to_vec();
        query.push(MEMBERS);
        query.extend(at.progress.next.as_deref().map(|next| ("page[cursor]", next)));
        let template = "/campaigns/{campaign}/members";
        let answer = call.get(&DIALECT, template, &[campaign], &query).await?;
        let next = match errors::meaning(&answer) {
            // The campaign went away after it was listed; its members are looked at one by one.
            Meaning::Missing | Meaning::Gone => None,
            meaning => {
                meaning.into_result()?;
                let list: Many<'_> = answer.json()?;
                let looks: Result<Vec<_>, _> =
                    list.data.iter().map(|&member| read(kind, member)).collect();
                records = snapshots(looks?);
                at.progress.after(&ids(&heads(&list, MEMBER)?), &list.pagination())?
            }
        };
        if next.is_none() {
            at.campaigns.remove(0);
        }
        at.progress = next.unwrap_or_default();
    } else if let Some(progress) = at.list.take() {
        let answer = campaigns(call, &progress).await?;
        let list: Many<'_> = answer.json()?;
        let heads = heads(&list, CAMPAIGN)?;
        let ids = ids(&heads);
        at.list = progress.after(&ids, &list.pagination())?;
        if !progress.repeats(&ids) {
            at.campaigns = ids.into_iter().map(str::to_owned).collect();
        }
    }
    let next = at.goes_on().then(|| cursor::write(&at)).transpose()?;
    page(records, next, from)
}

async fn campaigns(call: &Call<'_>, progress: &Progress) -> Result<Answer, PlatformError> {
    let mut query = CAMPAIGN_QUERY.to_vec();
    query.extend(progress.next.as_deref().map(|next| ("page[cursor]", next)));
    let answer = call.get(&DIALECT, "/campaigns", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    Ok(answer)
}

fn heads(list: &Many<'_>, kind: &str) -> Result<Vec<Head>, PlatformError> {
    list.data.iter().map(|payload: &&RawValue| Head::of(payload, kind)).collect()
}

fn ids(heads: &[Head]) -> BTreeSet<&str> {
    heads.iter().map(|head| head.id.as_str()).collect()
}

/// One that cannot be judged is left out, and so looked at by itself later.
fn snapshots(looks: Vec<Look>) -> Vec<Snapshot> {
    let found = |look| match look {
        Look::Found(snapshot) => Some(snapshot),
        other => {
            warn!(record.id = %other.external_id(), "a record of a scan has no canonical form");
            None
        }
    };
    looks.into_iter().filter_map(found).collect()
}
