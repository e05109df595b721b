//! `GET /api/events`: what happened with profiles, also where the webhook of it got lost.

use std::collections::VecDeque;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{self, Rules};
use super::page::{self, Size};
use super::{error_for, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::{with_offset, with_space};

/// Events that are remembered; older ones are forgotten.
const MOST: usize = 100_000;
const SIZE: Size = Size { usual: 200, most: 1_000 };
const RULES: Rules = Rules {
    any: &[],
    equals: &["metric_id", "profile_id"],
    instants: &["datetime", "timestamp"],
    operators: &["greater-than", "greater-or-equal", "less-than", "less-or-equal"],
};
/// The metric of all events here.
const METRIC: &str = "UvWxYz";

/// Something that happened with a profile.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    id: String,
    profile: String,
    at: Timestamp,
}

/// What happened, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Events(VecDeque<Event>);

impl Events {
    /// Remembers one more.
    pub(crate) fn enter(&mut self, id: String, profile: &str, at: Timestamp) {
        self.0.push_back(Event { id, profile: profile.to_owned(), at });
        while self.0.len() > MOST {
            self.0.pop_front();
        }
    }
}

/// One page of events, the newest first unless asked otherwise.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    let known = [
        "filter",
        "sort",
        "page[size]",
        "page[cursor]",
        "fields[event]",
        "include",
        "fields[profile]",
    ];
    no_stray(call, &known)?;
    let clauses = filter::of(call, &RULES)?;
    let (_, descending) = page::sort(call, &["datetime", "timestamp"], "-datetime")?;
    let events = account.events.lock();
    let matching = events.0.iter().filter(|event| {
        filter::matches(&clauses, |name| match name {
            "profile_id" => event.profile.clone(),
            "metric_id" => METRIC.to_owned(),
            _ => with_offset(event.at),
        })
    });
    let items = matching.map(|event| {
        // Fixed width, so that the order of the texts is the order of the instants.
        let key = event.at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        (key, event.id.clone(), event.clone())
    });
    let page = page::cut(call, items.collect(), descending, SIZE)?;
    drop(events);
    let origin = page::origin(call);
    let data: Vec<Value> = page
        .items
        .iter()
        .map(|event| shown(&origin, &event.id, &event.profile, event.at))
        .collect();
    Ok(Answer::ok(json!({ "data": data, "links": page.links })))
}

/// One event.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &["fields[event]", "include"])?;
    let events = account.events.lock();
    let event = events.0.iter().find(|event| event.id == id);
    let event = event.ok_or_else(|| error_for(StatusCode::NOT_FOUND))?;
    let data = shown(&page::origin(call), &event.id, &event.profile, event.at);
    Ok(Answer::ok(json!({ "data": data })))
}

/// An event as answers and webhooks show it.
pub(super) fn shown(origin: &str, id: &str, profile: &str, at: Timestamp) -> Value {
    json!({
        "type": "event",
        "id": id,
        "attributes": {
            "timestamp": at.as_second(),
            "event_properties": { "List": "Autumn newsletter", "$extra": {} },
            "datetime": with_space(at),
            "uuid": format!("b6f1a080-c651-11f1-8001-{:012x}", at.as_microsecond() & 0xffff_ffff_ffff),
        },
        "relationships": {
            "profile": { "data": { "type": "profile", "id": profile } },
            "metric": { "data": { "type": "metric", "id": METRIC } },
        },
        "links": { "self": format!("{origin}/api/events/{id}") },
    })
}
