//! `GET /api/profiles` and `GET /api/profiles/{id}`.

use std::sync::Arc;

use axum::http::StatusCode;
use jiff::ToSpan;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::filter::{self, Rules};
use super::page::{self, Size};
use super::{error_for, invalid, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::clock::with_offset;
use crate::json::{member, put, put_within};
use crate::record::{Fields, RecordId, RecordType, Version};

const SIZE: Size = Size { usual: 20, most: 100 };
/// There is no `greater-or-equal` on the dates: what shares the watermark's second gets lost.
const RULES: Rules = Rules {
    any: &["id", "email", "phone_number", "external_id"],
    equals: &["id", "email", "phone_number", "external_id"],
    instants: &["created", "updated"],
    operators: &["greater-than", "less-than"],
};

/// One page of profiles.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    let known = ["filter", "sort", "page[size]", "page[cursor]", FIELDS, ADDITIONAL];
    no_stray(call, &known)?;
    let clauses = filter::of(call, &RULES)?;
    let (key, descending) = page::sort(call, &["id", "email", "created", "updated"], "id")?;
    let look = Look::of(account, call)?;

    let seen = account.universe.lock().records.seen_all(RecordType::Profile, Instant::now());
    let value = |id: &RecordId, version: &Version, name: &str| match name {
        "id" => id.external_id.clone(),
        // Fixed width, so that the order of the texts is the order of the instants.
        "updated" => look.updated(id, version),
        name => version.text(name).to_owned(),
    };
    let kept = seen
        .into_iter()
        .filter(|(id, version)| filter::matches(&clauses, |name| value(id, version, name)));
    let items = kept.map(|(id, version)| {
        let place = if key == "id" { String::new() } else { value(&id, &version, key) };
        (place, id.external_id.clone(), (id, version))
    });
    let page = page::cut(call, items.collect(), descending, SIZE)?;
    let data: Vec<Value> =
        page.items.iter().map(|(id, version)| look.profile(id, version)).collect();
    let answer = Answer::ok(json!({ "data": data, "links": page.links }));
    let named: Vec<RecordId> = filter::named_ids(&clauses)
        .into_iter()
        .map(|id| RecordId::new(RecordType::Profile, id))
        .collect();
    Ok(if named.is_empty() {
        answer.about(page.items.into_iter().map(|(id, _)| id), Asked::InPage)
    } else {
        answer.about(named, Asked::ByFilter)
    })
}

/// One profile.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &[FIELDS, ADDITIONAL, "include", "fields[list]", "fields[segment]"])?;
    let look = Look::of(account, call)?;
    let include: Vec<&str> =
        call.parameter("include").map(|text| text.split(',').collect()).unwrap_or_default();
    if !include.iter().all(|name| ["lists", "segments"].contains(name)) {
        return Err(invalid("include", "That is not an allowed include for this resource."));
    }
    let id = RecordId::new(RecordType::Profile, id);
    let universe = account.universe.lock();
    let Some(version) = universe.records.seen(&id, Instant::now()) else {
        return Err(error_for(StatusCode::NOT_FOUND).about([id], Asked::Alone));
    };
    let mut data = look.profile(&id, &version);
    let mut body = json!({ "links": member(&data, "links") });
    if include.contains(&"lists") {
        let on = universe.records.seen_all(RecordType::Membership, Instant::now());
        let lists = on.iter().filter(|(one, _)| one.own() == id.external_id);
        let lists = lists.filter_map(|(one, _)| {
            let list = RecordId::new(RecordType::List, one.parent()?);
            Some((list.clone(), universe.records.seen(&list, Instant::now())?))
        });
        let lists: Vec<(RecordId, Arc<Version>)> = lists.collect();
        let named = lists.iter().map(|(one, _)| json!({ "type": "list", "id": one.external_id }));
        if let Some(relationships) = data.get_mut("relationships") {
            put_within(relationships, "lists", "data", named.collect());
        }
        let shown = lists.iter().map(|(one, version)| super::lists::shown(call, one, version));
        put(&mut body, "included", shown.collect());
    }
    drop(universe);
    put(&mut body, "data", data);
    Ok(Answer::ok(body).about([id], Asked::Alone))
}

const FIELDS: &str = "fields[profile]";
const ADDITIONAL: &str = "additional-fields[profile]";

/// How a caller wants profiles shown.
pub(super) struct Look<'a> {
    account: &'a Account,
    origin: String,
    wanted: Option<Vec<String>>,
    additional: Vec<String>,
    ahead: i64,
}

impl<'a> Look<'a> {
    /// As the request says.
    pub(super) fn of(account: &'a Account, call: &Call) -> Result<Self, Answer> {
        let names = |name| {
            call.parameter(name).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        let additional = names(ADDITIONAL).unwrap_or_default();
        let known = |name: &String| ["subscriptions", "predictive_analytics"].contains(&&**name);
        if !additional.iter().all(known) {
            return Err(invalid(ADDITIONAL, "That is not an allowed additional field."));
        }
        let ahead = account.switches.lock().updated_ahead_seconds;
        let (origin, wanted) = (page::origin(call), names(FIELDS));
        Ok(Self { account, origin, wanted, additional, ahead })
    }

    /// `updated`, which may lie in the future where that is switched on: for every other profile.
    fn updated(&self, id: &RecordId, version: &Version) -> String {
        let even = id.external_id.bytes().fold(0_u8, u8::wrapping_add) % 2 == 0;
        let ahead = if even { self.ahead } else { 0 }.seconds();
        with_offset(version.changed.checked_add(ahead).unwrap_or(version.changed))
    }

    /// A profile as an answer shows it.
    pub(super) fn profile(&self, id: &RecordId, version: &Version) -> Value {
        let mut attributes = version.fields.clone();
        attributes.insert("updated".to_owned(), json!(self.updated(id, version)));
        for name in &self.additional {
            let value = match name.as_str() {
                // Recomputed all the time.
                "predictive_analytics" => {
                    json!({ "historic_clv": self.account.looks.lock().fraction() * 100.0 })
                }
                _ => json!({ "email": { "marketing": { "can_receive_email_marketing": true } } }),
            };
            attributes.insert(name.clone(), value);
        }
        if let Some(wanted) = &self.wanted {
            attributes = sparse(attributes, wanted);
        }
        let own = format!("{}/api/profiles/{}", self.origin, id.external_id);
        json!({
            "type": "profile",
            "id": id.external_id,
            "attributes": attributes,
            "relationships": {
                "lists": { "links": { "self": format!("{own}/relationships/lists"), "related": format!("{own}/lists") } },
            },
            "links": { "self": own },
        })
    }
}

/// Only the wanted attributes; `location.city` wants one field of an object.
fn sparse(attributes: Fields, wanted: &[String]) -> Fields {
    let keeps = |name: &str| wanted.iter().any(|one| one == name);
    let mut kept = Fields::new();
    for (name, value) in attributes {
        match value {
            value if keeps(&name) => {
                kept.insert(name, value);
            }
            Value::Object(inner) => {
                let inner: Fields =
                    inner.into_iter().filter(|(key, _)| keeps(&format!("{name}.{key}"))).collect();
                if !inner.is_empty() {
                    kept.insert(name, Value::Object(inner));
                }
            }
            _ => {}
        }
    }
    kept
}
