//! Lists, and who is on them.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::filter::{self, Rules};
use super::page::{self, Size};
use super::profiles::Look;
use super::{error_for, invalid, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::clock::with_offset;
use crate::json::{member, put_within};
use crate::record::{RecordId, RecordType, Version};

const LISTS: Size = Size { usual: 10, most: 10 };
const MEMBERS: Size = Size { usual: 20, most: 100 };
const LIST_RULES: Rules = Rules {
    any: &["id", "name"],
    equals: &["id", "name"],
    instants: &["created", "updated"],
    operators: &["greater-than"],
};
const MEMBER_RULES: Rules = Rules {
    any: &["email", "phone_number", "push_token"],
    equals: &[],
    instants: &["joined_group_at"],
    operators: &["greater-than", "greater-or-equal", "less-than", "less-or-equal"],
};

/// `GET /api/lists`.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["filter", "sort", "page[size]", "page[cursor]", "fields[list]", "include"])?;
    let clauses = filter::of(call, &LIST_RULES)?;
    let (key, descending) = page::sort(call, &["id", "name", "created", "updated"], "id")?;
    let seen = account.universe.lock().records.seen_all(RecordType::List, Instant::now());
    let value = |id: &RecordId, version: &Version, name: &str| match name {
        "id" => id.external_id.clone(),
        "updated" => with_offset(version.changed),
        name => version.text(name).to_owned(),
    };
    let kept = seen
        .into_iter()
        .filter(|(id, version)| filter::matches(&clauses, |name| value(id, version, name)));
    let items = kept.map(|(id, version)| {
        let place = if key == "id" { String::new() } else { value(&id, &version, key) };
        (place, id.external_id.clone(), (id, version))
    });
    let page = page::cut(call, items.collect(), descending, LISTS)?;
    let data: Vec<Value> =
        page.items.iter().map(|(id, version)| shown(call, id, version)).collect();
    let answer = Answer::ok(json!({ "data": data, "links": page.links }));
    let named: Vec<RecordId> = filter::named_ids(&clauses)
        .into_iter()
        .map(|id| RecordId::new(RecordType::List, id))
        .collect();
    Ok(if named.is_empty() {
        answer.about(page.items.into_iter().map(|(id, _)| id), Asked::InPage)
    } else {
        answer.about(named, Asked::ByFilter)
    })
}

/// `GET /api/lists/{id}`.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    const ADDITIONAL: &str = "additional-fields[list]";
    no_stray(call, &["fields[list]", ADDITIONAL, "include"])?;
    let count = match call.parameter(ADDITIONAL) {
        None => false,
        Some("profile_count") => true,
        Some(_) => return Err(invalid(ADDITIONAL, "That is not an allowed additional field.")),
    };
    let id = RecordId::new(RecordType::List, id);
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    let Some(version) = seen else {
        return Err(error_for(StatusCode::NOT_FOUND).about([id], Asked::Alone));
    };
    let mut data = shown(call, &id, &version);
    if count {
        let count = json!(members_of(account, &id).len());
        put_within(&mut data, "attributes", "profile_count", count);
    }
    let links = member(&data, "links").clone();
    Ok(Answer::ok(json!({ "data": data, "links": links })).about([id], Asked::Alone))
}

/// `GET /api/lists/{id}/profiles`: who is on it, in full and since when.
pub(super) fn profiles(account: &Account, call: &Call, list: &str) -> Result<Answer, Answer> {
    let known = [
        "filter",
        "sort",
        "page[size]",
        "page[cursor]",
        "fields[profile]",
        "additional-fields[profile]",
    ];
    no_stray(call, &known)?;
    let look = Look::of(account, call)?;
    members(account, call, list, |id, joined, profile| {
        let mut shown = look.profile(&RecordId::new(RecordType::Profile, id), profile);
        let wanted = call.parameter("fields[profile]").map(|text| text.split(','));
        if wanted.is_none_or(|mut wanted| wanted.any(|name| name == "joined_group_at")) {
            put_within(&mut shown, "attributes", "joined_group_at", json!(joined));
        }
        shown
    })
}

/// `GET /api/lists/{id}/relationships/profiles`: who is on it, ids only.
pub(super) fn relationships(account: &Account, call: &Call, list: &str) -> Result<Answer, Answer> {
    no_stray(call, &["filter", "sort", "page[size]", "page[cursor]"])?;
    members(account, call, list, |id, _, _| json!({ "type": "profile", "id": id }))
}

/// One page of a list's members, each as `show` makes it from id, date of joining and profile.
fn members(
    account: &Account,
    call: &Call,
    list: &str,
    show: impl Fn(&str, &str, &Version) -> Value,
) -> Result<Answer, Answer> {
    let clauses = filter::of(call, &MEMBER_RULES)?;
    let (_, descending) = page::sort(call, &["joined_group_at"], "joined_group_at")?;
    let list = RecordId::new(RecordType::List, list);
    let seen = account.universe.lock().records.seen(&list, Instant::now());
    if seen.is_none() {
        return Err(error_for(StatusCode::NOT_FOUND).about([list], Asked::Alone));
    }
    let members = members_of(account, &list);
    let kept = members.into_iter().filter(|(_, joined, profile)| {
        filter::matches(&clauses, |name| match name {
            "joined_group_at" => joined.text(name).to_owned(),
            name => profile.text(name).to_owned(),
        })
    });
    let items = kept.map(|(id, joined, profile)| {
        let at = joined.text("joined_group_at").to_owned();
        (at.clone(), id.own().to_owned(), (id, at, profile))
    });
    let page = page::cut(call, items.collect(), descending, MEMBERS)?;
    let data: Vec<Value> =
        page.items.iter().map(|(id, at, profile)| show(id.own(), at, profile)).collect();
    let ids = page.items.into_iter().map(|(id, ..)| id);
    Ok(Answer::ok(json!({ "data": data, "links": page.links })).about(ids, Asked::InPage))
}

type Member = (RecordId, Arc<Version>, Arc<Version>);

/// The memberships of a list that readers see, with the profiles.
fn members_of(account: &Account, list: &RecordId) -> Vec<Member> {
    let (universe, now) = (account.universe.lock(), Instant::now());
    let memberships = universe.records.seen_all(RecordType::Membership, now);
    let here =
        memberships.into_iter().filter(|(id, _)| id.parent() == Some(list.external_id.as_str()));
    here.filter_map(|(id, joined)| {
        let profile = RecordId::new(RecordType::Profile, id.own());
        let profile = universe.records.seen(&profile, now)?;
        Some((id, joined, profile))
    })
    .collect()
}

/// A list as an answer shows it.
pub(super) fn shown(call: &Call, id: &RecordId, version: &Version) -> Value {
    let mut attributes = version.fields.clone();
    attributes.insert("updated".to_owned(), json!(with_offset(version.changed)));
    let link = format!("{}/api/lists/{}", page::origin(call), id.external_id);
    json!({
        "type": "list", "id": id.external_id, "attributes": attributes, "links": { "self": link },
    })
}
