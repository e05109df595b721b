//! Lists of events, attendees and orders, with their filters.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::page::{self, Placed};
use super::{bad_argument, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Asked, Call};
use crate::clock::{now, with_z};
use crate::record::{RecordId, RecordType, Version};

const COMMON: [&str; 5] = ["continuation", "expand", "page", "page_size", "token"];

/// `GET /organizations/{org}/events/`: there is no `changed_since`.
pub(super) fn events(account: &Account, call: &Call) -> Result<Answer, Answer> {
    known(call, &["status", "time_filter", "order_by", "event_ids", "event_ids_to_exclude"])?;
    let statuses = ["draft", "live", "started", "ended", "completed", "canceled", "all"];
    let wanted: Vec<&str> = call.parameter("status").unwrap_or("all").split(',').collect();
    if !wanted.iter().all(|status| statuses.contains(status)) {
        return Err(bad_argument("status"));
    }
    let time = call.parameter("time_filter").unwrap_or("all");
    if !["all", "past", "current_future"].contains(&time) {
        return Err(bad_argument("time_filter"));
    }
    let order = call.parameter("order_by").unwrap_or("created_asc");
    let (field, descending) = match order {
        "start_asc" => ("start", false),
        "start_desc" => ("start", true),
        "created_asc" => ("created", false),
        "created_desc" => ("created", true),
        "name_asc" => ("name", false),
        "name_desc" => ("name", true),
        _ => return Err(bad_argument("order_by")),
    };
    let only = ids(call, "event_ids")?;
    let except = ids(call, "event_ids_to_exclude")?.unwrap_or_default();
    let today = with_z(now());

    let keep = |id: &RecordId, version: &Version| {
        let ended = inner_text(version, "end", "utc") < today.as_str();
        (wanted.contains(&"all") || wanted.contains(&version.text("status")))
            && (time == "all" || ended == (time == "past"))
            && only.as_ref().is_none_or(|only| only.iter().any(|one| one == id.own()))
            && !except.iter().any(|one| one == id.own())
    };
    let key = |version: &Version| match field {
        "start" => inner_text(version, "start", "utc").to_owned(),
        "name" => inner_text(version, "name", "text").to_owned(),
        _ => version.text("created").to_owned(),
    };
    let items = placed(account, RecordType::Event, keep, key);
    let named = only.as_deref().map(|only| named(RecordType::Event, only, None));
    paged(account, call, "events", items, descending, named)
}

/// `GET .../attendees/` of an event or of the organization.
///
/// Without `status` deleted attendees are left out, which the document does not say in so many
/// words: it names `not_attending` as the place where they are.
pub(super) fn attendees(
    account: &Account,
    call: &Call,
    event: Option<&str>,
) -> Result<Answer, Answer> {
    let own: &[&str] = if event.is_some() {
        &["status", "changed_since", "attendee_ids", "last_item_seen"]
    } else {
        &["status", "changed_since"]
    };
    known(call, own)?;
    let status = call.parameter("status");
    if !status.is_none_or(|status| ["attending", "not_attending", "unpaid"].contains(&status)) {
        return Err(bad_argument("status"));
    }
    let since = Since::of(call)?;
    let only = ids(call, "attendee_ids")?;
    let keep = |id: &RecordId, version: &Version| {
        let right_status = match (status, version.text("status")) {
            (None, actual) => actual != "Deleted",
            (Some("attending"), actual) => matches!(actual, "Attending" | "Checked In"),
            (Some("not_attending"), actual) => matches!(actual, "Not Attending" | "Deleted"),
            (Some(_), actual) => actual == "Unpaid",
        };
        right_status
            && event.is_none_or(|event| id.parent() == Some(event))
            && since.holds(id, version)
            && only.as_ref().is_none_or(|only| only.iter().any(|one| one == id.own()))
    };
    let items = placed(account, RecordType::Attendee, keep, since.key());
    let named = only.as_deref().map(|only| named(RecordType::Attendee, only, event));
    paged(account, call, "attendees", items, false, named)
}

/// `GET .../orders/` of an event or of the organization.
///
/// The default of `status` is not documented; the narrowest, `active`, is taken, so that a caller
/// who wants refunded orders has to say so.
pub(super) fn orders(
    account: &Account,
    call: &Call,
    event: Option<&str>,
) -> Result<Answer, Answer> {
    let own: &[&str] = if event.is_some() {
        &["status", "changed_since", "last_item_seen"]
    } else {
        &["status", "changed_since"]
    };
    known(call, own)?;
    let status = call.parameter("status").unwrap_or("active");
    if !["active", "inactive", "both", "all_not_deleted"].contains(&status) {
        return Err(bad_argument("status"));
    }
    let since = Since::of(call)?;
    let keep = |id: &RecordId, version: &Version| {
        let active = version.text("status") == "placed";
        let right_status = match status {
            "active" => active,
            "inactive" => !active,
            _ => true,
        };
        right_status
            && event.is_none_or(|event| version.text("event_id") == event)
            && since.holds(id, version)
    };
    let items = placed(account, RecordType::Order, keep, since.key());
    paged(account, call, "orders", items, false, None)
}

/// `changed_since`, inclusive, and `last_item_seen` to break its ties.
struct Since {
    changed: Option<Timestamp>,
    last_item: Option<String>,
}

impl Since {
    fn of(call: &Call) -> Result<Self, Answer> {
        let changed = call.parameter("changed_since").map(|text| {
            let shape = text.len() == 20 && text.ends_with('Z');
            text.parse().ok().filter(|_| shape).ok_or_else(|| bad_argument("changed_since"))
        });
        let last_item = call.parameter("last_item_seen").map(str::to_owned);
        if last_item.is_some() && changed.is_none() {
            return Err(bad_argument("last_item_seen"));
        }
        Ok(Self { changed: changed.transpose()?, last_item })
    }

    fn holds(&self, id: &RecordId, version: &Version) -> bool {
        let Some(since) = self.changed else { return true };
        match &self.last_item {
            Some(last) if version.changed == since => id.own() > last.as_str(),
            _ => version.changed >= since,
        }
    }

    /// By time of change when that is asked about, else in order of creation, that is by id.
    fn key(&self) -> impl Fn(&Version) -> String + use<> {
        let by_change = self.changed.is_some();
        move |version| if by_change { with_z(version.changed) } else { String::new() }
    }
}

fn known(call: &Call, own: &[&str]) -> Result<(), Answer> {
    let all: Vec<&str> = own.iter().chain(&COMMON).copied().collect();
    no_stray(call, &all)
}

/// A list of ids with commas between; each must be a number.
fn ids(call: &Call, name: &str) -> Result<Option<Vec<String>>, Answer> {
    let Some(text) = call.parameter(name) else { return Ok(None) };
    let ids: Vec<String> = text.split(',').map(str::to_owned).collect();
    let numeric = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    if ids.iter().all(numeric) { Ok(Some(ids)) } else { Err(bad_argument(name)) }
}

fn named(record_type: RecordType, ids: &[String], event: Option<&str>) -> Vec<RecordId> {
    let full = |id: &String| event.map_or_else(|| id.clone(), |event| format!("{event}/{id}"));
    ids.iter().map(|id| RecordId::new(record_type, full(id))).collect()
}

fn placed(
    account: &Account,
    record_type: RecordType,
    keep: impl Fn(&RecordId, &Version) -> bool,
    key: impl Fn(&Version) -> String,
) -> Vec<Placed> {
    let seen = account.universe.lock().records.seen_all(record_type, Instant::now());
    let kept = seen.into_iter().filter(|(id, version)| keep(id, version));
    kept.map(|(id, version): (RecordId, Arc<Version>)| Placed { key: key(&version), id, version })
        .collect()
}

fn paged(
    account: &Account,
    call: &Call,
    name: &str,
    items: Vec<Placed>,
    descending: bool,
    named: Option<Vec<RecordId>>,
) -> Result<Answer, Answer> {
    let asked = if named.is_some() { Asked::ByFilter } else { Asked::InPage };
    let answer = page::answer(account, call, name, items, descending, asked)?;
    Ok(answer.about(named.unwrap_or_default(), Asked::ByFilter))
}

fn inner_text<'a>(version: &'a Version, object: &str, field: &str) -> &'a str {
    let inner = version.fields.get(object).and_then(|object| object.get(field));
    inner.and_then(Value::as_str).unwrap_or_default()
}
