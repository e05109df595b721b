//! `GET /api/profiles` and `GET /api/profiles/{id}`.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::form_urlencoded;

use super::filter::{self, Clause, Field};
use super::{error_for, invalid, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::clock::with_offset;
use crate::record::{Fields, RecordId, RecordType, Version};

const ORIGIN: &str = "https://a.klaviyo.com";
const DEFAULT_SIZE: usize = 20;
const MOST: usize = 100;

type Profile = (RecordId, Arc<Version>);

/// By which field a list is sorted.
#[derive(Debug, Clone, Copy)]
enum Key {
    Id,
    Email,
    Created,
    Updated,
}

#[derive(Debug, Clone, Copy)]
struct Sort {
    key: Key,
    descending: bool,
}

/// Where a page begins: behind this sort value and id. Callers take it as opaque.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cursor(String, String, bool, String);

/// One page of profiles.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(
        call,
        &[
            "filter",
            "sort",
            "page[size]",
            "page[cursor]",
            "fields[profile]",
            "additional-fields[profile]",
        ],
    )?;
    let clauses = match call.parameter("filter") {
        Some(text) => filter::parse(text).map_err(|detail| invalid("filter", &detail))?,
        None => Vec::new(),
    };
    let sort = sort(call.parameter("sort"))?;
    let size = size(call.parameter("page[size]"))?;
    let cursor = call.parameter("page[cursor]").map(|text| cursor(text, call)).transpose()?;
    let additional = additional(call)?;

    let mut profiles =
        account.universe.lock().records.seen_all(RecordType::Profile, Instant::now());
    profiles.retain(|(id, version)| filter::matches(&clauses, id, version));
    profiles.sort_by(|a, b| sort.order(&position(sort, a), &position(sort, b)));
    if let Some(Cursor(value, id, ..)) = cursor {
        let behind = (value, id);
        profiles
            .retain(|profile| sort.order(&position(sort, profile), &behind) == Ordering::Greater);
    }
    let more = profiles.len() > size;
    profiles.truncate(size);

    let origin = call.origin(ORIGIN);
    let next = profiles.last().filter(|_| more).map(|last| {
        let (value, id) = position(sort, last);
        let cursor = Cursor(value, id, true, bound_to(call));
        let text = URL_SAFE_NO_PAD.encode(json!(cursor).to_string());
        format!("{origin}/api/profiles?{}", query(call, Some(&text)))
    });
    let data: Vec<Value> = profiles
        .iter()
        .map(|profile| shown(account, call, profile, &origin, &additional))
        .collect();
    let body = json!({
        "data": data,
        "links": {
            "self": format!("{origin}/api/profiles?{}", query(call, call.parameter("page[cursor]"))),
            "next": next,
            "prev": Value::Null,
        },
    });
    let answer = Answer::ok(body);
    let named: Vec<RecordId> = clauses.iter().flat_map(named_ids).collect();
    Ok(if named.is_empty() {
        answer.about(profiles.into_iter().map(|(id, _)| id), Asked::InPage)
    } else {
        answer.about(named, Asked::ByFilter)
    })
}

/// One profile.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &["fields[profile]", "additional-fields[profile]"])?;
    let additional = additional(call)?;
    let id = RecordId::new(RecordType::Profile, id);
    let seen = account.universe.lock().records.seen(&id, Instant::now());
    let Some(version) = seen else {
        return Err(error_for(StatusCode::NOT_FOUND).about([id], Asked::Alone));
    };
    let origin = call.origin(ORIGIN);
    let profile = (id, version);
    let data = shown(account, call, &profile, &origin, &additional);
    let link = format!("{origin}/api/profiles/{}", profile.0.external_id);
    Ok(Answer::ok(json!({ "data": data, "links": { "self": link } }))
        .about([profile.0], Asked::Alone))
}

fn named_ids(clause: &Clause) -> Vec<RecordId> {
    match clause {
        Clause::Any(Field::Id, ids) => {
            ids.iter().map(|id| RecordId::new(RecordType::Profile, id.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

fn sort(text: Option<&str>) -> Result<Sort, Answer> {
    let text = text.unwrap_or("id");
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let key = match name {
        "id" => Key::Id,
        "email" => Key::Email,
        "created" => Key::Created,
        "updated" => Key::Updated,
        _ => return Err(invalid("sort", &format!("'{text}' is not an allowed sort field."))),
    };
    Ok(Sort { key, descending })
}

impl Sort {
    fn order(self, a: &(String, String), b: &(String, String)) -> Ordering {
        if self.descending { b.cmp(a) } else { a.cmp(b) }
    }
}

/// Where a profile stands in the sorted list: the sort value, then the id.
fn position(sort: Sort, (id, version): &Profile) -> (String, String) {
    let value = match sort.key {
        Key::Id => String::new(),
        Key::Email => version.text("email").to_owned(),
        Key::Created => version.text("created").to_owned(),
        // Fixed width, so that the order of the texts is the order of the instants.
        Key::Updated => with_offset(version.changed),
    };
    (value, id.external_id.clone())
}

fn size(text: Option<&str>) -> Result<usize, Answer> {
    let Some(text) = text else { return Ok(DEFAULT_SIZE) };
    let size = text.parse().ok().filter(|size| (1..=MOST).contains(size));
    size.ok_or_else(|| invalid("page[size]", "Page size must be an integer between 1 and 100."))
}

fn cursor(text: &str, call: &Call) -> Result<Cursor, Answer> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    cursor
        .filter(|cursor| cursor.3 == bound_to(call))
        .ok_or_else(|| invalid("page[cursor]", "Invalid cursor."))
}

/// A cursor leads on in the list for which it was made, and in no other.
fn bound_to(call: &Call) -> String {
    let part = |name| call.parameter(name).unwrap_or_default();
    format!("{}|{}", part("sort"), part("filter"))
}

/// The request's own parameters with another cursor.
fn query(call: &Call, cursor: Option<&str>) -> String {
    let own = call.query.iter().filter(|(name, _)| name != "page[cursor]");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(own);
    query.extend_pairs(cursor.map(|cursor| ("page[cursor]", cursor)));
    query.finish()
}

fn additional(call: &Call) -> Result<Vec<String>, Answer> {
    const NAME: &str = "additional-fields[profile]";
    let Some(text) = call.parameter(NAME) else { return Ok(Vec::new()) };
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    let known = |name: &String| name == "subscriptions" || name == "predictive_analytics";
    if names.iter().all(known) {
        Ok(names)
    } else {
        Err(invalid(NAME, &format!("'{text}' is not an allowed additional field.")))
    }
}

/// A profile as an answer shows it.
fn shown(
    account: &Account,
    call: &Call,
    (id, version): &Profile,
    origin: &str,
    additional: &[String],
) -> Value {
    let mut attributes = version.fields.clone();
    attributes.insert("updated".to_owned(), json!(with_offset(version.changed)));
    for name in additional {
        let value = match name.as_str() {
            // Recomputed all the time.
            "predictive_analytics" => {
                json!({ "historic_clv": account.looks.lock().fraction() * 100.0 })
            }
            _ => json!({ "email": { "marketing": { "can_receive_email_marketing": true } } }),
        };
        attributes.insert(name.clone(), value);
    }
    if let Some(wanted) = call.parameter("fields[profile]") {
        let wanted: Vec<&str> = wanted.split(',').collect();
        attributes = sparse(attributes, &wanted);
    }
    let own = format!("{origin}/api/profiles/{}", id.external_id);
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

/// Only the wanted attributes; `location.city` wants one field of an object.
fn sparse(attributes: Fields, wanted: &[&str]) -> Fields {
    let keeps = |name: &str| wanted.contains(&name);
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
