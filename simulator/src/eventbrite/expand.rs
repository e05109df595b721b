//! `expand`: related objects in the place where their ids stand.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{bad_argument, error, shown};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::json::{member, put};
use crate::record::{RecordId, RecordType};

/// What a request wants expanded.
pub(super) struct Expansions<'a>(Vec<&'a str>);

impl<'a> Expansions<'a> {
    /// Reads `expand`; nothing but these can be.
    pub(super) fn of(
        account: &Account,
        call: &'a Call,
        record_type: RecordType,
    ) -> Result<Self, Answer> {
        let Some(text) = call.parameter("expand") else { return Ok(Self(Vec::new())) };
        let known: &[&str] = match record_type {
            RecordType::Event => &["venue", "organizer"],
            RecordType::Attendee => &["event", "order"],
            _ => &["event", "attendees"],
        };
        let names: Vec<&str> = text.split(',').collect();
        if !names.iter().all(|name| known.contains(name)) {
            return Err(bad_argument("expand"));
        }
        if account.switches.lock().expansions_fail {
            let status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
            return Err(error(status, "EXPANSION_FAILED", "An expansion could not be loaded."));
        }
        Ok(Self(names))
    }

    /// Puts the related objects in.
    pub(super) fn fill(&self, account: &Account, id: &RecordId, record: &mut Value) {
        for name in &self.0 {
            let related = |record_type, field: &str| {
                let own = member(record, field).as_str().unwrap_or_default();
                seen(account, &RecordId::new(record_type, own))
            };
            let value = match *name {
                "event" => related(RecordType::Event, "event_id"),
                "order" => related(RecordType::Order, "order_id"),
                "attendees" => {
                    let universe = account.universe.lock();
                    let all = universe.records.seen_all(RecordType::Attendee, Instant::now());
                    drop(universe);
                    let of_order = all.iter().filter(|(_, one)| one.text("order_id") == id.own());
                    of_order.map(|(id, one)| shown::record(account, id, one)).collect()
                }
                name => {
                    json!({ "id": member(record, &format!("{name}_id")), "name": "By the harbour" })
                }
            };
            put(record, name, value);
        }
    }
}

fn seen(account: &Account, id: &RecordId) -> Value {
    let seen = account.universe.lock().records.seen(id, Instant::now());
    seen.map_or(Value::Null, |version| shown::record(account, id, &version))
}
