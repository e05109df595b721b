//! `GET /campaigns/{id}/members` and `GET /members/{id}`.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fields::Wanted;
use super::shown::Document;
use super::{error_for, page};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::json::put;
use crate::record::{RecordId, RecordType};

/// The list can include what a single member cannot.
const INCLUDES: [&str; 5] =
    ["address", "campaign", "currently_entitled_tiers", "user", "pledge_history"];
const MOST: usize = 1_000;
const MOST_WITH_PLEDGES: usize = 500;

/// One page of the members of a campaign. There is no filter, and no order that is promised.
pub(super) fn list(account: &Account, call: &Call, campaign: &str) -> Result<Answer, Answer> {
    let wanted = Wanted::of(call, &INCLUDES, &page::PARAMETERS)?;
    let universe = account.universe.lock();
    let campaign = RecordId::new(RecordType::Campaign, campaign);
    if universe.records.seen(&campaign, Instant::now()).is_none() {
        return Err(error_for(StatusCode::NOT_FOUND).about([campaign], Asked::Alone));
    }
    let seen = universe.records.seen_all(RecordType::Member, Instant::now());
    let here = seen.into_iter().filter(|(_, one)| one.text("campaign") == campaign.external_id);
    let items = here.map(|(id, version)| (id.external_id.clone(), (id, version)));
    let most = if wanted.includes("pledge_history") { MOST_WITH_PLEDGES } else { MOST };
    let sizes = (account.config.patreon.page_size, most);
    let (members, meta) = page::cut(account, call, items.collect(), sizes)?;
    let mut document = Document::new(account, &universe.records, &wanted);
    let data: Value = members.iter().map(|(id, version)| document.member(id, version)).collect();
    let mut body = document.around(&data);
    put(&mut body, "meta", meta);
    Ok(Answer::ok(body).about(members.into_iter().map(|(id, _)| id), Asked::InPage))
}

/// One member; 410 when it has been removed, 404 when it never was.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    let wanted = Wanted::of(call, INCLUDES.get(..4).unwrap_or_default(), &[])?;
    let id = RecordId::new(RecordType::Member, id);
    let universe = account.universe.lock();
    let Some(version) = universe.records.seen(&id, Instant::now()) else {
        let removed = universe.records.gone_by(&id).is_some();
        let status = if removed && !account.switches.lock().removed_is_not_found {
            StatusCode::GONE
        } else {
            StatusCode::NOT_FOUND
        };
        return Err(error_for(status).about([id], Asked::Alone));
    };
    let mut document = Document::new(account, &universe.records, &wanted);
    let data = document.member(&id, &version);
    let mut body = document.around(&data);
    let origin = "https://www.patreon.com/api/oauth2/v2";
    let link = format!("{origin}/members/{}", id.external_id);
    put(&mut body, "links", json!({ "self": link }));
    Ok(Answer::ok(body).about([id], Asked::Alone))
}
