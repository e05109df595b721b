//! `GET /campaigns` and `GET /campaigns/{id}`; tiers only come with them.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fields::Wanted;
use super::shown::Document;
use super::{error_for, page};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::json::{member, put};
use crate::record::{RecordId, RecordType};
use crate::records::Records;

const INCLUDES: [&str; 4] = ["tiers", "creator", "benefits", "goals"];
const SIZES: (usize, usize) = (20, 1_000);

/// One page of campaigns.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    let wanted = Wanted::of(call, &INCLUDES, &page::PARAMETERS)?;
    let universe = account.universe.lock();
    let seen = universe.records.seen_all(RecordType::Campaign, Instant::now());
    let items = seen.into_iter().map(|(id, version)| (id.external_id.clone(), (id, version)));
    let (campaigns, meta) = page::cut(account, call, items.collect(), SIZES)?;
    let mut document = Document::new(account, &universe.records, &wanted);
    let data: Value =
        campaigns.iter().map(|(id, version)| document.campaign(id, version)).collect();
    let mut body = document.around(&data);
    put(&mut body, "meta", meta);
    let tiers = tiers_in(&universe.records, &body);
    let ids = campaigns.into_iter().map(|(id, _)| id);
    Ok(Answer::ok(body).about(ids, Asked::InPage).about(tiers, Asked::InPage))
}

/// One campaign.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    let wanted = Wanted::of(call, &INCLUDES, &[])?;
    let id = RecordId::new(RecordType::Campaign, id);
    let universe = account.universe.lock();
    let Some(version) = universe.records.seen(&id, Instant::now()) else {
        return Err(error_for(StatusCode::NOT_FOUND).about([id], Asked::Alone));
    };
    let mut document = Document::new(account, &universe.records, &wanted);
    let data = document.campaign(&id, &version);
    let mut body = document.around(&data);
    let origin = "https://www.patreon.com/api/oauth2/v2";
    let link = format!("{origin}/campaigns/{}", id.external_id);
    put(&mut body, "links", json!({ "self": link }));
    let tiers = tiers_in(&universe.records, &body);
    Ok(Answer::ok(body).about([id], Asked::Alone).about(tiers, Asked::InPage))
}

/// The tiers that came with campaigns.
fn tiers_in(records: &Records, body: &Value) -> Vec<RecordId> {
    let included = member(body, "included").as_array().into_iter().flatten();
    let shown: Vec<&str> = included
        .filter(|one| member(one, "type") == "tier")
        .filter_map(|one| one.get("id")?.as_str())
        .collect();
    let tiers = records.live(RecordType::Tier).map(|(id, _)| id);
    tiers.filter(|id| shown.contains(&id.own())).cloned().collect()
}
